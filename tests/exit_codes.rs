//! Exit codes and errors: what the caller is told.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use support::{TempDir, minirun, run, said, stderr};

fn assert_fails(output: &std::process::Output, code: i32, words: &[&str]) {
    assert_eq!(output.status.code(), Some(code), "{}", said(output));
    let text = stderr(output);
    assert!(text.starts_with("minirun: ") && text.ends_with('\n'), "{text:?}");
    assert_eq!(text.lines().count(), 1, "one sentence: {text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in: {text}");
    }
}

#[test]
fn the_targets_own_status_comes_through() {
    for code in [0, 1, 7, 124, 125, 126, 127, 255] {
        let output = run(&[], &["sh", "-c", &format!("exit {code}")]);
        assert_eq!(output.status.code(), Some(code));
    }
}

#[test]
fn a_signal_is_128_plus_its_number_with_and_without_an_init() {
    for signal in [1, 2, 6, 9, 11, 15] {
        let output = run(&[], &["sh", "-c", &format!("kill -{signal} $$")]);
        assert_eq!(output.status.code(), Some(128 + signal), "{}", said(&output));
    }
    let output = run(&["--no-init"], &["sh", "-c", "exit 9"]);
    assert_eq!(output.status.code(), Some(9));
}

#[test]
fn a_missing_program_is_127_and_the_error_says_what_is_there() {
    let words = ["execute nosuch in the container (COMMAND)", "ENOENT", "which has /bin/sh"];
    assert_fails(&run(&[], &["nosuch"]), 127, &words);
    assert_fails(&run(&[], &["/bin/nosuch"]), 127, &["ENOENT"]);
    assert_fails(&run(&["--no-init"], &["nosuch"]), 127, &["ENOENT"]);
}

#[test]
fn what_cannot_be_executed_is_126() {
    let dir = TempDir::new("exec");
    let file = dir.file("file");
    fs::write(&file, "no program").unwrap();
    let bind = format!("{}:/mnt", dir.path().display());
    assert_fails(&run(&["-v", &bind], &["/mnt/file"]), 126, &["EACCES", "chmod +x"]);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    assert_fails(&run(&["-v", &bind], &["/mnt/file"]), 126, &["ENOEXEC", "exec format error"]);
    assert_fails(&run(&[], &["/etc"]), 126, &["EACCES", "it is a directory"]);
    fs::write(&file, "#!/no/interpreter -x\n").unwrap();
    let words = ["ENOENT", "it is there, but the interpreter that it names"];
    assert_fails(&run(&["-v", &bind], &["/mnt/file"]), 127, &words);
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(dir.path().join("bin")).unwrap();
    fs::rename(&file, dir.path().join("bin/file")).unwrap();
    let output = minirun(&["run", dir.path().to_str().unwrap(), "file"]).output().unwrap();
    assert_fails(&output, 127, &["ENOENT", "its interpreter /no/interpreter is not"]);
}

#[test]
fn a_wrong_rootfs_is_125_and_says_what_to_do() {
    let dir = TempDir::new("rootfs");
    let file = dir.file("file");
    fs::write(&file, "").unwrap();
    let at = |path: &str| minirun(&["run", path, "true"]).output().unwrap();
    assert_fails(
        &at("/nowhere"),
        125,
        &["open the root filesystem /nowhere (ROOTFS)", "ENOENT", "rootfs/build.sh"],
    );
    assert_fails(&at(&file), 125, &["ENOTDIR", "a root filesystem is a directory"]);
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    assert_fails(&at(empty.to_str().unwrap()), 127, &["has no programs in it", "rootfs/build.sh"]);
}

#[test]
fn a_failing_mount_names_its_option() {
    let words =
        ["bind /no/source on /mnt", "(--bind /no/source:/mnt)", "ENOENT", "must exist on the host"];
    assert_fails(&run(&["-v", "/no/source:/mnt"], &["true"]), 125, &words);
    let words = ["mount tmpfs on /mnt", "(--tmpfs /mnt)", "EINVAL"];
    assert_fails(&run(&["--tmpfs", "/mnt:nonsense=1"], &["true"]), 125, &words);
}

#[test]
fn limits_too_small_to_start_in_are_named() {
    if support::skipped(support::without_root()) {
        return;
    }
    assert_fails(&run(&["--memory", "4k"], &["true"]), 125, &["killed by signal 9", "--memory"]);
    assert_fails(&run(&["--pids", "1"], &["true"]), 125, &["EAGAIN", "--pids"]);
}

#[test]
fn the_hosts_root_is_not_covered_by_an_overlay() {
    let output = minirun(&["run", "--ephemeral", "/", "true"]).output().unwrap();
    assert_fails(&output, 125, &["EBUSY", "can't be covered"]);
    assert!(!std::path::Path::new("/upper").exists(), "a layer was made on the host");
}

#[test]
fn a_symlinked_proc_is_refused() {
    let dir = TempDir::new("proc");
    fs::create_dir(dir.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("/elsewhere", dir.path().join("proc")).unwrap();
    let output = minirun(&["run", dir.path().to_str().unwrap(), "true"]).output().unwrap();
    assert_fails(&output, 125, &["mount proc on /proc", "ELOOP", "symlink"]);
}

#[test]
fn wrong_usage_is_125() {
    for args in [
        &["run"][..],
        &["run", "--nonsense", "/r"],
        &["run", "--user", "abc", "/r"],
        &["run", "--timeout", "soon", "/r"],
        &["run", "--memory", "1x", "/r"],
        &["run", "--security-opt", "seccomp=/no/such.json", "/r"],
        &["run", "--detach", "--tty", "/r"],
        &["fly"],
        &[],
    ] {
        let output = minirun(args).output().unwrap();
        assert_eq!(output.status.code(), Some(125), "{args:?}: {}", said(&output));
        assert!(!output.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn an_unknown_option_is_not_taken_for_the_command() {
    let words = ["--readonly stands where the command should", "run has no such option"];
    assert_fails(&run(&[], &["--readonly", "ls"]), 125, &words);
    assert!(run(&[], &["echo", "--readonly"]).status.success(), "the command's own pass");
}

#[test]
fn help_and_version_succeed() {
    for args in [&["--help"][..], &["run", "--help"], &["plan", "--help"], &["--version"]] {
        let output = minirun(args).output().unwrap();
        assert!(output.status.success() && !output.stdout.is_empty(), "{args:?}");
    }
    let version = minirun(&["--version"]).output().unwrap().stdout;
    assert!(String::from_utf8_lossy(&version).starts_with("minirun version "));
}

#[test]
fn files_for_results_are_not_left_empty_when_the_run_fails() {
    let dir = TempDir::new("results");
    let (report, trace) = (dir.file("report"), dir.file("trace"));
    let output = run(&["--report", &report, "--trace", &trace], &["nosuch"]);
    assert_eq!(output.status.code(), Some(127));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    fs::write(&report, "precious").unwrap();
    assert_eq!(run(&["--report", &report], &["nosuch"]).status.code(), Some(127));
    assert_eq!(fs::read_to_string(&report).unwrap(), "precious");
    assert_eq!(run(&["--report", &report], &["true"]).status.code(), Some(0));
    assert!(fs::read_to_string(&report).unwrap().starts_with('{'));
    let marker = format!("{}:/mnt", dir.path().display());
    let words = ["create /no/dir/pid (--pid-file)", "ENOENT"];
    let options = ["-v", &marker, "--pid-file", "/no/dir/pid"];
    assert_fails(&run(&options, &["touch", "/mnt/ran"]), 125, &words);
    assert!(!dir.path().join("ran").exists(), "the target ran first");
    let words = ["create /no/dir/report (--report)", "ENOENT"];
    assert_fails(&run(&["--report", "/no/dir/report"], &["true"]), 125, &words);
}
