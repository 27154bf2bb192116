//! A socket pair that carries single bytes and, with a byte, one descriptor.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::{Errno, Result};

/// A connected pair of close-on-exec SOCK_SEQPACKET sockets: every byte sent is
/// a message of its own, and a closed end reads as end-of-file (unix(7)).
///
/// # Errors
/// `EMFILE` or `ENFILE` when descriptors run out.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    let mut fds: [RawFd; 2] = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: the pointer is to two integers, as socketpair wants.
    Errno::result(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) })?;
    // SAFETY: two new descriptors that nobody else owns.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}

/// Room for the control message of one descriptor, aligned as cmsghdr must be.
#[repr(C, align(8))]
struct Control([u8; CONTROL_SIZE]);
// SAFETY: CMSG_SPACE is arithmetic on its argument.
const CONTROL_SIZE: usize = unsafe { libc::CMSG_SPACE(size_of::<RawFd>() as u32) } as usize;

/// Sends one byte, with a copy of `fd` if there is one (SCM_RIGHTS).
///
/// # Errors
/// `EPIPE` when the other side is gone (no SIGPIPE is raised).
pub fn send(socket: BorrowedFd<'_>, byte: u8, fd: Option<BorrowedFd<'_>>) -> Result<()> {
    let mut byte = byte;
    let mut data = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let mut control = Control([0; CONTROL_SIZE]);
    // SAFETY: msghdr is plain data for which all zeroes is a valid value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut data;
    message.msg_iovlen = 1;
    if let Some(fd) = fd {
        message.msg_control = (&raw mut control).cast();
        message.msg_controllen = CONTROL_SIZE as _;
        // SAFETY: the control buffer is large and aligned enough for one header and one
        // descriptor, so CMSG_FIRSTHDR isn't null and CMSG_DATA lies inside it.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as u32) as _;
            libc::CMSG_DATA(header).cast::<RawFd>().write_unaligned(fd.as_raw_fd());
        }
    }
    loop {
        // SAFETY: all that `message` points to lives in this function.
        let sent =
            unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
        match Errno::result(sent) {
            Err(Errno::EINTR) => continue,
            answer => return answer.map(drop),
        }
    }
}

/// Receives one byte and the descriptor that came with it, if one did; `None`
/// at end-of-file. A received descriptor is close-on-exec.
///
/// # Errors
/// `ECONNRESET` when the other side died with unread messages.
pub fn receive(socket: BorrowedFd<'_>) -> Result<Option<(u8, Option<OwnedFd>)>> {
    let mut byte = 0u8;
    let mut data = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let mut control = Control([0; CONTROL_SIZE]);
    // SAFETY: msghdr is plain data for which all zeroes is a valid value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut data;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = CONTROL_SIZE as _;
    let count = loop {
        // SAFETY: all that `message` points to lives in this function.
        let count =
            unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
        match Errno::result(count) {
            Err(Errno::EINTR) => continue,
            answer => break answer?,
        }
    };
    if count == 0 {
        return Ok(None);
    }
    // SAFETY: the kernel filled `message`; the header, if any, lies in `control`, and an
    // SCM_RIGHTS message carries at least one descriptor, which is new and ours.
    let fd = unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (!header.is_null() && (*header).cmsg_type == libc::SCM_RIGHTS)
            .then(|| OwnedFd::from_raw_fd(libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned()))
    };
    Ok(Some((byte, fd)))
}

/// Takes the next connection of a listening socket (accept4(2)).
///
/// # Errors
/// `EINVAL` when the socket doesn't listen.
pub fn accept(listener: BorrowedFd<'_>) -> Result<OwnedFd> {
    loop {
        // SAFETY: null pointers say that the other side's address isn't wanted.
        let fd = unsafe {
            libc::accept4(
                listener.as_raw_fd(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                libc::SOCK_CLOEXEC,
            )
        };
        match Errno::result(fd) {
            Err(Errno::EINTR) => continue,
            // SAFETY: a new descriptor that nobody else owns.
            answer => return answer.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }),
        }
    }
}

/// Waits until the other side has been closed, or its process has ended; the last byte
/// that came before that, if one did.
pub fn wait_until_closed(socket: BorrowedFd<'_>) -> Option<u8> {
    let mut byte = 0u8;
    let mut last = None;
    loop {
        // SAFETY: the buffer is one live byte.
        let count = unsafe { libc::recv(socket.as_raw_fd(), (&raw mut byte).cast(), 1, 0) };
        match count {
            1.. => last = Some(byte),
            0 => return last,
            _ if Errno::last() != Errno::EINTR => return last,
            _ => {}
        }
    }
}

/// Whether the other side has been closed, or its process has ended.
pub fn is_closed(socket: BorrowedFd<'_>) -> bool {
    let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events: 0, revents: 0 };
    // SAFETY: the pointer is to one live pollfd; a timeout of 0 returns at once.
    let ready = unsafe { libc::poll(&raw mut poll, 1, 0) };
    ready == 1 && poll.revents & libc::POLLHUP != 0
}
