//! The container's cgroup after the start: what it counted, and its removal.
//!
//! Making and limiting it are steps of the plan.

mod stats;
mod sweeper;

pub(crate) use stats::Stats;
pub(crate) use sweeper::Sweeper;
