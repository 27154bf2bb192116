//! The caller's terminal on one side, the target's pty on the other.
//!
//! The caller's terminal is switched to raw mode, so that every key, Ctrl-C and Ctrl-Z
//! among them, goes to the target's pty, which gives them their meaning. It is switched
//! back when this is dropped.

use std::fs::OpenOptions;
use std::io::{IsTerminal, Stdin, stdin, stdout};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::termios::{
    SetArg, SpecialCharacterIndices, Termios, cfmakeraw, tcgetattr, tcsetattr,
};
use nix::unistd::{read, write};

use crate::error::{Error, Result};
use crate::sys::terminal::{set_window_size, window_size};

/// How long to look away from a pty that nobody has open.
pub(super) const HANGUP_PAUSE: Duration = Duration::from_millis(50);

/// Bytes on their way from one side to the other.
struct Stream {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    open: bool,
}

impl Stream {
    fn new() -> Self {
        Stream { bytes: vec![0; 4096], start: 0, end: 0, open: true }
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Fills the empty buffer once.
    fn fill(&mut self, from: BorrowedFd<'_>) -> nix::Result<usize> {
        let count = read(from, &mut self.bytes)?;
        (self.start, self.end) = (0, count);
        Ok(count)
    }

    /// Writes what `to` takes now.
    fn flush(&mut self, to: BorrowedFd<'_>) -> nix::Result<()> {
        self.start += write(to, &self.bytes[self.start..self.end])?;
        Ok(())
    }
}

/// Both sides of an interactive session.
pub(super) struct Terminal<'a> {
    master: BorrowedFd<'a>,
    input: Stdin,
    /// The caller's terminal as it was.
    saved: Option<Termios>,
    output: OwnedFd,
    keys: Stream,
    screen: Stream,
    hung_up: bool,
}

impl<'a> Terminal<'a> {
    /// Switches the caller's terminal, if there is one, to raw mode.
    ///
    /// # Errors
    /// When a descriptor can't be duplicated or switched.
    pub(super) fn take_over(master: BorrowedFd<'a>) -> Result<Self> {
        let failed = |errno| Error::system("set up the terminal", errno);
        fcntl(master, FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK)).map_err(failed)?;
        let output = own_output().map_err(|error| Error::io("set up the terminal", &error))?;
        let mut terminal = Terminal {
            master,
            input: stdin(),
            saved: None,
            output,
            keys: Stream::new(),
            screen: Stream::new(),
            hung_up: false,
        };
        if stdin().is_terminal() {
            let before = tcgetattr(stdin()).map_err(failed)?;
            let mut raw = before.clone();
            cfmakeraw(&mut raw);
            tcsetattr(stdin(), SetArg::TCSANOW, &raw).map_err(failed)?;
            terminal.saved = Some(before);
        }
        terminal.resize();
        Ok(terminal)
    }

    /// Gives the pty the size of the caller's terminal.
    pub(super) fn resize(&self) {
        let size = window_size(stdin().as_fd()).or_else(|_| window_size(stdout().as_fd()));
        if let Ok(size) = size {
            // The pty may be gone already; its end is noticed elsewhere.
            let _ = set_window_size(self.master, size);
        }
    }

    /// Whether no process has the pty open now; that can change, and poll would not sleep.
    pub(super) fn is_hung_up(&self) -> bool {
        self.hung_up
    }

    /// Adds what this waits for: a full buffer waits to be written, an empty one to be read.
    pub(super) fn poll_fds<'b>(&'b self, fds: &mut Vec<PollFd<'b>>)
    where
        'a: 'b,
    {
        let mut events = PollFlags::empty();
        if !self.keys.is_empty() {
            events |= PollFlags::POLLOUT;
        } else if self.keys.open {
            fds.push(PollFd::new(self.input.as_fd(), PollFlags::POLLIN));
        }
        if !self.screen.is_empty() {
            fds.push(PollFd::new(self.output.as_fd(), PollFlags::POLLOUT));
        } else {
            events |= PollFlags::POLLIN;
        }
        if !events.is_empty() && !self.hung_up {
            fds.push(PollFd::new(self.master, events));
        }
    }

    /// Moves what can be moved without waiting.
    pub(super) fn relay(&mut self) {
        if self.keys.is_empty() && self.keys.open && is_ready(self.input.as_fd(), PollFlags::POLLIN)
        {
            match self.keys.fill(self.input.as_fd()) {
                Ok(1..) | Err(Errno::EAGAIN | Errno::EINTR) => {}
                _ => self.end_of_input(),
            }
        }
        if !self.keys.is_empty() {
            // What a pty without a reader refuses is typed again once it has one.
            let _ = self.keys.flush(self.master);
        }
        if self.screen.is_empty() {
            self.hung_up = matches!(self.screen.fill(self.master), Err(Errno::EIO));
        }
        // A pipe without a reader must not keep signals and the clock waiting.
        if !self.screen.is_empty() && is_ready(self.output.as_fd(), PollFlags::POLLOUT) {
            self.show();
        }
    }

    /// A pipe that ends is what Ctrl-D is at a terminal.
    fn end_of_input(&mut self) {
        self.keys.open = false;
        let control = tcgetattr(self.master)
            .map_or(4, |t| t.control_chars[SpecialCharacterIndices::VEOF as usize]);
        self.keys.bytes[0] = control;
        (self.keys.start, self.keys.end) = (0, 1);
    }

    fn show(&mut self) {
        match self.screen.flush(self.output.as_fd()) {
            Ok(()) | Err(Errno::EAGAIN | Errno::EINTR) => {}
            // Nobody looks any more.
            Err(_) => {
                self.screen.open = false;
                (self.screen.start, self.screen.end) = (0, 0);
            }
        }
    }

    /// Whether what the target writes can't be shown any more, as when the reader of a
    /// pipe has left; a terminal that goes away means SIGHUP for those who use it.
    pub(super) fn is_gone(&self) -> bool {
        !self.screen.open
    }

    /// Shows what the target wrote before it ended.
    pub(super) fn drain(&mut self) {
        while self.screen.open {
            while !self.screen.is_empty() {
                let mut fds = [PollFd::new(self.output.as_fd(), PollFlags::POLLOUT)];
                // A terminal that was stopped (Ctrl-S) may take for ever.
                if !matches!(poll(&mut fds, 1000u16), Ok(1..)) {
                    return;
                }
                self.show();
            }
            if !matches!(self.screen.fill(self.master), Ok(1..)) {
                return;
            }
        }
    }
}

fn is_ready(fd: BorrowedFd<'_>, events: PollFlags) -> bool {
    matches!(poll(&mut [PollFd::new(fd, events)], 0u16), Ok(1..))
}

/// Standard output, opened anew if it is a terminal: making it non-blocking must not
/// change the descriptor that the caller's shell shares.
fn own_output() -> std::io::Result<OwnedFd> {
    if !stdout().is_terminal() {
        return stdout().as_fd().try_clone_to_owned();
    }
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let opened = OpenOptions::new().write(true).custom_flags(flags).open("/proc/self/fd/1");
    // Another user's terminal (after su) can't be opened again; a shared one will do.
    opened.map(OwnedFd::from).or_else(|_| stdout().as_fd().try_clone_to_owned())
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        if let Some(saved) = &self.saved {
            let _ = tcsetattr(stdin(), SetArg::TCSANOW, saved);
        }
    }
}
