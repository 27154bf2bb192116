//! What is done to a network namespace: bring up the loopback device, and take hold of it.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::{Errno, Result};

/// `SIOCGSKNS` of linux/sockios.h, since Linux 4.10.
const SIOCGSKNS: u32 = 0x894c;

/// Sets `lo` up; the kernel then gives it 127.0.0.1 and ::1 (netdevice(7)). Gives the socket
/// that it was done by.
///
/// # Errors
/// `EPERM` without CAP_NET_ADMIN over the network namespace.
pub fn loopback_up() -> Result<OwnedFd> {
    // SAFETY: integers only.
    let socket = Errno::result(unsafe {
        libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0)
    })?;
    // SAFETY: a new descriptor that nobody else owns.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: ifreq is plain data for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[..2].copy_from_slice(&[b'l' as libc::c_char, b'o' as libc::c_char]);
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads an ifreq, which lives until the call is over.
    Errno::result(unsafe {
        libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request)
    })?;
    Ok(socket)
}

/// The network namespace that a socket belongs to, which takes no way through /proc.
///
/// # Errors
/// `EPERM` without CAP_NET_ADMIN over it.
pub fn namespace(socket: BorrowedFd<'_>) -> Result<OwnedFd> {
    // SAFETY: SIOCGSKNS takes no argument and answers with a new descriptor, which nobody
    // else owns; it is closed on execve.
    unsafe {
        let opened = Errno::result(libc::ioctl(socket.as_raw_fd(), SIOCGSKNS as _))?;
        Ok(OwnedFd::from_raw_fd(opened))
    }
}
