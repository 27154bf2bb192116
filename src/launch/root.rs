//! The container's side of the root filesystem: making it a mount, entering it.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, fstat, mkdirat};
use nix::unistd::{chdir, chroot, fchdir, pivot_root};

use super::inside;
use crate::plan::op::Propagation;
use crate::sys::file::open;
use crate::sys::{self, Result};

const NONE: Option<&CStr> = None;
const DIR: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// Says of the mount at `/` how mounts travel (mount_namespaces(7)).
pub(super) fn propagate(propagation: Propagation) -> Result<()> {
    let recursive = if propagation.recursive { MsFlags::MS_REC } else { MsFlags::empty() };
    mount(NONE, c"/", NONE, propagation.kind | recursive, NONE)
}

/// Makes the mount that holds a path private: what is mounted below would otherwise show
/// up on the host, and pivot_root(2) refuses.
pub(super) fn make_parent_private(path: &CStr) -> Result<()> {
    let mut dir = open(path, DIR)?;
    while !sys::mount::is_mount_root(dir.as_fd())? {
        let parent = openat(&dir, c"..", DIR, Mode::empty())?;
        let identity = |dir: &OwnedFd| fstat(dir).map(|found| (found.st_dev, found.st_ino));
        // The top, and no mount of its own: this process has been chrooted.
        if identity(&parent)? == identity(&dir)? {
            return Err(Errno::EINVAL);
        }
        dir = parent;
    }
    sys::mount::mount_setattr(dir.as_fd(), 0, 0, MsFlags::MS_PRIVATE.bits(), false)
}

/// Opens the root filesystem where it is.
pub(super) fn open_rootfs(path: &CStr) -> Result<OwnedFd> {
    open(path, DIR)
}

/// Binds the root filesystem onto itself and gives its descriptor.
pub(super) fn bind_rootfs(path: &CStr, nodev: bool) -> Result<OwnedFd> {
    let place = open(path, DIR)?;
    let tree = sys::mount::clone_tree_at(place.as_fd(), true)?;
    if nodev {
        sys::mount::mount_setattr(tree.as_fd(), libc::MOUNT_ATTR_NODEV, 0, 0, true)?;
    }
    sys::mount::move_mount(tree.as_fd(), place.as_fd())?;
    Ok(tree)
}

/// Puts a tree that the runtime has opened over `/`, and gives its descriptor.
pub(super) fn attach_rootfs(tree: &OwnedFd) -> Result<OwnedFd> {
    sys::mount::move_mount(tree.as_fd(), open(c"/", DIR)?.as_fd())?;
    openat(tree, c".", DIR, Mode::empty())
}

/// Puts an overlay with its upper layer in memory over the root filesystem.
///
/// The layers are named relative to the working directory and by descriptor, so that
/// no character of the path can be taken for a separator of overlay's options.
pub(super) fn overlay_rootfs(path: &CStr, nodev: bool, userxattr: bool) -> Result<OwnedFd> {
    let lower = open(path, DIR)?;
    mount(Some(c"tmpfs"), path, Some(c"tmpfs"), MsFlags::empty(), Some(c"mode=0755"))?;
    chdir(path)?;
    // What is mounted on `/` can't be reached by that name; the layers would be the host's.
    if fstat(open(c".", DIR)?)?.st_dev == fstat(lower.as_fd())?.st_dev {
        return Err(Errno::EBUSY);
    }
    for dir in [c"upper", c"work", c"merged"] {
        mkdirat(nix::fcntl::AT_FDCWD, dir, Mode::from_bits_truncate(0o755))?;
    }
    let mut options = Options { bytes: [0; 128], len: 0 };
    let userxattr = if userxattr { ",userxattr" } else { "" };
    std::fmt::Write::write_fmt(
        &mut options,
        format_args!(
            "lowerdir=/proc/self/fd/{},upperdir=upper,workdir=work{userxattr}",
            lower.as_raw_fd()
        ),
    )
    .map_err(|_| Errno::ENAMETOOLONG)?;
    let flags = if nodev { MsFlags::MS_NODEV } else { MsFlags::empty() };
    inside::with_c_str(&options.bytes[..options.len], |options| {
        mount(Some(c"overlay"), c"merged", Some(c"overlay"), flags, Some(options))
    })?;
    let merged = open(c"merged", DIR)?;
    // Whoever binds something of the root filesystem means its files, not the layers.
    sys::mount::move_mount(merged.as_fd(), lower.as_fd())?;
    Ok(merged)
}

/// A string on the stack; formatting into it doesn't allocate.
struct Options {
    bytes: [u8; 128],
    len: usize,
}

impl std::fmt::Write for Options {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.len + text.len();
        let room = self.bytes.get_mut(self.len..end).ok_or(std::fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

/// Makes the mount at the root read-only, not what is mounted below it.
pub(super) fn make_readonly(root: BorrowedFd<'_>) -> Result<()> {
    sys::mount::mount_setattr(root, libc::MOUNT_ATTR_RDONLY, 0, 0, false)
}

/// Swaps the root filesystem in and lets the host's go.
///
/// With `.` for both arguments the old root ends up on top of the new one, and no
/// directory is needed to put it in (pivot_root(2), "pivot_root(".", ".")").
pub(super) fn pivot(root: BorrowedFd<'_>, cut: bool) -> Result<()> {
    let host = if cut { Some(open(c"/", DIR)?) } else { None };
    fchdir(root)?;
    pivot_root(c".", c".")?;
    if let Some(host) = host {
        sys::mount::mount_setattr(host.as_fd(), 0, 0, MsFlags::MS_SLAVE.bits(), true)?;
    }
    umount2(c".", MntFlags::MNT_DETACH)?;
    chdir(c"/")
}

/// Covers `/` by the root filesystem and enters it, where pivot_root(2) can't because the
/// host's root is a ramfs.
///
/// The host's mounts stay below; unlike the rest of them, a whole /proc or /sys would let
/// root of a user namespace mount one without what is masked here, so these go.
pub(super) fn move_over(root: BorrowedFd<'_>) -> Result<()> {
    let keep_from_host = |dir: &OwnedFd, recursive| {
        sys::mount::mount_setattr(dir.as_fd(), 0, 0, MsFlags::MS_SLAVE.bits(), recursive)
    };
    keep_from_host(&open(c"/", DIR)?, false)?;
    for path in [c"/proc", c"/sys"] {
        let dir = match open(path, DIR) {
            Err(Errno::ENOENT) => continue,
            answer => answer?,
        };
        if sys::mount::is_mount_root(dir.as_fd())? {
            keep_from_host(&dir, true)?;
            umount2(path, MntFlags::MNT_DETACH)?;
        }
    }
    fchdir(root)?;
    mount(Some(c"."), c"/", NONE, MsFlags::MS_MOVE, NONE)?;
    enter(root)
}

/// Makes a directory `/` without changing any mount.
pub(super) fn enter(root: BorrowedFd<'_>) -> Result<()> {
    fchdir(root)?;
    chroot(c".")?;
    chdir(c"/")
}
