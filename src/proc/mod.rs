//! What the kernel says of a process: the files of /proc/PID (proc(5)), read and not judged.

mod mounts;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use caps::Capability;

pub(crate) use mounts::{Mount, Mounts};

/// The pid that stands for this process itself.
pub(crate) const OWN: i32 = 0;

/// The namespaces, as /proc/PID/ns names them.
pub(crate) const NAMESPACES: [&str; 8] =
    ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"];

/// First id inside a user namespace, first outside, and how many.
pub(crate) type IdRange = (u32, u32, u32);

fn path(pid: i32, file: &str) -> String {
    match pid {
        OWN => format!("/proc/self/{file}"),
        pid => format!("/proc/{pid}/{file}"),
    }
}

/// A file of a process's. What isn't UTF-8, which names of commands needn't be, is replaced.
///
/// # Errors
/// Those of open(2) and read(2).
pub(crate) fn read(pid: i32, file: &str) -> io::Result<String> {
    fs::read(path(pid, file)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The inode number of one of its namespaces, by which the kernel names it.
///
/// # Errors
/// Those of stat(2); only its own user and root may look.
pub(crate) fn namespace(pid: i32, kind: &str) -> io::Result<u64> {
    fs::metadata(path(pid, &format!("ns/{kind}"))).map(|found| found.ino())
}

/// Whether this kernel has namespaces of a kind.
pub(crate) fn has_namespaces(kind: &str) -> bool {
    Path::new(&path(OWN, &format!("ns/{kind}"))).exists()
}

/// All processes that are to be seen, in order.
pub(crate) fn pids() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<i32> =
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    pids
}

/// The text of /proc/PID/status (proc_pid_status(5)).
#[derive(Debug, Clone, Default)]
pub(crate) struct Status(pub(crate) String);

impl Status {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    }

    /// The first number of a field.
    pub(crate) fn number(&self, name: &str) -> Option<u32> {
        self.field(name)?.split_ascii_whitespace().next()?.parse().ok()
    }
}

/// Lines of `inside outside count` (user_namespaces(7)).
pub(crate) fn id_map(text: &str) -> Vec<IdRange> {
    let line = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map(|word| word.parse().ok());
        Some((numbers.next()??, numbers.next()??, numbers.next()??))
    };
    text.lines().filter_map(line).collect()
}

/// An id as a user namespace numbers it; `None` for one that isn't mapped.
pub(crate) fn inside(id: u32, map: &[IdRange]) -> Option<u32> {
    map.iter().find_map(|&(inside, outside, count)| {
        let offset = id.checked_sub(outside).filter(|offset| *offset < count)?;
        inside.checked_add(offset)
    })
}

/// The names in proc_pid_net(5)'s dev, below its two lines of titles.
pub(crate) fn interfaces(text: &str) -> Vec<String> {
    let name = |line: &str| Some(line.split_once(':')?.0.trim().to_owned());
    text.lines().skip(2).filter_map(name).collect()
}

/// Capabilities by name, without CAP_, in the order of their numbers.
pub(crate) fn capability_names(bits: u64) -> Vec<String> {
    let mut all: Vec<Capability> = caps::all().into_iter().collect();
    all.retain(|capability| bits & capability.bitmask() != 0);
    all.sort_by_key(Capability::index);
    all.iter().map(|capability| capability.to_string().split_off("CAP_".len())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_turned_back() {
        let map = id_map("         0       1000          1\n         1     100000      65536\n");
        assert_eq!(map, [(0, 1000, 1), (1, 100_000, 65536)]);
        assert_eq!((inside(1000, &map), inside(100_004, &map)), (Some(0), Some(5)));
        assert_eq!(inside(7, &map), None);
    }

    #[test]
    fn this_process_has_what_every_process_has() {
        let pid = std::process::id() as i32;
        assert!(pids().contains(&pid));
        assert_eq!(namespace(pid, "mnt").unwrap(), namespace(OWN, "mnt").unwrap());
        let status = Status(read(pid, "status").unwrap());
        assert_eq!(status.number("Pid"), Some(std::process::id()));
        assert_eq!(status.field("Nonsense"), None);
        assert_eq!(capability_names(0b101), ["CHOWN", "DAC_READ_SEARCH"]);
    }
}
