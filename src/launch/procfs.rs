//! Writing to the host's /proc: kernel parameters, and what a process says about itself.
//!
//! The root filesystem isn't entered yet when any of this is written, so it is out of the
//! container's hands; the kernel takes the writer's namespaces, whichever procfs it is. That
//! it is one, and that nothing is mounted in the way, is made sure of all the same: a write
//! that goes astray would succeed (CVE-2019-16884, CVE-2025-52881). Nothing here allocates.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::fstat;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

use super::inside;
use crate::sys::{self, Result};

/// The inode of the top of every procfs (linux/proc_fs.h, `PROC_ROOT_INO`).
const TOP: u64 = 1;

/// Whether a descriptor is a file of any procfs.
pub(super) fn is_proc(fd: BorrowedFd<'_>) -> Result<bool> {
    Ok(fstatfs(fd)?.filesystem_type() == PROC_SUPER_MAGIC)
}

/// Whether a descriptor is the directory that everything else in a procfs is below.
pub(super) fn is_top(fd: BorrowedFd<'_>) -> Result<bool> {
    Ok(is_proc(fd)? && fstat(fd)?.st_ino == TOP)
}

/// Writes to a file by its path below /proc, in one call.
pub(super) fn write<P: NixPath + ?Sized>(file: &P, bytes: &[u8]) -> Result<()> {
    Proc::default().write(file, bytes)
}

/// The host's /proc, looked up for each write, unless it is held since its path is about to
/// lead elsewhere.
#[derive(Default)]
pub(super) struct Proc(Option<OwnedFd>);

impl Proc {
    /// Opens it for all further writes.
    pub(super) fn held() -> Result<Self> {
        open_top().map(|top| Proc(Some(top)))
    }

    /// As [`write()`].
    pub(super) fn write<P: NixPath + ?Sized>(&self, file: &P, bytes: &[u8]) -> Result<()> {
        let opened;
        let top = match &self.0 {
            Some(held) => held,
            None => {
                opened = open_top()?;
                &opened
            }
        };
        let resolve = ResolveFlag::RESOLVE_BENEATH
            | ResolveFlag::RESOLVE_NO_MAGICLINKS
            | ResolveFlag::RESOLVE_NO_XDEV;
        let how = OpenHow::new().flags(OFlag::O_WRONLY | OFlag::O_CLOEXEC).resolve(resolve);
        let written = nix::unistd::write(openat2(top, file, how)?, bytes)?;
        if written == bytes.len() { Ok(()) } else { Err(Errno::EINVAL) }
    }

    /// Writes a kernel parameter by its path below /proc/sys.
    pub(super) fn write_parameter(&self, file: &CStr, value: &str) -> Result<()> {
        const SYS: &[u8] = b"sys/";
        let mut path = [0; 512];
        let length = SYS.len() + file.to_bytes().len();
        let room = path.get_mut(..length).ok_or(Errno::ENAMETOOLONG)?;
        room[..SYS.len()].copy_from_slice(SYS);
        room[SYS.len()..].copy_from_slice(file.to_bytes());
        inside::with_c_str(&path[..length], |path| self.write(path, value.as_bytes()))
    }
}

fn open_top() -> Result<OwnedFd> {
    let top = sys::file::open(c"/proc", OFlag::O_PATH | OFlag::O_DIRECTORY)?;
    if is_top(top.as_fd())? { Ok(top) } else { Err(Errno::ENODEV) }
}
