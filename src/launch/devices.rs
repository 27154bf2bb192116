//! Device nodes, links and the console below /dev.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, major, makedev, minor, mknodat};
use nix::unistd::{Gid, Uid, fchownat, symlinkat};

use super::inside::{self, Make, Parent};
use super::{mounts, pty};
use crate::plan::op::{Device, DeviceKind, DeviceSource};
use crate::sys::{self, Result};

/// Makes a device node, or binds the host's.
pub(super) fn device<'a>(
    root: BorrowedFd<'_>,
    device: &'a Device,
    parent: &mut Option<Parent<'a>>,
) -> Result<()> {
    match device.from {
        DeviceSource::New => make(root, device, parent),
        DeviceSource::Host => bind(root, device, parent),
    }
}

const PATH: OFlag = OFlag::O_PATH.union(OFlag::O_CLOEXEC);

fn make<'a>(
    root: BorrowedFd<'_>,
    device: &'a Device,
    parent: &mut Option<Parent<'a>>,
) -> Result<()> {
    let (dir, name) = inside::open_parent(root, &device.path, parent.take())?;
    let dir = parent.insert(dir);
    let number = makedev(device.major.into(), device.minor.into());
    let mode = Mode::from_bits_truncate(device.mode);
    let made = inside::with_c_str(name, |name| {
        mknodat(dir.as_fd(), name, file_type(device.kind), mode, number)?;
        if (device.uid, device.gid) == (0, 0) {
            return Ok(());
        }
        let made = inside::open_child(dir.as_fd(), name, OpenHow::new().flags(PATH))?;
        if !is(device, &fstat(&made)?) {
            return Err(Errno::ESTALE);
        }
        let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
        fchownat(&made, c"", Some(uid), Some(gid), AtFlags::AT_EMPTY_PATH)
    });
    match made {
        Err(Errno::EEXIST) => {
            let found = inside::open(root, &device.path, OFlag::O_PATH).and_then(fstat);
            if found.is_ok_and(|found| is(device, &found)) { Ok(()) } else { Err(Errno::EEXIST) }
        }
        answer => answer,
    }
}

fn bind<'a>(
    root: BorrowedFd<'_>,
    device: &'a Device,
    parent: &mut Option<Parent<'a>>,
) -> Result<()> {
    let tree = sys::mount::clone_tree(&device.path, false)?;
    // It could be any file of the host by that name.
    if !is(device, &fstat(tree.as_fd())?) {
        return Err(Errno::ENXIO);
    }
    let (target, _) = inside::open_or_make(root, &device.path, Make::File, parent)?;
    mounts::check_proc(target.as_fd(), c"")?;
    sys::mount::move_mount(tree.as_fd(), target.as_fd())
}

fn is(device: &Device, found: &FileStat) -> bool {
    let number = (major(found.st_rdev), minor(found.st_rdev));
    inside::file_type(found.st_mode) == file_type(device.kind)
        && (device.kind == DeviceKind::Fifo || number == (device.major.into(), device.minor.into()))
}

fn file_type(kind: DeviceKind) -> SFlag {
    match kind {
        DeviceKind::Character => SFlag::S_IFCHR,
        DeviceKind::Block => SFlag::S_IFBLK,
        DeviceKind::Fifo => SFlag::S_IFIFO,
    }
}

/// Makes a symlink.
pub(super) fn symlink<'a>(
    root: BorrowedFd<'_>,
    path: &'a CStr,
    target: &CStr,
    parent: &mut Option<Parent<'a>>,
) -> Result<()> {
    let (dir, name) = inside::open_parent(root, path, parent.take())?;
    let dir = parent.insert(dir);
    inside::with_c_str(name, |name| symlinkat(target, dir.as_fd(), name))
}

/// Opens a pty of the container's own devpts, binds its slave to /dev/console, and
/// gives master and slave.
pub(super) fn console(root: BorrowedFd<'_>) -> Result<(OwnedFd, OwnedFd)> {
    let (master, slave) = pty::open(root)?;
    let (console, _) = inside::open_or_make(root, c"/dev/console", Make::File, &mut None)?;
    mounts::check_proc(console.as_fd(), c"")?;
    let tree = sys::mount::clone_tree_at(slave.as_fd(), false)?;
    sys::mount::move_mount(tree.as_fd(), console.as_fd())?;
    Ok((master, slave))
}
