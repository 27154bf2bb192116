//! `minirun lab`: what of the course is found in its list, and how a lab is run by it. That
//! each lab proves its claim is for .ci/examples and .ci/rootless to see.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::{TempDir, binary, copy_program, rootfs, said};

/// `minirun-lab` with these words; what it wrote, and its status.
fn lab(words: &str) -> (String, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_minirun-lab"));
    let output = command.args(words.split_whitespace()).output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.code())
}

#[test]
fn the_list_has_every_lab_and_fits_eighty_columns() {
    let (list, status) = lab("");
    assert_eq!(status, Some(0));
    for line in list.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let examples = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")).unwrap();
    let mut files: Vec<String> = examples
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter_map(|file| Some(file.strip_suffix(".rs")?.replace('_', "-")))
        .collect();
    files.sort();
    let (names, _) = lab("--names");
    let mut names: Vec<&str> = names.lines().collect();
    assert!(names.iter().all(|name| list.contains(&format!("\n  {name} "))));
    names.sort_unstable();
    assert_eq!(names, files);
}

#[test]
fn what_a_reader_looks_for_leads_to_a_lab() {
    for words in [
        "hello world",
        "system calls",
        "getppid loop",
        "one CPU",
        "fork + execve",
        "vfork",
        "pstree",
        "host pid",
        "states R, S",
        "idle",
        "foreground",
        "background",
        "daemon",
        "process table",
        "zombie",
        "stack",
        "page faults",
        "shared memory",
        "SIGUSR1",
        "SIGKILL",
        "UNIX socket",
        "TCP",
        "core dump",
        "flock",
        "lost updates",
        "atomic",
        "orphans",
        "pid namespace",
        "net namespace",
        "ipc namespace",
        "mnt namespace",
        "uts namespace",
        "user namespace",
        "cgroup namespace",
        "time namespace",
        "/proc/PID",
        "kill -9",
        "LWP",
        "kernel threads",
        "thread creation cost",
        "context switches",
        "OOM",
        "fork bomb",
        "throttling",
        "capability",
        "seccomp",
        "set-uid",
    ] {
        let (found, status) = lab(words);
        assert!(status == Some(0) && found.starts_with("Labs about"), "{words}: {found}");
    }
}

#[test]
fn a_name_that_is_none_is_answered_with_the_nearest() {
    let (answer, status) = lab("uts-hots-name");
    assert!(answer.contains("did you mean minirun lab uts-hostname?"), "{answer}");
    assert_eq!(status, Some(2));
    let (answer, status) = lab("quantum");
    assert!(answer.contains("minirun lab lists all"), "{answer}");
    assert_eq!(status, Some(2));
}

#[test]
fn minirun_runs_a_lab_of_the_program_beside_it_in_a_root_of_its_own_making() {
    let dir = TempDir::new("lab");
    copy_program(&binary(), &dir.path().join("minirun"));
    let minirun_lab = |path: &str| {
        let mut command = Command::new(dir.path().join("minirun"));
        command.args(["lab", "uts-hostname"]).current_dir(dir.path()).env_clear();
        command.env("PATH", path).env("HOME", dir.path());
        command.env("BUSYBOX", rootfs().join("bin/busybox")).output().unwrap()
    };
    let alone = minirun_lab("/nowhere");
    assert!(said(&alone).contains("neither beside minirun nor in PATH"), "{}", said(&alone));
    assert_eq!(alone.status.code(), Some(125));

    copy_program(Path::new(env!("CARGO_BIN_EXE_minirun-lab")), &dir.path().join("minirun-lab"));
    let output = minirun_lab(&std::env::var("PATH").unwrap());
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("not to the machine: ok"), "{}", said(&output));
    assert!(dir.path().join(".cache/minirun/rootfs/bin/busybox").exists());
}
