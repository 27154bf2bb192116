//! The fields of a config.json about the process, by what the kernel says of it.

mod support;

use std::fs;
use std::process::Output;

use serde_json::{Value, json};
use support::{TempDir, minirun, rootfs, said, skipped, stderr, without_root};

/// Runs a script in a container of a bundle to its end.
fn run(script: &str, change: impl FnOnce(&mut Value)) -> Output {
    let dir = TempDir::new("process");
    let id = dir.path().file_name().unwrap().to_str().unwrap().to_owned();
    let mut config = json!({
        "ociVersion": "1.3.0",
        "root": { "path": rootfs() },
        "process": {
            "cwd": "/",
            "user": { "uid": 0, "gid": 0 },
            "args": ["sh", "-c", script],
            "env": ["PATH=/bin:/usr/bin"],
        },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs" },
        ],
        "linux": { "namespaces": [{ "type": "pid" }, { "type": "mount" }, { "type": "ipc" }] },
    });
    change(&mut config);
    fs::write(dir.file("config.json"), config.to_string()).unwrap();
    let (root, bundle) = (dir.file("state"), dir.path().to_str().unwrap());
    minirun(&["--root", &root, "run", "--bundle", bundle, &id]).output().unwrap()
}

/// Its standard output, after it has succeeded.
fn output(script: &str, change: impl FnOnce(&mut Value)) -> String {
    let output = run(script, change);
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// The error of one that couldn't start.
fn error(change: impl FnOnce(&mut Value)) -> String {
    let output = run("true", change);
    assert!(!output.status.success(), "{}", said(&output));
    stderr(&output)
}

/// What one is warned of that runs nevertheless.
fn warning(script: &str, change: impl FnOnce(&mut Value)) -> String {
    let output = run(script, change);
    assert!(output.status.success(), "{}", said(&output));
    stderr(&output)
}

fn namespace(config: &mut Value, kind: &str) {
    let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.push(json!({ "type": kind }));
}

/// A user namespace in which the host's root has no id.
fn user_namespace(config: &mut Value) {
    namespace(config, "user");
    let ids = json!([{ "containerID": 0, "hostID": 200_000, "size": 65536 }]);
    config["linux"]["uidMappings"] = ids.clone();
    config["linux"]["gidMappings"] = ids;
}

fn is_skipped() -> bool {
    skipped(without_root())
}

#[test]
fn the_oom_score_is_set_and_inherited() {
    if is_skipped() {
        return;
    }
    let own = fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    let script = "cat /proc/self/oom_score_adj";
    assert_eq!(output(script, |_| {}), own, "unset, it stays the caller's");
    for prepare in [|_: &mut Value| {}, user_namespace] {
        let set = |config: &mut Value| {
            prepare(config);
            config["process"]["oomScoreAdj"] = 777.into();
        };
        assert_eq!(output(script, set), "777\n");
    }
}

#[test]
fn schedulers_and_their_numbers_reach_the_kernel() {
    if is_skipped() {
        return;
    }
    // Real time is shared out to groups, and deadlines take from it.
    let _turn = support::alone();
    // Priority, nice value, real-time priority and policy (proc_pid_stat(5)).
    let script = "cut -d' ' -f18,19,40,41 /proc/$$/stat";
    for (scheduler, expected) in [
        (json!({ "policy": "SCHED_FIFO", "priority": 9 }), "-10 0 9 1\n"),
        (json!({ "policy": "SCHED_RR", "priority": 1 }), "-2 0 1 2\n"),
        (json!({ "policy": "SCHED_BATCH", "nice": 5 }), "25 5 0 3\n"),
        (json!({ "policy": "SCHED_IDLE" }), "20 0 0 5\n"),
    ] {
        let set = |config: &mut Value| {
            config["process"]["scheduler"] = scheduler.clone();
            // Where the kernel shares real time out, a new cgroup has none.
            if fs::exists("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").unwrap() {
                let cpu = json!({ "realtimeRuntime": 10_000, "realtimePeriod": 1_000_000 });
                config["linux"]["resources"]["cpu"] = cpu;
            }
        };
        assert_eq!(output(script, set), expected, "{scheduler}");
    }
}

#[test]
fn a_deadline_is_promised_to_the_process_and_not_to_its_children() {
    if is_skipped() {
        return;
    }
    let _turn = support::alone();
    let scheduler = json!({ "policy": "SCHED_DEADLINE", "runtime": 1_000_000,
        "deadline": 10_000_000, "flags": ["SCHED_FLAG_RESET_ON_FORK"] });
    let set = |config: &mut Value| config["process"]["scheduler"] = scheduler;
    let script = "cut -d' ' -f41 /proc/$$/stat; cut -d' ' -f41 /proc/self/stat; true";
    assert_eq!(output(script, set), "6\n0\n");
}

#[test]
fn io_priorities_are_inherited() {
    if is_skipped() {
        return;
    }
    for (class, said) in [
        ("IOPRIO_CLASS_RT", "realtime: prio 3"),
        ("IOPRIO_CLASS_BE", "best-effort: prio 3"),
        ("IOPRIO_CLASS_IDLE", "idle"),
    ] {
        let set = |config: &mut Value| {
            config["process"]["ioPriority"] = json!({ "class": class, "priority": 3 });
        };
        assert_eq!(output("ionice -p $$", set).trim(), said);
    }
}

#[test]
fn the_personality_shows_in_uname() {
    if is_skipped() || skipped((!cfg!(target_arch = "x86_64")).then_some("not an x86_64")) {
        return;
    }
    for (domain, machine) in [("LINUX", "x86_64\n"), ("LINUX32", "i686\n")] {
        let set = |config: &mut Value| {
            config["linux"]["personality"] = json!({ "domain": domain });
        };
        assert_eq!(output("uname -m", set), machine);
    }
}

#[test]
fn memory_comes_from_the_nodes_of_the_policy() {
    let without_nodes =
        (!fs::exists("/proc/self/numa_maps").unwrap()).then_some("the kernel has no NUMA");
    if is_skipped() || skipped(without_nodes) {
        return;
    }
    let policy = |mode: &str, nodes: &str| {
        let policy = json!({ "mode": mode, "nodes": nodes, "flags": ["MPOL_F_STATIC_NODES"] });
        move |config: &mut Value| config["linux"]["memoryPolicy"] = policy
    };
    let text = output("cat /proc/self/numa_maps", policy("MPOL_BIND", "0"));
    assert!(text.lines().all(|line| line.contains(" bind=static:0")), "{text}");
    let text = error(policy("MPOL_INTERLEAVE", "1000"));
    assert!(text.contains("(linux.memoryPolicy): EINVAL"), "{text}");
}

#[test]
fn clocks_of_a_time_namespace_are_offset() {
    let without = (!fs::exists("/proc/self/ns/time").unwrap()).then_some("no time namespaces");
    if is_skipped() || skipped(without) {
        return;
    }
    let offsets = json!({ "boottime": { "secs": 1_000_000 }, "monotonic": { "nanosecs": 9 } });
    for prepare in [|_: &mut Value| {}, user_namespace] {
        let set = |config: &mut Value| {
            prepare(config);
            namespace(config, "time");
            config["linux"]["timeOffsets"] = offsets.clone();
        };
        let script = "cat /proc/self/timens_offsets; cut -d. -f1 /proc/uptime";
        let text = output(script, set);
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        assert_eq!(words[..6], ["monotonic", "0", "9", "boottime", "1000000", "0"]);
        assert!(words[6].parse::<u64>().unwrap() >= 1_000_000, "{text}");
    }
    let own = fs::read_link("/proc/self/ns/time").unwrap();
    let text = output("readlink /proc/self/ns/time", |config| namespace(config, "time"));
    assert_ne!(text.trim(), own.to_str().unwrap(), "without offsets it is new as well");
    let text = error(|config| {
        namespace(config, "time");
        config["linux"]["timeOffsets"] = json!({ "boottime": { "secs": -1_000_000_000 } });
    });
    assert!(text.contains("(linux.timeOffsets): ERANGE"), "{text}");
}

#[test]
fn a_cgroup_namespace_is_joined_from_inside_of_the_containers_cgroup() {
    if is_skipped() {
        return;
    }
    let dir = TempDir::new("cgroup-namespace");
    let file = dir.file("pid");
    let other =
        support::run(&["--detach", "--pid-file", &file, "--timeout", "60s"], &["sleep", "60"]);
    assert!(other.status.success(), "{}", said(&other));
    let pid = fs::read_to_string(&file).unwrap();
    let path = format!("/proc/{}/ns/cgroup", pid.trim());
    let link = fs::read_link(&path).unwrap();
    let text = output("readlink /proc/self/ns/cgroup; cat /proc/self/cgroup", |config| {
        namespace(config, "cgroup");
        config["linux"]["namespaces"][3]["path"] = json!(path);
    });
    let pid = nix::unistd::Pid::from_raw(pid.trim().parse().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    let (joined, cgroups) = text.split_once('\n').unwrap();
    assert_eq!(joined, link.to_str().unwrap());
    assert!(cgroups.contains("/minirun-test-"), "it is in its own: {cgroups}");
}

#[test]
fn the_callers_keys_are_out_of_reach() {
    let without = (!fs::exists("/proc/keys").unwrap()).then_some("the kernel has no keys");
    if is_skipped() || skipped(without) {
        return;
    }
    let sessions = |text: &str| -> Vec<String> {
        let names = text.lines().filter_map(|line| line.split_once("_ses.").map(|(_, name)| name));
        names.map(|name| name.split(':').next().unwrap().to_owned()).collect()
    };
    for prepare in [|_: &mut Value| {}, user_namespace] {
        let found = sessions(&output("cat /proc/keys", prepare));
        assert!(found.iter().any(|name| name.starts_with("minirun-test-process")), "{found:?}");
    }
}

#[test]
fn limits_hold_in_a_user_namespace_too() {
    if is_skipped() {
        return;
    }
    let limits = json!([{ "type": "RLIMIT_NOFILE", "soft": 64, "hard": 65 },
        { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 }]);
    for prepare in [|_: &mut Value| {}, user_namespace] {
        let set = |config: &mut Value| {
            prepare(config);
            config["process"]["rlimits"] = limits.clone();
        };
        assert_eq!(output("ulimit -Sn; ulimit -Hn; ulimit -c", set), "64\n65\n0\n");
    }
    let text = error(|config| {
        let limit = json!([{ "type": "RLIMIT_NOFILE", "soft": 1u64 << 40, "hard": 1u64 << 40 }]);
        config["process"]["rlimits"] = limit;
    });
    assert!(text.contains("(process.rlimits[0]): EPERM"), "{text}");
}

#[test]
fn capabilities_are_the_five_sets_and_nothing_is_inherited_unasked() {
    if is_skipped() {
        return;
    }
    let sets = |sets: Value| {
        let set = |config: &mut Value| config["process"]["capabilities"] = sets;
        let text = output("grep ^Cap /proc/self/status", set);
        let number = |line: &str| u64::from_str_radix(line.split_once('\t').unwrap().1, 16);
        text.lines().map(|line| number(line).unwrap()).collect::<Vec<_>>()
    };
    let kill = json!(["CAP_KILL"]);
    let bit = 1 << 5;
    // Inheritable, permitted, effective, bounding, ambient (CVE-2022-29162).
    let some = json!({ "bounding": kill, "permitted": kill, "effective": kill });
    assert_eq!(sets(some.clone()), [0, bit, bit, bit, 0]);
    let mut ambient = some;
    ambient["ambient"] = kill.clone();
    assert_eq!(sets(ambient), [0, bit, bit, bit, 0], "not ambient, since not inheritable");
    let all = json!({ "bounding": kill, "permitted": kill, "effective": kill,
        "inheritable": kill, "ambient": kill });
    assert_eq!(sets(all), [bit, bit, bit, bit, bit]);
    assert_eq!(sets(Value::Null), [0, 0, 0, 0, 0], "no capabilities, none");
}

#[test]
fn home_is_that_of_the_containers_user() {
    if is_skipped() {
        return;
    }
    for (uid, home) in [(0, "/root"), (1000, "/home/user"), (4321, "/")] {
        let text = output("echo $HOME", |config| config["process"]["user"]["uid"] = uid.into());
        assert_eq!(text.trim(), home);
    }
    let own = |config: &mut Value| {
        let env = config["process"]["env"].as_array_mut().unwrap();
        env.extend(["HOME=/one".into(), "HOME=/two".into()]);
    };
    assert_eq!(output("echo $HOME; env | grep -c ^HOME", own), "/two\n1\n");
}

#[test]
fn standard_output_can_be_opened_anew_by_the_user() {
    if is_skipped() {
        return;
    }
    let set = |config: &mut Value| config["process"]["user"]["uid"] = 4321.into();
    assert_eq!(output("echo there > /dev/stdout", set), "there\n");
}

#[test]
fn a_directory_that_root_alone_may_enter_is_entered_for_the_user() {
    if is_skipped() {
        return;
    }
    let text = output("pwd", |config| {
        let mount = json!({ "destination": "/mnt", "type": "tmpfs", "options": ["mode=700"] });
        config["mounts"].as_array_mut().unwrap().push(mount);
        config["process"]["cwd"] = "/mnt".into();
        config["process"]["user"]["uid"] = 4321.into();
    });
    assert_eq!(text, "/mnt\n");
}

/// CVE-2024-21626.
#[test]
fn a_working_directory_outside_is_refused() {
    if is_skipped() {
        return;
    }
    for cwd in ["/proc/self/fd/3", "/proc/self/fd/7/..", "/proc/1/cwd", "/proc/self/root/.."] {
        let text = error(|config| config["process"]["cwd"] = cwd.into());
        assert!(text.contains("(process.cwd)"), "{text}");
    }
}

#[test]
fn labels_are_left_out_with_a_warning_where_no_module_has_them() {
    let host = minirun::host::Host::read().unwrap();
    let has = (host.apparmor || host.selinux).then_some("a security module is enabled here");
    if is_skipped() || skipped(has) {
        return;
    }
    for field in ["apparmorProfile", "selinuxLabel"] {
        let text = warning("echo ok", |config| config["process"][field] = "x".into());
        assert!(text.contains(&format!("process.{field}: ")), "{text}");
        assert_eq!(output("echo ok", |config| config["process"][field] = "".into()), "ok\n");
    }
}

#[test]
fn root_of_a_user_namespace_owns_what_it_makes() {
    if is_skipped() {
        return;
    }
    let text = output("stat -c '%u %g' /dev /dev/null; id -u", user_namespace);
    let owner_of_null = text.lines().nth(1).unwrap();
    assert_eq!(text, format!("0 0\n{owner_of_null}\n0\n"));
}
