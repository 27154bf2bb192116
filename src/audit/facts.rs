//! What a container is like, as far as it can be judged.

use std::path::PathBuf;

use oci_spec::runtime::LinuxNamespaceType;

/// Everything that [`judge`](super::judge()) looks at.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Facts {
    /// Whether it is of a bundle, so that advice names fields rather than options of `run`.
    pub(crate) bundle: bool,
    /// The user inside.
    pub(crate) uid: u32,
    /// First uid inside, first outside, how many; `None` without a user namespace of its own.
    pub(crate) uid_map: Option<Vec<(u32, u32, u32)>>,
    /// Those it has, a bit for each number.
    pub(crate) capabilities: u64,
    pub(crate) no_new_privileges: bool,
    pub(crate) seccomp: Seccomp,
    /// Whether a security module of the host's confines it; `None` where there is none.
    pub(crate) confined: Option<bool>,
    /// The namespaces that it has in common with the host, as /proc/PID/ns names them.
    pub(crate) shared: Vec<&'static str>,
    /// The devices of its network, where that isn't the host's.
    pub(crate) interfaces: Vec<String>,
    /// The root filesystem, when it is a directory of the host.
    pub(crate) root: Option<HostFiles>,
    /// What of the host's files is mounted besides.
    pub(crate) mounts: Vec<HostFiles>,
    /// Device nodes besides the usual ones.
    pub(crate) devices: Vec<Device>,
    /// Whether it may use any device that it has or makes a node of.
    pub(crate) any_device: bool,
    /// What leaks below /proc and /sys, and isn't masked.
    pub(crate) exposed: Vec<String>,
    /// What belongs to the machine below /proc and /sys, and can be written to.
    pub(crate) writable: Vec<String>,
    /// In bytes.
    pub(crate) memory_limit: Option<u64>,
    pub(crate) pids_limit: Option<u64>,
    /// Open files and directories of the host's, the standard descriptors aside.
    pub(crate) descriptors: Vec<String>,
}

/// Its filter of system calls.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Seccomp {
    #[default]
    None,
    /// What it says, in words, and which calls it permits that matter.
    Filter { words: String, permits: Vec<&'static str> },
}

/// A file or directory of the host's, as the container sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostFiles {
    pub(crate) source: PathBuf,
    pub(crate) destination: PathBuf,
    pub(crate) writable: bool,
}

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) path: PathBuf,
    pub(crate) block: bool,
    pub(crate) major: u64,
    pub(crate) minor: u64,
}

impl Device {
    /// Whether every container has it: null, zero, full, random, urandom, terminals.
    pub(crate) fn is_usual(&self) -> bool {
        let terminals = 136..=143;
        !self.block
            && (matches!((self.major, self.minor), (1, 3 | 5 | 7..=9) | (5, 0..=2))
                || terminals.contains(&self.major))
    }
}

/// System calls that matter when a filter permits them to everybody.
pub(super) const NOTABLE_CALLS: &[&str] = &[
    "add_key",
    "bpf",
    "init_module",
    "io_uring_setup",
    "kexec_load",
    "keyctl",
    "mount",
    "open_by_handle_at",
    "perf_event_open",
    "pivot_root",
    "setns",
    "unshare",
    "userfaultfd",
];

/// The namespaces that a container can share with the host: as a config.json, /proc/PID/ns
/// and people call them.
pub(super) const NAMESPACES: &[(LinuxNamespaceType, &str, &str)] = &[
    (LinuxNamespaceType::Pid, "pid", "pid"),
    (LinuxNamespaceType::Network, "net", "network"),
    (LinuxNamespaceType::Ipc, "ipc", "ipc"),
    (LinuxNamespaceType::Mount, "mnt", "mount"),
    (LinuxNamespaceType::Uts, "uts", "uts"),
    (LinuxNamespaceType::Cgroup, "cgroup", "cgroup"),
];
