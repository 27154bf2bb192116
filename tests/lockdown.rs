//! How far a container of `run ROOTFS` is locked down when nothing is asked for, seen from
//! inside, and what each loosening gives back.

mod support;

use std::fs;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::{TempDir, minirun, rootfs, run, run_command, said, script, skipped, without_root};

/// The answer to one system call inside, by the probe in `dir`.
fn answer(dir: &TempDir, options: &[&str], call: &str) -> i64 {
    let bind = format!("{}:/mnt:ro", dir.path().display());
    let options = [&["--bind", &bind], options].concat();
    let words: Vec<&str> = ["/mnt/probe"].into_iter().chain(call.split(' ')).collect();
    let output = run(&options, &words);
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    text.parse().unwrap_or_else(|_| panic!("{call}: {}", said(&output)))
}

const UNCONFINED: &[&str] = &["--security-opt", "seccomp=unconfined"];

#[test]
fn the_default_filter_keeps_programs_away_from_what_reaches_the_machine() {
    let dir = TempDir::new("default-filter");
    if support::probe(dir.path()).is_none() {
        return;
    }
    // With arguments that the kernel itself would refuse with another errno.
    for (call, what) in [
        ("x86_64 165 0 0 0", "mount"),
        ("i386 21 0 0 0", "mount, as i386 programs call it"),
        ("x86_64 272 0x10000001", "unshare, a user namespace"),
        ("x86_64 56 0x10000200", "clone, a user namespace"),
        ("x86_64 250 99", "keyctl"),
        ("x86_64 41 40 0 0", "socket, AF_VSOCK"),
        ("x86_64 41 38 0 0", "socket, AF_ALG"),
    ] {
        assert_eq!(answer(&dir, &[], call), -1, "{what}");
        assert_ne!(answer(&dir, UNCONFINED, call), -1, "{what} is the filter's doing");
    }
    for (call, expected, what) in [
        ("x86_64 101 0", 0, "ptrace, PTRACE_TRACEME"),
        ("x86_64 135 0xffffffff", 0, "personality, a question"),
        ("x86_64 135 0x40000", -1, "personality, no random addresses"),
        ("x86_64 435 0 0", -38, "clone3, so that clone is used"),
        ("x86_64 468 0 0", -38, "newer than the profile"),
    ] {
        assert_eq!(answer(&dir, &[], call), expected, "{what}");
    }
    let admin = &["--cap-add", "SYS_ADMIN"];
    assert_eq!(answer(&dir, admin, "x86_64 435 0 0"), -22, "clone3 goes with CAP_SYS_ADMIN");
}

#[test]
fn the_filter_is_on_and_can_be_left_out() {
    let seccomp = |options: &[&str]| script(options, "grep Seccomp: /proc/self/status");
    assert_eq!(seccomp(&[]), "Seccomp:\t2\n");
    assert_eq!(seccomp(&["--security-opt", "no-new-privileges=false"]), "Seccomp:\t2\n");
    assert_eq!(seccomp(UNCONFINED), format!("Seccomp:\t{}\n", own_seccomp()));
}

/// 2 where the tests themselves run in a container.
fn own_seccomp() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("Seccomp:\t"));
    line.unwrap().to_owned()
}

#[test]
fn a_profile_from_a_file_replaces_the_default() {
    let dir = TempDir::new("profile");
    let rule = |more: Value| {
        let mut rule = json!({ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO" });
        rule["errnoRet"] = json!(libc::EPROTO);
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] })
    };
    let without_kill = json!({ "excludes": { "caps": ["CAP_KILL"] } });
    for (profile, options, refused) in [
        (rule(json!({})), &[][..], true),
        (rule(without_kill.clone()), &[], false),
        (rule(without_kill), &["--cap-drop", "KILL"], true),
    ] {
        let file = dir.file("profile.json");
        fs::write(&file, profile.to_string()).unwrap();
        let option = format!("seccomp={file}");
        let options = [&["--tmpfs", "/mnt", "--security-opt", &option], options].concat();
        let output = run(&options, &["mkdir", "/mnt/x"]);
        let errors = support::stderr(&output);
        assert_eq!(errors.contains("Protocol error"), refused, "{options:?} {}", said(&output));
        assert_eq!(output.status.success(), !refused);
    }
}

#[test]
fn what_is_wrong_with_a_profile_is_told_by_its_path() {
    let dir = TempDir::new("bad-profile");
    let file = dir.file("profile.json");
    let option = format!("seccomp={file}");
    for (text, words) in [
        ("{", "--security-opt seccomp"),
        ("[]", "--security-opt seccomp"),
        (r#"{ "defaultAction": "SCMP_ACT_NO" }"#, "seccomp defaultAction"),
        (r#"{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{}] }"#, "seccomp syscalls[0]"),
    ] {
        fs::write(&file, text).unwrap();
        let output = run(&["--security-opt", &option], &["true"]);
        assert_eq!(output.status.code(), Some(125), "{text}: {}", said(&output));
        assert!(support::stderr(&output).contains(words), "{text}: {}", said(&output));
    }
}

#[test]
fn spec_writes_the_filter_that_run_has() {
    let spec = |options: &[&str]| -> Value {
        let mut command = minirun(&["spec", "--print"]);
        let output = command.args(options).arg(rootfs()).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)))
    };
    let plain = spec(&[]);
    let seccomp = &plain["linux"]["seccomp"];
    assert_eq!(seccomp["defaultAction"], "SCMP_ACT_ERRNO");
    let allows = |spec: &Value, name: &str| {
        let rules = spec["linux"]["seccomp"]["syscalls"].as_array().unwrap();
        rules.iter().any(|rule| {
            rule["names"].as_array().unwrap().contains(&name.into()) && rule["args"].is_null()
        })
    };
    assert!(allows(&plain, "openat") && !allows(&plain, "mount"));
    assert!(allows(&spec(&["--cap-add", "SYS_ADMIN"]), "mount"));
    assert!(spec(UNCONFINED)["linux"]["seccomp"].is_null());
    for options in [&[][..], &["--cap-add", "SYS_ADMIN"]] {
        let dir = TempDir::new("spec-filter");
        fs::write(dir.path().join("config.json"), spec(options).to_string()).unwrap();
        let bundle = dir.file("");
        let filter = |command: &mut Command| {
            let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
            let line = text.lines().find_map(|line| line.split("install seccomp filter").nth(1));
            line.expect("a filter").split(" [").next().unwrap().to_owned()
        };
        let run = filter(minirun(&["plan"]).args(options).arg(rootfs()));
        assert_eq!(run, filter(&mut minirun(&["plan", "--bundle", &bundle])));
    }
}

#[test]
fn nothing_of_the_callers_identity_is_inherited() {
    if skipped(without_root()) {
        return;
    }
    // A caller with groups, a wide umask and capabilities to pass on.
    let mut command = Command::new("setpriv");
    command.args(["--groups", "4,24,27", "--inh-caps", "+sys_admin,+net_admin", "sh", "-c"]);
    command.arg("umask 000; exec \"$@\"").arg("sh").arg(support::binary()).arg("run");
    command.arg(rootfs()).args([
        "sh",
        "-c",
        "id -G; umask; grep -E 'Cap(Inh|Amb)' /proc/self/status",
    ]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let expected = "0\n0022\nCapInh:\t0000000000000000\nCapAmb:\t0000000000000000\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{}", said(&output));
}

#[test]
fn the_session_keyring_is_a_new_one() {
    let dir = TempDir::new("keyring");
    let Some(probe) = support::probe(dir.path()) else { return };
    // keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0)
    let call = "x86_64 250 0 0xfffffffffffffffd 0";
    let outside = Command::new(probe).args(call.split(' ')).output().unwrap();
    let outside: i64 = String::from_utf8_lossy(&outside.stdout).trim().parse().unwrap();
    let inside = answer(&dir, UNCONFINED, call);
    assert!(inside > 0 && inside != outside, "{inside} {outside}");
}

#[test]
fn devices_are_the_harmless_ones_and_no_others_can_be_made() {
    let devices = script(&[], "cd /dev && find . -type b -o -type c | sort | tr '\\n' ' '");
    let expected = "./full ./null ./pts/ptmx ./random ./tty ./urandom ./zero ";
    assert_eq!(devices, expected);
    let output = run(&["--tmpfs", "/mnt"], &["mknod", "/mnt/disk", "b", "8", "0"]);
    assert!(support::stderr(&output).contains("not permitted"), "{}", said(&output));
}

#[test]
fn the_machine_can_be_neither_changed_nor_spied_upon() {
    for attempt in [
        "echo 1 > /proc/sys/kernel/printk",
        "echo 0 > /proc/irq/default_smp_affinity",
        "echo 0 > /sys/class/net/lo/ifalias",
        "dmesg",
        "date -s 2001-01-01",
        "mount -t tmpfs x /mnt",
        "ip link set lo down",
        "cat /proc/1/environ",
    ] {
        let output = run(&[], &["sh", "-c", attempt]);
        let errors = support::stderr(&output).to_lowercase();
        let refused = ["read-only", "not permitted", "denied"].map(|why| errors.contains(why));
        assert!(refused.contains(&true), "{attempt}: {}", said(&output));
    }
    for empty in ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/interrupts"] {
        let words = ["sh", "-c", "[ ! -e $0 ] || [ -z \"$(head -c 1 $0)\" ]", empty];
        assert!(run_command(&[], &words).status().unwrap().success(), "{empty}");
    }
}
