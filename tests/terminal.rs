//! At a terminal: the target's own pty, job control, resizing, and the caller's terminal
//! restored whatever happens.

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};
use nix::pty::{Winsize, openpty};
use nix::sys::termios::{Termios, tcgetattr};
use support::{binary, rootfs};

const SIZE: Winsize = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };

/// A person at a terminal: what they type and see.
struct Person {
    master: File,
    /// Kept open, so that the terminal's settings can be read afterwards.
    terminal: OwnedFd,
    seen: String,
    child: Child,
}

impl Person {
    fn runs(options: &[&str], words: &[&str]) -> Self {
        let pty = openpty(Some(&SIZE), None).unwrap();
        let end = || pty.slave.try_clone().unwrap();
        let mut command = Command::new("setsid");
        // setsid -c makes standard input the controlling terminal, as a login does, and
        // executes minirun in its own place.
        command.arg("-c").arg(binary()).arg("run").args(options).arg(rootfs()).args(words);
        command.stdin(end()).stdout(end()).stderr(end()).env("TERM", "xterm");
        let child = command.spawn().unwrap();
        Person { master: pty.master.into(), terminal: pty.slave, seen: String::new(), child }
    }

    fn types(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the text has been shown, and forgets what came before it.
    fn sees(&mut self, text: &str) {
        let patience = Instant::now() + Duration::from_secs(10);
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

    fn leaves(&mut self) -> Option<i32> {
        let patience = Instant::now() + Duration::from_secs(10);
        while Instant::now() < patience {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("minirun still runs; seen:\n{}", self.seen);
    }

    fn settings(&self) -> Termios {
        tcgetattr(&self.terminal).unwrap()
    }
}

fn fresh_settings() -> Termios {
    tcgetattr(&openpty(Some(&SIZE), None).unwrap().slave).unwrap()
}

#[test]
fn a_shell_has_its_own_terminal_with_job_control() {
    let mut person = Person::runs(&[], &["/bin/sh"]);
    person.types("tty; stty size; echo term=$TERM\n");
    person.sees("/dev/pts/0\r\n24 80\r\nterm=xterm\r\n");
    person.types("sleep 98765\n");
    person.sees("sleep 98765");
    std::thread::sleep(Duration::from_millis(200));
    person.types("\x03");
    person.types("echo interrupted=$?\n");
    person.sees("interrupted=130");
    person.types("sleep 98765\n");
    person.sees("sleep 98765");
    std::thread::sleep(Duration::from_millis(200));
    person.types("\x1a");
    person.sees("Stopped");
    person.types("kill %1; exit 5\n");
    person.types("exit 5\n");
    assert_eq!(person.leaves(), Some(5));
    assert_eq!(person.settings(), fresh_settings());
}

#[test]
fn keys_pass_raw_and_colours_come_back() {
    let mut person = Person::runs(
        &[],
        &[
            "sh",
            "-c",
            "stty raw -echo; echo ready; dd bs=1 count=3 2>/dev/null | od -An -tx1; printf '\\033[31mred'",
        ],
    );
    person.sees("ready");
    person.types("\x03\x1a\x04");
    person.sees("03 1a 04");
    person.sees("\x1b[31mred");
    assert_eq!(person.leaves(), Some(0));
    assert_eq!(person.settings(), fresh_settings());
}

#[test]
fn the_size_follows_the_callers_terminal() {
    let script = "trap 'stty size; exit 3' WINCH; echo ready; while :; do sleep 0.05; done";
    let mut person = Person::runs(&[], &["sh", "-c", script]);
    person.sees("ready");
    let status = Command::new("stty")
        .args(["rows", "40", "cols", "132"])
        .stdin(person.terminal.try_clone().unwrap())
        .status()
        .unwrap();
    assert!(status.success());
    person.sees("40 132");
    assert_eq!(person.leaves(), Some(3));
}

#[test]
fn the_terminal_is_restored_when_the_target_is_killed() {
    for signal in [9, 11] {
        let script = format!("stty raw -echo; echo ready; kill -{signal} $$");
        let mut person = Person::runs(&[], &["sh", "-c", &script]);
        person.sees("ready");
        assert_eq!(person.leaves(), Some(128 + signal));
        assert_eq!(person.settings(), fresh_settings());
    }
}

#[test]
fn the_terminal_is_restored_when_minirun_is_terminated() {
    let mut person = Person::runs(&[], &["sh", "-c", "echo ready; sleep 98765"]);
    person.sees("ready");
    let pid = nix::unistd::Pid::from_raw(person.child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::SIGTERM).unwrap();
    assert_eq!(person.leaves(), Some(143));
    assert_eq!(person.settings(), fresh_settings());
}

#[test]
fn all_that_the_target_wrote_last_is_shown() {
    let mut person = Person::runs(&[], &["sh", "-c", "seq 1 20000; echo the-end"]);
    person.sees("\n20000\r\nthe-end\r\n");
    assert_eq!(person.leaves(), Some(0));
}

#[test]
fn the_callers_terminal_is_out_of_reach_inside() {
    let mut person =
        Person::runs(&[], &["sh", "-c", "ls -1 /dev/pts; ls -l /dev/console | cut -c1"]);
    person.sees("0\r\nptmx\r\nc\r\n");
    assert_eq!(person.leaves(), Some(0));
}

#[test]
fn a_tty_can_be_refused() {
    let script = "tty; readlink /proc/self/fd/0; exit 0";
    let mut person = Person::runs(&["--no-tty"], &["sh", "-c", script]);
    person.sees("not a tty");
    assert_eq!(person.leaves(), Some(0));
}

#[test]
fn a_pipe_into_a_forced_tty_ends_like_ctrl_d() {
    let mut command = support::run_command(&["--tty"], &["cat"]);
    let mut child = command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"line\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", support::said(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "line\r\nline\r\n", "echoed, then copied");
}

#[test]
fn a_reader_that_reads_nothing_does_not_stop_the_clock() {
    let began = Instant::now();
    let mut command = support::run_command(&["--tty", "--timeout", "500ms"], &["yes"]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(124));
    assert!(began.elapsed() < Duration::from_secs(8));
}

#[test]
fn a_reader_that_leaves_hangs_up_the_terminal() {
    let mut command = support::run_command(&["--tty"], &["yes"]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut some = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut some).unwrap();
    let patience = Instant::now() + Duration::from_secs(10);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > patience {
            child.kill().unwrap();
            panic!("it still runs");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(child.wait().unwrap().code(), Some(128 + 1), "ended by SIGHUP");
}

#[test]
fn an_unreadable_input_is_an_ended_one() {
    let mut command = support::run_command(&["--tty", "--timeout", "5s"], &["cat"]);
    command.stdin(File::open("/").unwrap()).stdout(std::process::Stdio::null());
    assert_eq!(command.status().unwrap().code(), Some(0));
}
