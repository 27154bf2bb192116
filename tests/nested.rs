//! A container inside a container: minirun runs minirun. The outer one's root filesystem is
//! the host's, so that the program, its libraries and the inner root filesystem are there.

mod support;

use std::fs;
use std::process::Output;

use serde_json::{Value, json};
use support::{TempDir, binary, minirun, rootfs, said, skipped, stderr, without_root};

/// What minirun needs in a container to make another one without a user namespace.
const PRIVILEGED: &[&str] =
    &[UNFILTERED, "--cap-add=SYS_ADMIN", "--cap-add=NET_ADMIN", "--cap-add=MKNOD"];
const ALL: &[&str] = &[UNFILTERED, "--cap-add=ALL"];
const UNFILTERED: &str = "--security-opt=seccomp=unconfined";

/// `minirun run` with these words, in a container with these options.
fn nested(outer: &[&str], inner: &[&str]) -> Output {
    let binary = binary();
    let mut command = minirun(&["run"]);
    command.args(outer).args(["--timeout", "60", "/"]).arg(binary).arg("run").args(inner);
    command.output().expect("start minirun")
}

fn root() -> String {
    rootfs().to_str().expect("UTF-8").to_owned()
}

fn says(output: &Output, word: &str) {
    assert!(output.status.success(), "{}", said(output));
    assert!(String::from_utf8_lossy(&output.stdout).contains(word), "{}", said(output));
}

#[test]
fn a_privileged_container_runs_another_one() {
    says(&nested(ALL, &[&root(), "echo", "inside"]), "inside");
    if !skipped(without_root()) {
        says(&nested(PRIVILEGED, &[&root(), "echo", "inside"]), "inside");
    }
}

#[test]
fn so_does_root_of_a_user_namespace() {
    let outer = ["--userns", "single", UNFILTERED, "--cap-add=ALL"];
    let script = "read inside outside count </proc/self/uid_map; echo $inside $count; id -u";
    says(&nested(&outer, &[&root(), "sh", "-c", script]), "0 1\n0\n");
}

#[test]
fn three_deep() {
    let (binary, root) = (binary(), root());
    let middle = [UNFILTERED, "--cap-add=ALL", "/", binary.to_str().expect("UTF-8"), "run"];
    says(&nested(ALL, &[&middle[..], &[&root, "echo", "inside"]].concat()), "inside");
}

#[test]
fn a_bundle_that_asks_for_no_limits_does_without_the_cgroups_that_are_read_only_inside() {
    let script = format!(
        "cd /dev/shm && mkdir bundle && {0} spec --bundle bundle {1} echo inside &&
         {0} --root /dev/shm/state run --bundle bundle box",
        binary().display(),
        root(),
    );
    // A container without limits has no cgroups to see.
    let limited = [ALL, &["--memory", "64m"]].concat();
    let outer = if without_root().is_none() { &limited } else { ALL };
    let mut command = minirun(&["run"]);
    command.args(outer).args(["/", "sh", "-c", &script]);
    says(&command.output().expect("start minirun"), "inside");
    if !skipped(without_root()) {
        let output = nested(outer, &["--memory", "16m", &root(), "true"]);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(125), "{text}");
        assert!(text.contains("--memory") && text.contains("read-only"), "{text}");
    }
}

#[test]
fn what_an_ordinary_container_lacks_for_another_one_is_said() {
    let output = nested(&[UNFILTERED], &["--userns", "single", &root(), "true"]);
    assert_eq!(output.status.code(), Some(125), "{}", said(&output));
    let text = stderr(&output);
    assert!(text.contains("mount proc on /proc"), "{text}");
    assert!(text.contains("parts of /proc are covered here"), "{text}");
    assert!(text.contains("unmask=ALL"), "{text}");
    let output = nested(&[UNFILTERED], &["--userns", "none", &root(), "true"]);
    let text = stderr(&output);
    assert!(text.contains("CAP_SYS_ADMIN") && text.contains("MKNOD"), "{text}");
    for (outer, refused) in [(&[][..], "clone3"), (&["--cap-add=ALL"], "pivot_root")] {
        let output = nested(outer, &["--userns", "auto", &root(), "true"]);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(125), "{text}");
        assert!(text.contains(refused) && text.contains("seccomp=unconfined"), "{text}");
    }
}

/// A container with these limits that may make cgroups below its own, where this script runs.
fn with_cgroups(resources: &Value, script: &str) -> Output {
    let dir = TempDir::new("nested");
    let spec = minirun(&["spec", "--print", "--cap-add=ALL", UNFILTERED, "/", "sh", "-c", script])
        .output();
    let mut config: Value = serde_json::from_slice(&spec.unwrap().stdout).expect("a config.json");
    config["linux"]["resources"] = resources.clone();
    for mount in config["mounts"].as_array_mut().unwrap() {
        if mount["type"] == "cgroup" {
            mount["options"] = json!(["nosuid", "noexec", "nodev"]);
        }
    }
    fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    let id = dir.path().file_name().unwrap().to_str().unwrap().to_owned();
    let bundle = dir.path().to_str().unwrap().to_owned();
    let mut command = minirun(&["--root", &dir.file("root"), "run", "--bundle", &bundle, &id]);
    command.env("LC_ALL", "C").output().expect("start minirun")
}

#[test]
fn limits_hold_inside_limits() {
    if skipped(without_root()) {
        return;
    }
    let inner = format!("{} run --tmpfs /mnt", binary().display());
    let hog = |megabytes: u32| {
        format!("{} dd if=/dev/zero of=/mnt/x bs=1M count={megabytes}", rootfs().display())
    };
    // cgroup v2 hands controllers down only from a cgroup without processes of its own. Where
    // the outer limit is met, the outer container's processes are of no other size than these.
    let script = format!(
        "if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
            {inner} --memory 16m {small}; echo before $?
            mkdir /sys/fs/cgroup/init
            for pid in $(cat /sys/fs/cgroup/cgroup.procs); do
                (echo $pid >/sys/fs/cgroup/init/cgroup.procs) 2>/dev/null
            done
        fi
        {inner} --memory 16m {small}; echo fits $?
        {inner} --memory 16m {large}; echo own $?
        echo left $(find /sys/fs/cgroup -name 'minirun-*' | wc -l)
        (echo 1000 >/proc/self/oom_score_adj; {inner} --memory 512m {huge}); echo outer $?",
        small = hog(4),
        large = hog(24),
        huge = hog(96),
    );
    let output =
        with_cgroups(&json!({ "memory": { "limit": 64 << 20, "swap": 64 << 20 } }), &script);
    let text = said(&output);
    assert!(text.contains("fits 0") && text.contains("own 137"), "{text}");
    assert!(text.contains("outer 137"), "the outer limit holds for the inner container: {text}");
    assert!(text.contains("left 0"), "{text}");
    if text.contains("before") {
        assert!(text.contains("before 125") && text.contains("cgroup.procs"), "{text}");
    }
}
