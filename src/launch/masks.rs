//! Hiding and sealing paths of the container.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{FileStat, SFlag, fstat, major, minor};
use nix::unistd::fchdir;

use super::inside;
use crate::sys::{self, Result};

/// What masks are made of, opened once and used for every masked path.
#[derive(Default)]
pub(super) struct Masks {
    null: Option<OwnedFd>,
    empty_dir: Option<OwnedFd>,
}

impl Masks {
    /// Covers what `open` opens: a file by /dev/null, a directory by an empty read-only one.
    pub(super) fn mask(&mut self, open: &dyn Fn() -> Result<OwnedFd>) -> Result<()> {
        let target = open()?;
        if !inside::is_dir(target.as_fd())? {
            let null = match &self.null {
                Some(null) => null,
                None => self.null.insert(open_null()?),
            };
            let tree = sys::mount::clone_tree_at(null.as_fd(), false)?;
            return sys::mount::move_mount(tree.as_fd(), target.as_fd());
        }
        if let Some(empty) = &self.empty_dir {
            let tree = sys::mount::clone_tree_at(empty.as_fd(), false)?;
            return sys::mount::move_mount(tree.as_fd(), target.as_fd());
        }
        fchdir(target.as_fd())?;
        let flags =
            MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        let data = Some(c"size=0k,nr_inodes=1,mode=755");
        mount(Some(c"tmpfs"), c".", Some(c"tmpfs"), flags, data)?;
        // The working directory is still below the new mount; the path leads to its top.
        let empty = open()?;
        if !sys::mount::is_mount_root(empty.as_fd())? {
            return Err(Errno::ESTALE);
        }
        self.empty_dir = Some(empty);
        Ok(())
    }
}

/// The host's /dev/null, made sure to be it (CVE-2025-31133). Of the kernel's own mounts /dev
/// is the only one, and so at the top.
fn open_null() -> Result<OwnedFd> {
    let null = match sys::file::open(c"/dev/null", OFlag::O_PATH) {
        Err(Errno::ENOENT) => sys::file::open(c"/null", OFlag::O_PATH)?,
        null => null?,
    };
    if is_null(&fstat(null.as_fd())?) { Ok(null) } else { Err(Errno::ENODEV) }
}

fn is_null(found: &FileStat) -> bool {
    inside::file_type(found.st_mode) == SFlag::S_IFCHR
        && (major(found.st_rdev), minor(found.st_rdev)) == (1, 3)
}

/// After pivot_root: replaces the null device on 0, 1 and 2 by the container's own. `root` is
/// the container's, where it isn't another container's that was joined.
pub(super) fn reopen_null(root: Option<BorrowedFd<'_>>) -> Result<()> {
    let mut own = None;
    for number in 0..3 {
        // One that isn't open is no null device either.
        if !sys::descriptors::fstat_number(number).is_ok_and(|found| is_null(&found)) {
            continue;
        }
        let own = match &own {
            Some(own) => own,
            None => own.insert(open_own_null(root)?),
        };
        sys::descriptors::dup_onto(own.as_fd(), number)?;
    }
    Ok(())
}

/// The path is the image's to choose: neither a link nor another file is taken for it.
fn open_own_null(root: Option<BorrowedFd<'_>>) -> Result<OwnedFd> {
    let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let null = match root {
        Some(root) => inside::open(root, c"/dev/null", flags)?,
        None => inside::open_from_top(c"/dev/null", flags)?,
    };
    if is_null(&fstat(null.as_fd())?) { Ok(null) } else { Err(Errno::ENODEV) }
}

/// Covers a file or a directory by a read-only view of itself.
pub(super) fn make_readonly(target: BorrowedFd<'_>) -> Result<()> {
    let tree = sys::mount::clone_tree_at(target, true)?;
    sys::mount::mount_setattr(tree.as_fd(), libc::MOUNT_ATTR_RDONLY, 0, 0, true)?;
    sys::mount::move_mount(tree.as_fd(), target)
}
