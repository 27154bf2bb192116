//! What is measured of whom, and the goals. A new contender is a row.

use std::ffi::OsString;

use nix::unistd::Pid;

use crate::contenders::{
    BUBBLEWRAP, CRUN, Contender, Place, Program, RUNC, bubblewrap, floor, minirun_mounts,
    run_bundle, run_rootfs, same_namespaces, state,
};
use crate::site::Site;
use crate::work::{self, Outcome};

/// Contenders that do about the same, and so are run in the same rounds.
pub struct Workload {
    pub name: &'static str,
    pub unit: &'static str,
    pub measure: fn(&Site, &Contender, usize) -> Outcome<f64>,
    pub effort: Effort,
    pub needs_root: bool,
    /// Starts a container for a contender, which is ended after the rounds.
    pub prepare: Option<fn(&Site, &Contender) -> Outcome<Pid>>,
    pub contenders: &'static [Contender],
    pub goals: &'static [Goal],
}

/// How often, and what else is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// All rounds, back to back and spaced out; and starts per second.
    Throughput,
    /// All rounds, back to back and spaced out.
    Full,
    /// All rounds, back to back.
    BackToBack,
    /// What varies little, a few times.
    Few,
}

/// Values are those of contenders by their names.
pub enum Goal {
    /// The first one's value divided by the second one's is at most this.
    Ratio(&'static str, &'static str, f64),
    /// The first one's value less the second one's is at most this.
    Difference(&'static str, &'static str, f64),
    /// The value is at most this.
    Value(&'static str, f64),
    /// Starts per second, divided by the other's, are at least this.
    Throughput(&'static str, &'static str, f64),
}

const FLOOR: Contender = Contender::new("floor", Program::Floor, |site, _| floor(site, ""));
const PLAIN: Contender = Contender::new("minirun", Program::Minirun, |site, id| {
    run_bundle(site, "minirun", "plain", id)
});
const ENGINE_DEFAULT: Contender = Contender::new("minirun", Program::Minirun, |site, id| {
    run_bundle(site, "minirun", "engine-default", id)
});
/// Without the hierarchies of cgroup v1 that limit nothing.
const fn lean(run: fn(&Site, &str) -> Vec<OsString>) -> Contender {
    Contender::new("minirun, lean cgroup", Program::Minirun, run)
}
const CRUN_PLAIN: Contender =
    Contender::new("crun", CRUN, |site, id| run_bundle(site, "crun", "plain", id));
const RUNC_PLAIN: Contender =
    Contender::new("runc", RUNC, |site, id| run_bundle(site, "runc", "plain", id));
const DEFAULTS: Contender =
    Contender::new("minirun", Program::Minirun, |site, _| run_rootfs(site, "", ""));

pub const MINIRUN: Contender =
    Contender::new("minirun", Program::Minirun, |site, _| state(site, "minirun"));

/// OCI runtimes for work of several verbs.
const VERBS: &[Contender] = &[
    MINIRUN,
    Contender::new("crun", CRUN, |site, _| state(site, "crun")),
    Contender::new("runc", RUNC, |site, _| state(site, "runc")),
];

/// OCI runtimes that run a container until it is killed.
const PAUSING: &[Contender] = &[
    Contender::new("minirun run ROOTFS", Program::Minirun, |site, _| run_rootfs(site, "", "pause")),
    Contender::new("minirun", Program::Minirun, |site, id| {
        run_bundle(site, "minirun", "pausing", id)
    }),
    Contender::new("crun", CRUN, |site, id| run_bundle(site, "crun", "pausing", id)),
    Contender::new("runc", RUNC, |site, id| run_bundle(site, "runc", "pausing", id)),
];

pub const WORKLOADS: &[Workload] = &[
    Workload {
        name: "run ROOTFS",
        unit: "ms",
        measure: work::start,
        effort: Effort::Full,
        needs_root: false,
        prepare: None,
        contenders: &[
            FLOOR,
            DEFAULTS,
            Contender::new("minirun --no-init", Program::Minirun, |site, _| {
                run_rootfs(site, "--no-init", "")
            }),
            Contender::new("bubblewrap", BUBBLEWRAP, |site, _| {
                bubblewrap(site, same_namespaces(site), &[])
            }),
            Contender::new("bubblewrap, minirun's mounts", BUBBLEWRAP, |site, _| {
                bubblewrap(site, same_namespaces(site), &minirun_mounts())
            }),
            Contender::new("bubblewrap --unshare-all", BUBBLEWRAP, |site, _| {
                bubblewrap(site, "--unshare-all", &[])
            }),
        ],
        goals: &[Goal::Ratio("minirun", "bubblewrap --unshare-all", 0.9)],
    },
    Workload {
        name: "run, plain bundle",
        unit: "ms",
        measure: work::start,
        effort: Effort::Throughput,
        needs_root: true,
        prepare: None,
        contenders: &[
            FLOOR,
            PLAIN,
            lean(|site, id| run_bundle(site, "minirun", "plain-lean", id)),
            Contender::new("bubblewrap", BUBBLEWRAP, |site, _| {
                bubblewrap(site, same_namespaces(site), &[])
            }),
            CRUN_PLAIN,
            RUNC_PLAIN,
        ],
        goals: &[
            Goal::Ratio("minirun", "crun", 0.40),
            Goal::Ratio("minirun", "floor", 2.0),
            Goal::Ratio("minirun", "bubblewrap", 1.0),
            Goal::Throughput("minirun", "crun", 2.5),
        ],
    },
    Workload {
        name: "run, engine-default bundle",
        unit: "ms",
        measure: work::start,
        effort: Effort::Full,
        needs_root: true,
        prepare: None,
        contenders: &[
            FLOOR,
            ENGINE_DEFAULT,
            lean(|site, id| run_bundle(site, "minirun", "engine-default-lean", id)),
            Contender::new("crun", CRUN, |site, id| run_bundle(site, "crun", "engine-default", id)),
            Contender::new("runc", RUNC, |site, id| run_bundle(site, "runc", "engine-default", id)),
        ],
        goals: &[
            Goal::Ratio("minirun", "crun", 0.15),
            Goal::Ratio("minirun", "runc", 0.08),
            Goal::Ratio("minirun", "floor", 2.2),
        ],
    },
    Workload {
        name: "create, start, delete",
        unit: "ms",
        measure: work::lifecycle,
        effort: Effort::Full,
        needs_root: true,
        prepare: None,
        contenders: VERBS,
        goals: &[Goal::Ratio("minirun", "crun", 0.40)],
    },
    Workload {
        name: "exec in a running container",
        unit: "ms",
        measure: work::exec,
        effort: Effort::Full,
        needs_root: true,
        prepare: Some(work::start_running),
        contenders: VERBS,
        goals: &[Goal::Ratio("minirun", "crun", 0.40)],
    },
    Workload {
        name: "run, plain bundle, 1,000 bind mounts on the host",
        unit: "ms",
        measure: work::start,
        effort: Effort::BackToBack,
        needs_root: true,
        prepare: None,
        contenders: &[
            FLOOR,
            Contender::new("floor, mounts", Program::Floor, FLOOR.arguments).at(Place::Mounts),
            PLAIN,
            Contender::new("minirun, mounts", Program::Minirun, PLAIN.arguments).at(Place::Mounts),
            CRUN_PLAIN,
            Contender::new("crun, mounts", CRUN, CRUN_PLAIN.arguments).at(Place::Mounts),
        ],
        goals: &[Goal::Ratio("minirun, mounts", "minirun", 1.3)],
    },
    Workload {
        name: "run, plain bundle, while containers run",
        unit: "ms",
        measure: work::start,
        effort: Effort::BackToBack,
        needs_root: true,
        prepare: None,
        contenders: &[
            FLOOR,
            Contender::new("floor, crowd", Program::Floor, FLOOR.arguments).at(Place::Containers),
            PLAIN,
            Contender::new("minirun, crowd", Program::Minirun, PLAIN.arguments)
                .at(Place::Containers),
            CRUN_PLAIN,
            Contender::new("crun, crowd", CRUN, CRUN_PLAIN.arguments).at(Place::Containers),
        ],
        goals: &[Goal::Ratio("minirun, crowd", "minirun", 1.3)],
    },
    Workload {
        name: "from the container's exit to the runtime's",
        unit: "ms",
        measure: work::after_end,
        effort: Effort::BackToBack,
        needs_root: true,
        prepare: None,
        contenders: &[
            Contender::new("waitpid, no container", Program::Payload, |_, _| vec!["now".into()]),
            Contender::new("floor", Program::Floor, |site, _| floor(site, "now")),
            Contender::new("minirun run ROOTFS", Program::Minirun, |site, _| {
                run_rootfs(site, "", "now")
            }),
            Contender::new("minirun", Program::Minirun, |site, id| {
                run_bundle(site, "minirun", "ending", id)
            }),
            Contender::new("crun", CRUN, |site, id| run_bundle(site, "crun", "ending", id)),
            Contender::new("runc", RUNC, |site, id| run_bundle(site, "runc", "ending", id)),
        ],
        goals: &[
            Goal::Difference("minirun run ROOTFS", "waitpid, no container", 0.7),
            Goal::Difference("minirun", "waitpid, no container", 0.7),
        ],
    },
    Workload {
        name: "peak of resident memory, run of the plain bundle",
        unit: "KiB",
        measure: work::peak_memory,
        effort: Effort::Few,
        needs_root: true,
        prepare: None,
        contenders: &[FLOOR, PLAIN, CRUN_PLAIN, RUNC_PLAIN],
        goals: &[Goal::Value("minirun", 1500.0)],
    },
    Workload {
        name: "the runtime's memory while a container runs (PSS)",
        unit: "KiB",
        measure: work::runtime_memory,
        effort: Effort::Few,
        needs_root: true,
        prepare: None,
        contenders: PAUSING,
        goals: &[Goal::Value("minirun run ROOTFS", 400.0), Goal::Value("minirun", 400.0)],
    },
    Workload {
        name: "private memory of init, run ROOTFS",
        unit: "KiB",
        measure: work::init_memory,
        effort: Effort::Few,
        needs_root: true,
        prepare: None,
        contenders: &[Contender::new("minirun", Program::Minirun, |site, _| {
            run_rootfs(site, "", "pause")
        })],
        goals: &[Goal::Value("minirun", 150.0)],
    },
    Workload {
        name: "a call of getppid, engine-default bundle",
        unit: "ns",
        measure: work::number,
        effort: Effort::BackToBack,
        needs_root: true,
        prepare: None,
        contenders: &[
            Contender::new("outside", Program::Payload, |_, _| vec!["getppid".into()]),
            Contender::new("minirun", Program::Minirun, |site, id| {
                run_bundle(site, "minirun", "getppid", id)
            }),
            Contender::new("crun", CRUN, |site, id| run_bundle(site, "crun", "getppid", id)),
            Contender::new("runc", RUNC, |site, id| run_bundle(site, "runc", "getppid", id)),
        ],
        goals: &[Goal::Ratio("minirun", "crun", 1.0)],
    },
    Workload {
        name: "a call of openat and close, engine-default bundle",
        unit: "ns",
        measure: work::number,
        effort: Effort::BackToBack,
        needs_root: true,
        prepare: None,
        contenders: &[
            Contender::new("outside", Program::Payload, |_, _| vec!["openat".into()]),
            Contender::new("minirun", Program::Minirun, |site, id| {
                run_bundle(site, "minirun", "openat", id)
            }),
            Contender::new("crun", CRUN, |site, id| run_bundle(site, "crun", "openat", id)),
            Contender::new("runc", RUNC, |site, id| run_bundle(site, "runc", "openat", id)),
        ],
        goals: &[Goal::Ratio("minirun", "crun", 1.0)],
    },
];

/// Those whose smallest memory limit is looked for; all need root for it.
pub const LIMITED: &[Contender] = &[
    Contender::new("minirun run ROOTFS", Program::Minirun, |site, _| {
        run_rootfs(site, &format!("--memory {}", site.memory()), "")
    }),
    Contender::new("minirun", Program::Minirun, |site, id| {
        run_bundle(site, "minirun", "limited", id)
    }),
    Contender::new("crun", CRUN, |site, id| run_bundle(site, "crun", "limited", id)),
    Contender::new("runc", RUNC, |site, id| run_bundle(site, "runc", "limited", id)),
];

/// Those whose system calls, page faults and written bytes are counted.
pub const COUNTED: &[(&str, Contender)] =
    &[("rootfs", DEFAULTS), ("plain", PLAIN), ("engine-default", ENGINE_DEFAULT)];
