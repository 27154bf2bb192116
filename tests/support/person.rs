//! A terminal with somebody at it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};
use nix::pty::{Winsize, openpty};
use nix::sys::termios::tcgetattr;

use super::binary;

pub const SIZE: Winsize = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };

/// A person who calls minirun at a terminal: what they type and see.
pub struct Person {
    pub master: File,
    /// Kept open, so that the terminal's settings can be read afterwards.
    pub terminal: OwnedFd,
    seen: String,
    pub child: Child,
}

impl Person {
    pub fn at(args: &[&str]) -> Self {
        // Empty, it counts as not set.
        Person::with(("NO_COLOR", ""), args)
    }

    /// One with a variable in their environment.
    pub fn with((name, value): (&str, &str), args: &[&str]) -> Self {
        let pty = openpty(Some(&SIZE), None).unwrap();
        let end = || pty.slave.try_clone().unwrap();
        let mut command = Command::new("setsid");
        // setsid -c makes standard input the controlling terminal, as a login does, and
        // executes minirun in its own place.
        command.arg("-c").arg(binary()).args(args);
        command.stdin(end()).stdout(end()).stderr(end()).env("TERM", "xterm").env(name, value);
        let child = command.spawn().unwrap();
        Person { master: pty.master.into(), terminal: pty.slave, seen: String::new(), child }
    }

    pub fn types(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the text has been shown, and forgets what came before it. A minute, since an
    /// emulated machine beside other work takes tens of seconds to show ten thousand lines.
    pub fn sees(&mut self, text: &str) {
        let patience = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(at) = self.seen.find(text) {
                self.seen.drain(..at + text.len());
                return;
            }
            assert!(Instant::now() < patience, "{text:?} was never shown:\n{}", self.seen);
            let mut fds = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
            if matches!(poll(&mut fds, 100u16), Ok(1..)) {
                let mut bytes = [0; 4096];
                let count = self.master.read(&mut bytes).unwrap_or(0);
                self.seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        }
    }

    pub fn leaves(&mut self) -> Option<i32> {
        let patience = Instant::now() + Duration::from_secs(10);
        while Instant::now() < patience {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("minirun still runs; seen:\n{}", self.seen);
    }

    pub fn settings(&self) -> Settings {
        settings(&self.terminal)
    }
}

/// What the kernel knows of a terminal's settings; a C library's struct has room for more.
pub type Settings = ([libc::tcflag_t; 4], Vec<libc::cc_t>);

pub fn settings(terminal: &OwnedFd) -> Settings {
    let all: libc::termios = tcgetattr(terminal).unwrap().into();
    let flags = [all.c_iflag, all.c_oflag, all.c_cflag, all.c_lflag];
    (flags, all.c_cc[..19].to_vec())
}
