//! pause, resume, update, ps: a container's cgroup while it runs.

use oci_spec::runtime::LinuxResources;

use super::lifecycle::not_running;
use super::status::{Look, Status};
use super::store::Store;
use crate::cgroup::{Dir, Tree};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::launch;
use crate::plan::op::Op;
use crate::plan::{Current, Plan};
use crate::proc;

/// Stops all processes of a container where they are.
///
/// # Errors
/// "container not running", or there is no freezer for it.
pub fn pause(store: &Store, id: &str) -> Result<()> {
    let file = store.lock(id)?;
    let record = file.record()?;
    let step = || format!("pause container {id}");
    match Look::at(&file, &record)?.status {
        Status::Running | Status::Created => {
            match record.later_cgroup.iter().find(|dir| dir.has("freezer")) {
                None => record.tree().freeze(),
                Some(freezer) => {
                    file.note_later_cgroup()?;
                    freeze_in(freezer, record.tree())
                }
            }
        }
        Status::Paused => Err(Error::said(step(), "container is paused already")),
        Status::Creating | Status::Stopped => Err(not_running(step())),
    }
}

/// Stops the processes of a cgroup that has no freezer but this one for later.
fn freeze_in(freezer: &Dir, tree: Tree<'_>) -> Result<()> {
    launch::cgroup::enter(tree, freezer)?;
    let frozen = Tree::new(std::slice::from_ref(freezer));
    frozen.freeze()?;
    // Who was executed in the container meanwhile is stopped by entering.
    tree.enter(freezer).or_else(|error| frozen.thaw().and(Err(error)))
}

/// Lets a paused container go on.
///
/// # Errors
/// "container not paused", or what the kernel says.
pub fn resume(store: &Store, id: &str) -> Result<()> {
    let file = store.lock(id)?;
    let record = file.record()?;
    match Look::at(&file, &record)?.status {
        Status::Paused => record.tree().thaw(),
        _ => Err(Error::said(format!("resume container {id}"), "container not paused")),
    }
}

/// Changes a container's limits; what isn't named stays as it is.
///
/// # Errors
/// "container not running", or the limit that can't be set, by its path in a config.json.
pub fn update(store: &Store, id: &str, resources: &LinuxResources) -> Result<()> {
    let file = store.lock(id)?;
    let record = file.record()?;
    if matches!(Look::at(&file, &record)?.status, Status::Creating | Status::Stopped) {
        return Err(not_running(format!("update container {id}")));
    }
    let is_later = |dir: &&Dir| record.later_cgroup.contains(dir);
    let joined = record.cgroup.iter().filter(|dir| !is_later(dir));
    let pair = |dir: &Dir| (dir.controllers.clone(), dir.path.clone());
    let dirs: Vec<_> = joined.map(pair).collect();
    let later: Vec<_> = record.later_cgroup.iter().map(pair).collect();
    let mut host = Host::read()?;
    if record.unit.is_some() {
        host = host.with_systemd()?;
    }
    let unit = record.unit.as_ref().map(|unit| unit.name.as_str());
    let limits = record.tree().limits();
    let current = Current { dirs: &dirs, later: &later, limits: &limits, unit };
    let steps = Plan::update(resources, &current, &host)?;
    if steps.iter().any(|step| matches!(step.op, Op::MoveProcesses { .. })) {
        file.note_later_cgroup()?;
    }
    launch::cgroup::update(&steps)
}

/// The pids of a container's processes, as the host numbers them.
///
/// # Errors
/// "container does not exist".
pub fn ps(store: &Store, id: &str) -> Result<Vec<i32>> {
    let file = store.find(id)?;
    let record = store.record_with_own_cgroup(&file)?;
    let init = Look::at(&file, &record)?.init.and(record.init);
    // Who is in its cgroup when its pid namespace has ended is another container's.
    if !record.cgroup.is_empty() && (init.is_some() || !record.has_own_pid_namespace) {
        return record.tree().pids();
    }
    // Without a cgroup, the members of the first process's pid namespace.
    Ok(init.map_or_else(Vec::new, |init| match record.has_own_pid_namespace {
        true => namesakes(init.pid),
        false => vec![init.pid],
    }))
}

/// The processes in a process's pid namespace, itself among them, in order.
pub(super) fn namesakes(pid: i32) -> Vec<i32> {
    let namespace = |pid: i32| proc::namespace(pid, "pid").ok();
    let Some(own) = namespace(pid) else {
        return vec![pid];
    };
    proc::pids().into_iter().filter(|pid| namespace(*pid) == Some(own)).collect()
}
