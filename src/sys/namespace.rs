//! Namespaces as files (ioctl_nsfs(2)).

use std::os::fd::{AsRawFd, BorrowedFd};

use super::{Errno, Result};

/// `NS_GET_NSTYPE` of linux/nsfs.h: `_IO(0xb7, 3)`.
const NS_GET_NSTYPE: u32 = 0xb703;

/// Which kind of namespace a descriptor stands for, as its `CLONE_NEW*` flag.
///
/// # Errors
/// `ENOTTY` when it is no namespace at all.
pub fn kind(fd: BorrowedFd<'_>) -> Result<i32> {
    // SAFETY: NS_GET_NSTYPE takes no argument and answers with a number.
    Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_NSTYPE as _) })
}
