//! The terminal ioctls that nix doesn't wrap (ioctl_tty(2)).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::{Errno, Result};

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSize {
    pub rows: u16,
    pub columns: u16,
}

/// Unlocks the slave of a pty master and opens it, without going by a path
/// that a container could have replaced (TIOCGPTPEER).
///
/// # Errors
/// `EIO` when the master's devpts instance is gone.
pub fn open_slave(master: BorrowedFd<'_>) -> Result<OwnedFd> {
    let unlock: libc::c_int = 0;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCSPTLCK reads an int; TIOCGPTPEER takes open flags by value and returns
    // a new descriptor that nobody else owns.
    unsafe {
        Errno::result(libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK as _, &raw const unlock))?;
        let fd = Errno::result(libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER as _, flags))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Makes standard input the controlling terminal of this session (TIOCSCTTY).
///
/// # Errors
/// `EPERM` when the caller isn't a session leader or has a terminal already.
pub fn set_controlling() -> Result<()> {
    // SAFETY: TIOCSCTTY takes an integer.
    Errno::result(unsafe { libc::ioctl(libc::STDIN_FILENO, libc::TIOCSCTTY as _, 0) }).map(drop)
}

/// The size of a terminal (TIOCGWINSZ).
///
/// # Errors
/// `ENOTTY` when `fd` is no terminal.
pub fn window_size(fd: BorrowedFd<'_>) -> Result<WindowSize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes a winsize.
    Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGWINSZ as _, &raw mut size) })?;
    Ok(WindowSize { rows: size.ws_row, columns: size.ws_col })
}

/// Sets the size of a terminal; its foreground processes get SIGWINCH (TIOCSWINSZ).
///
/// # Errors
/// `ENOTTY` when `fd` is no terminal.
pub fn set_window_size(fd: BorrowedFd<'_>, size: WindowSize) -> Result<()> {
    let size =
        libc::winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads a winsize.
    Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSWINSZ as _, &raw const size) })
        .map(drop)
}
