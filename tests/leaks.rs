//! Nothing is left behind: no mount, process, cgroup, descriptor or file, whatever fails
//! and whenever it is killed.

mod support;

use std::process::{Command, Stdio};
use std::time::Duration;

use support::{Traces, alone, binary, is_root, rootfs, run, run_command, said, skipped};

/// Options that use everything that could leak.
fn everything() -> Vec<&'static str> {
    let mut options = vec!["--ephemeral", "--tmpfs", "/mnt", "-v", "/etc:/media:ro", "-w", "/tmp"];
    if is_root() {
        options.extend(["--memory", "32m", "--pids", "32", "--cpus", "1"]);
    }
    options
}

#[test]
fn a_run_leaves_nothing() {
    let _turn = alone();
    let before = Traces::now();
    for options in [vec![], everything(), vec!["--no-init"], vec!["--userns", "single"]] {
        let output = run(&options, &["sh", "-c", "sleep 98765 & mount; true"]);
        assert!(output.status.success(), "{}", said(&output));
        before.assert_nothing_new(&format!("{options:?}"));
    }
}

#[test]
fn a_failed_run_leaves_nothing() {
    let _turn = alone();
    let before = Traces::now();
    let everything = everything();
    for (options, words) in [
        (&everything[..], &["nosuch"][..]),
        (&["--tmpfs", "/mnt:nonsense=1"], &["true"]),
        (&["-v", "/no/source:/mnt"], &["true"]),
        (&["--ulimit", "nofile=1:1"], &["true"]),
        (&["--userns", "single", "-w", "/proc/1/root/x"], &["true"]),
    ] {
        run(options, words);
        before.assert_nothing_new(&format!("{options:?} {words:?}"));
    }
}

#[test]
fn a_runtime_that_is_killed_at_any_time_leaves_nothing() {
    let _turn = alone();
    let before = Traces::now();
    let everything = everything();
    // Across the whole start-up, and some time into the target's life.
    for microseconds in (0..6000).step_by(60) {
        let mut child = run_command(&everything, &["sleep", "98765"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_micros(microseconds));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    before.assert_nothing_new("SIGKILL of the runtime");
}

/// strace kills the traced process at its N-th system call, for every N: once only the
/// runtime, once whoever of runtime and container gets there first.
#[test]
fn a_kill_at_every_system_call_leaves_nothing_and_is_told() {
    if skipped(
        (Command::new("strace").arg("-V").output().is_err()).then_some("strace is not installed"),
    ) {
        return;
    }
    let _turn = alone();
    let before = Traces::now();
    let everything = everything();
    for follow in [&[][..], &["-f"][..]] {
        let (mut completed, mut killed) = (0, 0);
        for call in 1..2000 {
            let inject = format!("inject=all:signal=SIGKILL:when={call}");
            let output = Command::new("strace")
                .args(follow)
                .args(["-o", "/dev/null", "-e", &inject])
                .arg(binary())
                .arg("run")
                .args(&everything)
                .arg(rootfs())
                .args(["sh", "-c", "exit 42"])
                .stdin(Stdio::null())
                .output()
                .unwrap();
            match output.status.code() {
                // The count is larger than what the run needs: everything was covered.
                Some(42) => completed += 1,
                // Killed, or a container that was: then the error says so.
                Some(125) => assert!(
                    support::stderr(&output).starts_with("minirun: "),
                    "call {call}: {}",
                    said(&output)
                ),
                _ => killed += 1,
            }
            if completed == 3 {
                break;
            }
            if call % 16 == 0 {
                before.assert_nothing_new(&format!("SIGKILL at call {call} {follow:?}"));
            }
        }
        assert_eq!(completed, 3, "no run ended by itself");
        assert!(killed > 50, "only {killed} runs were killed");
        before.assert_nothing_new("SIGKILL at every call");
    }
}

#[test]
fn a_thousand_runs_in_a_row_leave_nothing() {
    let _turn = alone();
    let before = Traces::now();
    for round in 0..1000 {
        let output = run(&[], &["true"]);
        assert!(output.status.success(), "round {round}: {}", said(&output));
    }
    before.assert_nothing_new("a thousand runs");
}

#[test]
fn eight_at_once_leave_nothing() {
    let _turn = alone();
    let before = Traces::now();
    let everything = everything();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let options = if number % 2 == 0 { &everything[..] } else { &[] };
            scope.spawn(move || {
                for round in 0..40 {
                    let output = run(options, &["sh", "-c", "(sleep 98765 &); exit 7"]);
                    assert_eq!(output.status.code(), Some(7), "round {round}: {}", said(&output));
                }
            });
        }
    });
    before.assert_nothing_new("eight at once");
}

#[test]
fn a_library_caller_keeps_its_descriptors_and_children() {
    let _turn = alone();
    let count = |dir: &str| std::fs::read_dir(dir).unwrap().count();
    let container = minirun::Container::new(rootfs());
    container.command("true").status().unwrap();
    let descriptors = count("/proc/self/fd");
    for _ in 0..20 {
        container.command("true").output().unwrap();
        container.command("/nosuch").status().unwrap_err();
    }
    assert_eq!(count("/proc/self/fd"), descriptors);
    let children = std::fs::read_to_string("/proc/thread-self/children").unwrap();
    assert_eq!(children, "", "zombies or processes are left");
}

#[test]
fn an_interrupted_run_leaves_nothing() {
    let _turn = alone();
    let before = Traces::now();
    for milliseconds in [1, 2, 4, 30] {
        let mut child = run_command(&everything(), &["sleep", "98765"]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        let pid = nix::unistd::Pid::from_raw(child.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::SIGINT).unwrap();
        child.wait().unwrap();
    }
    before.assert_nothing_new("SIGINT");
}
