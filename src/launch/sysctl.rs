//! Writing kernel parameters of the container's namespaces.

use std::ffi::CStr;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{Mode, fstat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::unistd::write as write_bytes;

use crate::sys::Result;

/// The inode of the top of every procfs (linux/proc_fs.h, `PROC_ROOT_INO`).
const PROC_ROOT: u64 = 1;

/// Writes a parameter by its path below /proc/sys.
///
/// This is the host's /proc, for the root filesystem isn't entered yet; the kernel takes
/// the writer's namespaces, whichever procfs it is. That it is one, and that nothing is
/// mounted in the way, is made sure of all the same (CVE-2025-52881).
pub(super) fn write(file: &CStr, value: &str) -> Result<()> {
    let dir = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let proc = open(c"/proc", dir, Mode::empty())?;
    if fstatfs(&proc)?.filesystem_type() != PROC_SUPER_MAGIC || fstat(&proc)?.st_ino != PROC_ROOT {
        return Err(Errno::ENODEV);
    }
    let resolve = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_XDEV;
    let how = OpenHow::new().resolve(resolve);
    let sys = openat2(&proc, c"sys", how.flags(dir))?;
    let file = openat2(&sys, file, how.flags(OFlag::O_WRONLY | OFlag::O_CLOEXEC))?;
    let written = write_bytes(&file, value.as_bytes())?;
    if written == value.len() { Ok(()) } else { Err(Errno::EINVAL) }
}
