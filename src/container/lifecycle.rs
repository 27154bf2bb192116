//! start, kill, delete: from created to gone.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::PollTimeout;
use oci_spec::runtime::Spec;

use super::process::Present;
use super::record::Record;
use super::state_file::Locked;
use super::status::{self, Look, State, Status, state_of};
use super::store::{Store, no_such_container};
use crate::error::{Error, Result};
use crate::launch::{hand_over, hook};
use crate::plan;
use crate::plan::op::HookStage;
use crate::systemd::Systemd;

/// How long a killed process may take to end.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// A container's state.
///
/// # Errors
/// "container does not exist", or its record can't be read.
pub fn state(store: &Store, id: &str) -> Result<State> {
    let file = store.find(id)?;
    status::state(&file, file.record()?)
}

/// The state of every container, in the order of their ids. One that can't be read is an
/// error of its own.
///
/// # Errors
/// When the store can't be read.
pub fn list(store: &Store) -> Result<Vec<Result<State>>> {
    let mut states = Vec::new();
    for id in store.ids()? {
        match state(store, &id) {
            // Removed since, or made and not yet written down.
            Err(error) if error.is_like(&no_such_container(&id)) => {}
            state => states.push(state),
        }
    }
    Ok(states)
}

/// Lets the program of a created container run; returns when its execve has succeeded and
/// the poststart hooks have run.
///
/// # Errors
/// When the container isn't a created one, its program can't be executed, or a hook fails;
/// it is stopped then.
pub fn start(store: &Store, id: &str) -> Result<()> {
    let file = store.lock(id)?;
    let record = file.record()?;
    let status = Look::at(&file, &record)?.status;
    let refuse = |reason: &str| Err(Error::said(format!("start container {id}"), reason));
    match status {
        Status::Created => {}
        Status::Running | Status::Paused => {
            return refuse("cannot start an already running container");
        }
        Status::Stopped => return refuse("cannot start a container that has stopped"),
        Status::Creating => return refuse("cannot start a container in the creating state"),
    }
    match hand_over::start(&file.start_dir()) {
        // Where the runtime doesn't hear of a failed startContainer hook, as in runc, the
        // poststart hooks follow, and engines have come to expect that.
        Err(error) if error.place().is_some_and(|at| at.starts_with("hooks.startContainer")) => {
            let _ = after_start(&file, &record);
            Err(error)
        }
        started => started.and_then(|()| after_start(&file, &record)),
    }
}

/// The poststart hooks; a failed one ends the container.
pub(super) fn after_start(file: &Locked, record: &Record) -> Result<()> {
    let outcome = run_hooks(file, record, HookStage::Poststart, Status::Running);
    if outcome.is_err() {
        end(record, record.running()?)?;
    }
    outcome
}

/// Sends a signal to a container's first process, or to all of its processes.
///
/// Where the container has no pid namespace of its own, SIGKILL goes to all of them.
///
/// # Errors
/// "container not running", or what the kernel says.
pub fn kill(store: &Store, id: &str, signal: i32, all: bool) -> Result<()> {
    let file = store.find(id)?;
    let record = store.record_with_own_cgroup(&file)?;
    let Look { status, init } = Look::at(&file, &record)?;
    let tree = record.tree();
    let step = || format!("kill container {id}");
    let kills = signal == libc::SIGKILL;
    let shares_pids = kills && !record.has_own_pid_namespace;
    // Who is in its cgroup when its pid namespace has ended is another container's.
    let has_cgroup = !record.cgroup.is_empty() && (init.is_some() || !record.has_own_pid_namespace);
    if (all || shares_pids) && has_cgroup {
        if !all && init.is_none() && tree.pids()?.is_empty() {
            return Err(not_running(step()));
        }
        tree.signal(signal)?;
    } else {
        match init {
            Some(init) => match init.signal(signal) {
                Err(Errno::ESRCH) => return Err(not_running(step())),
                sent => sent.map_err(|errno| Error::system(step(), errno))?,
            },
            // Its last processes have ended with it.
            None if all => return Ok(()),
            None => return Err(not_running(step())),
        }
    }
    if kills && status == Status::Paused {
        // A frozen process of cgroup v1 doesn't die.
        tree.thaw()?;
    }
    Ok(())
}

pub(super) fn not_running(step: String) -> Error {
    Error::said(step, "container not running")
}

/// Removes a container: its processes, its cgroup, its directory; then runs the poststop
/// hooks.
///
/// One that runs or is paused is removed with `force` only; with it, an id that nobody has
/// is no error.
///
/// # Errors
/// "container does not exist", "cannot delete container ID that is not stopped", and
/// whatever can't be removed. When a hook fails, the container is gone nevertheless.
pub fn delete(store: &Store, id: &str, force: bool) -> Result<()> {
    let file = match lock_to_delete(store, id, force) {
        Err(error) if force && error.is_like(&no_such_container(id)) => return Ok(()),
        file => file?,
    };
    let record = match store.record_with_own_cgroup(&file) {
        // What a creator left that was killed before it wrote anything down.
        Err(error) if force && error.is_like(&no_such_container(id)) => return file.remove(),
        record => record?,
    };
    let Look { status, init } = Look::at(&file, &record)?;
    if !force && matches!(status, Status::Running | Status::Paused) {
        let step = format!("cannot delete container {id} that is not stopped");
        return Err(Error::said(step, status.to_string()));
    }
    delete_locked(file, record, init)
}

/// The same for whoever has the container locked and has looked at its first process, which
/// is `None` when it has ended.
pub(super) fn delete_locked(file: Locked, record: Record, init: Option<Present>) -> Result<()> {
    end(&record, init)?;
    remove_cgroup(&record)?;
    // Only hooks are told of it.
    let stopped = record.hooks.as_ref().map(|_| state_of(&file, record.clone(), Status::Stopped));
    // Gone before its hooks run, as the runtime-spec has it.
    file.remove()?;
    stopped.map_or(Ok(()), |state| run(&record, HookStage::Poststop, &state, &|| false))
}

fn lock_to_delete(store: &Store, id: &str, force: bool) -> Result<Locked> {
    if !force {
        return store.lock(id);
    }
    let start = Instant::now();
    let mut has_asked = false;
    loop {
        if let Some(file) = store.try_lock(id)? {
            return Ok(file);
        }
        // Whoever has it may wait for the container, or for a hook, for ever; now these end
        // under their hands. One that was left half-made may have the lock itself.
        let found = store.find(id)?;
        if !has_asked {
            has_asked = true;
            found.ask_to_delete();
        }
        if let Ok(record) = store.record_with_own_cgroup(&found) {
            end(&record, record.running()?)?;
        }
        if start.elapsed() > PATIENCE {
            let reason = "another process changes it and doesn't come to an end";
            let hint = format!("`fuser {}` says which; end it first", found.path().display());
            return Err(Error::said(format!("delete container {id}"), reason).hint(hint));
        }
        std::thread::sleep(PAUSE);
    }
}

/// The cgroup may have become another container's as well, which had the same
/// linux.cgroupsPath when this one had ended. With a pid namespace of its own nobody in it is
/// this one's any more. Neither is somebody in it when the first process was never noted, or
/// perhaps when a unit of systemd was still to be started, which may be why this container
/// couldn't be made.
fn remove_cgroup(record: &Record) -> Result<()> {
    let tree = record.tree();
    match record.init {
        Some(_) if has_strays(record) => tree.remove()?,
        Some(_) => tree.remove_unless_inhabited()?,
        None => {
            tree.remove_if_vacant();
            return Ok(());
        }
    }
    if let Some(unit) = &record.unit
        && tree.pids()?.is_empty()
    {
        // systemd itself forgets a unit without processes. So this only makes it happen
        // now, and a systemd that can't be asked is no reason to keep the container.
        let _ = Systemd::connect(unit.user).and_then(|mut systemd| systemd.stop(&unit.name));
    }
    Ok(())
}

/// Whether processes of the container may be in its cgroup when the first has ended.
fn has_strays(record: &Record) -> bool {
    !record.has_own_pid_namespace && (record.unit.is_none() || record.is_created)
}

/// Kills a container's processes, of which the first may run, and waits until they have ended.
fn end(record: &Record, init: Option<Present>) -> Result<()> {
    if record.init.is_none() {
        return Ok(());
    }
    let tree = record.tree();
    let failed = |reason: &str| Err(Error::said(format!("kill container {}", record.id), reason));
    if let Some(init) = init {
        // It may have ended in this moment.
        let _ = init.signal(libc::SIGKILL);
        if tree.is_frozen() {
            // A frozen process of cgroup v1 doesn't die.
            tree.thaw()?;
        }
        if !init.ends_within(PATIENCE.as_millis().try_into().unwrap_or(PollTimeout::MAX)) {
            return failed("container init still running");
        }
    }
    // With a pid namespace, all others have ended with its first process.
    if has_strays(record) { tree.kill() } else { Ok(()) }
}

fn run_hooks(file: &Locked, record: &Record, stage: HookStage, status: Status) -> Result<()> {
    if record.hooks.is_none() {
        return Ok(());
    }
    run(record, stage, &state_of(file, record.clone(), status), &|| file.is_to_be_deleted())
}

fn run(
    record: &Record,
    stage: HookStage,
    state: &State,
    is_cancelled: &dyn Fn() -> bool,
) -> Result<()> {
    let hooks = match &record.hooks {
        None => return Ok(()),
        Some(hooks) => hooks.clone(),
    };
    let mut spec = Spec::default();
    spec.set_hooks(Some(hooks));
    // Only a map whose keys aren't strings could fail.
    let state = serde_json::to_string(state).unwrap_or_default();
    for (hook, place) in plan::hooks_of_stage(&spec, stage)? {
        // The first that fails is the last, as in runc and youki.
        hook::run(&hook, &state, is_cancelled).map_err(|error| error.at(place))?;
    }
    Ok(())
}
