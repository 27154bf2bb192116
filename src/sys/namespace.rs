//! Namespaces as files (ioctl_nsfs(2)).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::sys::stat::fstat;

use super::{Errno, Result};

/// `NS_GET_USERNS` of linux/nsfs.h: `_IO(0xb7, 1)`.
const NS_GET_USERNS: u32 = 0xb701;
/// `NS_GET_NSTYPE`: `_IO(0xb7, 3)`.
const NS_GET_NSTYPE: u32 = 0xb703;
/// `NS_MNT_GET_INFO`, `_NEXT` and `_PREV`: `_IOR(0xb7, 10 to 12, struct mnt_ns_info)`.
const NS_MNT_GET_INFO: u32 = 0x8010_b70a;
const NS_MNT_GET_NEXT: u32 = 0x8010_b70b;
const NS_MNT_GET_PREV: u32 = 0x8010_b70c;

/// How far from the machine's first mount namespace a process's own may be, in others that are
/// older than it.
const FAR: usize = 64;

/// How many mounts may be in one that is as good as empty.
const FEW: usize = 2;

/// Which kind of namespace a descriptor stands for, as its `CLONE_NEW*` flag.
///
/// # Errors
/// `ENOTTY` when it is no namespace at all.
pub fn kind(fd: BorrowedFd<'_>) -> Result<i32> {
    // SAFETY: NS_GET_NSTYPE takes no argument and answers with a number.
    Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_NSTYPE as _) })
}

/// How many mounts this process's mount namespace has.
///
/// # Errors
/// `ENOTTY` before Linux 6.12.
pub fn own_mounts() -> Result<usize> {
    let own = super::file::open(OWN_MOUNTS, OFlag::O_RDONLY)?;
    ask_mounts(own.as_fd(), NS_MNT_GET_INFO).map(|(_, mounts)| mounts)
}

/// Opens the mount namespace that the kernel has made for itself while the machine started:
/// kdevtmpfs, the thread that keeps /dev's nodes, has one with next to nothing in it. It is the
/// second of all, and like the first it lasts as long as the machine runs.
///
/// # Errors
/// `ENOENT` when the second isn't so small, belongs to another user namespace, or is too far;
/// `EPERM` for who has no rights over it, or isn't in the first pid namespace; `ENOTTY` before
/// Linux 6.12.
pub fn kernel_mounts() -> Result<OwnedFd> {
    let first = first_mounts()?;
    let (second, mounts) = neighbour(first.as_fd(), NS_MNT_GET_NEXT)?;
    let owner = ask(second.as_fd(), NS_GET_USERNS, std::ptr::null_mut())?;
    let own = super::file::open(c"/proc/self/ns/user", OFlag::O_RDONLY)?;
    let is_own = fstat(owned(owner))?.st_ino == fstat(own)?.st_ino;
    if is_own && mounts <= FEW { Ok(second) } else { Err(Errno::ENOENT) }
}

const OWN_MOUNTS: &std::ffi::CStr = c"/proc/self/ns/mnt";

/// The machine's first mount namespace.
fn first_mounts() -> Result<OwnedFd> {
    let mut at = super::file::open(OWN_MOUNTS, OFlag::O_RDONLY)?;
    for _ in 0..FAR {
        at = match neighbour(at.as_fd(), NS_MNT_GET_PREV) {
            Err(Errno::ENOENT) => return Ok(at),
            before => before?.0,
        };
    }
    Err(Errno::ENOENT)
}

/// The mount namespace that was made before or after another, and how many mounts it has.
fn neighbour(namespace: BorrowedFd<'_>, which: u32) -> Result<(OwnedFd, usize)> {
    ask_mounts(namespace, which).map(|(fd, mounts)| (owned(fd), mounts))
}

fn ask_mounts(namespace: BorrowedFd<'_>, request: u32) -> Result<(i32, usize)> {
    /// `struct mnt_ns_info`.
    #[derive(Default)]
    #[repr(C)]
    struct Info {
        size: u32,
        mounts: u32,
        id: u64,
    }
    let mut info = Info::default();
    let answer = ask(namespace, request, (&raw mut info).cast())?;
    Ok((answer, info.mounts as usize))
}

fn ask(namespace: BorrowedFd<'_>, request: u32, info: *mut libc::c_void) -> Result<i32> {
    // SAFETY: of the requests of this file some take no argument, the others fill the struct
    // that their number has the size of.
    Errno::result(unsafe { libc::ioctl(namespace.as_raw_fd(), request as _, info) })
}

fn owned(fd: i32) -> OwnedFd {
    // SAFETY: the kernel has just answered with this descriptor, which nobody else owns.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_own_is_a_mount_namespace() {
        match kernel_mounts() {
            Ok(found) => assert_eq!(kind(found.as_fd()), Ok(libc::CLONE_NEWNS)),
            Err(errno) => {
                assert!(matches!(errno, Errno::ENOENT | Errno::EPERM | Errno::ENOTTY), "{errno}")
            }
        }
    }

    #[test]
    fn the_mounts_are_counted_as_mountinfo_lists_them() {
        match own_mounts() {
            Err(Errno::ENOTTY) => eprintln!("SKIPPED: Linux 6.12 is needed"),
            counted => {
                let listed = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
                let (counted, listed) = (counted.unwrap(), listed.lines().count());
                assert!(counted.abs_diff(listed) <= 2, "{counted} are not {listed}");
            }
        }
    }
}
