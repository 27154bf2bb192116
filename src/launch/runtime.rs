//! The runtime's side: walks the list, starts the container's process, waits for its
//! execve, and undoes everything when a step fails.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::CloneFlags;
use nix::sys::prctl::{get_dumpable, set_dumpable};
use nix::sys::signal::Signal;
use nix::sys::stat::fstat;
use nix::unistd::{Pid, geteuid};

use super::container::Container;
use super::network::Network;
use super::{
    Caller, DONE, HANDED_OVER, Journal, Lent, Ready, Running, cgroup, hand_over, hint, hook,
    id_maps, intermediate, net_devices, procfs, trees, units,
};
use crate::cgroup::Sweeper;
use crate::error::{Error, Result};
use crate::plan::op::{Hook, HookStage, Op};
use crate::plan::{NEWTIME, Plan, Side, Step};
use crate::proc;
use crate::sys;
use crate::sys::process::Cloned;

/// The runtime's side of a launch, and what is to be undone when it fails.
pub(super) struct Runtime<'a> {
    pub(super) plan: &'a Plan,
    pub(super) caller: Caller<'a>,
    pub(super) journal: Journal,
    pub(super) sync: OwnedFd,
    /// The container's end; it is closed here once the container has it.
    container_sync: Option<OwnedFd>,
    namespaces: Vec<(CloneFlags, OwnedFd)>,
    tasks: Vec<(usize, OwnedFd)>,
    listener: Option<OwnedFd>,
    states: Option<[File; 2]>,
    /// What [`Op::OpenTree`] has opened.
    trees: Vec<OwnedFd>,
    pub(super) init: Option<Cloned>,
    pub(super) console: Option<OwnedFd>,
    pub(super) is_cgroup_checked: bool,
    cgroup_files: cgroup::Files,
    sweeper: Option<Sweeper>,
}

impl<'a> Runtime<'a> {
    pub(super) fn new(plan: &'a Plan, caller: Caller<'a>) -> Result<Self> {
        let journal = Journal::new(plan.steps.len())?;
        let journal = if caller.is_timed { journal } else { journal.without_clock() };
        let (sync, container_sync) = sys::message::pair()
            .map_err(|errno| Error::system("open a socket to the container", errno))?;
        let container_sync = Some(container_sync);
        Ok(Runtime {
            plan,
            caller,
            journal,
            sync,
            container_sync,
            namespaces: Vec::new(),
            tasks: Vec::new(),
            listener: None,
            states: None,
            trees: Vec::new(),
            init: None,
            console: None,
            is_cgroup_checked: false,
            cgroup_files: cgroup::Files::default(),
            sweeper: None,
        })
    }

    /// Carries out the runtime's steps, then waits until the target runs.
    pub(super) fn walk(&mut self) -> Result<()> {
        let plan = self.plan;
        let clone = plan.clone_index();
        self.open_states()?;
        let mut is_meanwhile = false;
        for (index, step) in plan.steps.iter().enumerate() {
            let before = index.checked_sub(1).and_then(|i| plan.steps.get(i)).map(|s| s.side);
            match (before, step.side) {
                (Some(Side::Container), Side::Runtime) => {
                    is_meanwhile = plan.is_meanwhile(index);
                    if !is_meanwhile {
                        self.await_word(DONE)?;
                    }
                }
                (Some(Side::Runtime), Side::Container) if index > clone + 1 => self.go_on(index)?,
                _ => {}
            }
            if step.side != Side::Runtime {
                continue;
            }
            match is_meanwhile {
                true => self.journal.begin_meanwhile(index),
                false => self.journal.begin(index),
            }
            let outcome = self.carry_out(step);
            outcome.map_err(|error| self.name(error, index))?;
            self.journal.end(index);
        }
        let outcome = match plan.hands_over() {
            true => self.await_word(HANDED_OVER),
            false => self.await_exec(),
        };
        crate::protection::close_mount();
        outcome
    }

    /// Where an error came from is known here alone.
    fn name(&self, error: Error, index: usize) -> Error {
        if let Some(errno) = error.errno() {
            self.journal.fail(index, errno);
        }
        match self.plan.steps.get(index) {
            Some(step) if error.place().is_none() => error.at(step.place.as_str()),
            _ => error,
        }
    }

    fn carry_out(&mut self, step: &Step) -> Result<()> {
        match &step.op {
            op if op.sets_up_cgroup() => self.set_up_cgroup(step),
            Op::CheckUnit { .. } | Op::StartUnit(_) => {
                self.check_cgroup()?;
                units::set(&step.op, self.init.as_ref().map(|init| init.pid))
            }
            Op::JoinUnit { .. } => units::set(&step.op, self.init.as_ref().map(|init| init.pid)),
            Op::Record => self.record(step),
            Op::Listen { dir } => {
                let dir = Path::new(OsStr::from_bytes(dir.to_bytes()));
                let opened = hand_over::open(dir);
                self.listener = Some(opened.map_err(|e| Error::system(step.op.to_string(), e))?);
                Ok(())
            }
            Op::OpenNamespace { namespace, path } => self.open_namespace(step, *namespace, path),
            Op::OpenKernelMounts => {
                let opened =
                    sys::namespace::kernel_mounts().map_err(|e| hint::failed(&step.op, e))?;
                self.namespaces.push((CloneFlags::CLONE_NEWNS, opened));
                Ok(())
            }
            Op::Intermediate => self.fork_intermediate(step),
            Op::MakeNetwork => {
                // Most often it has begun before.
                if self.caller.network.is_none() {
                    self.caller.network = Some(Network::begin()?);
                }
                Ok(())
            }
            Op::Clone { namespaces, cgroup } => self.clone(step, *namespaces, cgroup.as_deref()),
            Op::MapIds { map, ranges, by } => id_maps::write(self.pid(step)?, *map, ranges, *by),
            Op::OomScore { score } => {
                let file = format!("{}/oom_score_adj", self.pid(step)?);
                procfs::write(file.as_str(), score.as_bytes())
                    .map_err(|e| hint::failed(&step.op, e))
            }
            Op::MoveNetDevice { name, inside } => net_devices::take(self.pid(step)?, name, inside)
                .map_err(|e| hint::failed(&step.op, e)),
            Op::Rlimit { resource, soft, hard } => {
                sys::process::prlimit(self.pid(step)?, *resource, *soft, *hard)
                    .map_err(|e| hint::failed(&step.op, e))
            }
            Op::OpenTree(tree) => {
                let opened = trees::open(tree).map_err(|e| hint::explain(e, &step.op))?;
                self.trees.push(opened);
                Ok(())
            }
            Op::Narrate => {
                self.narrate();
                Ok(())
            }
            Op::RenderState => self.render_state(step),
            Op::Hook(hook) => self.run_hook(hook),
            other => Err(Error::said(other.to_string(), "this step belongs to the container")),
        }
    }

    /// The container's process.
    fn pid(&self, step: &Step) -> Result<Pid> {
        let unborn = || Error::said(step.op.to_string(), "no process has been cloned yet");
        self.init.as_ref().map(|init| init.pid).ok_or_else(unborn)
    }

    fn set_up_cgroup(&mut self, step: &Step) -> Result<()> {
        self.check_cgroup()?;
        let outcome = cgroup::set_up(step, &mut self.cgroup_files);
        if outcome.is_err()
            && let Op::CreateCgroup { dir, .. } = &step.op
            && let Some(sweeper) = self.sweeper.take()
        {
            // Another container was quicker; from here on all of this is its own.
            sweeper.release_from(dir);
        }
        outcome
    }

    /// Before anything is made of it.
    fn check_cgroup(&mut self) -> Result<()> {
        if !self.is_cgroup_checked {
            self.is_cgroup_checked = true;
            let is_recorded = self.caller.recorder.is_some();
            self.sweeper = cgroup::start_sweeper(self.plan, is_recorded)?;
        }
        Ok(())
    }

    fn open_namespace(&mut self, step: &Step, namespace: CloneFlags, path: &CStr) -> Result<()> {
        let failed = |errno| hint::failed(&step.op, errno);
        let opened = sys::file::open(path, OFlag::O_RDONLY).map_err(failed)?;
        if sys::namespace::kind(opened.as_fd()).map_err(failed)? != namespace.bits() {
            return Err(failed(Errno::EINVAL));
        }
        if self.plan.changes(namespace) && is_own(&opened).map_err(failed)? {
            let reason = "it is the host's own, which sysctl, hostname and domainname would change";
            return Err(Error::said(step.op.to_string(), reason));
        }
        self.namespaces.push((namespace, opened));
        Ok(())
    }

    fn clone(&mut self, step: &Step, namespaces: CloneFlags, cgroup: Option<&CStr>) -> Result<()> {
        let failed = |errno| hint::failed(&step.op, errno);
        let cgroup = cgroup.map(open_dir).transpose().map_err(failed)?;
        let sync = self.take_sync(step)?;
        let (plan, journal, lent) = (self.plan, &self.journal, self.lent(None));
        let ready = Ready::new(plan, &lent);
        let runtime_end = self.sync.as_raw_fd();
        // No handler of this program may run in the child, and no signal may be lost
        // between here and its own handling of them.
        let mask = sys::signal::block_all();
        let cloned =
            sys::process::clone3(namespaces, cgroup.as_ref().map(AsFd::as_fd), &mut || {
                // Without this the child itself would keep the runtime's end open, and
                // could never notice that the runtime is gone.
                sys::descriptors::close_inherited(runtime_end);
                Container::new(plan, &ready, journal, sync.as_fd()).walk()
            });
        sys::signal::restore(&mask);
        self.init = Some(cloned.map_err(failed)?);
        Ok(())
    }

    /// Makes the intermediate process and waits for its end; what it has cloned is this
    /// process's child, so its pid can't come to mean another one meanwhile.
    fn fork_intermediate(&mut self, step: &Step) -> Result<()> {
        let failed = |errno| Error::system(step.op.to_string(), errno);
        let cgroup = self.plan.steps.iter().find_map(|step| match &step.op {
            Op::Clone { cgroup, .. } => cgroup.as_deref(),
            _ => None,
        });
        let cgroup = cgroup.map(open_dir).transpose().map_err(failed)?;
        let steps = self.plan.steps.iter().enumerate();
        self.tasks = steps.filter_map(|(index, step)| Some((index, open_tasks(step)?))).collect();
        let sync = self.take_sync(step)?;
        let (plan, journal, lent) = (self.plan, &self.journal, self.lent(cgroup.as_ref()));
        let ready = Ready::new(plan, &lent);
        let runtime_end = self.sync.as_raw_fd();
        let mask = sys::signal::block_all();
        // The other process shares this memory, and with it whether it may be looked into.
        let was_dumpable = get_dumpable();
        let mut walk = || {
            sys::descriptors::close_inherited(runtime_end);
            intermediate::walk(plan, &ready, journal, sync.as_fd())
        };
        let joiner = match self.may_share_memory() {
            true => sys::process::vfork(&mut walk),
            false => sys::process::fork(Some(Signal::SIGCHLD))
                .map(|child| child.unwrap_or_else(|| sys::process::exit(walk()))),
        };
        sys::signal::restore(&mask);
        if was_dumpable == Ok(true) {
            let _ = set_dumpable(true);
        }
        drop(sync);
        let joiner = joiner.map_err(failed)?;
        let waited = sys::process::wait4(joiner, true);
        let Some(pid) = self.journal.cloned_pid().map(Pid::from_raw) else {
            return Err(self.post_mortem(waited.map_err(failed)?.map(|(status, _)| status)));
        };
        let opened = waited.and_then(|_| sys::process::pidfd_open(pid));
        let pidfd = opened.inspect_err(|_| {
            // Nobody else knows of it, and it is this process's child, so it is still the same.
            let _ = sys::signal::kill(pid.as_raw(), Signal::SIGKILL as i32);
            let _ = sys::process::wait4(pid, true);
        });
        self.init = Some(Cloned { pid, pidfd: pidfd.map_err(failed)? });
        Ok(())
    }

    /// Time namespaces let nobody in who shares memory (setns(2)), and a user's runtime would
    /// have no way into its own /proc any more once the other process isn't dumpable.
    fn may_share_memory(&self) -> bool {
        let has_time = |step: &Step| match step.op {
            Op::JoinNamespace { namespace } => namespace == NEWTIME,
            Op::JoinProcess { namespaces } => namespaces.contains(NEWTIME),
            _ => false,
        };
        geteuid().is_root() && !self.plan.steps.iter().any(has_time)
    }

    fn take_sync(&mut self, step: &Step) -> Result<OwnedFd> {
        let twice = || Error::said(step.op.to_string(), "a plan clones one process only");
        self.container_sync.take().ok_or_else(twice)
    }

    fn lent<'b>(&'b self, cgroup: Option<&'b OwnedFd>) -> Lent<'b> {
        Lent {
            stdio: &self.caller.stdio,
            namespaces: &self.namespaces,
            process: self.caller.process,
            cgroup,
            tasks: &self.tasks,
            listener: self.listener.as_ref(),
            network: self.caller.network.as_ref(),
            states: self.states.as_ref(),
            trees: &self.trees,
        }
    }

    fn record(&mut self, step: &Step) -> Result<()> {
        match (&mut self.caller.recorder, &self.init) {
            (Some(tell), Some(init)) => tell(init),
            (None, _) => Ok(()),
            (_, None) => Err(Error::said(step.op.to_string(), "no process has been cloned yet")),
        }
    }

    /// The container's process inherits the files that its hooks will read, so they must
    /// be there before it is.
    fn open_states(&mut self) -> Result<()> {
        if self.plan.steps.iter().any(|step| matches!(step.op, Op::RenderState)) {
            let open =
                || hook::memory_file().map_err(|e| Error::system("make a file for the state", e));
            self.states = Some([open()?, open()?]);
        }
        Ok(())
    }

    pub(super) fn state(&self, status: &str) -> String {
        let pid = self.init.as_ref().map_or(0, |init| init.pid.as_raw());
        self.caller.state.map_or_else(String::new, |render| render(pid, status))
    }

    fn render_state(&mut self, step: &Step) -> Result<()> {
        for (file, status) in self.states.iter().flatten().zip(["creating", "created"]) {
            hook::fill(file, &self.state(status))
                .map_err(|errno| Error::system(step.op.to_string(), errno))?;
        }
        Ok(())
    }

    fn run_hook(&self, hook: &Hook) -> Result<()> {
        let status = if hook.stage == HookStage::Prestart { "created" } else { "creating" };
        hook::run(hook, &self.state(status), &|| self.is_cancelled())
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.caller.is_cancelled.is_some_and(|asks| asks())
    }

    fn narrate(&mut self) {
        if let Some(narrator) = self.caller.narrator.take() {
            narrator(self.plan, &self.journal);
        }
    }

    pub(super) fn running(self) -> Result<Running> {
        let Runtime { journal, init, console, sweeper, .. } = self;
        let Some(init) = init else {
            return Err(Error::said("start the container", "the plan has no clone"));
        };
        Ok(Running { init, console, journal, sweeper })
    }

    /// Kills what was cloned, waits for it, and has its cgroup removed.
    pub(super) fn abort(&mut self) {
        self.container_sync = None;
        if let Some(init) = self.init.take() {
            // It may have ended by itself; then there is nobody to kill, only to reap.
            let _ = sys::process::pidfd_send_signal(init.pidfd.as_fd(), libc::SIGKILL);
            let _ = sys::process::wait4(init.pid, true);
        }
        if let Some(sweeper) = self.sweeper.take() {
            sweeper.finish();
        }
        self.narrate();
    }
}

/// Whether this process is in a namespace.
fn is_own(namespace: &OwnedFd) -> sys::Result<bool> {
    let inode = fstat(namespace)?.st_ino;
    let is = |kind: &&str| proc::namespace(proc::OWN, kind).is_ok_and(|own| own == inode);
    Ok(proc::NAMESPACES.iter().any(is))
}

fn open_dir(path: &CStr) -> sys::Result<OwnedFd> {
    sys::file::open(path, OFlag::O_PATH | OFlag::O_DIRECTORY)
}

/// What the container's process will join a cgroup by; one that systemd is still to make is
/// `None`.
fn open_tasks(step: &Step) -> Option<OwnedFd> {
    match (&step.op, step.side) {
        (Op::JoinCgroup { tasks }, Side::Container) => {
            sys::file::open(tasks.as_c_str(), OFlag::O_WRONLY).ok()
        }
        _ => None,
    }
}
