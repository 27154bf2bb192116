//! The intermediate process: joins existing namespaces, clones the container's process
//! into them as the runtime's child, and ends.
//!
//! The same rules hold as in `container.rs`: nothing here allocates, locks or panics.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};

use super::container::Container;
use super::journal::Journal;
use super::{FAILED, Ready, itself, labels, procfs};
use crate::plan::op::Op;
use crate::plan::{Plan, Side, Step};
use crate::sys::{self, Result};

/// Carries out the steps of this side; gives the process's exit status.
pub(super) fn walk(plan: &Plan, ready: &Ready<'_>, journal: &Journal, sync: BorrowedFd<'_>) -> i32 {
    for (index, step) in plan.steps.iter().enumerate() {
        if step.side != Side::Intermediate {
            continue;
        }
        journal.begin(index);
        if let Err(errno) = carry_out(step, plan, ready, journal, sync) {
            if !step.tolerates.contains(&errno) {
                journal.fail(index, errno);
                return FAILED;
            }
            journal.tolerate(index, errno);
        }
        journal.end(index);
    }
    0
}

fn carry_out(
    step: &Step,
    plan: &Plan,
    ready: &Ready<'_>,
    journal: &Journal,
    sync: BorrowedFd<'_>,
) -> Result<()> {
    match &step.op {
        Op::JoinNamespace { namespace } => join_namespace(ready, *namespace),
        Op::JoinProcess { namespaces } => join_process(ready, *namespaces),
        Op::CpuAffinity { cpus, .. } => sys::schedule::sched_setaffinity(cpus),
        Op::OomScore { score } => itself::set_oom_score(score),
        Op::AppArmor { profile } => labels::apparmor(&procfs::Proc::default(), profile),
        Op::SelinuxLabel { label } => labels::selinux(&procfs::Proc::default(), label),
        Op::Undumpable => sys::identity::set_undumpable(),
        Op::JoinCgroup { tasks } => itself::write_file(tasks, b"0"),
        Op::Clone { namespaces, .. } => {
            let pid = sys::process::clone3_sibling(*namespaces, ready.cgroup, &mut || {
                Container::new(plan, ready, journal, sync).walk()
            })?;
            journal.cloned(pid.as_raw());
            Ok(())
        }
        _ => Err(Errno::ENOSYS),
    }
}

/// Joins a namespace that the runtime has opened.
pub(super) fn join_namespace(ready: &Ready<'_>, namespace: CloneFlags) -> Result<()> {
    let opened = ready.namespaces.iter().find(|(flag, _)| *flag == namespace);
    setns(&opened.ok_or(Errno::EBADF)?.1, namespace)
}

/// Joins namespaces of the process that was lent to the launch.
pub(super) fn join_process(ready: &Ready<'_>, namespaces: CloneFlags) -> Result<()> {
    setns(ready.process.ok_or(Errno::EBADF)?, namespaces)
}
