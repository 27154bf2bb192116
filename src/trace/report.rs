//! `--report`: what a container used, as JSON.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cgroup::Stats;
use crate::command::ExitStatus;
use crate::sys::process::Usage;

/// What a container that has ended used.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// How the target ended.
    pub status: ExitStatus,
    /// From execve to the end.
    pub wall: Duration,
    /// Processor time in user mode, of all processes that were waited for.
    pub user: Duration,
    /// Processor time in the kernel, likewise.
    pub system: Duration,
    /// Bytes: the whole cgroup's peak where there is a memory limit, else the largest
    /// resident set of any one process.
    pub peak_memory: u64,
    /// Processes that init reaped, the target included; 0 without an init.
    pub processes_reaped: u64,
    /// Processes killed because the memory limit was reached; `None` without one.
    pub oom_kills: Option<u64>,
    /// Which limits the container ran into: `memory`, `pids`, `cpus`, `timeout`.
    pub limits_hit: Vec<&'static str>,
}

impl Report {
    pub(crate) fn new(
        status: ExitStatus,
        wall: Duration,
        usage: Usage,
        stats: Stats,
        processes_reaped: u64,
    ) -> Self {
        let hit = |count: Option<u64>| count.is_some_and(|count| count > 0);
        let limits = [
            ("memory", hit(stats.oom_kills)),
            ("pids", hit(stats.pids_refused)),
            ("cpus", hit(stats.cpu_throttled)),
            ("timeout", status.timed_out()),
        ];
        Report {
            status,
            wall,
            user: usage.user,
            system: usage.system,
            peak_memory: stats.peak_memory.unwrap_or(usage.max_resident),
            processes_reaped,
            oom_kills: stats.oom_kills,
            limits_hit: limits.into_iter().filter(|(_, hit)| *hit).map(|(name, _)| name).collect(),
        }
    }

    /// The report as a JSON object; times in seconds, memory in bytes.
    pub fn to_json(&self) -> Value {
        json!({
            "exit_code": self.status.exit_code(),
            "signal": self.status.signal(),
            "timed_out": self.status.timed_out(),
            "wall_seconds": self.wall.as_secs_f64(),
            "user_seconds": self.user.as_secs_f64(),
            "system_seconds": self.system.as_secs_f64(),
            "peak_memory_bytes": self.peak_memory,
            "processes_reaped": self.processes_reaped,
            "oom_kills": self.oom_kills,
            "limits_hit": self.limits_hit,
        })
    }
}
