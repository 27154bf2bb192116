//! A network namespace that is made while the runtime and the container are at work.
//!
//! The runtime itself never changes its namespaces; a thread that ends with it does.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sched::{CloneFlags, unshare};

use super::{DONE, hint};
use crate::error::Result;
use crate::plan::op::Op;
use crate::sys;
use crate::sys::thread::{Thread, Work};

/// What the thread needs at most, in words of 8 bytes.
const STACK: usize = 4 * 1024;

/// A thread that makes one, and a socket from which the container's process gets it.
pub(crate) struct Network {
    thread: Thread,
    source: OwnedFd,
}

impl Network {
    /// [`Op::MakeNetwork`]. It may well come before the other steps, and before there is a plan.
    ///
    /// # Errors
    /// Those of socketpair(2) and of pthread_create(3).
    pub(crate) fn begin() -> Result<Self> {
        let failed = |errno| hint::failed(&Op::MakeNetwork, errno).at("linux.namespaces");
        let (source, sink) = sys::message::pair().map_err(failed)?;
        let work = Box::new(Work { run: make_and_send, fd: sink });
        let thread = Thread::begin(work, Vec::with_capacity(STACK)).map_err(failed)?;
        Ok(Network { thread, source })
    }

    /// Sends one message: with the namespace, or with nothing.
    pub(super) fn source(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }

    /// Waits for the thread's end.
    ///
    /// # Errors
    /// What stood in the way: those of unshare(2), of bringing up `lo`, and of opening it.
    pub(super) fn finish(self) -> sys::Result<()> {
        self.thread.finish()
    }
}

fn make_and_send(sink: OwnedFd) -> sys::Result<()> {
    let made = make();
    // A container that is gone needs none; one that gets none ends.
    let _ = sys::message::send(sink.as_fd(), DONE, made.as_ref().ok().map(AsFd::as_fd));
    made.map(drop)
}

fn make() -> sys::Result<OwnedFd> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    let socket = sys::network::loopback_up()?;
    sys::network::namespace(socket.as_fd())
}
