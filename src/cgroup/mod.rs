//! What a cgroup counted, and what is done to all processes in it: freezing, killing,
//! removing. Making and limiting it are steps of a plan.

#[allow(dead_code)] // for the verbs
mod oom;
mod stats;
mod sweeper;
mod tree;
#[allow(dead_code)] // for the verbs
mod usage;

#[allow(unused_imports)] // for the verbs
pub(crate) use oom::{OutOfMemory, Seen};
pub(crate) use stats::Stats;
pub(crate) use sweeper::Sweeper;
pub(crate) use tree::{Dir, Tree};
