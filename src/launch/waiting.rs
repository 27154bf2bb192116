//! The runtime's side of the talk with the container's process: what it tells, what it waits
//! for, and why that ended before its time.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;

use super::network::Network;
use super::runtime::Runtime;
use super::{CONSOLE, GO, LISTENER, hint, listener};
use crate::error::{Error, Result};
use crate::plan::op::Op;
use crate::plan::{Plan, Step};
use crate::sys;
use crate::sys::process::Cloned;

impl Runtime<'_> {
    /// The runtime's steps are done. A container that isn't there any more has left the
    /// reason in the journal.
    pub(super) fn go_on(&mut self, index: usize) -> Result<()> {
        match sys::message::send(self.sync.as_fd(), GO, None) {
            Ok(()) => Ok(()),
            Err(Errno::EPIPE | Errno::ECONNRESET) => Err(self.post_mortem(None)),
            Err(errno) => Err(Error::system(format!("let step {} begin", index + 1), errno)),
        }
    }

    /// Waits until the container's process says this.
    pub(super) fn await_word(&mut self, word: u8) -> Result<()> {
        loop {
            match self.receive()? {
                Some(said) if said == word => return Ok(()),
                Some(_) => {}
                None => return Err(self.post_mortem(None)),
            }
        }
    }

    /// End-of-file: the target's execve closed the socket, or the process ended early.
    pub(super) fn await_exec(&mut self) -> Result<()> {
        while self.receive()?.is_some() {}
        if self.journal.failure().is_some() || self.journal.current() != last_step(self.plan) {
            return Err(self.post_mortem(None));
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
                match (byte, fd) {
                    (CONSOLE, fd) => self.console = fd,
                    (LISTENER, Some(fd)) => self.deliver_listener(fd)?,
                    _ => {}
                }
                Ok(Some(byte))
            }
            Err(errno) => Err(failed(errno)),
        }
    }

    /// The container goes on when whoever is to be asked by its filter has the listener.
    fn deliver_listener(&self, fd: OwnedFd) -> Result<()> {
        let named = self.plan.steps.iter().find_map(|step| match &step.op {
            Op::Seccomp { listener, .. } => listener.as_ref(),
            _ => None,
        });
        let (Some(named), Some(init)) = (named, &self.init) else {
            return Err(Error::said("send a seccomp listener", "the plan has none"));
        };
        listener::deliver(named, fd.as_fd(), init.pid.as_raw(), &self.state("creating"))?;
        match sys::message::send(self.sync.as_fd(), GO, None) {
            // A process that is gone meanwhile is noticed by whoever waits for it.
            Ok(()) | Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(()),
            Err(errno) => Err(Error::system("go on after the seccomp listener", errno)),
        }
    }

    /// Why the other side ended before its time; `status` is that of a process which has
    /// been waited for already.
    pub(super) fn post_mortem(&mut self, status: Option<i32>) -> Error {
        if let Some((index, errno)) = self.journal.failure()
            && let Some(step) = self.plan.steps.get(index)
        {
            return hint::failed_step(self.plan, &self.journal, step, errno);
        }
        if let Some(Err(errno)) = self.caller.network.take().map(Network::finish) {
            let is_made = |step: &&Step| matches!(step.op, Op::MakeNetwork);
            if let Some(step) = self.plan.steps.iter().find(is_made) {
                return hint::failed_step(self.plan, &self.journal, step, errno);
            }
        }
        let current = self.journal.current().and_then(|index| self.plan.steps.get(index));
        let step = current.map_or_else(|| "start the container".to_owned(), |s| s.op.to_string());
        let wait = |init: Cloned| sys::process::wait4(init.pid, true).ok().flatten();
        let status = status.or_else(|| self.init.take().and_then(wait).map(|(status, _)| status));
        let signal = match status {
            Some(status) if libc::WIFSIGNALED(status) => libc::WTERMSIG(status),
            _ => return Error::said(step, "its process ended without a word"),
        };
        let place = current.map_or("", |step| step.place.as_str());
        if signal == libc::SIGKILL && self.is_cancelled() {
            return Error::said(step, "the container was deleted meanwhile").at(place);
        }
        let error = Error::said(step, format!("its process was killed by signal {signal}"));
        let error = error.at(place);
        if signal == libc::SIGSYS {
            return error.hint(hint::FILTERED);
        }
        if signal == libc::SIGKILL && self.is_cgroup_checked {
            return error.hint("the memory limit (--memory) may be too small to start in");
        }
        error
    }
}

fn last_step(plan: &Plan) -> Option<usize> {
    plan.steps.len().checked_sub(1)
}
