//! The seccomp filter, and which of two places it has in the list.
//!
//! Without noNewPrivileges the kernel asks for CAP_SYS_ADMIN, so the filter is installed
//! just before the identity changes; what a profile forbids of the steps after that, fails
//! there: setting ids and capabilities, the hand-over to `start` (accept4, recvfrom, sendto),
//! startContainer hooks, the fork of init. With noNewPrivileges it is installed last, and a
//! profile must allow only what execve itself needs: rt_sigaction, rt_sigprocmask, execve.
//! (Other runtimes have the same two places and need more.)
//!
//! A filter that notifies is in force before the hand-over in any case: what sends its
//! listener is `create`, and nobody is there any more who could when `start` comes. From
//! then on the listener is asked about the steps as about the program, and wait4 must not
//! kill: `launch/listener.rs` says what for.
//!
//! Whoever lists the steps of a process calls [`while_privileged`] before the uid changes,
//! [`with_listener`] before the hand-over and [`at_last`] before execve; one of them does it.

use oci_spec::runtime::{LinuxSeccomp, Process, Spec};

use super::op::Op;
use super::{Options, Steps};
use crate::error::{Error, Result};
use crate::seccomp::{self, Machine};

/// Installs the filter of a process that may gain privileges.
pub(super) fn while_privileged(
    steps: &mut Steps,
    spec: &Spec,
    options: &Options,
    process: &Process,
) -> Result<()> {
    if gives_up_privileges(process) { Ok(()) } else { install(steps, spec, options, process) }
}

/// Installs a filter that notifies, of a process that has given up gaining privileges.
pub(super) fn with_listener(
    steps: &mut Steps,
    spec: &Spec,
    options: &Options,
    process: &Process,
) -> Result<()> {
    let here = gives_up_privileges(process) && notifies(spec);
    if here { install(steps, spec, options, process) } else { Ok(()) }
}

/// Installs the filter of a process that has given up gaining privileges.
pub(super) fn at_last(
    steps: &mut Steps,
    spec: &Spec,
    options: &Options,
    process: &Process,
) -> Result<()> {
    let here = gives_up_privileges(process) && !notifies(spec);
    if here { install(steps, spec, options, process) } else { Ok(()) }
}

fn profile(spec: &Spec) -> Option<&LinuxSeccomp> {
    spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref())
}

fn notifies(spec: &Spec) -> bool {
    profile(spec).is_some_and(|profile| seccomp::listener(profile).is_some())
}

fn gives_up_privileges(process: &Process) -> bool {
    process.no_new_privileges().unwrap_or(false)
}

fn install(steps: &mut Steps, spec: &Spec, options: &Options, process: &Process) -> Result<()> {
    let (filter, listener) = match profile(spec) {
        Some(profile) => (seccomp::compile(profile, Machine::NATIVE), seccomp::listener(profile)),
        None if options.default_seccomp => {
            let sets = process.capabilities().as_ref();
            let bounding = sets.and_then(|sets| sets.bounding().as_ref());
            (seccomp::default_filter(Machine::NATIVE, bounding), None)
        }
        None => return Ok(()),
    };
    let refused = |refusal: seccomp::Refusal| -> Error {
        steps.error(&refusal.path, "make a seccomp filter", refusal.reason)
    };
    let op = Op::Seccomp { filter: filter.map_err(refused)?, listener };
    steps.container(op, "linux.seccomp");
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::plan::tests::{position, root};
    use crate::plan::{Lifecycle, Options, Plan};

    fn plan(uid: u32, no_new_privileges: Option<bool>, lifecycle: Lifecycle) -> Plan {
        plan_for("SCMP_ACT_ALLOW", uid, no_new_privileges, lifecycle)
    }

    fn plan_for(
        action: &str,
        uid: u32,
        no_new_privileges: Option<bool>,
        lifecycle: Lifecycle,
    ) -> Plan {
        let spec = json!({
            "ociVersion": "1.3.0",
            "root": { "path": "/r" },
            "process": {
                "cwd": "/",
                "user": { "uid": uid, "gid": 0 },
                "args": ["/bin/true"],
                "noNewPrivileges": no_new_privileges,
            },
            "linux": {
                "namespaces": [{ "type": "pid" }, { "type": "mount" }],
                "seccomp": {
                    "defaultAction": "SCMP_ACT_ERRNO",
                    "listenerPath": "/run/agent",
                    "syscalls": [{ "names": ["execve"], "action": action }],
                },
            },
        });
        let options = Options {
            name: "box".into(),
            init: true,
            lifecycle,
            start_dir: Some("/run/x".into()),
            ..Default::default()
        };
        Plan::new(&serde_json::from_value(spec).unwrap(), &options, &root()).unwrap()
    }

    #[test]
    fn the_filter_comes_while_privileged_or_last_and_never_twice() {
        for uid in [0, 7] {
            for lifecycle in [Lifecycle::Attached, Lifecycle::Detached, Lifecycle::Created] {
                for no_new_privileges in [None, Some(false)] {
                    let plan = plan(uid, no_new_privileges, lifecycle);
                    let next = position(&plan, "seccomp").unwrap() + 1;
                    assert_eq!(plan.steps[next].op.kind(), "setuid", "{plan}");
                    assert!(position(&plan, "capset").unwrap() > next);
                }
                let plan = plan(uid, Some(true), lifecycle);
                assert_eq!(position(&plan, "seccomp"), Some(plan.steps.len() - 2), "{plan}");
                let count = plan.steps.iter().filter(|step| step.op.kind() == "seccomp").count();
                assert_eq!(count, 1);
            }
        }
    }

    #[test]
    fn a_filter_that_notifies_comes_before_the_hand_over() {
        for no_new_privileges in [false, true] {
            let lifecycle = Lifecycle::Created;
            let plan = plan_for("SCMP_ACT_NOTIFY", 7, Some(no_new_privileges), lifecycle);
            let at = position(&plan, "seccomp").unwrap();
            let hand_over = position(&plan, "hand_over").unwrap();
            assert!(at < hand_over, "{plan}");
            assert_eq!(at + 1 == hand_over, no_new_privileges, "{plan}");
            assert!(plan.to_string().contains(", listener at /run/agent"), "{plan}");
            let count = plan.steps.iter().filter(|step| step.op.kind() == "seccomp").count();
            assert_eq!(count, 1);
        }
    }
}
