//! A host with many mounts: a container starts from the kernel's own mount namespace there,
//! and nothing in it tells.

mod support;

use std::fs;
use std::process::{Command, Output};

use serde_json::{Value, json};
use support::{
    TempDir, Traces, alone, binary, busybox_bundle, said, skipped, stderr, without_root,
};

/// The script that gives the host many mounts, and runs a command there.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/with_many_mounts");

fn minirun(words: &[&str]) -> Output {
    Command::new(SCRIPT).arg(binary()).args(words).output().unwrap()
}

/// Linux 6.12 is the first that tells of other mount namespaces, and only in the first pid
/// namespace.
fn without_kernel_mounts() -> Option<&'static str> {
    let dir = TempDir::new("probe");
    bundle(&dir, "true");
    let plan = minirun(&["plan", "--bundle", dir.path().to_str().unwrap()]);
    let plan = String::from_utf8(plan.stdout).unwrap();
    (!plan.contains("the kernel's own mount namespace"))
        .then_some("the kernel's own mount namespace can't be had here")
}

/// A bundle with something of every kind that comes from the host.
fn bundle(dir: &TempDir, script: &str) -> Value {
    let mut config = busybox_bundle(dir, "sh cat ls sleep true");
    for source in ["source", "source/inner"] {
        fs::create_dir_all(dir.path().join(source)).unwrap();
    }
    fs::write(dir.path().join("file"), "of the host\n").unwrap();
    let mount = |destination: &str, kind: &str, source: &str, options: &[&str]| json!({ "destination": destination, "type": kind, "source": source, "options": options });
    config["mounts"] = json!([
        mount("/proc", "proc", "proc", &[]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "mode=755"]),
        mount("/dev/pts", "devpts", "devpts", &["newinstance", "ptmxmode=0666"]),
        mount("/sys", "sysfs", "sysfs", &["ro"]),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro"]),
        mount("/bound", "bind", "source", &["rbind", "ro", "rslave"]),
        mount("/etc/file", "bind", "file", &["bind", "nosuid"]),
    ]);
    config["linux"]["maskedPaths"] = json!(["/proc/kcore", "/proc/keys", "/sys/firmware"]);
    config["linux"]["readonlyPaths"] = json!(["/proc/sys"]);
    config["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1", "kernel.domainname": "many" });
    config["process"]["args"] = json!(["/bin/sh", "-c", script]);
    fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    config
}

fn run(dir: &TempDir, on_many: bool) -> Output {
    let (state, bundle) = (dir.file("state"), dir.path().to_str().unwrap());
    let words = ["--root", &state, "run", "--bundle", bundle, "many-mounts"];
    if on_many { minirun(&words) } else { support::minirun(&words).output().unwrap() }
}

/// Mounts as mountinfo has them, without the numbers that each new one gets.
fn mounts(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{}", said(output));
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let is_number = |word: &&str| !word.contains(|c: char| !c.is_ascii_digit() && c != ':');
    let mut lines = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').filter(|word| !is_number(word)).collect();
        lines.push(words.join(" "));
    }
    lines.sort();
    lines
}

#[test]
fn a_container_is_the_same_as_on_a_host_with_few() {
    let _turn = alone();
    if skipped(without_root().or_else(without_kernel_mounts)) {
        return;
    }
    let dir = TempDir::new("many-mounts");
    let look = "cat /proc/self/mountinfo /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/domainname \
                /etc/file /proc/keys /proc/self/cgroup && ls / /bound /dev /sys/firmware";
    bundle(&dir, look);
    let traces = Traces::now();
    let (few, many) = (mounts(&run(&dir, false)), mounts(&run(&dir, true)));
    assert!(few.iter().any(|line| line == "of the host"), "{few:#?}");
    assert_eq!(many, few);
    traces.assert_nothing_new("runs");
}

#[test]
fn what_is_missing_is_named_by_its_field() {
    let _turn = alone();
    if skipped(without_root().or_else(without_kernel_mounts)) {
        return;
    }
    let dir = TempDir::new("many-missing");
    let mut config = bundle(&dir, "true");
    let mut refusal = |pointer: &str, value: &str| {
        let before = config.clone();
        *config.pointer_mut(pointer).unwrap() = json!(value);
        fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        config = before;
        stderr(&run(&dir, true))
    };
    let traces = Traces::now();
    for (pointer, place) in [("/mounts/5/source", "mounts[5]"), ("/root/path", "root.path")] {
        let said = refusal(pointer, "nowhere");
        assert!(said.contains(place) && said.contains("ENOENT"), "{said}");
    }
    let said = refusal("/root/path", "file");
    assert!(said.contains("root.path") && said.contains("ENOTDIR"), "{said}");
    let said = refusal("/mounts/4/destination", "/etc/file/below");
    assert!(said.contains("mounts[6]"), "{said}");
    traces.assert_nothing_new("refusals");
}

#[test]
fn what_the_host_mounts_later_reaches_binds_that_receive_it() {
    let _turn = alone();
    if skipped(without_root().or_else(without_kernel_mounts)) {
        return;
    }
    let dir = TempDir::new("many-receive");
    bundle(&dir, "echo up; until [ -e /bound/inner/later ]; do sleep 0.02; done; echo seen");
    let script = r#"cd $1; mount --bind source source; mount --make-shared source
        $2 --root state run --bundle . many-receive >said & runtime=$!
        for wait in $(seq 200); do grep -q up said && break; sleep 0.02; done
        mount -t tmpfs later source/inner; >source/inner/later
        for wait in $(seq 200); do grep -q seen said && break; sleep 0.02; done
        $2 --root state kill many-receive KILL 2>/dev/null; wait $runtime; cat said"#;
    let mut host = Command::new(SCRIPT);
    host.args(["sh", "-c", script, "sh"]).arg(dir.path()).arg(binary());
    let output = host.output().unwrap();
    assert_eq!(output.stdout, b"up\nseen\n", "{}", said(&output));
}
