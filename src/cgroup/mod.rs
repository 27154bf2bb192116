//! What a cgroup counted, and what is done to all processes in it: freezing, killing,
//! removing. Making and limiting it are steps of a plan.

mod deep;
mod freezer;
mod gauges;
mod limits;
mod oom;
mod stats;
mod sweeper;
mod tree;
mod usage;

pub use gauges::{Pressure, Usage};
pub(crate) use oom::{OutOfMemory, Seen};
pub(crate) use stats::Stats;
pub(crate) use sweeper::Sweeper;
pub(crate) use tree::{Dir, Tree, dirs_of};
