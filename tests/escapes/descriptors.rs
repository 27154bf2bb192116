//! Descriptors of the host that a container could come by, and what they lead to.

use std::fs;
use std::process::{Command, Output};

use serde_json::json;

use crate::bundle::Bundle;
use crate::support::copy_program;
use crate::support::{binary, minirun, said, stderr};

/// More than minirun ever has open.
const NUMBERS: std::ops::Range<i32> = 3..16;

/// From any directory to the top.
const UP: &str = "../../../../../../../../../../../..";

/// A program of the host's, outside of the root filesystem.
fn program(bundle: &Bundle) -> String {
    copy_program(&bundle.path("rootfs/bin/busybox"), &bundle.path("outside/echo"));
    bundle.dir.file("outside/echo")
}

/// `run` by a shell that has opened the host's `/` as these descriptors.
fn with_leaks(bundle: &Bundle, descriptors: std::ops::RangeInclusive<i32>, option: &str) -> Output {
    let opened: String = descriptors.map(|number| format!("{number}</ ")).collect();
    let script = format!(
        "exec {opened}; exec {} --root $1/state run {option} --bundle $1 {}",
        binary().display(),
        bundle.id()
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh"]).arg(bundle.dir.path()).output().unwrap()
}

/// CVE-2024-21626, attack 3: the program's path leads through a descriptor that is open
/// while execve looks it up. The host's binary then runs inside, and can be overwritten.
#[test]
fn a_program_is_not_reached_through_descriptors() {
    let Some(bundle) = Bundle::new("fd-program") else { return };
    let program = program(&bundle);
    let script = "mount -t proc proc $1/rootfs/proc && exec 9</ && \
                  exec chroot $1/rootfs /bin/sh -c \"exec /proc/self/fd/9$1/outside/echo escaped\"";
    let output = bundle.undefended(script);
    assert_eq!(output.stdout, b"escaped\n", "the attack: {}", said(&output));

    let path = |number: i32| format!("/proc/self/fd/{number}/{UP}{program}");
    {
        let running = bundle.start("exec sleep 98765");
        for number in NUMBERS {
            bundle.link(path(number), "bin/login");
            for words in [&[&path(number), "escaped"][..], &["login", "escaped"]] {
                let output = running.exec(&[], words);
                assert!(output.stdout.is_empty(), "descriptor {number}: {}", said(&output));
                let text = stderr(&output);
                assert!(text.contains(&format!("execute {}", words[0])), "{text}");
            }
        }
    }
    for number in NUMBERS {
        let output = bundle.run(&[&path(number), "escaped"]);
        assert!(output.stdout.is_empty(), "descriptor {number}: {}", said(&output));
    }
    for number in NUMBERS {
        let root = bundle.dir.file("rootfs");
        let output = minirun(&["run", &root, &path(number), "escaped"]).output().unwrap();
        assert!(output.stdout.is_empty(), "descriptor {number}: {}", said(&output));
        assert_eq!(output.status.code(), Some(127), "{}", said(&output));
    }
}

/// CVE-2024-21626, attacks 1 and 2: a working directory through a descriptor.
#[test]
fn the_working_directory_is_not_reached_through_descriptors() {
    let Some(mut bundle) = Bundle::new("fd-cwd") else { return };
    let script = "mount -t proc proc $1/rootfs/proc && exec 9</ && \
                  exec chroot $1/rootfs /bin/sh -c \"cd /proc/self/fd/9$1/outside; cat secret\"";
    let output = bundle.undefended(script);
    assert_eq!(output.stdout, b"secret\n", "the attack: {}", said(&output));

    let outside = bundle.dir.file("outside");
    for number in NUMBERS {
        let cwd = format!("/proc/self/fd/{number}{outside}");
        bundle.config["process"]["cwd"] = json!(cwd);
        bundle.write(&["/bin/cat", "secret"]);
        let output = with_leaks(&bundle, 9..=9, "");
        assert!(output.stdout.is_empty(), "{cwd}: {}", said(&output));
        assert!(stderr(&output).contains("process.cwd"), "{cwd}: {}", said(&output));
    }
    // Even one that was passed on by intention is no way to stand outside.
    bundle.config["process"]["cwd"] = json!(format!("/proc/self/fd/5{outside}"));
    bundle.write(&["/bin/cat", "secret"]);
    let output = with_leaks(&bundle, 3..=5, "--preserve-fds 3");
    assert!(output.stdout.is_empty(), "{}", said(&output));
    assert!(stderr(&output).contains("process.cwd"), "{}", said(&output));

    bundle.config["process"]["cwd"] = json!("/");
    let running = bundle.start("exec sleep 98765");
    for number in NUMBERS {
        let cwd = format!("/proc/self/fd/{number}{outside}");
        let output = running.exec(&["--cwd", &cwd], &["cat", "secret"]);
        assert!(output.stdout.is_empty(), "{cwd}: {}", said(&output));
        assert!(stderr(&output).contains("--cwd"), "{cwd}: {}", said(&output));
    }
}

/// CVE-2015-3627 and CVE-2024-21626: descriptors that the caller or minirun has open.
#[test]
fn no_descriptor_of_the_host_gets_through() {
    let Some(mut bundle) = Bundle::new("fd-list") else { return };
    let output = bundle.undefended(
        "mount -t proc proc $1/rootfs/proc && exec 9<$1/outside/secret && \
         exec chroot $1/rootfs /bin/cat /proc/self/fd/9",
    );
    assert_eq!(output.stdout, b"secret\n", "the attack: {}", said(&output));

    // A hook on each side tells what it has.
    let told = bundle.dir.file("told");
    let script = format!("ls /proc/self/fd >> {told}");
    let hooks = json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }]);
    bundle.config["hooks"] =
        json!({ "createRuntime": hooks, "createContainer": hooks, "poststop": hooks });
    bundle.write(&["/bin/ls", "/proc/self/fd", "/proc/1/fd"]);
    let output = with_leaks(&bundle, 9..=9, "");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(text, "/proc/1/fd:\n0\n1\n2\n3\n\n/proc/self/fd:\n0\n1\n2\n3\n", "3 is ls's own");
    // Next comes ls's own.
    let told = fs::read_to_string(told).unwrap();
    assert_eq!(told.matches("0\n1\n2\n").count(), 3, "three hooks: {told}");
    assert!(!told.lines().any(|line| line == "9"), "descriptor 9 reached a hook: {told}");
    let refused = with_leaks(&bundle, 9..=9, "--preserve-fds 7");
    let text = stderr(&refused);
    assert!(text.contains("--preserve-fds") && text.contains("isn't open"), "{text}");
}

/// A container without a mount namespace is in its root by chroot(2) alone, which no
/// namespace that `exec` joins leads into.
#[test]
fn exec_stays_in_a_changed_root() {
    let Some(mut bundle) = Bundle::new("chroot") else { return };
    bundle.config["linux"]["namespaces"] = json!([{ "type": "pid" }]);
    bundle.config["mounts"] = json!([]);
    let secret = bundle.dir.file("outside/secret");
    let running = bundle.start("exec sleep 98765");
    let state = bundle.verb("state", &[bundle.id()]).output().unwrap();
    let state: serde_json::Value = serde_json::from_slice(&state.stdout).unwrap();
    let output = Command::new("nsenter")
        .args(["--pid", "--target", &state["pid"].to_string(), "cat", &secret])
        .output()
        .unwrap();
    assert_eq!(output.stdout, b"secret\n", "the attack: {}", said(&output));

    let output = running.exec(&[], &["/bin/cat", &secret]);
    assert!(output.stdout.is_empty() && !output.status.success(), "{}", said(&output));
    let output = running.exec(&[], &["/bin/ls", "/"]);
    assert_eq!(output.stdout, b"bin\ndev\nproc\nsys\ntmp\n", "{}", said(&output));
}
