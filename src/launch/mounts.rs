//! The container's side of the mount steps.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, fstat};
use nix::sys::statfs::{TMPFS_MAGIC, fstatfs};
use nix::unistd::fchdir;

use super::inside::{self, Make, Parent};
use super::{copy_up, procfs};
use crate::plan::op::{Attributes, Bind, NewMount, Remount, Settings, TakesOver};
use crate::sys::{self, Result};

/// Where programs, and the masks, look for the kernel's own file systems.
pub(super) const PROC: &CStr = c"/proc";
const SYS: &CStr = c"/sys";

/// What has been mounted on /proc and /sys: masks are put into these very mounts, wherever
/// somebody who may write to the root filesystem moves their directories to.
#[derive(Default)]
pub(super) struct Kernel {
    proc: Option<OwnedFd>,
    sys: Option<OwnedFd>,
}

impl Kernel {
    /// Takes note of what a step has mounted.
    pub(super) fn mounted(&mut self, root: BorrowedFd<'_>, target: &CStr) -> Result<()> {
        let place = match target {
            _ if target == PROC => &mut self.proc,
            _ if target == SYS => &mut self.sys,
            _ => return Ok(()),
        };
        let top = open_top(root, target, OFlag::O_PATH)?;
        if target == PROC && !procfs::is_top(top.as_fd())? {
            return Err(Errno::ESTALE);
        }
        *place = Some(top);
        Ok(())
    }

    /// Opens a path for reference, below these if it lies there.
    pub(super) fn open(&self, root: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd> {
        for (place, top) in [(PROC, &self.proc), (SYS, &self.sys)] {
            let below = path.to_bytes_with_nul().strip_prefix(place.to_bytes());
            let below = below.and_then(|below| below.strip_prefix(b"/"));
            if let (Some(below), Some(top)) = (below, top) {
                let below = CStr::from_bytes_with_nul(below).map_err(|_| Errno::EINVAL)?;
                return inside::open(top.as_fd(), below, OFlag::O_PATH);
            }
        }
        inside::open(root, path, OFlag::O_PATH)
    }
}

/// Mounts a new filesystem on a directory, which is made if it is missing.
///
/// The target is entered by its descriptor and mounted on as `.`, so that no path is
/// resolved a second time.
pub(super) fn mount_new<'a>(
    root: BorrowedFd<'_>,
    new: &'a NewMount,
    parent: &mut Option<Parent<'a>>,
) -> Result<()> {
    let (target, made) = match new.fstype.to_bytes() {
        b"proc" | b"sysfs" => {
            *parent = None;
            (open_no_symlink(root, &new.target)?, false)
        }
        _ => inside::open_or_make(root, &new.target, Make::Dir, parent)?,
    };
    // Nothing new is made in a procfs.
    if parent.is_none() {
        check_proc(target.as_fd(), &new.target)?;
    }
    let mode = match (new.takes_over, made) {
        (TakesOver::Mode, false) => Some(fstat(target.as_fd())?.st_mode),
        _ => None,
    };
    let hidden = match new.takes_over {
        TakesOver::Content => Some(open_dir(target.as_fd())?),
        TakesOver::Nothing | TakesOver::Mode => None,
    };
    fchdir(target.as_fd())?;
    with_mode(new.data.to_bytes(), mode, |data| {
        let data = Some(data).filter(|data| !data.is_empty());
        mount(Some(new.source.as_c_str()), c".", Some(new.fstype.as_c_str()), new.flags, data)
    })?;
    if let Some(hidden) = hidden {
        let top = open_top(root, &new.target, OFlag::O_RDONLY)?;
        // Another mount may be in its place, and be the host's.
        if fstatfs(&top)?.filesystem_type() != TMPFS_MAGIC {
            return Err(Errno::ESTALE);
        }
        copy_up::copy(hidden.as_fd(), top.as_fd())?;
    }
    if new.settings == Settings::default() {
        return Ok(());
    }
    set(open_top(root, &new.target, OFlag::O_PATH)?.as_fd(), &new.settings)
}

/// Calls `f` with mount data that has this mode in it. To change it afterwards one would
/// have to find the new mount by its path again, which may lead to another one by then.
fn with_mode(data: &[u8], mode: Option<u32>, f: impl FnOnce(&CStr) -> Result<()>) -> Result<()> {
    let Some(mode) = mode else {
        return inside::with_c_str(data, f);
    };
    let [a, b, c, d] = [9, 6, 3, 0].map(|shift| b'0' + (mode >> shift & 7) as u8);
    let more = [b',', b'm', b'o', b'd', b'e', b'=', a, b, c, d];
    let more = if data.is_empty() { &more[1..] } else { &more };
    let mut whole = [0; DATA_MAX];
    let length = data.len() + more.len();
    let room = whole.get_mut(..length).ok_or(Errno::ENAMETOOLONG)?;
    room[..data.len()].copy_from_slice(data);
    room[data.len()..].copy_from_slice(more);
    inside::with_c_str(&whole[..length], f)
}

/// The longest data that mount(2) takes, in bytes: a page with its NUL.
const DATA_MAX: usize = 4095;

/// Opens a directory for reading that has been found.
fn open_dir(found: BorrowedFd<'_>) -> Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    openat(found, c".", flags, Mode::empty())
}

/// Opens what was mounted last at a path; the working directory is still below it.
fn open_top(root: BorrowedFd<'_>, path: &CStr, flags: OFlag) -> Result<OwnedFd> {
    let top = inside::open(root, path, flags | OFlag::O_DIRECTORY)?;
    // Somebody may have put another directory there meanwhile.
    if sys::mount::is_mount_root(top.as_fd())? { Ok(top) } else { Err(Errno::ESTALE) }
}

/// A /proc or /sys that is a symlink would be mounted elsewhere, and everything that
/// relies on it would go astray (CVE-2019-19921, CVE-2023-27561, CVE-2025-54867).
fn open_no_symlink(root: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let opened = match inside::open(root, path, flags) {
        Err(Errno::ENOENT) => {
            inside::open_or_make_dir(root, path)?;
            // What was made may have been replaced already.
            inside::open(root, path, flags)
        }
        answer => answer,
    };
    match opened {
        Err(Errno::ENOTDIR) => Err(Errno::ELOOP),
        answer => answer,
    }
}

/// The plan has looked at paths that say /proc; another one leads there by a symlink, and
/// would cover what it likes of it (CVE-2019-16884).
pub(super) fn check_proc(target: BorrowedFd<'_>, path: &CStr) -> Result<()> {
    let is_named = path == PROC || path.to_bytes().starts_with(b"/proc/");
    if is_named || !procfs::is_proc(target)? { Ok(()) } else { Err(Errno::ELOOP) }
}

/// Binds a host path, or one of the trees that the runtime has opened; the target becomes
/// a directory or a file as the source is.
pub(super) fn bind<'a>(
    root: BorrowedFd<'_>,
    bind: &'a Bind,
    trees: &[OwnedFd],
    parent: &mut Option<Parent<'a>>,
) -> Result<()> {
    let opened;
    let tree = match bind.tree {
        Some(index) => trees.get(index).ok_or(Errno::EBADF)?.as_fd(),
        None => {
            opened = sys::mount::clone_tree(&bind.source, bind.recursive)?;
            opened.as_fd()
        }
    };
    if bind.target.as_c_str() == PROC && !procfs::is_top(tree)? {
        return Err(Errno::EPERM);
    }
    let make = if bind.is_dir || inside::is_dir(tree)? { Make::Dir } else { Make::File };
    let (target, _) = inside::open_or_make(root, &bind.target, make, parent)?;
    if parent.is_none() {
        check_proc(target.as_fd(), &bind.target)?;
    }
    // Before the tree is attached: there is no moment at which it is visible without them.
    set(tree, &bind.settings)?;
    sys::mount::move_mount(tree, target.as_fd())
}

/// Changes a filesystem that is mounted at a path, or the mount alone.
pub(super) fn remount(root: BorrowedFd<'_>, remount: &Remount) -> Result<()> {
    let target = inside::open(root, &remount.target, OFlag::O_PATH)?;
    if let Some((flags, data)) = &remount.filesystem {
        fchdir(target.as_fd())?;
        let none: Option<&CStr> = None;
        let data = Some(data.as_c_str()).filter(|data| !data.is_empty());
        mount(none, c".", none, *flags | MsFlags::MS_REMOUNT, data)?;
    }
    set(target.as_fd(), &remount.settings)
}

fn set(mount: BorrowedFd<'_>, settings: &Settings) -> Result<()> {
    let attributes = |Attributes { set, clear }, recursive| match (set, clear) {
        (0, 0) => Ok(()),
        _ => sys::mount::mount_setattr(mount, set, clear, 0, recursive),
    };
    attributes(settings.recursive, true)?;
    attributes(settings.attributes, false)?;
    settings.propagation.iter().try_for_each(|propagation| {
        sys::mount::mount_setattr(mount, 0, 0, propagation.kind.bits(), propagation.recursive)
    })
}
