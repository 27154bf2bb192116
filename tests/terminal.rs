//! At a terminal: the target's own pty, job control, resizing, and the caller's terminal
//! restored whatever happens.

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::pty::openpty;
use support::person::{Person, SIZE, Settings, settings};
use support::rootfs;

fn person(options: &[&str], words: &[&str]) -> Person {
    let rootfs = rootfs();
    Person::at(&[&["run"], options, &[rootfs.to_str().unwrap()], words].concat())
}

fn fresh_settings() -> Settings {
    settings(&openpty(Some(&SIZE), None).unwrap().slave)
}

#[test]
fn a_shell_has_its_own_terminal_with_job_control() {
    let mut person = person(&[], &["/bin/sh"]);
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
    let mut person = person(
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
    let mut person = person(&[], &["sh", "-c", script]);
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
        let mut person = person(&[], &["sh", "-c", &script]);
        person.sees("ready");
        assert_eq!(person.leaves(), Some(128 + signal));
        assert_eq!(person.settings(), fresh_settings());
    }
}

#[test]
fn the_terminal_is_restored_when_minirun_is_terminated() {
    let mut person = person(&[], &["sh", "-c", "echo ready; sleep 98765"]);
    person.sees("ready");
    let pid = nix::unistd::Pid::from_raw(person.child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::SIGTERM).unwrap();
    assert_eq!(person.leaves(), Some(143));
    assert_eq!(person.settings(), fresh_settings());
}

#[test]
fn all_that_the_target_wrote_last_is_shown() {
    let mut person = person(&[], &["sh", "-c", "seq 1 20000; echo the-end"]);
    person.sees("\n20000\r\nthe-end\r\n");
    assert_eq!(person.leaves(), Some(0));
}

#[test]
fn the_callers_terminal_is_out_of_reach_inside() {
    let mut person = person(&[], &["sh", "-c", "ls -1 /dev/pts; ls -l /dev/console | cut -c1"]);
    person.sees("0\r\nptmx\r\nc\r\n");
    assert_eq!(person.leaves(), Some(0));
}

#[test]
fn a_tty_can_be_refused() {
    let script = "tty; readlink /proc/self/fd/0; exit 0";
    let mut person = person(&["--no-tty"], &["sh", "-c", script]);
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
