//! Carries a plan out: the runtime's steps here, one clone3, the container's in
//! `container.rs`, execve last.
//!
//! Both sides walk the same list. Where the side changes, the one that is done sends a
//! byte and the other waits for it; a plain run never changes sides after clone3 and so
//! sends nothing. That the socket closes says that execve has succeeded.

mod container;
mod hint;
mod id_maps;
mod inside;
mod journal;
mod mounts;

use std::ffi::CStr;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sched::CloneFlags;
use nix::sys::stat::Mode;

pub use journal::{Entry, Journal};

use crate::cgroup::Sweeper;
use crate::error::{Error, Result};
use crate::plan::op::{Exec, Op};
use crate::plan::{Plan, Side, Step};
use crate::sys::process::{Cloned, PointerArray};
use crate::sys::{self};

/// The runtime is done with its steps, go on.
const GO: u8 = b'g';
/// The container is done with its steps, go on.
const DONE: u8 = b'd';
/// Here is the master of the pty.
const CONSOLE: u8 = b'c';

/// A container whose target runs.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) init: Cloned,
    /// The master of the target's pty.
    pub(crate) console: Option<OwnedFd>,
    pub(crate) journal: Journal,
    /// Removes the cgroup when this process closes it or dies.
    pub(crate) sweeper: Option<Sweeper>,
}

/// What the child needs besides the plan, made before clone3 since it allocates.
struct Ready<'a> {
    argv: PointerArray<'a>,
    envp: PointerArray<'a>,
    /// What to make of descriptors 0, 1 and 2; `None` leaves one as it is.
    stdio: &'a [Option<OwnedFd>; 3],
}

/// Called with the list and its journal once: when the narrated steps are done, or when
/// one of them has failed.
pub(crate) type Narrator<'a> = &'a mut dyn FnMut(&Plan, &Journal);

/// Carries out the plan up to and including execve.
///
/// # Errors
/// The step that failed, on either side. Nothing is left of the container then.
pub(crate) fn launch<'a>(
    plan: &'a Plan,
    stdio: &[Option<OwnedFd>; 3],
    narrator: Option<Narrator<'a>>,
) -> Result<Running> {
    let mut runtime = Runtime::new(plan, narrator)?;
    match runtime.walk(stdio) {
        Ok(()) => runtime.running(),
        Err(error) => {
            runtime.abort();
            Err(error)
        }
    }
}

/// The runtime's side of a launch, and what is to be undone when it fails.
struct Runtime<'a> {
    plan: &'a Plan,
    journal: Journal,
    sync: OwnedFd,
    /// The container's end; it is closed here once the container has it.
    container_sync: Option<OwnedFd>,
    init: Option<Cloned>,
    console: Option<OwnedFd>,
    sweeper: Option<Sweeper>,
    narrator: Option<Narrator<'a>>,
}

impl<'a> Runtime<'a> {
    fn new(plan: &'a Plan, narrator: Option<Narrator<'a>>) -> Result<Self> {
        let journal = Journal::new(plan.steps.len())?;
        let (sync, container_sync) = sys::message::pair()
            .map_err(|errno| Error::system("open a socket to the container", errno))?;
        let container_sync = Some(container_sync);
        Ok(Runtime {
            plan,
            journal,
            sync,
            container_sync,
            init: None,
            console: None,
            sweeper: None,
            narrator,
        })
    }

    /// Carries out the runtime's steps, then waits until the target runs.
    fn walk(&mut self, stdio: &[Option<OwnedFd>; 3]) -> Result<()> {
        let plan = self.plan;
        let clone = plan.clone_index();
        for (index, step) in plan.steps.iter().enumerate() {
            let before = index.checked_sub(1).and_then(|i| plan.steps.get(i)).map(|s| s.side);
            match (before, step.side) {
                (Some(Side::Container), Side::Runtime) => self.await_container()?,
                (Some(Side::Runtime), Side::Container) if index > clone + 1 => self.go_on(index)?,
                _ => {}
            }
            if step.side == Side::Container {
                continue;
            }
            self.journal.begin(index);
            let outcome = self.carry_out(step, stdio);
            outcome.map_err(|error| self.name(error, index))?;
            self.journal.end(index);
        }
        self.await_exec()
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

    fn carry_out(&mut self, step: &Step, stdio: &[Option<OwnedFd>; 3]) -> Result<()> {
        match &step.op {
            Op::CreateCgroup { dir } => self.create_cgroup(step, dir),
            Op::WriteCgroup { file, value } => write_file(step, file, value.as_bytes()),
            Op::Clone { namespaces, cgroup } => {
                self.clone(step, *namespaces, cgroup.as_deref(), stdio)
            }
            Op::MapIds { map, ranges, by } => match &self.init {
                Some(init) => id_maps::write(init.pid, *map, ranges, *by),
                None => Err(Error::said(step.op.to_string(), "no process has been cloned yet")),
            },
            Op::OomScore { score } => match &self.init {
                Some(init) => {
                    let file = format!("/proc/{}/oom_score_adj", init.pid);
                    std::fs::write(file, score).map_err(|error| {
                        hint::explain(Error::io(step.op.to_string(), &error), &step.op)
                    })
                }
                None => Err(Error::said(step.op.to_string(), "no process has been cloned yet")),
            },
            Op::Narrate => {
                self.narrate();
                Ok(())
            }
            other => Err(Error::said(other.to_string(), "this step belongs to the container")),
        }
    }

    fn create_cgroup(&mut self, step: &Step, dir: &CStr) -> Result<()> {
        if self.sweeper.is_none() {
            let dirs = self.plan.steps.iter().filter_map(|step| match &step.op {
                Op::CreateCgroup { dir } => Some(dir.clone()),
                _ => None,
            });
            self.sweeper = Some(Sweeper::start(dirs.collect())?);
        }
        let path = std::ffi::OsStr::from_bytes(dir.to_bytes());
        std::fs::DirBuilder::new()
            .mode(0o755)
            .create(path)
            .map_err(|error| hint::explain(Error::io(step.op.to_string(), &error), &step.op))
    }

    fn clone(
        &mut self,
        step: &Step,
        namespaces: CloneFlags,
        cgroup: Option<&CStr>,
        stdio: &[Option<OwnedFd>; 3],
    ) -> Result<()> {
        let failed = |errno| hint::explain(Error::system(step.op.to_string(), errno), &step.op);
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let cgroup =
            cgroup.map(|dir| open(dir, flags, Mode::empty())).transpose().map_err(failed)?;
        let exec = self.plan.steps.iter().find_map(|step| match &step.op {
            Op::Exec(exec) => Some(exec),
            _ => None,
        });
        let strings = |list: fn(&Exec) -> &Vec<std::ffi::CString>| {
            PointerArray::new(exec.into_iter().flat_map(list).map(|string| string.as_c_str()))
        };
        let ready =
            Ready { argv: strings(|exec| &exec.argv), envp: strings(|exec| &exec.envp), stdio };
        let (plan, journal) = (self.plan, &self.journal);
        let Some(sync) = self.container_sync.take() else {
            return Err(Error::said(step.op.to_string(), "a plan clones one process only"));
        };
        let runtime_end = std::os::fd::AsRawFd::as_raw_fd(&self.sync);
        // No handler of this program may run in the child, and no signal may be lost
        // between here and its own handling of them.
        let mask = sys::signal::block_all();
        let cloned =
            sys::process::clone3(namespaces, cgroup.as_ref().map(AsFd::as_fd), &mut || {
                // Without this the child itself would keep the runtime's end open, and
                // could never notice that the runtime is gone.
                sys::process::close_inherited(runtime_end);
                container::Container::new(plan, &ready, journal, sync.as_fd()).walk()
            });
        sys::signal::restore(&mask);
        self.init = Some(cloned.map_err(failed)?);
        Ok(())
    }

    /// The runtime's steps are done. A container that isn't there any more has left the
    /// reason in the journal.
    fn go_on(&mut self, index: usize) -> Result<()> {
        match sys::message::send(self.sync.as_fd(), GO, None) {
            Ok(()) => Ok(()),
            Err(Errno::EPIPE | Errno::ECONNRESET) => Err(self.post_mortem()),
            Err(errno) => Err(Error::system(format!("let step {} begin", index + 1), errno)),
        }
    }

    fn await_container(&mut self) -> Result<()> {
        loop {
            match self.receive()? {
                Some(DONE) => return Ok(()),
                Some(_) => {}
                None => return Err(self.post_mortem()),
            }
        }
    }

    /// End-of-file: the target's execve closed the socket, or the process ended early.
    fn await_exec(&mut self) -> Result<()> {
        while self.receive()?.is_some() {}
        if self.journal.failure().is_some() || self.journal.current() != last_step(self.plan) {
            return Err(self.post_mortem());
        }
        // execve itself can't write its end.
        self.journal.end(self.plan.steps.len() - 1);
        Ok(())
    }

    fn receive(&mut self) -> Result<Option<u8>> {
        let failed = |errno| Error::system("listen to the container", errno);
        match sys::message::receive(self.sync.as_fd()) {
            Err(Errno::ECONNRESET) | Ok(None) => Ok(None),
            Ok(Some((byte, fd))) => {
                if byte == CONSOLE {
                    self.console = fd;
                }
                Ok(Some(byte))
            }
            Err(errno) => Err(failed(errno)),
        }
    }

    /// Why the container's side ended before its time.
    fn post_mortem(&mut self) -> Error {
        if let Some((index, errno)) = self.journal.failure()
            && let Some(step) = self.plan.steps.get(index)
        {
            return hint::failed_step(self.plan, &self.journal, step, errno);
        }
        let current = self.journal.current().and_then(|index| self.plan.steps.get(index));
        let step = current.map_or_else(|| "start the container".to_owned(), |s| s.op.to_string());
        let status = self.init.take().map(|init| sys::process::wait4(init.pid, true));
        let signal = match status {
            Some(Ok(Some((status, _)))) if libc::WIFSIGNALED(status) => libc::WTERMSIG(status),
            _ => return Error::said(step, "its process ended without a word"),
        };
        let error = Error::said(step, format!("its process was killed by signal {signal}"));
        if signal == libc::SIGKILL && self.sweeper.is_some() {
            return error.hint("the memory limit (--memory) may be too small to start in");
        }
        error
    }

    fn narrate(&mut self) {
        if let Some(narrator) = self.narrator.take() {
            narrator(self.plan, &self.journal);
        }
    }

    fn running(self) -> Result<Running> {
        let Runtime { journal, init, console, sweeper, .. } = self;
        let Some(init) = init else {
            return Err(Error::said("start the container", "the plan has no clone"));
        };
        Ok(Running { init, console, journal, sweeper })
    }

    /// Kills what was cloned, waits for it, and has its cgroup removed.
    fn abort(&mut self) {
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

fn last_step(plan: &Plan) -> Option<usize> {
    plan.steps.len().checked_sub(1)
}

fn write_file(step: &Step, file: &CStr, bytes: &[u8]) -> Result<()> {
    let path = std::ffi::OsStr::from_bytes(file.to_bytes());
    OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(|error| hint::explain(Error::io(step.op.to_string(), &error), &step.op))
}
