//! Filters of system calls (seccomp(2)).

use std::os::fd::RawFd;

use super::{Errno, Result, syscall};

/// Puts a filter on this thread and all that it starts, for good.
///
/// # Errors
/// `EACCES` without both CAP_SYS_ADMIN and no_new_privs, `EINVAL` when the kernel can't make
/// sense of the program or doesn't know a flag.
pub fn set_filter(program: &[libc::sock_filter], flags: u64) -> Result<()> {
    set(program, flags).map(drop)
}

/// As [`set_filter`], with a close-on-exec descriptor that receives the filter's
/// notifications (seccomp_unotify(2)). It is given as a number, since nobody may own what
/// the filter may forbid to close.
///
/// # Errors
/// As [`set_filter`], and `EBUSY` when a filter of this thread has a listener already.
pub fn set_filter_with_listener(program: &[libc::sock_filter], flags: u64) -> Result<RawFd> {
    set(program, flags | libc::SECCOMP_FILTER_FLAG_NEW_LISTENER).map(|fd| fd as RawFd)
}

fn set(program: &[libc::sock_filter], flags: u64) -> Result<libc::c_long> {
    let len = u16::try_from(program.len()).map_err(|_| Errno::EINVAL)?;
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    let operation = u64::from(libc::SECCOMP_SET_MODE_FILTER);
    // SAFETY: the kernel reads one sock_fprog and as many instructions as it says, which are
    // those of the slice; it writes to neither.
    unsafe { syscall(libc::SYS_seccomp, [operation, flags, (&raw const program) as u64, 0, 0, 0]) }
}
