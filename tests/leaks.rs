//! Nothing is left behind: no mount, process, cgroup, descriptor or file, whatever fails
//! and whenever it is killed.

mod support;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use support::{TempDir, Traces, alone, binary, is_root, rootfs, run, run_command, said, skipped};

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

/// A run under strace, with these options of strace.
fn traced(options: &[&str], run_options: &[&str]) -> std::process::Output {
    Command::new("strace")
        .args(options)
        .arg(binary())
        .arg("run")
        .args(run_options)
        .arg(rootfs())
        .args(["sh", "-c", "exit 42"])
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// How often a run makes each system call: `name(` begins it, behind a pid with -f.
fn system_calls(log: &str) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for line in log.lines() {
        let call = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
        if let Some((name, _)) = call.split_once('(').filter(|(name, _)| !name.contains(' ')) {
            *counts.entry(name.to_owned()).or_default() += 1;
        }
    }
    counts
}

/// strace kills the process that makes a system call for the N-th time, for every call
/// and every N: the runtime, and the container at all that only it does.
#[test]
fn a_kill_at_every_system_call_leaves_nothing_and_is_told() {
    let missing = Command::new("strace").arg("-V").output().is_err();
    if skipped(missing.then_some("strace is not installed")) {
        return;
    }
    let _turn = alone();
    let dir = TempDir::new("strace");
    let log = dir.file("log");
    let before = Traces::now();
    let mut options = everything();
    if !is_root() {
        // A traced newuidmap loses its set-uid bit, and with it its purpose.
        options.extend(["--userns", "single"]);
    }
    let output = traced(&["-f", "-o", &log], &options);
    assert_eq!(output.status.code(), Some(42), "{}", said(&output));
    let calls = system_calls(&std::fs::read_to_string(&log).unwrap());
    assert!(calls.contains_key("pivot_root") && calls.contains_key("clone3"), "{calls:?}");
    let (mut runs, mut disturbed) = (0, 0);
    // At rmdir the kill would meet both who remove the cgroup, the sweeper and then the
    // runtime that stands in for it.
    for (name, count) in calls.into_iter().filter(|(name, _)| name != "rmdir") {
        // Target and init make a few of each, after the container has been set up.
        for number in 1..=count.min(60) {
            let inject = format!("inject={name}:signal=SIGKILL:when={number}");
            let output = traced(&["-f", "-o", "/dev/null", "-e", &inject], &options);
            runs += 1;
            match output.status.code() {
                Some(42) => {}
                // The container was killed; then the error says so.
                Some(125) => {
                    let told = support::stderr(&output).starts_with("minirun: ");
                    assert!(told, "{inject}: {}", said(&output));
                    disturbed += 1;
                }
                _ => disturbed += 1,
            }
        }
        before.assert_nothing_new(&format!("SIGKILL at any {name}"));
    }
    println!("{disturbed} of {runs} runs were disturbed");
    assert!(disturbed > 100, "only {disturbed} of {runs} runs were disturbed");
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
