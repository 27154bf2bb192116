//! What a cgroup counted while the container ran.

use std::ffi::{CString, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Counters of a container's cgroup; `None` where no limit made the kernel count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stats {
    /// The most memory in use at once, in bytes.
    pub(crate) peak_memory: Option<u64>,
    /// Processes killed because the memory limit was reached.
    pub(crate) oom_kills: Option<u64>,
    /// Forks that failed because of the limit on processes.
    pub(crate) pids_refused: Option<u64>,
    /// Scheduling periods in which the CPU quota ran out.
    pub(crate) cpu_throttled: Option<u64>,
}

impl Stats {
    /// Reads the counters from the cgroup's directories (one a hierarchy on v1);
    /// file names and keys are those of cgroup-v2.rst and of v1's memory.rst.
    pub(crate) fn read(dirs: &[CString]) -> Stats {
        let mut stats = Stats::default();
        for dir in dirs {
            let dir = Path::new(OsStr::from_bytes(dir.to_bytes()));
            let number = |file: &str| fs::read_to_string(dir.join(file)).ok()?.trim().parse().ok();
            let keyed =
                |file: &str, key: &str| value_of(&fs::read_to_string(dir.join(file)).ok()?, key);
            let set = |slot: &mut Option<u64>, found: Option<u64>| *slot = slot.or(found);
            set(&mut stats.peak_memory, number("memory.peak"));
            set(&mut stats.peak_memory, number("memory.max_usage_in_bytes"));
            set(&mut stats.oom_kills, keyed("memory.events", "oom_kill"));
            set(&mut stats.oom_kills, keyed("memory.oom_control", "oom_kill"));
            set(&mut stats.pids_refused, keyed("pids.events", "max"));
            set(&mut stats.cpu_throttled, keyed("cpu.stat", "nr_throttled"));
        }
        stats
    }
}

/// The number behind a key in a file of `key number` lines.
pub(super) fn value_of(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::value_of;

    #[test]
    fn a_key_is_matched_whole() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(value_of(text, "oom_kill"), Some(3));
        assert_eq!(value_of(text, "oom"), None);
    }
}
