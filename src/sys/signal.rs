//! Signals: blocking, waiting for and resetting them.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::{Errno, Result};

/// The highest signal number, real-time signals included (signal(7)).
pub const LAST_SIGNAL: i32 = 64;

/// A signal mask as it was before [`block_all`].
#[derive(Clone, Copy)]
pub struct SavedMask(u64);

/// Blocks every signal that can be blocked, for the calling thread.
pub fn block_all() -> SavedMask {
    SavedMask(change_mask(libc::SIG_SETMASK, ALL))
}

/// All signals but the two that both C libraries keep for themselves.
const ALL: u64 = !(0b11 << 31);

/// Changes the calling thread's mask, a bit for each signal from 1 on, and gives the one before
/// (rt_sigprocmask(2)). musl's own function has no room for the first real-time signal, which
/// glibc gives to programs.
fn change_mask(how: c_int, signals: u64) -> u64 {
    let mut before = 0u64;
    let (new, old) = ((&raw const signals) as u64, (&raw mut before) as u64);
    // SAFETY: both sets are of the size that is given; with that, the call can't fail.
    let _ = unsafe { super::syscall(libc::SYS_rt_sigprocmask, [how as u64, new, old, 8, 0, 0]) };
    before
}

/// Lets a command start with no signal blocked or ignored and no descriptor but the standard
/// ones, whatever its parent has of them.
pub fn reset_in_child(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    let reset = || {
        reset(u64::MAX);
        super::descriptors::close_on_exec_from(3).map_err(std::io::Error::from)
    };
    // SAFETY: between fork and execve this makes system calls only, and allocates nothing.
    unsafe { command.pre_exec(reset) };
}

/// Puts a mask back as it was.
pub fn restore(saved: &SavedMask) {
    change_mask(libc::SIG_SETMASK, saved.0);
}

/// A set of signals for the C library, which passes it on, a bit for each from 1 on.
fn set_of(signals: u64) -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the kernel's set of 64 signals comes first in the C library's larger one, which
    // is made of integers.
    unsafe {
        set.as_mut_ptr().cast::<u64>().write(signals);
        set.assume_init()
    }
}

/// The signals that this process ignores, a bit for each from 1 on; where /proc doesn't say
/// so, it may be any.
pub fn ignored() -> u64 {
    const FIELD: &[u8] = b"\nSigIgn:\t";
    let read = |buffer| {
        let status = super::file::read_start(c"/proc/self/status", buffer).ok()?;
        let at = status.windows(FIELD.len()).position(|field| field == FIELD)?;
        let digits = status.get(at + FIELD.len()..)?.get(..16)?;
        u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    read(&mut [0; 4096]).unwrap_or(u64::MAX)
}

/// Gives these signals, a bit for each from 1 on, their default action, and unblocks all.
///
/// Executing a program ends handlers, and leaves ignored signals ignored: Rust's own runtime
/// does so with SIGPIPE, nohup with SIGHUP, and glibc's posix_spawn with 32 and 33, which its
/// own sigaction then refuses to change.
pub fn reset(signals: u64) {
    // The kernel's struct sigaction with SIG_DFL, no flags and an empty mask is all
    // zeroes; 32 bytes is its size on every 64-bit machine.
    let default = [0u64; 4];
    for signal in (1..=LAST_SIGNAL).filter(|signal| signals >> (signal - 1) & 1 != 0) {
        let action = (&raw const default) as u64;
        // SAFETY: rt_sigaction reads a sigaction and, with a null third argument, writes
        // nothing; for SIGKILL and SIGSTOP it answers EINVAL.
        let _ =
            unsafe { super::syscall(libc::SYS_rt_sigaction, [signal as u64, action, 0, 8, 0, 0]) };
    }
    change_mask(libc::SIG_SETMASK, 0);
}

/// Whether this process ignores a signal.
pub fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: a null new action only asks for the old one, which is written on success.
    let answer = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: initialised, since the call succeeded.
    answer == 0 && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}

/// Waits until a blocked signal is pending, takes it, and gives its number.
pub fn wait_for_any() -> i32 {
    loop {
        // SAFETY: a full set, and no siginfo wanted.
        let signal = unsafe { libc::sigwaitinfo(&set_of(ALL), std::ptr::null_mut()) };
        if signal > 0 {
            return signal;
        }
    }
}

/// Signals that are taken from a descriptor instead of interrupting (signalfd(2)).
///
/// The calling thread has them blocked for as long as this lives.
pub struct SignalQueue {
    fd: OwnedFd,
    before: SavedMask,
}

impl SignalQueue {
    /// Blocks the signals for which `take` says so, and opens the queue.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE` when descriptors run out.
    pub fn new(take: impl Fn(i32) -> bool) -> Result<Self> {
        let taken = (1..=LAST_SIGNAL).filter(|signal| take(*signal));
        let taken = ALL & taken.fold(0, |set, signal| set | 1 << (signal - 1));
        let before = SavedMask(change_mask(libc::SIG_BLOCK, taken));
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // SAFETY: the set is a whole one; -1 asks for a new descriptor.
        match Errno::result(unsafe { libc::signalfd(-1, &set_of(taken), flags) }) {
            // SAFETY: a new descriptor that nobody else owns.
            Ok(fd) => Ok(SignalQueue { fd: unsafe { OwnedFd::from_raw_fd(fd) }, before }),
            Err(errno) => {
                restore(&before);
                Err(errno)
            }
        }
    }

    /// Takes the next pending signal, if there is one.
    pub fn next(&self) -> Option<i32> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the buffer has the size that is given.
        let count = unsafe { libc::read(self.fd.as_raw_fd(), info.as_mut_ptr().cast(), size) };
        // SAFETY: a read from a signalfd fills the structure whole or not at all.
        (count == size as isize).then(|| unsafe { info.assume_init() }.ssi_signo as i32)
    }
}

impl AsFd for SignalQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for SignalQueue {
    fn drop(&mut self) {
        restore(&self.before);
    }
}

/// Sends a signal to one process (kill(2)).
///
/// # Errors
/// `ESRCH` when it is gone, `EPERM` when it isn't ours to signal.
pub fn kill(pid: i32, signal: i32) -> Result<()> {
    // SAFETY: integers only.
    Errno::result(unsafe { libc::kill(pid, signal) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::{process, syscall};
    use super::*;

    #[test]
    fn what_is_ignored_is_known_and_reset() {
        const IGNORED: [i32; 4] = [libc::SIGHUP, libc::SIGPIPE, 33, LAST_SIGNAL];
        let bits = IGNORED.iter().fold(0u64, |bits, signal| bits | 1 << (signal - 1));
        // Of a process of its own: another test may want to be interrupted.
        let Some(child) = process::fork(None).unwrap() else {
            let ignore = [libc::SIG_IGN as u64, 0, 0, 0];
            for signal in IGNORED {
                let action = (&raw const ignore) as u64;
                let arguments = [signal as u64, action, 0, 8, 0, 0];
                // SAFETY: as in `reset`.
                let _ = unsafe { syscall(libc::SYS_rt_sigaction, arguments) };
            }
            let before = ignored();
            reset(before);
            process::exit(i32::from(before & bits != bits) + 2 * i32::from(ignored() != 0));
        };
        let mut status = 0;
        // SAFETY: the pointer is to a live local.
        unsafe { libc::waitpid(child.as_raw(), &mut status, libc::__WALL) };
        assert_eq!(status, 0);
    }
}
