//! How the kernel treats the process beside others: scheduling, I/O priority, NUMA memory,
//! personality, and whom the OOM killer takes first.

use oci_spec::runtime::{
    IOPriorityClass, LinuxPersonalityDomain, LinuxSchedulerFlag, LinuxSchedulerPolicy,
    MemoryPolicyFlagType, MemoryPolicyModeType, Process, Scheduler, Spec,
};

use super::namespaces::Layout;
use super::op::{MemoryPolicy, Op, Schedule};
use super::{Side, Steps};
use crate::error::Result;
use crate::host::Host;

/// What oom_score_adj takes (proc(5)).
const OOM_SCORES: std::ops::RangeInclusive<i32> = -1000..=1000;
/// CONFIG_NODES_SHIFT is 10 at most.
const MOST_NODES: usize = 1024;
/// CONFIG_NR_CPUS is this at most.
const MOST_CPUS: usize = 8192;

/// Sets the OOM score. Lowering it takes CAP_SYS_RESOURCE over the machine, which root of a
/// new user namespace hasn't, so there the runtime does it.
pub(super) fn oom_score(
    steps: &mut Steps,
    spec: &Spec,
    host: &Host,
    layout: &Layout,
) -> Result<()> {
    let Some(process) = spec.process() else {
        return Ok(());
    };
    if let Some(op) = score(steps, process)? {
        let by_runtime = layout.has_user() && host.uid == 0;
        let side = if by_runtime { Side::Runtime } else { Side::Container };
        steps.push(side, op, "process.oomScoreAdj", &[]);
    }
    Ok(())
}

/// The step itself, if the process asks for it.
pub(super) fn score(steps: &Steps, process: &Process) -> Result<Option<Op>> {
    let Some(score) = process.oom_score_adj() else {
        return Ok(None);
    };
    if !OOM_SCORES.contains(&score) {
        let reason = format!("{score} is outside -1000 to 1000");
        return Err(steps.error("process.oomScoreAdj", "set the OOM score", reason));
    }
    Ok(Some(Op::OomScore { score: score.to_string() }))
}

/// Scheduler, I/O priority, personality and memory policy.
pub(super) fn apply(steps: &mut Steps, spec: &Spec, process: &Process) -> Result<()> {
    if let Some(scheduler) = process.scheduler() {
        let schedule = schedule(steps, scheduler)?;
        steps.container(Op::Schedule(schedule), "process.scheduler");
    }
    if let Some(io) = process.io_priority() {
        let path = "process.ioPriority.priority";
        let priority = u8::try_from(io.priority()).ok().filter(|priority| *priority < 8);
        let Some(priority) = priority else {
            let reason = format!("{} is outside 0 to 7", io.priority());
            return Err(steps.error(path, "set the I/O priority", reason));
        };
        let class = match io.class() {
            IOPriorityClass::IoprioClassRt => 1,
            IOPriorityClass::IoprioClassBe => 2,
            IOPriorityClass::IoprioClassIdle => 3,
        };
        steps.container(Op::IoPriority { class, priority }, "process.ioPriority");
    }
    let linux = spec.linux().as_ref();
    if let Some(personality) = linux.and_then(|linux| linux.personality().as_ref()) {
        if personality.flags().as_ref().is_some_and(|flags| !flags.is_empty()) {
            let reason = "the runtime-spec has no flags yet";
            return Err(steps.error("linux.personality.flags", "set the personality", reason));
        }
        let linux32 = personality.domain() == LinuxPersonalityDomain::PerLinux32;
        steps.container(Op::Personality { linux32 }, "linux.personality");
    }
    if let Some(policy) = linux.and_then(|linux| linux.memory_policy().as_ref()) {
        let policy = memory_policy(steps, policy)?;
        steps.container(Op::MemoryPolicy(policy), "linux.memoryPolicy");
    }
    Ok(())
}

/// `process.execCPUAffinity`, which is for `exec` only (runtime-spec, "Linux Process"): where
/// to run before the container's cgroup is joined, and after.
pub(super) fn exec_cpus(steps: &Steps, process: &Process) -> Result<[Option<Op>; 2]> {
    let Some(affinity) = process.exec_cpu_affinity() else {
        return Ok([None, None]);
    };
    let read = |name: &str, list: &Option<String>| match list.as_deref() {
        None | Some("") => Ok(None),
        Some(list) => {
            let path = format!("process.execCPUAffinity.{name}");
            let cpus = bits(list, MOST_CPUS)
                .map_err(|reason| steps.error(&path, "choose processors", reason))?;
            Ok(Some(Op::CpuAffinity { cpus, words: list.to_owned() }))
        }
    };
    Ok([read("initial", affinity.initial())?, read("final", affinity.cpu_affinity_final())?])
}

fn schedule(steps: &Steps, scheduler: &Scheduler) -> Result<Schedule> {
    use LinuxSchedulerPolicy as Policy;
    let refuse = |field: &str, reason: String| {
        Err(steps.error(&format!("process.scheduler.{field}"), "set the scheduler", reason))
    };
    let policy = match scheduler.policy() {
        Policy::SchedOther => libc::SCHED_OTHER,
        Policy::SchedFifo => libc::SCHED_FIFO,
        Policy::SchedRr => libc::SCHED_RR,
        Policy::SchedBatch => libc::SCHED_BATCH,
        Policy::SchedIdle => libc::SCHED_IDLE,
        Policy::SchedDeadline => libc::SCHED_DEADLINE,
        Policy::SchedIso => return refuse("policy", "Linux has no SCHED_ISO".to_owned()),
    };
    let nice = scheduler.nice().unwrap_or(0);
    if !(-20..=19).contains(&nice) {
        return refuse("nice", format!("{nice} is outside -20 to 19"));
    }
    let is_real_time = matches!(scheduler.policy(), Policy::SchedFifo | Policy::SchedRr);
    let priority = match (scheduler.priority().unwrap_or(0), is_real_time) {
        (0, false) => 0,
        (priority @ 1..=99, true) => priority as u32,
        (priority, true) => {
            return refuse("priority", format!("{priority} is outside 1 to 99"));
        }
        (_, false) => {
            return refuse("priority", "only SCHED_FIFO and SCHED_RR have one".to_owned());
        }
    };
    let [runtime, deadline, period] =
        [scheduler.runtime(), scheduler.deadline(), scheduler.period()]
            .map(|time| time.unwrap_or(0));
    if *scheduler.policy() == Policy::SchedDeadline {
        let in_order = runtime <= deadline && (period == 0 || deadline <= period);
        if runtime == 0 || !in_order {
            let reason = "SCHED_DEADLINE needs a runtime up to the deadline, \
                          and a deadline up to the period";
            return refuse("runtime", reason.to_owned());
        }
    } else if let Some((field, _)) =
        [("runtime", runtime), ("deadline", deadline), ("period", period)]
            .iter()
            .find(|(_, time)| *time != 0)
    {
        return refuse(field, "only SCHED_DEADLINE has one".to_owned());
    }
    let flags = scheduler.flags().iter().flatten();
    let flags = flags.fold(0, |bits, flag| bits | scheduler_flag(*flag));
    Ok(Schedule { policy: policy as u32, flags, nice, priority, runtime, deadline, period })
}

/// `SCHED_FLAG_*` of linux/sched.h.
fn scheduler_flag(flag: LinuxSchedulerFlag) -> u64 {
    match flag {
        LinuxSchedulerFlag::SchedResetOnFork => 0x01,
        LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
        LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
    }
}

fn memory_policy(
    steps: &Steps,
    policy: &oci_spec::runtime::LinuxMemoryPolicy,
) -> Result<MemoryPolicy> {
    use MemoryPolicyModeType as Mode;
    let refuse = |field: &str, reason: String| {
        steps.error(&format!("linux.memoryPolicy.{field}"), "set the memory policy", reason)
    };
    let list = policy.nodes().as_deref().unwrap_or_default();
    let nodes = match list {
        "" => Vec::new(),
        list => bits(list, MOST_NODES).map_err(|reason| refuse("nodes", reason))?,
    };
    // Modes of linux/mempolicy.h, and whether nodes must, may or must not be named.
    let (mode, wants_nodes) = match policy.mode() {
        Mode::MpolDefault => (0, Some(false)),
        Mode::MpolPreferred => (1, None),
        Mode::MpolBind => (2, Some(true)),
        Mode::MpolInterleave => (3, Some(true)),
        Mode::MpolLocal => (4, Some(false)),
        Mode::MpolPreferredMany => (5, Some(true)),
        Mode::MpolWeightedInterleave => (6, Some(true)),
    };
    let name = policy.mode();
    match wants_nodes {
        Some(true) if nodes.is_empty() => {
            return Err(refuse("nodes", format!("{name} needs at least one node")));
        }
        Some(false) if !nodes.is_empty() => {
            return Err(refuse("nodes", format!("{name} takes no nodes")));
        }
        _ => {}
    }
    let flags = policy.flags().iter().flatten().fold(0, |bits, flag| {
        bits | match flag {
            MemoryPolicyFlagType::MpolFNumaBalancing => 1 << 13,
            MemoryPolicyFlagType::MpolFRelativeNodes => 1 << 14,
            MemoryPolicyFlagType::MpolFStaticNodes => 1 << 15,
        }
    });
    let words = format!("{name} {list}").trim_end().to_owned();
    Ok(MemoryPolicy { mode: mode | flags, nodes, words })
}

/// A list such as `0-3,7` as bits, the first word for the numbers below 64.
fn bits(list: &str, most: usize) -> std::result::Result<Vec<u64>, String> {
    let mut words: Vec<u64> = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse::<usize>();
        let (Ok(first), Ok(last)) = (number(first), number(last)) else {
            return Err(format!("{list:?} is not a list of numbers and ranges, as in 0-3,7"));
        };
        if first > last || last >= most {
            return Err(format!("{part:?} is not a range of numbers below {most}"));
        }
        words.resize(words.len().max(last / 64 + 1), 0);
        for number in first..=last {
            words[number / 64] |= 1 << (number % 64);
        }
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::bits;
    use crate::plan::Side;
    use crate::plan::tests::plan_of_json;

    #[test]
    fn lists_of_numbers_and_ranges_become_bits() {
        assert_eq!(bits("0-3,7", 64), Ok(vec![0b1000_1111]));
        assert_eq!(bits("64", 65), Ok(vec![0, 1]));
        assert_eq!(bits("65,0", 66), Ok(vec![1, 2]));
        for bad in ["", "a", "3-1", "1-", "-1", "0,,1", "0-64", "99999999999999999999"] {
            assert!(bits(bad, 64).is_err(), "{bad}");
        }
    }

    #[test]
    fn each_field_becomes_the_step_that_it_means() {
        let rows = [
            ("process.oomScoreAdj", json!(-5), "set the OOM score adjustment to -5"),
            (
                "process.scheduler",
                json!({ "policy": "SCHED_FIFO", "priority": 9 }),
                "set scheduler SCHED_FIFO, priority 9",
            ),
            (
                "process.scheduler",
                json!({ "policy": "SCHED_DEADLINE", "runtime": 2000, "deadline": 3000 }),
                "set scheduler SCHED_DEADLINE, runtime 2000, deadline 3000",
            ),
            (
                "process.ioPriority",
                json!({ "class": "IOPRIO_CLASS_BE", "priority": 7 }),
                "set I/O priority 7 (best-effort)",
            ),
            ("linux.personality", json!({ "domain": "LINUX32" }), "set the personality to LINUX32"),
            (
                "linux.memoryPolicy",
                json!({ "mode": "MPOL_BIND", "nodes": "0-1" }),
                "set the memory policy MPOL_BIND 0-1",
            ),
        ];
        for (path, value, words) in rows {
            let keys: Vec<&str> = path.split('.').collect();
            let plan = plan_of_json(&keys, value).expect(path);
            let step = plan.steps.iter().find(|step| step.place == path).expect(path);
            assert_eq!((step.op.to_string().as_str(), step.side), (words, Side::Container));
        }
    }

    #[test]
    fn what_contradicts_itself_is_refused_by_its_path() {
        let scheduler = |field: &str, value: serde_json::Value, policy: &str| {
            let mut json = json!({ "policy": policy });
            json[field] = value;
            ("process.scheduler".to_owned(), format!("process.scheduler.{field}"), json)
        };
        let row = |path: &str, field: &str, value| (path.to_owned(), field.to_owned(), value);
        let rows = [
            row("process.oomScoreAdj", "process.oomScoreAdj", json!(1001)),
            scheduler("policy", json!("SCHED_ISO"), ""),
            scheduler("nice", json!(20), "SCHED_BATCH"),
            scheduler("priority", json!(1), "SCHED_OTHER"),
            scheduler("priority", json!(0), "SCHED_RR"),
            scheduler("priority", json!(100), "SCHED_FIFO"),
            scheduler("period", json!(1), "SCHED_OTHER"),
            scheduler("runtime", json!(5), "SCHED_DEADLINE"),
            row(
                "process.ioPriority",
                "process.ioPriority.priority",
                json!({ "class": "IOPRIO_CLASS_RT", "priority": 8 }),
            ),
            row(
                "process.execCPUAffinity",
                "process.execCPUAffinity.final",
                json!({ "final": "3-1" }),
            ),
            row(
                "linux.personality",
                "linux.personality.flags",
                json!({ "domain": "LINUX", "flags": ["X"] }),
            ),
            row("linux.memoryPolicy", "linux.memoryPolicy.nodes", json!({ "mode": "MPOL_BIND" })),
            row(
                "linux.memoryPolicy",
                "linux.memoryPolicy.nodes",
                json!({ "mode": "MPOL_LOCAL", "nodes": "0" }),
            ),
            row(
                "linux.memoryPolicy",
                "linux.memoryPolicy.nodes",
                json!({ "mode": "MPOL_BIND", "nodes": "0-1024" }),
            ),
            row(
                "process.rlimits",
                "process.rlimits[1]",
                json!([
                    { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 },
                    { "type": "RLIMIT_CORE", "soft": 1, "hard": 1 },
                ]),
            ),
        ];
        for (path, place, value) in rows {
            let keys: Vec<&str> = path.split('.').collect();
            let error = plan_of_json(&keys, value).expect_err(&place);
            assert_eq!(error.place(), Some(place.as_str()), "{error}");
        }
    }

    #[test]
    fn processors_are_chosen_for_exec_and_not_for_the_first_process() {
        let plan = plan_of_json(&["process", "execCPUAffinity"], json!({ "initial": "0" }));
        assert!(!plan.unwrap().to_string().contains("processors"));
    }
}
