//! The container's side of the mount steps.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, SFlag, fstat, major, makedev, minor, mkdirat, mknodat};
use nix::unistd::{chdir, fchdir, pivot_root, symlinkat};

use super::inside;
use crate::plan::op::{Attributes, Bind, NewMount};
use crate::sys::{self, Result};

const NONE: Option<&CStr> = None;

/// Cuts all mounts of this namespace off from the host's (mount_namespaces(7)).
pub(super) fn make_private() -> Result<()> {
    mount(NONE, c"/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)
}

/// Binds the root filesystem onto itself and gives its descriptor.
pub(super) fn bind_rootfs(path: &CStr) -> Result<OwnedFd> {
    let place = open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let tree = sys::mount::clone_tree_at(place.as_fd(), true)?;
    sys::mount::move_mount(tree.as_fd(), place.as_fd())?;
    Ok(tree)
}

/// Puts an overlay with its upper layer in memory over the root filesystem.
///
/// The layers are named relative to the working directory and by descriptor, so that
/// no character of the path can be taken for a separator of overlay's options.
pub(super) fn overlay_rootfs(path: &CStr, userxattr: bool) -> Result<OwnedFd> {
    let lower = open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    mount(Some(c"tmpfs"), path, Some(c"tmpfs"), MsFlags::empty(), Some(c"mode=0755"))?;
    chdir(path)?;
    // What is mounted on `/` can't be reached by that name; the layers would be the host's.
    if fstat(open(c".", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?)?.st_dev
        == fstat(lower.as_fd())?.st_dev
    {
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
    inside::with_c_str(&options.bytes[..options.len], |options| {
        mount(Some(c"overlay"), c"merged", Some(c"overlay"), MsFlags::empty(), Some(options))
    })?;
    open(c"merged", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
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

/// Mounts a new filesystem on a directory, which is made if it is missing.
///
/// The target is entered by its descriptor and mounted on as `.`, so that no path is
/// resolved a second time.
pub(super) fn mount_new(root: BorrowedFd<'_>, new: &NewMount) -> Result<()> {
    let target = inside::open_or_make_dir(root, &new.target)?;
    // A /proc or /sys that is a symlink would be mounted elsewhere, and everything that
    // relies on it would go astray (CVE-2019-19921, CVE-2023-27561, CVE-2025-54867).
    let is_kernel = matches!(new.fstype.to_bytes(), b"proc" | b"sysfs");
    if is_kernel && is_symlink(root, &new.target)? {
        return Err(Errno::ELOOP);
    }
    fchdir(target.as_fd())?;
    let data = Some(new.data.as_c_str()).filter(|data| !data.is_empty());
    mount(Some(new.source.as_c_str()), c".", Some(new.fstype.as_c_str()), new.flags, data)
}

fn is_symlink(root: BorrowedFd<'_>, path: &CStr) -> Result<bool> {
    let found = inside::open(root, path, OFlag::O_PATH | OFlag::O_NOFOLLOW)?;
    Ok(inside::file_type(fstat(found)?.st_mode) == SFlag::S_IFLNK)
}

/// Binds a host path; the target becomes a directory or a file as the source is.
pub(super) fn bind(root: BorrowedFd<'_>, bind: &Bind) -> Result<()> {
    let tree = sys::mount::clone_tree(&bind.source, bind.recursive)?;
    let target = if inside::is_dir(tree.as_fd())? {
        inside::open_or_make_dir(root, &bind.target)?
    } else {
        inside::open_or_make_file(root, &bind.target)?
    };
    attach(tree.as_fd(), target.as_fd(), bind)
}

/// Attributes are set before the tree is attached: there is no moment at which it is
/// visible without them.
fn attach(tree: BorrowedFd<'_>, target: BorrowedFd<'_>, bind: &Bind) -> Result<()> {
    let set = |attributes: Attributes, propagation, recursive| match (attributes, propagation) {
        (Attributes { set: 0, clear: 0 }, 0) => Ok(()),
        _ => sys::mount::mount_setattr(
            tree,
            attributes.set,
            attributes.clear,
            propagation,
            recursive,
        ),
    };
    set(bind.recursive_attributes, bind.propagation, true)?;
    set(bind.attributes, 0, false)?;
    sys::mount::move_mount(tree, target)
}

/// Adds attributes to the mount at a path.
pub(super) fn remount(root: BorrowedFd<'_>, target: &CStr, set: u64) -> Result<()> {
    let target = inside::open(root, target, OFlag::O_PATH)?;
    sys::mount::mount_setattr(target.as_fd(), set, 0, 0, false)
}

/// Makes a character device node.
pub(super) fn device(
    root: BorrowedFd<'_>,
    path: &CStr,
    device: (u32, u32),
    mode: u32,
) -> Result<()> {
    let (dir, name) = inside::open_parent(root, path)?;
    let number = makedev(device.0.into(), device.1.into());
    inside::with_c_str(name, |name| {
        mknodat(dir.as_fd(), name, SFlag::S_IFCHR, Mode::from_bits_truncate(mode), number)
    })
}

/// Makes a symlink.
pub(super) fn symlink(root: BorrowedFd<'_>, path: &CStr, target: &CStr) -> Result<()> {
    let (dir, name) = inside::open_parent(root, path)?;
    inside::with_c_str(name, |name| symlinkat(target, dir.as_fd(), name))
}

/// What masks are made of, opened once and used for every masked path.
#[derive(Default)]
pub(super) struct Masks {
    null: Option<OwnedFd>,
    empty_dir: Option<OwnedFd>,
}

impl Masks {
    /// Covers a file by /dev/null, a directory by an empty read-only one.
    pub(super) fn mask(&mut self, root: BorrowedFd<'_>, path: &CStr) -> Result<()> {
        let target = inside::open(root, path, OFlag::O_PATH)?;
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
        self.empty_dir = Some(inside::open(root, path, OFlag::O_PATH)?);
        Ok(())
    }
}

/// The host's /dev/null, made sure to be it (CVE-2025-31133).
fn open_null() -> Result<OwnedFd> {
    let null = open(c"/dev/null", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    let found = fstat(null.as_fd())?;
    let is_null = inside::file_type(found.st_mode) == SFlag::S_IFCHR
        && (major(found.st_rdev), minor(found.st_rdev)) == (1, 3);
    if is_null { Ok(null) } else { Err(Errno::ENODEV) }
}

/// Covers a path by a read-only view of itself.
pub(super) fn readonly_path(root: BorrowedFd<'_>, path: &CStr) -> Result<()> {
    let target = inside::open(root, path, OFlag::O_PATH)?;
    let tree = sys::mount::clone_tree_at(target.as_fd(), true)?;
    sys::mount::mount_setattr(tree.as_fd(), libc::MOUNT_ATTR_RDONLY, 0, 0, true)?;
    sys::mount::move_mount(tree.as_fd(), target.as_fd())
}

/// Makes the mount at the root read-only, not what is mounted below it.
pub(super) fn readonly_rootfs(root: BorrowedFd<'_>) -> Result<()> {
    sys::mount::mount_setattr(root, libc::MOUNT_ATTR_RDONLY, 0, 0, false)
}

/// Swaps the root filesystem in and lets the host's go.
///
/// With `.` for both arguments the old root ends up on top of the new one, and no
/// directory is needed to put it in (pivot_root(2), "pivot_root(".", ".")").
pub(super) fn pivot(root: BorrowedFd<'_>) -> Result<()> {
    fchdir(root)?;
    pivot_root(c".", c".")?;
    umount2(c".", MntFlags::MNT_DETACH)?;
    chdir(c"/")
}

/// Opens a pty of the container's own devpts, binds its slave to /dev/console, and
/// gives master and slave.
pub(super) fn console(root: BorrowedFd<'_>) -> Result<(OwnedFd, OwnedFd)> {
    let master = inside::open(root, c"/dev/pts/ptmx", OFlag::O_RDWR | OFlag::O_NOCTTY)?;
    // The slave comes from the master, not from a path that could be another file
    // by now (CVE-2025-52565).
    let slave = sys::terminal::open_slave(master.as_fd())?;
    let console = inside::open_or_make_file(root, c"/dev/console")?;
    let tree = sys::mount::clone_tree_at(slave.as_fd(), false)?;
    sys::mount::move_mount(tree.as_fd(), console.as_fd())?;
    Ok((master, slave))
}
