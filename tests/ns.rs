//! `minirun ns`: real containers and processes, seen from both sides.

mod support;

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::running::Running;
use support::{TempDir, is_root, minirun, rootfs, said, skipped, stderr, without_root};

/// Waits for a picture of a container in which this holds.
fn picture_of(running: &Running, holds: impl Fn(&Value) -> bool) -> Value {
    let patience = Instant::now() + Duration::from_secs(20);
    loop {
        let output = running.minirun(&["ns", "--json", running.id()]).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        let picture: Value = serde_json::from_slice(&output.stdout).unwrap();
        if holds(&picture) {
            return picture;
        }
        assert!(Instant::now() < patience, "{picture:#}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn commands(picture: &Value) -> Vec<&str> {
    let processes = picture["processes"].as_array().unwrap().iter();
    processes.map(|process| process["command"].as_str().unwrap()).collect()
}

fn inode(pid: &str, kind: &str) -> u64 {
    std::fs::metadata(format!("/proc/{pid}/ns/{kind}")).unwrap().ino()
}

#[test]
fn a_container_is_shown_with_both_numbers_of_everything() {
    let running = Running::start("ns-both", &[], "sleep 98765 & exec sleep 98764", |_| {});
    let all = ["minirun-init", "sleep 98764", "sleep 98765"];
    let picture = picture_of(&running, |picture| commands(picture) == all);
    assert_eq!(picture["container"], running.id());
    assert_eq!(picture["status"], "running");
    let processes = picture["processes"].as_array().unwrap();
    let numbers = |key: &str| processes.iter().map(|p| p[key].as_i64()).collect::<Vec<_>>();
    assert_eq!(numbers("pid_inside"), [Some(1), Some(2), Some(3)]);
    assert_eq!(numbers("depth"), [Some(0), Some(1), Some(2)]);
    assert_eq!(processes[0]["pid"], picture["pid"]);
    assert_eq!(numbers("uid_inside"), [Some(0); 3]);
    assert_eq!(numbers("uid"), [Some(nix::unistd::getuid().as_raw().into()); 3]);
    // Its program's namespaces can be read by its own user, init's by root alone.
    let program = processes[1]["pid"].to_string();
    for namespace in picture["namespaces"].as_array().unwrap() {
        let kind = namespace["kind"].as_str().unwrap();
        assert_eq!(namespace["inode"], inode(&program, kind), "{kind}");
        assert_eq!(namespace["own"], inode("self", kind), "{kind}");
        let is_own = namespace["inode"] != namespace["own"];
        assert_eq!(is_own, kind != "time" && (kind != "user" || !is_root()), "{kind}");
    }
    let mounts = picture["mounts"].as_array().unwrap();
    let root = mounts.iter().find(|mount| mount["destination"] == "/").unwrap();
    assert_eq!(root["outside"], rootfs().canonicalize().unwrap().to_str().unwrap());
    let privileges = &picture["privileges"];
    assert_eq!(
        (&privileges["seccomp"], &privileges["no_new_privileges"]),
        (&true.into(), &true.into())
    );
    assert!(privileges["capabilities"].as_array().unwrap().contains(&"CHOWN".into()));
    assert_eq!(picture["unreadable"], json!({}));

    let table = running.minirun(&["ns", running.id()]).output().unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    let first = table.lines().next().unwrap();
    assert_eq!(first, format!("container {}, running, pid {}", running.id(), picture["pid"]));
    assert!(table.contains("network: lo\n") && table.contains("  └ sleep 98765"), "{table}");
}

#[test]
fn ids_of_a_user_namespace_have_two_numbers() {
    if skipped(without_root()) {
        return;
    }
    let running = Running::start("ns-ids", &["-u", "7:8"], "exec sleep 98765", |config| {
        let map = json!([{"containerID": 0, "hostID": 200_000, "size": 1000}]);
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map;
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    });
    let picture = picture_of(&running, |picture| commands(picture).contains(&"sleep 98765"));
    let map = json!([{"inside": 0, "outside": 200_000, "count": 1000}]);
    assert_eq!((&picture["uid_map"], &picture["gid_map"]), (&map, &map));
    let last = picture["processes"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["uid_inside"], &last["uid"]), (&7.into(), &200_007.into()));
    let table = running.minirun(&["ns", running.id()]).output().unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("uid  0 to 999  200000 to 200999\n"), "{table}");
}

#[test]
fn limits_are_shown_beside_what_is_used() {
    if skipped(without_root()) {
        return;
    }
    let options = ["--memory", "64m", "--pids", "30"];
    let running = Running::start("ns-limits", &options, "exec sleep 98765", |_| {});
    let usage = picture_of(&running, |picture| picture["cgroup"]["usage"]["pids"] == 2);
    let usage = &usage["cgroup"]["usage"];
    assert_eq!(usage["memory_limit_bytes"], 64 << 20);
    assert_eq!(usage["pids_limit"], 30);
}

#[test]
fn any_process_can_be_looked_at_and_what_its_user_hides_says_why() {
    // Everybody sees themselves, without any directory of containers.
    let own = std::process::id().to_string();
    let output = minirun(&["ns", &own, "--format", "json"]).env_remove("XDG_RUNTIME_DIR").output();
    let picture: Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
    assert_eq!(picture["container"], Value::Null);
    let shared = |n: &Value| n["inode"] == n["own"] && n["inode"].is_u64();
    assert!(picture["namespaces"].as_array().unwrap().iter().all(shared), "{picture:#}");
    let minirun_itself = picture["processes"].as_array().unwrap().iter().find(|process| {
        process["command"].as_str().unwrap().contains(&format!("ns {own} --format json"))
    });
    assert!(minirun_itself.is_some(), "a child of this process: {picture:#}");
}

#[test]
fn what_another_user_hides_says_why() {
    let mut command = minirun(&["ns", "1"]);
    if is_root() {
        command.uid(65534).gid(65534);
    }
    let output = match command.output() {
        Err(error)
            if skipped((error.raw_os_error() == Some(13)).then_some("minirun is out of reach")) =>
        {
            return;
        }
        output => output.unwrap(),
    };
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("(namespaces can't be read: EACCES (permission denied);"), "{text}");
    assert!(
        text.contains("\n1           1        "),
        "its number and its user are no secret: {text}"
    );
}

#[test]
fn a_zombie_has_a_number_and_little_else() {
    let mut child = Command::new("true").spawn().unwrap();
    let pid = child.id().to_string();
    let patience = Instant::now() + Duration::from_secs(10);
    let text = loop {
        let output = minirun(&["ns", &pid]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if text.contains("  zombie  ") {
            break text;
        }
        assert!(Instant::now() < patience, "{}", said(&output));
    };
    assert!(text.contains("; it has ended"), "{text}");
    child.wait().unwrap();
    let output = minirun(&["ns", &pid]).output().unwrap();
    assert_eq!(output.status.code(), Some(125), "{}", said(&output));
    assert!(stderr(&output).contains("neither a container nor a process"), "{}", said(&output));
}

#[test]
fn processes_that_end_meanwhile_are_no_reason_to_fail() {
    let script = "while :; do (exec true); done";
    let running = Running::start("ns-ending", &[], script, |_| {});
    for _ in 0..20 {
        picture_of(&running, |picture| picture["processes"].as_array().unwrap().len() >= 2);
        let output = minirun(&["ns", "--json"]).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
    }
    // Whoever is looked at may end as well: then it is shown whole, or said to have ended.
    for _ in 0..20 {
        let mut child = Command::new("true").stdout(Stdio::null()).spawn().unwrap();
        let pid = child.id().to_string();
        let looking = minirun(&["ns", &pid]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        child.wait().unwrap();
        let output = looking.unwrap().wait_with_output().unwrap();
        let told = stderr(&output);
        let is_told =
            told.contains("it has ended meanwhile") || told.contains("neither a container");
        assert!(output.status.success() || is_told, "{}", said(&output));
    }
}

#[test]
fn without_an_argument_all_who_live_elsewhere_are_shown() {
    let running = Running::start("ns-all", &[], "exec sleep 98765", |_| {});
    picture_of(&running, |picture| commands(picture).contains(&"sleep 98765"));
    let output = running.minirun(&["ns", "--json"]).output().unwrap();
    let overview: Value = serde_json::from_slice(&output.stdout).unwrap();
    let groups = overview["groups"].as_array().unwrap();
    let group = groups.iter().find(|group| group["container"] == running.id());
    let group = group.unwrap_or_else(|| panic!("{overview:#}"));
    let namespaces = group["namespaces"].as_object().unwrap();
    assert!(namespaces.contains_key("pid") && !namespaces.contains_key("time"), "{group:#}");
    let table = running.minirun(&["ns"]).output().unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.starts_with("CONTAINER"), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
}

#[test]
fn a_mistyped_id_is_answered_with_the_one_that_was_meant() {
    let running = Running::start("ns-typo", &[], "exec sleep 98765", |_| {});
    let typo = format!("{}x", running.id());
    for verb in [&["ns"][..], &["kill"], &["state"], &["exec"], &["audit"]] {
        let mut words = [verb, &[typo.as_str()]].concat();
        words.extend((verb == ["exec"]).then_some("true"));
        let output = running.minirun(&words).output().unwrap();
        let expected = format!("does not exist; a similar id exists: {}\n", running.id());
        assert!(stderr(&output).ends_with(&expected), "{}", said(&output));
    }
    // Engines delete by force what may not be there.
    let output = running.minirun(&["delete", "--force", &typo]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", said(&output));
    let none = TempDir::new("ns-none");
    let output = minirun(&["--root", &none.file("root"), "ns", "wbe"]).output().unwrap();
    assert_eq!(stderr(&output), "minirun: open container wbe: container does not exist\n");
}
