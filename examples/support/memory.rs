//! How much memory a process has, and how often the kernel had to find a page for it.

use std::fmt::Display;
use std::fs;

use nix::sys::resource::{UsageWho, getrusage};

use super::Result;

/// One MiB in bytes.
pub const MIB: u64 = 1 << 20;

/// The page faults of this process so far that no disk had to be waited for.
pub fn faults() -> u64 {
    let faults = getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| usage.minor_page_faults());
    u64::try_from(faults).unwrap_or(0)
}

/// The sum of what /proc/PID/smaps_rollup has under names that begin with `word`, in bytes.
///
/// # Errors
/// When the file can't be read.
pub fn rollup(pid: impl Display, word: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).map_err(|error| format!("read {path}: {error}"))?;
    let lines = text.lines().filter(|line| line.starts_with(word));
    let sum: u64 =
        lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum();
    Ok(sum * 1024)
}

/// Bytes for people.
pub fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / MIB as f64)
}
