//! A process that removes a cgroup when the runtime is done with it, or dead.
//!
//! Nothing in the kernel ties a cgroup's life to a process, and a runtime that was
//! killed with SIGKILL can't clean up. So a small fork waits at the end of a pipe: when
//! the runtime's end closes, for whatever reason, it removes the directories and ends.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::unistd::{Pid, setsid};

use super::{Dir, Tree};
use crate::error::{Error, Result};
use crate::sys;

/// How long to wait between attempts while processes still leave, in milliseconds.
const PAUSES: [u16; 8] = [1, 1, 2, 4, 8, 16, 50, 100];

/// The runtime's word that nothing is to be removed.
const RELEASE: u8 = b'r';

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

    /// Removes the cgroup now, with all that was made below it; the container must have
    /// ended.
    pub(crate) fn finish(self) {
        let dir = |dir: &CString| Dir {
            controllers: String::new(),
            path: OsStr::from_bytes(dir.to_bytes()).into(),
        };
        let dirs: Vec<Dir> = self.dirs.iter().map(dir).collect();
        if Tree::new(&dirs).remove().is_ok() {
            self.release();
        }
        // Else somebody is still in it, and the sweeper removes it when they have gone.
    }

    /// Removes the directories made before `dir`, which couldn't be made, and lets the rest
    /// be.
    pub(crate) fn release_from(self, dir: &CStr) {
        for made in self.dirs.iter().take_while(|made| made.as_c_str() != dir) {
            // Nobody has been in it yet.
            let _ = sys::process::rmdir(made);
        }
        self.release();
    }

    /// Lets the cgroup be: it has become somebody else's to remove.
    pub(crate) fn release(mut self) {
        if let Some(line) = self.line.take() {
            // A sweeper that doesn't get this is dead, and removes nothing either.
            let _ = sys::message::send(line.as_fd(), RELEASE, None);
        }
        // ECHILD: somebody else reaped it, so it has ended as well.
        let _ = sys::process::wait_silent(self.pid);
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
    if sys::message::wait_until_closed(line) != Some(RELEASE) {
        remove(dirs);
    }
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
