//! Another process in a running container: `exec`.
//!
//! Nothing is made here. An intermediate process joins the container's cgroup and its
//! namespaces, all of them at once by the pidfd of its first process, and clones the new one
//! there; from then on the steps are those of a container's first process.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use nix::sched::CloneFlags;
use oci_spec::runtime::{Process, Spec};

use super::op::Op;
use super::{Lifecycle, Options, Plan, Side, Steps, labels, namespaces, process, schedule};
use crate::error::Result;
use crate::host::Host;

/// A running container, as `exec` finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Joined {
    /// The namespaces in which its first process isn't where minirun is.
    pub(crate) namespaces: CloneFlags,
    /// Its cgroup: a directory in each hierarchy, with the controllers as in
    /// /proc/PID/cgroup (empty for v2).
    pub(crate) cgroup: Vec<(String, PathBuf)>,
    /// A unit of the user's systemd that the cgroup belongs to: its name, and its directory
    /// on cgroup v2.
    pub(crate) user_unit: Option<(String, PathBuf)>,
}

impl Plan {
    /// The steps that start `spec`'s process in a running container of the same `spec`.
    ///
    /// # Errors
    /// As [`Plan::new`], about the fields of the process.
    pub(crate) fn for_exec(
        spec: &Spec,
        joined: &Joined,
        options: &Options,
        host: &Host,
    ) -> Result<Plan> {
        let mut steps = Steps::new(&options.origins);
        let layout = namespaces::Layout::new(spec, &steps)?;
        let process = process::required(&steps, spec)?;
        let [first_cpus, cpus] = schedule::exec_cpus(&steps, process)?;

        // As long as the host's /proc and its cgroups are in reach.
        steps.runtime(Op::Intermediate, "");
        if let Some(op) = first_cpus {
            steps.push(Side::Intermediate, op, "process.execCPUAffinity.initial", &[]);
        }
        if let Some(op) = schedule::score(&steps, process)? {
            steps.push(Side::Intermediate, op, "process.oomScoreAdj", &[]);
        }
        labels::on_exec(&mut steps, Side::Intermediate, process, host)?;
        // The container's processes must not look into one that has the host's rights still
        // (CVE-2016-9962), and files below /proc/self are root's from here on.
        steps.push(Side::Intermediate, Op::Undumpable, "", &[]);
        join(&mut steps, joined)?;

        if options.lifecycle == Lifecycle::Attached {
            steps.container(Op::DieWithParent, "");
        }
        if options.stdio {
            steps.container(Op::Stdio, "");
        }
        if let Some(root) = spec.root().as_ref().filter(|_| !layout.has(CloneFlags::CLONE_NEWNS)) {
            // No namespace leads into its file system; its first process is there by chroot(2).
            let path = steps.c_string("root.path", root.path().as_os_str().as_bytes())?;
            steps.container(Op::OpenRootfs { path }, "root.path");
            steps.container(Op::Chroot, "root.path");
        }
        labels::join_keyring(&mut steps, options)?;
        if let Some(op) = cpus {
            steps.container(op, "process.execCPUAffinity.final");
        }
        terminal(&mut steps, process);
        process::limits(&mut steps, spec, host, &layout)?;
        process::close_inherited(&mut steps, options);
        process::surroundings(&mut steps, spec, options)?;
        process::identity(&mut steps, spec, options, host, &layout)?;
        process::start(&mut steps, spec, options)?;
        Ok(Plan { steps: steps.list, warnings: steps.warnings, later_cgroup: Vec::new() })
    }
}

/// On v1 by writing to `tasks`, on v2 by being born there, as for a new container. The
/// cgroup namespace comes after that: with nsdelegate, systemd's way to mount cgroup v2, it
/// lets nobody go from a cgroup that it doesn't show.
///
/// The intermediate process would count as one more where pids are counted, and couldn't
/// clone another one in a container that is at its limit but for one. Whoever joins is let
/// in even beyond the limit, so there the new process joins by itself.
fn join(steps: &mut Steps, joined: &Joined) -> Result<()> {
    let (mut born_in, mut counted) = (None, None);
    for (controllers, dir) in &joined.cgroup {
        let dir = dir.as_os_str().as_bytes();
        if controllers.is_empty() {
            born_in = Some(steps.c_string("--cgroup", dir)?);
        } else {
            let op =
                Op::JoinCgroup { tasks: steps.c_string("--cgroup", [dir, b"/tasks"].concat())? };
            match controllers.split(',').any(|controller| controller == "pids") {
                true => counted = Some(op),
                false => steps.push(Side::Intermediate, op, "", &[]),
            }
        }
    }
    // From a session, say by ssh, the kernel lets no user into what is below their systemd;
    // that has the machine's systemd do it.
    let v2 = joined.cgroup.iter().find(|(controllers, _)| controllers.is_empty());
    let by_unit = match (&joined.user_unit, v2) {
        (Some((name, top)), Some((_, dir))) => {
            let below = dir.strip_prefix(top).ok().filter(|below| !below.as_os_str().is_empty());
            let below = below.map_or_else(String::new, |below| format!("/{}", below.display()));
            Some(Op::JoinUnit { name: name.clone(), user: true, below })
        }
        _ => None,
    };
    let born_in = born_in.filter(|_| by_unit.is_none());
    let late = match born_in {
        Some(_) => joined.namespaces & CloneFlags::CLONE_NEWCGROUP,
        None => CloneFlags::empty(),
    };
    let op = Op::JoinProcess { namespaces: joined.namespaces - late };
    steps.push(Side::Intermediate, op, "", &[]);
    let op = Op::Clone { namespaces: CloneFlags::empty(), cgroup: born_in };
    steps.push(Side::Intermediate, op, "", &[]);
    if let Some(op) = counted {
        steps.container(op, "");
    }
    if !late.is_empty() {
        steps.container(Op::JoinProcess { namespaces: late }, "");
    }
    if let Some(op) = by_unit {
        steps.runtime(op, "");
    }
    Ok(())
}

fn terminal(steps: &mut Steps, new: &Process) {
    if new.terminal().unwrap_or(false) {
        let size = process::terminal_size(new);
        let op = Op::Terminal { size, owner: new.user().uid() };
        steps.container(op, "process.terminal");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::Step;
    use crate::plan::tests::{position, root};

    fn plan(edit: impl FnOnce(&mut serde_json::Value), lifecycle: Lifecycle) -> Plan {
        plan_in(edit, lifecycle, None)
    }

    fn plan_in(
        edit: impl FnOnce(&mut serde_json::Value),
        lifecycle: Lifecycle,
        user_unit: Option<(String, PathBuf)>,
    ) -> Plan {
        let joined = Joined {
            namespaces: CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID,
            cgroup: vec![
                (String::new(), "/sys/fs/cgroup/unified/box".into()),
                ("pids".into(), "/sys/fs/cgroup/pids/box".into()),
                ("cpu,cpuacct".into(), "/sys/fs/cgroup/cpu/box".into()),
            ],
            user_unit,
        };
        plan_of(edit, lifecycle, &joined)
    }

    fn plan_of(
        edit: impl FnOnce(&mut serde_json::Value),
        lifecycle: Lifecycle,
        joined: &Joined,
    ) -> Plan {
        let mut spec = json!({
            "ociVersion": "1.3.0",
            "process": { "cwd": "/x", "user": { "uid": 7, "gid": 7 }, "args": ["true"] },
            "linux": { "namespaces": [{ "type": "pid" }, { "type": "mount" }] },
        });
        edit(&mut spec);
        let options = Options { name: "box".into(), oci: true, lifecycle, ..Options::default() };
        let spec = serde_json::from_value(spec).unwrap();
        Plan::for_exec(&spec, joined, &options, &root()).unwrap()
    }

    #[test]
    fn the_container_is_joined_before_its_process_is_born_there() {
        let plan = plan(|_| (), Lifecycle::Detached);
        let text = plan.to_string();
        let at = |words: &str| text.find(words).unwrap_or_else(|| panic!("{words}:\n{text}"));
        assert!(at("close /proc/PID") < at("join cgroup /sys/fs/cgroup/cpu/box/tasks"));
        assert!(at("join cgroup") < at("into cgroup /sys/fs/cgroup/unified/box"));
        assert!(at("clone3") < at("join cgroup /sys/fs/cgroup/pids/box/tasks"));
        assert!(position(&plan, "setns") < position(&plan, "clone3"));
        assert!(position(&plan, "clone3") < position(&plan, "setuid"));
        assert_eq!(position(&plan, "execve"), Some(plan.steps.len() - 1));
        for kind in ["mount", "pivot_root", "create_cgroup", "hand_over", "hook", "mkdir"] {
            assert_eq!(position(&plan, kind), None, "{kind}");
        }
    }

    #[test]
    fn the_cgroup_namespace_is_joined_by_the_one_who_is_born_in_the_cgroup() {
        let joined = Joined {
            namespaces: CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWCGROUP,
            cgroup: vec![(String::new(), "/sys/fs/cgroup/box".into())],
            user_unit: None,
        };
        let plan = plan_of(|_| (), Lifecycle::Detached, &joined);
        let clone = plan.clone_index();
        let joins = |step: &Step| match &step.op {
            Op::JoinProcess { namespaces } => Some((step.side, *namespaces)),
            _ => None,
        };
        let before = plan.steps[..clone].iter().find_map(joins);
        assert_eq!(before, Some((Side::Intermediate, CloneFlags::CLONE_NEWNS)));
        let after = joins(&plan.steps[clone + 1]);
        assert_eq!(after, Some((Side::Container, CloneFlags::CLONE_NEWCGROUP)));
        let without = Joined { cgroup: Vec::new(), ..joined };
        let plan = plan_of(|_| (), Lifecycle::Detached, &without);
        assert!(plan.steps[plan.clone_index()..].iter().all(|step| joins(step).is_none()));
    }

    #[test]
    fn no_side_changes_once_the_process_is_born() {
        let plan = plan(|_| (), Lifecycle::Attached);
        let after = plan.clone_index() + 1;
        assert!(plan.steps[after..].iter().all(|step| step.side == Side::Container), "{plan}");
        let before = &plan.steps[1..after];
        assert!(before.iter().all(|step| step.side == Side::Intermediate), "{plan}");
    }

    #[test]
    fn processors_are_chosen_before_and_after_the_cgroup_is_joined() {
        let affinity = json!({ "initial": "0", "final": "0-1" });
        let edit = |spec: &mut serde_json::Value| spec["process"]["execCPUAffinity"] = affinity;
        let plan = plan(edit, Lifecycle::Detached);
        let kinds: Vec<_> = plan.steps.iter().map(|step| step.op.kind()).collect();
        let chosen: Vec<_> = (0..kinds.len()).filter(|&i| kinds[i] == "cpu_affinity").collect();
        let joined = position(&plan, "join_cgroup").unwrap();
        assert_eq!(chosen.len(), 2);
        assert!(chosen[0] < joined && joined < chosen[1], "{plan}");
    }

    #[test]
    fn a_users_process_is_moved_into_its_scope_before_it_goes_on() {
        let unit = |top: &str| Some(("x.scope".to_owned(), PathBuf::from(top)));
        for (top, expected) in [("unified/box", ""), ("unified", "/box")] {
            let top = format!("/sys/fs/cgroup/{top}");
            let plan = plan_in(|_| (), Lifecycle::Detached, unit(&top));
            let join = position(&plan, "join_unit").unwrap();
            assert!(plan.clone_index() < join);
            match &plan.steps[join] {
                Step {
                    side: Side::Runtime, op: Op::JoinUnit { below, user: true, .. }, ..
                } => {
                    assert_eq!(below, expected);
                }
                other => panic!("{}", other.op),
            }
            assert!(!plan.to_string().contains("into cgroup"), "{plan}");
            assert!(plan.steps[join + 1..].iter().all(|step| step.side == Side::Container));
        }
    }

    #[test]
    fn a_terminal_is_opened_inside_and_no_console_is_bound() {
        let edit = |spec: &mut serde_json::Value| spec["process"]["terminal"] = true.into();
        let plan = plan(edit, Lifecycle::Detached);
        assert!(position(&plan, "clone3") < position(&plan, "terminal"));
        assert_eq!(position(&plan, "console"), None);
        assert!(plan.has_console());
    }
}
