//! Who runs, with which arguments. A new contender is a row.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::site::Site;

/// Contenders that do about the same, and so are run in the same rounds.
pub struct Workload {
    pub name: &'static str,
    /// Whether to measure starts per second as well.
    pub throughput: bool,
    pub contenders: &'static [Contender],
}

pub struct Contender {
    pub name: &'static str,
    pub program: Program,
    /// Its arguments, given a name that no other container has at the time.
    pub arguments: fn(&Site, &str) -> Vec<OsString>,
}

pub enum Program {
    Minirun,
    Floor,
    Peer(Peer),
}

/// Another runtime.
pub struct Peer {
    pub program: &'static str,
    /// The Debian package that has it.
    pub package: &'static str,
    pub needs_root: bool,
}

const BUBBLEWRAP: Program =
    Program::Peer(Peer { program: "bwrap", package: "bubblewrap", needs_root: false });
const CRUN: Program = Program::Peer(Peer { program: "crun", package: "crun", needs_root: true });
const RUNC: Program = Program::Peer(Peer { program: "runc", package: "runc", needs_root: true });

const FLOOR: Contender =
    Contender { name: "floor", program: Program::Floor, arguments: |site, _| vec![site.rootfs()] };

/// Every workload has the floor in it.
pub const WORKLOADS: &[Workload] = &[
    Workload {
        name: "plain",
        throughput: true,
        contenders: &[
            FLOOR,
            Contender {
                name: "minirun",
                program: Program::Minirun,
                arguments: |site, _| minirun(site, ""),
            },
            Contender {
                name: "minirun --no-init",
                program: Program::Minirun,
                arguments: |site, _| minirun(site, "--no-init"),
            },
            Contender {
                name: "bubblewrap",
                program: BUBBLEWRAP,
                arguments: |site, _| bubblewrap(site, &[]),
            },
            Contender {
                name: "bubblewrap, minirun's mounts",
                program: BUBBLEWRAP,
                arguments: |site, _| bubblewrap(site, &minirun_mounts()),
            },
            Contender {
                name: "crun",
                program: CRUN,
                arguments: |site, id| oci(site, "crun", "plain", id),
            },
            Contender {
                name: "runc",
                program: RUNC,
                arguments: |site, id| oci(site, "runc", "plain", id),
            },
        ],
    },
    Workload {
        name: "engine-default",
        throughput: false,
        contenders: &[
            FLOOR,
            Contender {
                name: "crun",
                program: CRUN,
                arguments: |site, id| oci(site, "crun", "engine-default", id),
            },
            Contender {
                name: "runc",
                program: RUNC,
                arguments: |site, id| oci(site, "runc", "engine-default", id),
            },
        ],
    },
];

/// Those whose smallest memory limit is looked for; all need root for it.
pub const LIMITED: &[Contender] = &[
    Contender {
        name: "minirun run ROOTFS",
        program: Program::Minirun,
        arguments: |site, _| minirun(site, &format!("--memory {}", site.memory())),
    },
    Contender {
        name: "minirun",
        program: Program::Minirun,
        arguments: |site, id| oci(site, "minirun", "limited", id),
    },
    Contender {
        name: "crun",
        program: CRUN,
        arguments: |site, id| oci(site, "crun", "limited", id),
    },
    Contender {
        name: "runc",
        program: RUNC,
        arguments: |site, id| oci(site, "runc", "limited", id),
    },
];

fn minirun(site: &Site, option: &str) -> Vec<OsString> {
    // bubblewrap maps one id as well; more need the set-uid newuidmap, twice.
    let user = if site.is_root { "" } else { "--userns single" };
    let mut arguments = words(&format!("run {user} {option}"));
    arguments.extend([site.rootfs(), "/bin/true".into()]);
    arguments
}

/// The isolation of `minirun run`, with bubblewrap's own /proc and /dev and `more`.
fn bubblewrap(site: &Site, more: &[OsString]) -> Vec<OsString> {
    // Root needs no user namespace, and minirun makes none for it; --unshare-all would.
    let namespaces = "--unshare-ipc --unshare-pid --unshare-net --unshare-uts --unshare-cgroup";
    let mut arguments = words(if site.is_root { namespaces } else { "--unshare-all" });
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
fn minirun_mounts() -> Vec<OsString> {
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

fn oci(site: &Site, program: &str, bundle: &str, id: &str) -> Vec<OsString> {
    let [root, run, option] = ["--root", "run", "--bundle"].map(OsString::from);
    vec![root, site.state(program), run, option, site.bundle(bundle), id.into()]
}

fn words(text: &str) -> Vec<OsString> {
    text.split_whitespace().map(OsString::from).collect()
}

impl Program {
    /// Where it is.
    pub fn path(&self, site: &Site) -> Option<PathBuf> {
        match self {
            Program::Minirun => Some(site.minirun.clone()),
            Program::Floor => Some(site.floor.clone()),
            Program::Peer(peer) => find(peer.program),
        }
    }

    /// Why it can't be run, if it can't.
    pub fn absence(&self, site: &Site) -> Option<String> {
        match self {
            Program::Peer(peer) if peer.needs_root && !site.is_root => {
                Some("it needs root".to_owned())
            }
            Program::Peer(peer) if find(peer.program).is_none() => {
                let Peer { program, package, .. } = peer;
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
