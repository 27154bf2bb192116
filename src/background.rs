//! Running without a caller: the runtime steps into the background.

use std::fs::OpenOptions;
use std::os::fd::{AsFd, OwnedFd};

use crate::error::{Error, Result};
use crate::sys;

/// Which of the two processes this is after [`enter`].
#[derive(Debug)]
pub enum Background {
    /// The process that called, with the status that the other one told.
    Caller(u8),
    /// The new process, in a session of its own.
    Runtime(Caller),
}

/// The caller's ear; a process that ends without a word is taken to have failed (125).
#[derive(Debug)]
pub struct Caller(OwnedFd);

impl Caller {
    /// Lets the caller return from [`enter`].
    pub fn tell(self, status: u8) {
        // A caller that didn't wait doesn't want to know.
        let _ = sys::message::send(self.0.as_fd(), status, None);
    }
}

/// Forks a process that outlives its caller and its terminal.
///
/// # Errors
/// When this process has more than one thread (the fork would have just one of them,
/// and whatever locks the others held), or no process can be had.
pub fn enter() -> Result<Background> {
    let step = "go into the background";
    let threads = std::fs::read_dir("/proc/self/task").map(Iterator::count);
    match threads {
        Ok(1) => {}
        Ok(threads) => {
            return Err(Error::said(step, format!("this process has {threads} threads")));
        }
        Err(error) => return Err(Error::io(step, &error)),
    }
    let failed = |errno| Error::system(step, errno);
    let (near, far) = sys::message::pair().map_err(failed)?;
    match sys::process::fork(Some(nix::sys::signal::Signal::SIGCHLD)).map_err(failed)? {
        Some(_) => {
            drop(far);
            let told = sys::message::receive(near.as_fd()).map_err(failed)?;
            Ok(Background::Caller(told.map_or(125, |(status, _)| status)))
        }
        None => {
            drop(near);
            nix::unistd::setsid().map_err(failed)?;
            Ok(Background::Runtime(Caller(far)))
        }
    }
}

/// Connects standard descriptors (0, 1, 2) of this process to /dev/null.
///
/// A runtime does so once the target has them: readers then see end-of-file, and
/// writers a broken pipe, as soon as the target closes its own.
///
/// # Errors
/// When /dev/null can't be opened.
pub fn release_stdio(numbers: &[i32]) -> Result<()> {
    let step = "let go of standard input and output";
    let null = OpenOptions::new().read(true).write(true).open("/dev/null");
    let null = null.map_err(|error| Error::io(step, &error))?;
    for number in numbers.iter().filter(|number| (0..=2).contains(*number)) {
        sys::descriptors::dup_onto(null.as_fd(), *number)
            .map_err(|errno| Error::system(step, errno))?;
    }
    Ok(())
}
