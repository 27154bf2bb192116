//! A process that removes a cgroup when the runtime is done with it, or dead.
//!
//! Nothing in the kernel ties a cgroup's life to a process, and a runtime that was
//! killed with SIGKILL can't clean up. So a small fork waits at the end of a pipe: when
//! the runtime's end closes, for whatever reason, it removes the directories and ends.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::unistd::{Pid, setsid};

use crate::error::{Error, Result};
use crate::sys;

/// How long to wait between attempts while processes still leave, in milliseconds.
const PAUSES: [u16; 8] = [1, 1, 2, 4, 8, 16, 50, 100];

/// The runtime's hold on the sweeper. Dropping it lets go: the cgroup is removed as soon
/// as the container has ended.
#[derive(Debug)]
pub(crate) struct Sweeper {
    pid: Pid,
    line: Option<OwnedFd>,
    dirs: Vec<CString>,
}

impl Sweeper {
    /// Forks the process that will remove `dirs`, the last first.
    ///
    /// # Errors
    /// When no process or descriptor can be had.
    pub(crate) fn start(dirs: Vec<CString>) -> Result<Self> {
        let failed = |errno| Error::system("start the cgroup's sweeper", errno);
        let (line, far_end) = sys::message::pair().map_err(failed)?;
        let mask = sys::signal::block_all();
        let forked = sys::process::fork(None);
        if let Ok(None) = forked {
            sys::process::keep_only(far_end.as_fd(), |line| sweep(line, &dirs));
        }
        sys::signal::restore(&mask);
        match forked {
            Ok(Some(pid)) => Ok(Sweeper { pid, line: Some(line), dirs }),
            Ok(None) => sys::process::exit(0),
            Err(errno) => Err(failed(errno)),
        }
    }

    /// Has the cgroup removed now, and waits until that is done; the container must have
    /// ended.
    pub(crate) fn finish(mut self) {
        self.line = None;
        // ECHILD: somebody else reaped it, so it has ended as well.
        let _ = sys::process::wait_silent(self.pid);
        // It may have been killed before its time.
        remove(&self.dirs);
    }

    /// The directories that will be removed.
    pub(crate) fn dirs(&self) -> &[CString] {
        &self.dirs
    }
}

/// Runs in the fork: must not allocate.
fn sweep(line: BorrowedFd<'_>, dirs: &[CString]) -> i32 {
    // A signal to the terminal's process group must not reach it.
    let _ = setsid();
    let _ = nix::sys::prctl::set_name(c"minirun-sweeper");
    sys::message::wait_until_closed(line);
    remove(dirs);
    0
}

/// Removes the directories, the last first; one that is gone already is as good.
fn remove(dirs: &[CString]) {
    for dir in dirs.iter().rev() {
        let mut pauses = PAUSES.iter();
        // Busy: the container's processes are on their way out, or its owner let go of
        // it while it runs; either way it ends some time.
        while let Err(Errno::EBUSY) = sys::process::rmdir(dir) {
            let pause = pauses.next().copied().unwrap_or(200);
            let _ = nix::poll::poll(&mut [], pause);
        }
    }
}
