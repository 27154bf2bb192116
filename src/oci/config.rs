//! The outer levels of a config.json, read by own types that become the crate's.
//!
//! The crate's own readers of them bring along an engine for regular expressions, 30 %
//! of the program, to look at two lists of processors that the plan looks at anyway, and
//! know two flags of the scheduler by other words than the runtime-spec. What a Linux
//! container hasn't got (`windows`, `process.commandLine`) is an unknown property here.

use std::collections::HashMap;
use std::path::PathBuf;

use oci_spec::runtime::{
    self, ExecCPUAffinity, Hooks, Linux, LinuxCapabilities, LinuxIOPriority, LinuxSchedulerFlag,
    LinuxSchedulerPolicy, Mount, PosixRlimit, Root, User, VM,
};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// All of a config.json. Its large parts are boxed: moved about as values they take three pages
/// more of the stack.
#[derive(Debug, Deserialize)]
pub(crate) struct Spec {
    #[serde(default, rename = "ociVersion")]
    version: String,
    root: Option<Root>,
    mounts: Option<Vec<Mount>>,
    process: Option<Box<Process>>,
    hostname: Option<String>,
    domainname: Option<String>,
    hooks: Option<Hooks>,
    annotations: Option<HashMap<String, String>>,
    linux: Option<Box<Linux>>,
    /// That it is there is all that the plan has to know.
    vm: Option<IgnoredAny>,
}

impl From<Spec> for runtime::Spec {
    fn from(read: Spec) -> Self {
        let mut spec = runtime::Spec::default();
        spec.set_version(read.version)
            .set_root(read.root)
            .set_mounts(read.mounts)
            .set_process(read.process.map(|process| (*process).into()))
            .set_hostname(read.hostname)
            .set_domainname(read.domainname)
            .set_hooks(read.hooks)
            .set_annotations(read.annotations)
            .set_linux(read.linux.map(|linux| *linux))
            .set_vm(read.vm.map(|_| VM::default()));
        spec
    }
}

/// `process`, which `exec` takes alone as well.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Process {
    terminal: Option<bool>,
    console_size: Option<runtime::Box>,
    user: User,
    args: Option<Vec<String>>,
    env: Option<Vec<String>>,
    cwd: PathBuf,
    capabilities: Option<LinuxCapabilities>,
    rlimits: Option<Vec<PosixRlimit>>,
    no_new_privileges: Option<bool>,
    apparmor_profile: Option<String>,
    oom_score_adj: Option<i32>,
    selinux_label: Option<String>,
    io_priority: Option<LinuxIOPriority>,
    scheduler: Option<Scheduler>,
    #[serde(rename = "execCPUAffinity")]
    exec_cpu_affinity: Option<Affinity>,
}

impl From<Process> for runtime::Process {
    fn from(read: Process) -> Self {
        let mut process = runtime::Process::default();
        process
            .set_terminal(read.terminal)
            .set_console_size(read.console_size)
            .set_user(read.user)
            .set_args(read.args)
            .set_env(read.env)
            .set_cwd(read.cwd)
            .set_capabilities(read.capabilities)
            .set_rlimits(read.rlimits)
            .set_no_new_privileges(read.no_new_privileges)
            .set_apparmor_profile(read.apparmor_profile)
            .set_oom_score_adj(read.oom_score_adj)
            .set_selinux_label(read.selinux_label)
            .set_io_priority(read.io_priority)
            .set_scheduler(read.scheduler.map(Into::into))
            .set_exec_cpu_affinity(read.exec_cpu_affinity.map(Into::into));
        process
    }
}

#[derive(Debug, Deserialize)]
struct Affinity {
    initial: Option<String>,
    #[serde(rename = "final")]
    last: Option<String>,
}

impl From<Affinity> for ExecCPUAffinity {
    fn from(read: Affinity) -> Self {
        let mut affinity = ExecCPUAffinity::default();
        affinity.set_initial(read.initial).set_cpu_affinity_final(read.last);
        affinity
    }
}

#[derive(Debug, Deserialize)]
struct Scheduler {
    policy: LinuxSchedulerPolicy,
    nice: Option<i32>,
    priority: Option<i32>,
    flags: Option<Vec<Flag>>,
    runtime: Option<u64>,
    deadline: Option<u64>,
    period: Option<u64>,
}

impl From<Scheduler> for runtime::Scheduler {
    fn from(read: Scheduler) -> Self {
        let mut scheduler = runtime::Scheduler::default();
        scheduler
            .set_policy(read.policy)
            .set_nice(read.nice)
            .set_priority(read.priority)
            .set_flags(read.flags.map(|flags| flags.into_iter().map(|Flag(flag)| flag).collect()))
            .set_runtime(read.runtime)
            .set_deadline(read.deadline)
            .set_period(read.period);
        scheduler
    }
}

#[derive(Debug, Deserialize)]
struct Flag(#[serde(with = "FlagWord")] LinuxSchedulerFlag);

/// A flag in the runtime-spec's words, or in the crate's.
#[derive(Deserialize)]
#[expect(clippy::enum_variant_names, reason = "the crate's names")]
#[serde(remote = "LinuxSchedulerFlag", rename_all = "SCREAMING_SNAKE_CASE")]
enum FlagWord {
    #[serde(rename = "SCHED_FLAG_RESET_ON_FORK", alias = "SCHED_RESET_ON_FORK")]
    SchedResetOnFork,
    SchedFlagReclaim,
    #[serde(rename = "SCHED_FLAG_DL_OVERRUN", alias = "SCHED_FLAG_D_L_OVERRUN")]
    SchedFlagDLOverrun,
    SchedFlagKeepPolicy,
    SchedFlagKeepParams,
    SchedFlagUtilClampMin,
    SchedFlagUtilClampMax,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_property_arrives_as_by_the_crates_own_reader() {
        let config = json!({
            "ociVersion": "1.3.0",
            "root": { "path": "rootfs", "readonly": true },
            "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
            "hostname": "box",
            "domainname": "example",
            "hooks": { "poststop": [{ "path": "/bin/true", "timeout": 1 }] },
            "annotations": { "a": "b" },
            "linux": { "cgroupsPath": "/a" },
            "process": {
                "terminal": true,
                "consoleSize": { "height": 24, "width": 80 },
                "user": { "uid": 1, "gid": 2, "umask": 18, "additionalGids": [3] },
                "args": ["a"],
                "env": ["A=b"],
                "cwd": "/tmp",
                "capabilities": { "bounding": ["CAP_KILL"] },
                "rlimits": [{ "type": "RLIMIT_CORE", "soft": 1, "hard": 2 }],
                "noNewPrivileges": false,
                "apparmorProfile": "profile",
                "oomScoreAdj": -5,
                "selinuxLabel": "label",
                "ioPriority": { "class": "IOPRIO_CLASS_RT", "priority": 4 },
                "scheduler": {
                    "policy": "SCHED_DEADLINE", "nice": 1, "priority": 2, "runtime": 3,
                    "deadline": 4, "period": 5, "flags": ["SCHED_FLAG_RECLAIM"],
                },
                "execCPUAffinity": { "initial": "0", "final": "1-2" },
            },
        });
        for config in [config, json!({}), json!({ "process": { "cwd": "/", "user": {} } })] {
            let ours: Spec = serde_json::from_value(config.clone()).unwrap();
            let theirs: runtime::Spec = serde_json::from_value(config).unwrap();
            assert_eq!(runtime::Spec::from(ours), theirs);
        }
    }
}
