//! Signals, timeouts and orphans: what init and the runtime do with them.

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{run, run_command, said, script};

/// Starts a script and waits for its first line.
fn start(options: &[&str], script: &str) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child =
        run_command(options, &["sh", "-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    (child, output)
}

#[test]
fn every_forwardable_signal_reaches_the_target() {
    use Signal::{
        SIGALRM, SIGCONT, SIGHUP, SIGINT, SIGPROF, SIGPWR, SIGQUIT, SIGTERM, SIGURG, SIGUSR1,
        SIGUSR2, SIGVTALRM, SIGWINCH, SIGXCPU,
    };
    for signal in [
        SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGTERM, SIGCONT, SIGURG, SIGXCPU,
        SIGVTALRM, SIGPROF, SIGWINCH, SIGPWR,
    ] {
        let number = signal as i32;
        let script =
            format!("trap 'echo got; exit 5' {number}; echo ready; while :; do sleep 0.05; done");
        let (mut child, mut output) = start(&[], &script);
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!((line.as_str(), child.wait().unwrap().code()), ("got\n", Some(5)), "{signal}");
    }
}

#[test]
fn real_time_signals_are_forwarded_too() {
    // The first that glibc leaves to programs, which musl keeps for itself, and another.
    for signal in [34, 40] {
        let script = format!("trap 'exit 6' {signal}; echo ready; while :; do sleep 0.05; done");
        let (mut child, _output) = start(&[], &script);
        let words = [format!("-{signal}"), child.id().to_string()];
        let status = std::process::Command::new("kill").args(words).status();
        assert!(status.unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(6), "{signal}");
    }
}

/// As under a daemon that doesn't wait for its children.
#[test]
fn a_caller_that_ignores_the_end_of_children_gets_the_status() {
    let ignoring = |words: &[&str]| {
        let mut command = run_command(words, &["sh", "-c", "(exit 2); exit $(($? + 1))"]);
        let ignore = || {
            // SAFETY: a system call only.
            let set = unsafe { nix::libc::signal(nix::libc::SIGCHLD, nix::libc::SIG_IGN) };
            assert_ne!(set, nix::libc::SIG_ERR);
            Ok(())
        };
        // SAFETY: nothing is allocated between fork and execve.
        unsafe { std::os::unix::process::CommandExt::pre_exec(&mut command, ignore) };
        command.output().unwrap()
    };
    for init in ["--init", "--no-init"] {
        let output = ignoring(&[init, "--timeout", "10s"]);
        assert_eq!(output.status.code(), Some(3), "{init}: {}", said(&output));
    }
}

#[test]
fn an_interrupted_run_ends_like_its_target() {
    let (mut child, _output) = start(&[], "echo ready; sleep 98765 & wait");
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn a_runtime_that_waits_lets_go_of_memory_and_wakes_up_all_the_same() {
    let script = "trap 'echo got; exit 5' USR1; echo ready; while :; do sleep 0.05; done";
    let (mut child, mut output) = start(&[], script);
    let kib = |field: &str| -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim_end_matches("kB").trim().parse().unwrap()
    };
    let patience = Instant::now() + Duration::from_secs(30);
    while kib("VmRSS:") > kib("VmHWM:") / 2 {
        assert!(Instant::now() < patience, "{} of {} KiB", kib("VmRSS:"), kib("VmHWM:"));
        std::thread::sleep(Duration::from_millis(20));
    }
    kill(Pid::from_raw(child.id() as i32), Signal::SIGUSR1).unwrap();
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!((line.as_str(), child.wait().unwrap().code()), ("got\n", Some(5)));
}

#[test]
fn a_run_that_is_killed_takes_its_container_along() {
    let (mut child, mut output) = start(&[], "echo ready; sleep 98765");
    child.kill().unwrap();
    child.wait().unwrap();
    let mut rest = String::new();
    // The pipe closes only when the last process inside is gone.
    std::io::Read::read_to_string(&mut output, &mut rest).unwrap();
}

#[test]
fn orphans_are_reaped_and_the_rest_dies_with_the_target() {
    let seen = script(
        &[],
        "
        for i in 1 2 3 4 5; do (sleep 0.05 & ) ; done
        sleep 0.4
        grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l
        (sleep 98765 &)",
    );
    assert_eq!(seen, "0\n");
}

#[test]
fn a_timeout_terminates_and_exits_with_124() {
    let began = Instant::now();
    let output = run(&["--timeout", "300ms"], &["sleep", "98765"]);
    assert_eq!(output.status.code(), Some(124), "{}", said(&output));
    assert!(began.elapsed() < Duration::from_secs(5));
    let script = "trap 'echo cleaned; exit 0' TERM; while :; do sleep 0.05; done";
    let output = run(&["--timeout", "300ms"], &["sh", "-c", script]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(124), &b"cleaned\n"[..]));
}

#[test]
fn a_target_that_ignores_the_timeout_is_killed() {
    let script = "trap '' TERM; while :; do sleep 0.05; done";
    for init in ["--init", "--no-init"] {
        let output =
            run(&[init, "--timeout", "200ms", "--kill-after", "200ms"], &["sh", "-c", script]);
        assert_eq!(output.status.code(), Some(124), "{}", said(&output));
    }
}

#[test]
fn a_target_in_time_keeps_its_status() {
    // Zero is no limit, as it is for timeout(1).
    for time in ["1h", "0"] {
        let output = run(&["--timeout", time], &["sh", "-c", "sleep 0.1; exit 4"]);
        assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    }
}

#[test]
fn the_target_starts_with_default_signals() {
    // Rust ignores SIGPIPE, and nohup SIGHUP; neither must reach the target.
    let output = run(&[], &["grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"]);
    let seen = String::from_utf8_lossy(&output.stdout);
    assert_eq!(seen, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

#[test]
fn a_signal_that_the_caller_ignores_stays_ignored() {
    let mut command = std::process::Command::new("nohup");
    command.arg(support::binary()).arg("run").arg(support::rootfs());
    command.args(["sh", "-c", "echo ready; sleep 0.5; echo unharmed"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    kill(Pid::from_raw(child.id() as i32), Signal::SIGHUP).unwrap();
    output.read_line(&mut line).unwrap();
    assert_eq!((line.as_str(), child.wait().unwrap().code()), ("ready\nunharmed\n", Some(0)));
}
