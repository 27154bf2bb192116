//! A pty of a container's own devpts (pts(4)).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, fstat, major, minor};

use super::inside;
use crate::sys::{self, Result};

/// Opens one below a root filesystem; gives master and slave.
///
/// A running container can have put anything in the place of /dev/pts/ptmx. The slave comes
/// from the master, not from a path that could be another file by now (CVE-2025-52565).
pub(super) fn open(root: BorrowedFd<'_>) -> Result<(OwnedFd, OwnedFd)> {
    let path = c"/dev/pts/ptmx";
    let found = fstat(inside::open(root, path, OFlag::O_PATH)?)?;
    let is_ptmx = |found: nix::sys::stat::FileStat| {
        inside::file_type(found.st_mode) == SFlag::S_IFCHR
            && (major(found.st_rdev), minor(found.st_rdev)) == (5, 2)
    };
    if !is_ptmx(found) {
        return Err(Errno::ENODEV);
    }
    let master = inside::open(root, path, OFlag::O_RDWR | OFlag::O_NOCTTY)?;
    if !is_ptmx(fstat(&master)?) {
        return Err(Errno::ENODEV);
    }
    let slave = sys::terminal::open_slave(master.as_fd())?;
    Ok((master, slave))
}
