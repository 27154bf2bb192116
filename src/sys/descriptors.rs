//! Descriptors by their numbers: those that a process inherits, hands on or closes.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::process::exit;
use super::{Errno, Result, syscall};

/// Takes over a descriptor that another process with the same table of descriptors has
/// opened and left to this one.
pub fn adopt(number: RawFd) -> OwnedFd {
    // SAFETY: the other process has the number only, and nobody else knows it; a number
    // that isn't open gives EBADF wherever it is used.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// Marks every descriptor from `first` on close-on-exec (close_range(2)).
///
/// # Errors
/// `ENOSYS` or `EINVAL` before Linux 5.11.
pub fn close_on_exec_from(first: RawFd) -> Result<()> {
    close_range(first, libc::CLOSE_RANGE_CLOEXEC)
}

/// Whether a descriptor of this number is open and was meant for the programs that this
/// process executes, as those of its caller are.
pub fn is_inheritable(number: RawFd) -> bool {
    // SAFETY: F_GETFD takes no argument, and a number that isn't open gives EBADF.
    let flags = Errno::result(unsafe { libc::fcntl(number, libc::F_GETFD) });
    flags.is_ok_and(|flags| flags & libc::FD_CLOEXEC == 0)
}

/// Closes every descriptor from `first` on but these, which it sorts; a descriptor below 0
/// stands for none.
///
/// For a process that will wait long, and must keep neither locks nor pipes of others.
/// What is closed must not be used again.
///
/// # Errors
/// `ENOSYS` before Linux 5.9.
pub fn close_all_but(first: RawFd, keep: &mut [RawFd]) -> Result<()> {
    keep.sort_unstable();
    let mut from = first;
    for kept in keep.iter().filter(|kept| **kept >= first) {
        if *kept > from {
            // SAFETY: integers only; closing is vouched for by the caller.
            let (from, to) = (from as u64, (*kept - 1) as u64);
            unsafe { syscall(libc::SYS_close_range, [from, to, 0, 0, 0, 0]) }?;
        }
        from = kept + 1;
    }
    close_range(from, 0)
}

/// Closes every descriptor, whoever owns it, runs `rest` and exits with what it returns.
///
/// For a process that stays behind and must not keep pipes of others open. `rest`
/// must not use a descriptor that was opened before.
pub fn exit_without_descriptors(rest: impl FnOnce() -> i32) -> ! {
    // No owner of a closed descriptor lives on: this function doesn't return, and
    // `exit` runs no destructors. EINVAL is impossible for this range.
    let _ = close_range(0, 0);
    exit(rest())
}

fn close_range(first: RawFd, flags: u32) -> Result<()> {
    // SAFETY: close_range takes no pointers; closing is vouched for by the public callers.
    unsafe {
        syscall(
            libc::SYS_close_range,
            [first as u64, libc::c_uint::MAX as u64, flags as u64, 0, 0, 0],
        )
    }?;
    Ok(())
}

/// Makes `fd` the descriptor `number`, closing what was open there (dup2(2)).
///
/// The copy isn't close-on-exec, also when `fd` is that number already.
///
/// # Errors
/// `EBADF` when `number` is out of range.
pub fn dup_onto(fd: BorrowedFd<'_>, number: RawFd) -> Result<()> {
    if fd.as_raw_fd() == number {
        // SAFETY: F_SETFD takes an integer; the descriptor is borrowed and so open.
        return Errno::result(unsafe { libc::fcntl(number, libc::F_SETFD, 0) }).map(drop);
    }
    // SAFETY: dup2 takes integers; callers replace only the standard descriptors 0 to 2,
    // which no OwnedFd of this crate holds.
    Errno::result(unsafe { libc::dup2(fd.as_raw_fd(), number) }).map(drop)
}

/// fstat(2) of a descriptor that may not be open, as 0 to 2 may not.
///
/// # Errors
/// `EBADF` when it isn't.
pub fn fstat_number(number: RawFd) -> Result<libc::stat> {
    let mut found = std::mem::MaybeUninit::uninit();
    // SAFETY: the pointer is to a whole struct stat of this frame.
    Errno::result(unsafe { libc::fstat(number, found.as_mut_ptr()) })?;
    // SAFETY: fstat succeeded and has filled it.
    Ok(unsafe { found.assume_init() })
}

/// The number of the descriptor that this program was executed by
/// ([`execve_fd`](super::process::execve_fd)) and that was left open; from here on it closes on
/// exec, and is the caller's to close.
pub fn executed_descriptor() -> Option<RawFd> {
    // SAFETY: getauxval takes an integer; the kernel's string lies beside the arguments, for
    // as long as the process lives.
    let name = unsafe {
        let name = libc::getauxval(libc::AT_EXECFN) as *const libc::c_char;
        if name.is_null() {
            return None;
        }
        CStr::from_ptr(name)
    };
    let number = name.to_str().ok()?.strip_prefix("/dev/fd/")?.parse().ok()?;
    // SAFETY: fcntl takes integers, and a number that isn't open gives EBADF.
    let set = Errno::result(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) });
    set.is_ok().then_some(number)
}

/// Closes a descriptor that this process inherited over a clone, a fork or execve, and that
/// nobody else in it will use or close.
pub fn close_inherited(fd: RawFd) {
    // SAFETY: close takes an integer; in the child of a clone the owner of `fd` is never
    // dropped, since the child only ends by `exit` or execve.
    unsafe { libc::close(fd) };
}

/// Closes every descriptor but one, runs `rest` with it, and exits with what it returns; at
/// once where they can't be closed.
///
/// For a forked process that must not keep other people's pipes open.
pub fn keep_only(fd: BorrowedFd<'_>, rest: impl FnOnce(BorrowedFd<'_>) -> i32) -> ! {
    // As for `exit_without_descriptors`, no owner of a closed descriptor lives on.
    let closed = close_all_but(0, &mut [fd.as_raw_fd()]);
    exit(if closed.is_ok() { rest(fd) } else { 1 })
}

/// Gives what a descriptor number stands for to a user (fchown(2)); its group stays.
///
/// # Errors
/// `EBADF` when nothing is open there, `EPERM` without CAP_CHOWN over it.
pub fn fchown_number(number: RawFd, uid: u32) -> Result<()> {
    // SAFETY: integers only; the number is looked up by the kernel. The last says "as it is".
    unsafe { syscall(libc::SYS_fchown, [number as u64, uid.into(), u32::MAX.into(), 0, 0, 0]) }
        .map(drop)
}
