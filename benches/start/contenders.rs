//! Who runs, with which arguments.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::site::{self, Site};

pub struct Contender {
    pub name: &'static str,
    pub program: Program,
    pub place: Place,
    /// Its arguments, given a name that no other container has at the time; only those
    /// before the verb where the work is several verbs.
    pub arguments: fn(&Site, &str) -> Vec<OsString>,
}

pub enum Program {
    Minirun,
    Floor,
    /// What the others run, without a container.
    Payload,
    Peer(Peer),
}

/// Another runtime.
pub struct Peer {
    pub program: &'static str,
    /// The Debian package that has it.
    pub package: &'static str,
}

/// What else there is on the host meanwhile.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Empty,
    Mounts,
    Containers,
}

pub const BUBBLEWRAP: Program = Program::Peer(Peer { program: "bwrap", package: "bubblewrap" });
pub const CRUN: Program = Program::Peer(Peer { program: "crun", package: "crun" });
pub const RUNC: Program = Program::Peer(Peer { program: "runc", package: "runc" });

impl Contender {
    pub const fn new(
        name: &'static str,
        program: Program,
        arguments: fn(&Site, &str) -> Vec<OsString>,
    ) -> Self {
        Contender { name, program, place: Place::Empty, arguments }
    }

    pub const fn at(self, place: Place) -> Self {
        Contender { place, ..self }
    }
}

/// `run ROOTFS`, with options and what is asked of the payload.
pub fn run_rootfs(site: &Site, options: &str, payload: &str) -> Vec<OsString> {
    // bubblewrap maps one id as well; more need the set-uid newuidmap, twice.
    let user = if site.is_root { "" } else { "--userns single" };
    let mut arguments = words(&format!("run {user} {options}"));
    arguments.push(site.rootfs());
    arguments.extend(words(&format!("/bin/true {payload}")));
    arguments
}

/// `floor ROOTFS`, with what is asked of the payload.
pub fn floor(site: &Site, payload: &str) -> Vec<OsString> {
    [site.rootfs()].into_iter().chain(words(payload)).collect()
}

/// The namespaces that `minirun run` makes. Root needs none for users; --unshare-all would
/// make one all the same.
pub fn same_namespaces(site: &Site) -> &'static str {
    match site.is_root {
        true => "--unshare-ipc --unshare-pid --unshare-net --unshare-uts --unshare-cgroup",
        false => "--unshare-all",
    }
}

/// The isolation of `minirun run`, with bubblewrap's own /proc and /dev and `more`.
pub fn bubblewrap(site: &Site, namespaces: &str, more: &[OsString]) -> Vec<OsString> {
    let mut arguments = words(namespaces);
    arguments.extend(words("--die-with-parent --new-session --hostname bench --bind"));
    arguments.push(site.rootfs());
    arguments.extend(words("/ --proc /proc --dev /dev"));
    arguments.extend_from_slice(more);
    arguments.push("/bin/true".into());
    arguments
}

/// What `minirun run` hides below /proc and /sys.
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// The rest of what `minirun run` mounts, as far as bubblewrap can: it has no sysfs and
/// no cgroup mounts of its own, and binds the host's.
pub fn minirun_mounts() -> Vec<OsString> {
    let mut arguments = words("--tmpfs /dev/shm --mqueue /dev/mqueue --ro-bind /sys /sys");
    for path in MASKED {
        match Path::new(path) {
            path if path.is_dir() => arguments.extend(words("--tmpfs")),
            path if path.exists() => arguments.extend(words("--ro-bind /dev/null")),
            _ => continue,
        }
        arguments.push(path.into());
    }
    arguments
}

/// An OCI runtime's `run` of a bundle.
pub fn run_bundle(site: &Site, program: &str, bundle: &str, id: &str) -> Vec<OsString> {
    let mut arguments = state(site, program);
    arguments.extend(words("run --bundle"));
    arguments.extend([site.bundle(bundle), id.into()]);
    arguments
}

/// What an OCI runtime is told before the verb.
pub fn state(site: &Site, program: &str) -> Vec<OsString> {
    vec!["--root".into(), site.state(program)]
}

pub fn words(text: &str) -> Vec<OsString> {
    text.split_whitespace().map(OsString::from).collect()
}

impl Program {
    /// Where it is.
    pub fn path(&self, site: &Site) -> Option<PathBuf> {
        match self {
            Program::Minirun => Some(site.program(site::MINIRUN)),
            Program::Floor => Some(site.program(site::FLOOR)),
            Program::Payload => Some(site.program(site::PAYLOAD)),
            Program::Peer(peer) => site.found(peer.program),
        }
    }

    /// Why it can't be run, if it can't.
    pub fn absence(&self) -> Option<String> {
        match self {
            Program::Peer(Peer { program, package }) if find(program).is_none() => {
                Some(format!("there is no {program}; install the package {package}"))
            }
            _ => None,
        }
    }

    /// Whether the benchmark has failed when this fails.
    pub fn is_ours(&self) -> bool {
        !matches!(self, Program::Peer(_))
    }
}

/// Looks in PATH, and where a distribution puts root's tools, which may not be in it.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|path| path.is_file())
}
