//! fork(2) alone, for what a fork with an execve right behind it (`std::process::Command`)
//! doesn't show.

use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid};

use super::Result;

/// A child that was forked; it is killed when this is dropped before its end.
#[must_use = "the child is killed when this is dropped"]
pub struct Forked {
    pid: Pid,
    ended: Option<WaitStatus>,
}

/// Runs `child` in a copy of this process, which ends with the returned status, or with 1 and
/// a line on standard error.
///
/// # Errors
/// When this process has more than one thread: only the caller's would go on in the child,
/// with whatever the others had locked.
#[allow(unsafe_code, reason = "a bare fork is what these demos are about")]
pub fn fork(child: impl FnOnce() -> Result<u8>) -> Result<Forked> {
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        return Err(format!("expected to fork from a single thread; saw {threads}").into());
    }
    // SAFETY: With a single thread the child's memory is as consistent as the parent's, so that
    // it may allocate and lock. It never returns from here, not even by a panic.
    match unsafe { nix::unistd::fork()? } {
        ForkResult::Parent { child } => Ok(Forked { pid: child, ended: None }),
        ForkResult::Child => {
            let outcome = catch_unwind(AssertUnwindSafe(child));
            let status = match outcome {
                Ok(Ok(status)) => status,
                Ok(Err(error)) => {
                    eprintln!("FAILED: {error}");
                    1
                }
                Err(_) => 101,
            };
            // SAFETY: It takes a number. exit(3) would run what the parent has left to do.
            unsafe { libc::_exit(status.into()) }
        }
    }
}

impl Forked {
    /// Its pid in this process's pid namespace.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// Those of waitpid(2).
    pub fn wait(&mut self) -> Result<WaitStatus> {
        self.wait_for(WaitPidFlag::empty())
    }

    /// As [`wait`](Self::wait), or until it stops (WUNTRACED) or continues (WCONTINUED).
    ///
    /// # Errors
    /// Those of waitpid(2).
    pub fn wait_for(&mut self, flags: WaitPidFlag) -> Result<WaitStatus> {
        if let Some(status) = self.ended {
            return Ok(status);
        }
        let status = loop {
            match waitpid(self.pid, Some(flags)) {
                // A handler has run.
                Err(Errno::EINTR) => {}
                other => break other?,
            }
        };
        if matches!(status, WaitStatus::Exited(..) | WaitStatus::Signaled(..)) {
            self.ended = Some(status);
        }
        Ok(status)
    }

    /// Waits until it has ended, with 0.
    ///
    /// # Errors
    /// When it ended otherwise.
    pub fn succeed(mut self) -> Result<()> {
        match self.wait()? {
            WaitStatus::Exited(_, 0) => Ok(()),
            other => Err(format!("expected a child to end with 0; saw {other:?}").into()),
        }
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        if self.ended.is_none() {
            let _ = kill(self.pid, Signal::SIGKILL);
            let _ = self.wait();
        }
    }
}
