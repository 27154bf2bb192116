//! The mount calls that work on descriptors: open_tree, move_mount, mount_setattr.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::{Result, syscall};

/// Clones the mount at a path into a detached mount tree (open_tree(2)).
///
/// `recursive` takes the mounts below it along. The tree vanishes when the
/// descriptor is closed without [`move_mount`].
///
/// # Errors
/// `ENOENT` and `EACCES` from the path, `EPERM` without CAP_SYS_ADMIN,
/// `EINVAL` when a locked mount would be left out.
pub fn clone_tree(path: &CStr, recursive: bool) -> Result<OwnedFd> {
    open_tree(libc::AT_FDCWD, path, recursive, 0)
}

/// Clones the mount that `fd` lies on, rooted at `fd`, into a detached tree.
///
/// # Errors
/// As [`clone_tree`].
pub fn clone_tree_at(fd: BorrowedFd<'_>, recursive: bool) -> Result<OwnedFd> {
    open_tree(fd.as_raw_fd(), c"", recursive, libc::AT_EMPTY_PATH)
}

fn open_tree(dir: RawFd, path: &CStr, recursive: bool, at: i32) -> Result<OwnedFd> {
    let mut flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | at as u32;
    if recursive {
        flags |= libc::AT_RECURSIVE as u32;
    }
    // SAFETY: the path is a C string that outlives the call.
    let fd = unsafe {
        syscall(libc::SYS_open_tree, [dir as u64, path.as_ptr() as u64, flags as u64, 0, 0, 0])
    }?;
    // SAFETY: the kernel returned a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Attaches a detached mount tree on top of `target` (move_mount(2)).
///
/// # Errors
/// `ENOTDIR` when one is a directory and the other isn't, `EINVAL` when the
/// target is not in this mount namespace.
pub fn move_mount(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    const EMPTY: &CStr = c"";
    let flags = libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH;
    // SAFETY: both paths are the empty C string, the descriptors are borrowed and so open.
    unsafe {
        syscall(
            libc::SYS_move_mount,
            [
                tree.as_raw_fd() as u64,
                EMPTY.as_ptr() as u64,
                target.as_raw_fd() as u64,
                EMPTY.as_ptr() as u64,
                flags as u64,
                0,
            ],
        )
    }
    .map(drop)
}

/// Sets and clears attributes (`MOUNT_ATTR_*`) of the mount `fd` is the root of
/// (mount_setattr(2)); `propagation` is 0 or one `MS_*` propagation flag.
///
/// # Errors
/// `EPERM` when a user namespace locked an attribute, `EINVAL` when `fd` isn't a mount's root.
pub fn mount_setattr(
    fd: BorrowedFd<'_>,
    set: u64,
    clear: u64,
    propagation: u64,
    recursive: bool,
) -> Result<()> {
    let attr = libc::mount_attr { attr_set: set, attr_clr: clear, propagation, userns_fd: 0 };
    setattr(fd, &attr, recursive)
}

/// Gives a detached mount tree the id map of a user namespace (`MOUNT_ATTR_IDMAP`).
///
/// # Errors
/// `EINVAL` when its filesystem can't have mapped ids or the tree is attached already;
/// `EPERM` when it has an id map already or is another user namespace's filesystem.
pub fn map_ids(tree: BorrowedFd<'_>, user: BorrowedFd<'_>, recursive: bool) -> Result<()> {
    let attr = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: user.as_raw_fd() as u64,
    };
    setattr(tree, &attr, recursive)
}

fn setattr(fd: BorrowedFd<'_>, attr: &libc::mount_attr, recursive: bool) -> Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: `attr` is valid for its size, the path is the empty C string.
    unsafe {
        syscall(
            libc::SYS_mount_setattr,
            [
                fd.as_raw_fd() as u64,
                c"".as_ptr() as u64,
                flags as u64,
                std::ptr::from_ref(attr) as u64,
                size_of::<libc::mount_attr>() as u64,
                0,
            ],
        )
    }
    .map(drop)
}

/// Whether a descriptor is the root of the mount that it lies on (statx(2)).
///
/// # Errors
/// None that a caller could expect.
pub fn is_mount_root(fd: BorrowedFd<'_>) -> Result<bool> {
    /// linux/stat.h
    const STATX_ATTR_MOUNT_ROOT: u64 = 0x2000;
    let mut found = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: the path is the empty C string, and the kernel fills a whole struct statx.
    unsafe {
        syscall(
            libc::SYS_statx,
            [
                fd.as_raw_fd() as u64,
                c"".as_ptr() as u64,
                libc::AT_EMPTY_PATH as u64,
                0,
                found.as_mut_ptr() as u64,
                0,
            ],
        )
    }?;
    // SAFETY: the struct has integers only, for which zeroes are a value.
    let found = unsafe { found.assume_init() };
    Ok(found.stx_attributes & STATX_ATTR_MOUNT_ROOT != 0)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn the_top_of_a_mount_is_told_from_what_is_in_it() {
        let open = |path: &str| std::fs::File::open(path).unwrap();
        assert!(is_mount_root(open("/proc").as_fd()).unwrap());
        assert!(!is_mount_root(open("/proc/self").as_fd()).unwrap());
    }
}
