//! Limits are tested by their effect; and what a run reports of them.

mod support;

use std::collections::VecDeque;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use minirun::container::{self, Meter, Request, Status, Store};
use serde_json::{Value, json};
use support::{
    TempDir, is_root, minirun, rootfs, run, run_command, said, skipped, stderr, without_root,
};

fn report(options: &[&str], words: &[&str]) -> (i32, serde_json::Value) {
    let dir = TempDir::new("report");
    let file = dir.file("report");
    let output = run(&[options, &["--report", &file]].concat(), words);
    let text = fs::read_to_string(&file).unwrap_or_else(|_| panic!("{}", said(&output)));
    (output.status.code().unwrap(), serde_json::from_str(&text).unwrap())
}

fn without_cgroups() -> Option<&'static str> {
    (!is_root()).then_some("only root can make cgroups here")
}

#[test]
fn a_memory_hog_is_killed_and_reported() {
    if skipped(without_cgroups()) {
        return;
    }
    let (code, report) = report(
        &["--memory", "16m", "--tmpfs", "/mnt"],
        &["dd", "if=/dev/zero", "of=/mnt/x", "bs=1M", "count=64"],
    );
    assert_eq!(code, 137, "{report:#}");
    assert_eq!(report["oom_kills"], 1, "{report:#}");
    assert_eq!(report["limits_hit"], serde_json::json!(["memory"]));
    let peak = report["peak_memory_bytes"].as_u64().unwrap();
    assert!((8 << 20..=16 << 20).contains(&peak), "{report:#}");
}

#[test]
fn a_container_starts_with_a_megabyte_of_memory() {
    let Some(it) = Bundled::new("megabyte") else { return };
    let output = run(&["--memory", "1m"], &["/bin/true"]);
    assert!(output.status.success(), "{}", said(&output));
    let linux =
        json!({ "cgroupsPath": it.path(), "resources": { "memory": { "limit": 1 << 20 } } });
    assert_eq!(it.said("echo started > /mnt/said", &linux), "started");
}

#[test]
fn a_fork_bomb_stops_at_the_limit() {
    if skipped(without_cgroups()) {
        return;
    }
    // The shell ends with the fork that is refused; to count, it needs none.
    let script = "while :; do sleep 1000 & set -- /proc/[0-9]*; echo $# >> /mnt/count; done";
    let dir = TempDir::new("bomb");
    let bind = format!("{}:/mnt", dir.path().display());
    let (_, report) = report(&["--pids", "12", "--bind", &bind], &["sh", "-c", script]);
    assert_eq!(report["limits_hit"], serde_json::json!(["pids"]), "{report:#}");
    let counts = fs::read_to_string(dir.path().join("count")).unwrap();
    assert_eq!(counts.lines().last(), Some("12"), "init, the shell and ten more");
}

/// Whether a busy loop gets its share of the processor within 10 %. The machine may have
/// more to do than that in one measurement, but not in all of them.
fn is_soon_within_a_tenth(share: f64, mut measured: impl FnMut() -> f64) {
    let mut seen = Vec::new();
    while seen.len() < 12 {
        seen.push(measured());
        if (share * 0.9..share * 1.1).contains(&seen[seen.len() - 1]) {
            return;
        }
    }
    let load = fs::read_to_string("/proc/loadavg").unwrap();
    let load: f64 = load.split(' ').next().unwrap().parse().unwrap();
    let processors = std::thread::available_parallelism().unwrap().get();
    let is_starved = seen.iter().all(|seen| *seen < share) && load > 2.0 * processors as f64;
    let reason = format!("{load} processes want {processors} processors: {seen:.3?}");
    assert!(skipped(is_starved.then_some(&reason)), "{share} was measured as {seen:.3?}");
}

#[test]
fn a_busy_loop_gets_its_share_of_the_processor() {
    if skipped(without_cgroups()) {
        return;
    }
    is_soon_within_a_tenth(0.2, || {
        let options = ["--cpus", "0.2", "--timeout", "2500ms"];
        let (_, report) = report(&options, &["sh", "-c", "while :; do :; done"]);
        // Where others never left it that much, it says nothing.
        if report["limits_hit"] != serde_json::json!(["cpus", "timeout"]) {
            return 0.0;
        }
        let seconds = |of: &str| report[format!("{of}_seconds")].as_f64().unwrap();
        (seconds("user") + seconds("system")) / seconds("wall")
    });
}

#[test]
fn a_busy_loop_in_a_bundle_gets_its_share_also_when_that_is_changed() {
    let Some(it) = Bundled::new("share") else { return };
    // With all the weight there is, nobody else's processes take its share away.
    let quota =
        |quota: u64| json!({ "cpu": { "quota": quota, "period": 100_000, "shares": 262_144 } });
    let linux = json!({ "cgroupsPath": it.path(), "resources": quota(30_000) });
    it.create(&it.id, "while :; do :; done", &linux).unwrap();
    container::start(&it.store, &it.id).unwrap();
    let share = || {
        let mut meter = Meter::new(&it.store, std::slice::from_ref(&it.id)).unwrap();
        meter.read().unwrap();
        std::thread::sleep(Duration::from_millis(2500));
        meter.read().unwrap()[0].cpus.unwrap()
    };
    is_soon_within_a_tenth(0.3, share);
    let less = serde_json::from_value(quota(10_000)).unwrap();
    container::update(&it.store, &it.id, &less).unwrap();
    is_soon_within_a_tenth(0.1, share);
    let stats = container::stats(&it.store, &it.id).unwrap();
    let throttled = &stats["data"]["cpu"]["throttling"]["throttledPeriods"];
    assert!(throttled.as_u64().unwrap() > 0, "{stats:#}");
}

#[test]
fn a_report_without_limits_tells_times_memory_and_processes() {
    let script =
        "(true &); head -c 30000000 /dev/zero | tail -c 30000000 | wc -c; sleep 0.1; exit 3";
    let (code, report) = report(&[], &["sh", "-c", script]);
    assert_eq!((code, report["exit_code"].as_i64()), (3, Some(3)));
    assert_eq!(report["signal"], serde_json::Value::Null);
    assert_eq!(report["limits_hit"], serde_json::json!([]));
    assert_eq!(report["oom_kills"], serde_json::Value::Null, "nothing counted them");
    assert!(
        report["processes_reaped"].as_u64().unwrap() >= 2,
        "the target and its orphan: {report:#}"
    );
    assert!(report["peak_memory_bytes"].as_u64().unwrap() > 25 << 20, "{report:#}");
    assert!(report["wall_seconds"].as_f64().unwrap() >= 0.1);
}

#[test]
fn a_killed_target_is_reported_with_its_signal() {
    let (code, report) = report(&[], &["sh", "-c", "kill -15 $$"]);
    assert_eq!((code, report["signal"].as_i64()), (143, Some(15)));
    let (code, report) = self::report(&[], &["sh", "-c", "exit 143"]);
    assert_eq!((code, report["signal"].as_i64()), (143, None), "no signal, the same code");
}

#[test]
fn limits_that_this_user_cannot_set_are_refused_in_words() {
    if skipped(is_root().then_some("root can set them")) {
        return;
    }
    let output = run(&["--memory", "10m"], &["true"]);
    assert_eq!(output.status.code(), Some(125), "{}", said(&output));
    let text = stderr(&output);
    assert!(text.contains("--memory") && text.contains("delegated"), "{text}");
}

/// A container of a bundle whose script sees `out` as /out; created, started, and waited
/// for.
struct Bundled {
    dir: TempDir,
    store: Store,
    id: String,
}

impl Bundled {
    fn new(name: &str) -> Option<Bundled> {
        if skipped(without_cgroups()) {
            return None;
        }
        let dir = TempDir::new(name);
        let store = Store::new(Some(&dir.path().join("root"))).unwrap();
        let id = dir.path().file_name().unwrap().to_string_lossy().into_owned();
        fs::create_dir(dir.path().join("out")).unwrap();
        Some(Bundled { dir, store, id })
    }

    fn bundle(&self, script: &str, linux: &Value) -> PathBuf {
        let bundle = self.dir.path().join("bundle");
        fs::create_dir_all(&bundle).unwrap();
        let all = ["CAP_MKNOD", "CAP_SYSLOG"];
        let mut config = json!({
            "ociVersion": "1.0.2",
            "root": { "path": rootfs() },
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/tmp", "type": "tmpfs", "source": "tmpfs" },
                {
                    "destination": "/mnt", "type": "bind", "options": ["bind"],
                    "source": self.dir.path().join("out"),
                },
            ],
            "process": {
                "cwd": "/", "user": { "uid": 0, "gid": 0 }, "env": ["PATH=/bin:/usr/bin"],
                "args": ["/bin/sh", "-c", script],
                "capabilities": { "bounding": all, "effective": all, "permitted": all },
            },
            "linux": { "namespaces": [{ "type": "pid" }, { "type": "mount" }, { "type": "ipc" }] },
        });
        for (key, value) in linux.as_object().unwrap() {
            config["linux"][key] = value.clone();
        }
        fs::write(bundle.join("config.json"), config.to_string()).unwrap();
        bundle
    }

    fn create(&self, id: &str, script: &str, linux: &Value) -> Result<(), minirun::Error> {
        let bundle = self.bundle(script, linux);
        let request = Request { id: id.to_owned(), bundle, ..Request::default() };
        container::create(&self.store, &request, &mut |_| ()).map(drop)
    }

    /// What the script wrote to /mnt/said, once it has ended.
    fn said(&self, script: &str, linux: &Value) -> String {
        self.create(&self.id, script, linux).unwrap();
        container::start(&self.store, &self.id).unwrap();
        self.wait(&self.id);
        let said = fs::read_to_string(self.dir.path().join("out/said"));
        container::delete(&self.store, &self.id, false).unwrap();
        said.expect("the script writes to /mnt/said").trim().to_owned()
    }

    fn wait(&self, id: &str) {
        let patience = Instant::now() + Duration::from_secs(30);
        while container::state(&self.store, id).unwrap().status != Status::Stopped {
            assert!(Instant::now() < patience, "{id} doesn't end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn path(&self) -> String {
        format!("/{}", self.id)
    }
}

impl Drop for Bundled {
    fn drop(&mut self) {
        for id in self.store.ids().unwrap_or_default() {
            let _ = container::delete(&self.store, &id, true);
        }
    }
}

fn cgroups_of(path: &str) -> Vec<PathBuf> {
    let roots = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    let roots = roots.map(|entry| entry.path()).chain(["/sys/fs/cgroup".into()]);
    let below = |root: PathBuf| root.join(path.trim_start_matches('/'));
    roots.map(below).filter(|dir| dir.is_dir()).collect()
}

#[test]
fn a_container_of_a_bundle_is_in_every_hierarchy_and_leaves_none() {
    let Some(it) = Bundled::new("hierarchies") else { return };
    let path = format!("/minirun-test-parent{}", it.path());
    let said = it.said("cat /proc/self/cgroup > /mnt/said", &json!({ "cgroupsPath": path }));
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    let mounted = |line: &&str| {
        let name = line.split(':').nth(1).unwrap().trim_start_matches("name=");
        let name = if name.is_empty() { "unified" } else { name };
        let top = Path::new("/sys/fs/cgroup");
        [top.join(name), top.to_owned()].iter().any(|dir| dir.join("cgroup.procs").exists())
    };
    let expected = own.lines().filter(mounted).count();
    let joined = said.lines().filter(|line| line.ends_with(&path)).count();
    assert_eq!(joined, expected, "{said}");
    assert_eq!(cgroups_of(&path), Vec::<PathBuf>::new());
    for parent in cgroups_of("/minirun-test-parent") {
        let _ = fs::remove_dir(parent);
    }
}

#[test]
fn a_memory_hog_in_a_bundle_is_killed() {
    let Some(it) = Bundled::new("hog") else { return };
    let limits = json!({ "memory": { "limit": 16 << 20 } });
    let script = "(dd if=/dev/zero of=/tmp/x bs=1M count=64; echo $? > /mnt/said); true";
    let said = it.said(script, &json!({ "cgroupsPath": it.path(), "resources": limits }));
    assert_eq!(said, "137");
}

#[test]
fn a_device_node_in_the_root_filesystem_cannot_be_opened() {
    if skipped(without_root()) {
        return;
    }
    let dir = TempDir::new("node");
    let copy = dir.file("rootfs");
    let node = format!("{copy}/null");
    let made = |program: &str, args: &[&str]| {
        assert!(Command::new(program).args(args).status().unwrap().success(), "{program} {args:?}");
    };
    made("cp", &["-a", rootfs().to_str().unwrap(), &copy]);
    made("mknod", &[&node, "c", "1", "3"]);
    if skipped(fs::File::open(&node).is_err().then_some("no device can be opened in TMPDIR")) {
        return;
    }
    let open = "(: < /dev/null) && (: < /null)";
    for options in [vec![], vec!["--ephemeral"], vec!["--cap-add", "ALL"]] {
        let args = [&["run"], &options[..], &[&copy, "sh", "-c", open]].concat();
        let output = minirun(&args).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{options:?}: {}", said(&output));
        assert!(stderr(&output).contains("can't open /null"), "{options:?}: {}", said(&output));
    }
}

#[test]
fn a_forbidden_device_cannot_be_opened() {
    let Some(it) = Bundled::new("devices") else { return };
    let script = "cd /tmp; mknod null c 1 3; mknod kmsg c 1 11
        for device in null kmsg; do
            if (: < $device) 2>/dev/null; then echo $device; fi
        done > /mnt/said";
    let devices = json!([
        { "allow": false, "access": "rwm" },
        { "allow": true, "type": "c", "major": 1, "minor": 11, "access": "r" },
    ]);
    let linux =
        |devices: Value| json!({ "cgroupsPath": it.path(), "resources": { "devices": devices } });
    assert_eq!(it.said(script, &linux(devices)), "null\nkmsg");
    let deny_all = json!([{ "allow": false, "access": "rwm" }]);
    assert_eq!(it.said(script, &linux(deny_all)), "null");
}

#[test]
fn a_container_stays_on_its_processors() {
    let Some(it) = Bundled::new("cpuset") else { return };
    let linux = json!({ "cgroupsPath": it.path(), "resources": { "cpu": { "cpus": "0" } } });
    assert_eq!(it.said("nproc > /mnt/said", &linux), "1");
    let linux = json!({ "cgroupsPath": it.path() });
    let all = std::thread::available_parallelism().unwrap().to_string();
    assert_eq!(it.said("nproc > /mnt/said", &linux), all, "inherited from the parent");
}

#[test]
fn a_fork_bomb_in_a_bundle_stops_at_the_limit_and_spares_the_host() {
    let Some(it) = Bundled::new("bomb") else { return };
    // Every process of it makes more of them until it is refused one.
    let script = "bomb() { while :; do bomb & done; }; bomb 2>/dev/null & exec sleep 1000";
    let linux = json!({ "cgroupsPath": it.path(), "resources": { "pids": { "limit": 30 } } });
    it.create(&it.id, script, &linux).unwrap();
    container::start(&it.store, &it.id).unwrap();
    let refused = || {
        let counts = cgroups_of(&it.path()).into_iter().map(|dir| dir.join("pids.events"));
        let counts: Vec<_> = counts.filter_map(|file| fs::read_to_string(file).ok()).collect();
        assert!(!counts.is_empty(), "no hierarchy has pids");
        counts.iter().any(|count| !count.starts_with("max 0"))
    };
    let patience = Instant::now() + Duration::from_secs(20);
    loop {
        // As the kernel counts: a list is read hierarchy by hierarchy, while they come and go.
        let count = container::stats(&it.store, &it.id).unwrap()["data"]["pids"]["current"].take();
        assert!((1..=30).contains(&count.as_u64().unwrap()), "{count} processes");
        assert!(Command::new("true").status().unwrap().success());
        if refused() {
            break;
        }
        assert!(Instant::now() < patience, "no fork was refused");
    }
    container::delete(&it.store, &it.id, true).unwrap();
    assert_eq!(cgroups_of(&it.path()), Vec::<PathBuf>::new());
}

#[test]
fn a_container_that_is_nearly_full_can_be_looked_into() {
    let Some(it) = Bundled::new("full") else { return };
    let script = "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; : > /mnt/full; wait";
    let linux = json!({ "cgroupsPath": it.path(), "resources": { "pids": { "limit": 10 } } });
    it.create(&it.id, script, &linux).unwrap();
    container::start(&it.store, &it.id).unwrap();
    let patience = Instant::now() + Duration::from_secs(10);
    while !it.dir.path().join("out/full").exists() {
        assert!(Instant::now() < patience, "it can't fork that often");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(container::ps(&it.store, &it.id).unwrap().len(), 9);
    let root = it.store.root().to_str().unwrap();
    let cat = ["--root", root, "exec", &it.id, "cat", "/proc/self/cgroup"];
    let output = minirun(&cat).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let counted = text.lines().find(|line| line.contains("pids")).or(text.lines().last());
    assert!(counted.unwrap().ends_with(&it.path()), "it counts as well: {text}");
}

#[test]
fn a_container_in_anothers_mount_namespace_has_its_cgroup_too() {
    let Some(it) = Bundled::new("guest") else { return };
    it.create(&it.id, "sleep 1000", &json!({ "cgroupsPath": it.path() })).unwrap();
    container::start(&it.store, &it.id).unwrap();
    let pid = container::state(&it.store, &it.id).unwrap().pid;
    let of =
        |kind: &str, file: &str| json!({ "type": kind, "path": format!("/proc/{pid}/ns/{file}") });
    let path = format!("{}-guest", it.path());
    let namespaces = json!([of("mount", "mnt"), of("pid", "pid")]);
    let linux = json!({ "cgroupsPath": path, "namespaces": namespaces });
    let bundle = it.bundle("cat /proc/self/cgroup > /mnt/said", &linux);
    let file = bundle.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    (config["root"]["path"], config["mounts"]) = ("/".into(), json!([]));
    fs::write(file, config.to_string()).unwrap();
    let request = Request { id: path[1..].to_owned(), bundle, ..Request::default() };
    container::create(&it.store, &request, &mut |_| ()).unwrap();
    let guest = container::state(&it.store, &request.id).unwrap().pid;
    container::start(&it.store, &request.id).unwrap();
    // As long as nobody has waited for it, the pid namespace that it is in can't end.
    nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(guest), None).unwrap();
    let said = fs::read_to_string(it.dir.path().join("out/said")).unwrap();
    assert!(said.lines().any(|line| line.ends_with(&path)), "{said}");
}

#[test]
fn a_cgroup_in_use_is_not_taken() {
    let Some(it) = Bundled::new("taken") else { return };
    let linux = json!({ "cgroupsPath": it.path() });
    it.create(&it.id, "sleep 100", &linux).unwrap();
    let other = format!("{}-other", it.id);
    let error = it.create(&other, "true", &linux).unwrap_err().to_string();
    assert!(error.contains("with 1 process(es) in it"), "{error}");
    assert!(container::state(&it.store, &other).is_err(), "nothing is left of the second");
    assert_eq!(container::state(&it.store, &it.id).unwrap().status, Status::Created);
    container::delete(&it.store, &it.id, true).unwrap();
    assert_eq!(cgroups_of(&it.path()), Vec::<PathBuf>::new());
}

#[test]
fn a_container_whose_cgroup_has_become_anothers_leaves_that_alone() {
    let Some(it) = Bundled::new("heir") else { return };
    // The host's pids: nothing but the cgroup says whose a process is.
    let namespaces = json!([{ "type": "mount" }, { "type": "ipc" }]);
    let linux = json!({ "cgroupsPath": it.path(), "namespaces": namespaces });
    it.create(&it.id, "true", &linux).unwrap();
    container::start(&it.store, &it.id).unwrap();
    it.wait(&it.id);
    let heir = format!("{}-heir", it.id);
    it.create(&heir, "sleep 1000", &linux).unwrap();
    container::start(&it.store, &heir).unwrap();
    assert_eq!(container::ps(&it.store, &it.id).unwrap(), Vec::<i32>::new());
    container::kill(&it.store, &it.id, libc::SIGKILL, true).unwrap();
    container::delete(&it.store, &it.id, true).unwrap();
    assert_eq!(container::state(&it.store, &heir).unwrap().status, Status::Running);
    assert_eq!(container::ps(&it.store, &heir).unwrap().len(), 1);
    container::delete(&it.store, &heir, true).unwrap();
    assert_eq!(cgroups_of(&it.path()), Vec::<PathBuf>::new());
}

#[test]
fn an_empty_cgroup_is_adopted_and_removed_with_all_below_it() {
    let Some(it) = Bundled::new("adopted") else { return };
    let linux = json!({ "cgroupsPath": it.path() });
    it.create(&it.id, "sleep 100", &linux).unwrap();
    let dirs = cgroups_of(&it.path());
    for dir in &dirs {
        fs::create_dir_all(dir.join("below/it")).unwrap();
    }
    container::delete(&it.store, &it.id, true).unwrap();
    assert_eq!(cgroups_of(&it.path()), Vec::<PathBuf>::new());
    for dir in &dirs {
        fs::create_dir(dir).unwrap();
    }
    it.create(&it.id, "sleep 100", &linux).unwrap();
    container::delete(&it.store, &it.id, true).unwrap();
    assert_eq!(cgroups_of(&it.path()), Vec::<PathBuf>::new());
}

#[test]
fn a_limit_that_the_kernel_refuses_is_named_and_leaves_nothing() {
    let Some(it) = Bundled::new("refused") else { return };
    let resources = json!({ "cpu": { "cpus": "4000-4001" } });
    let linux = json!({ "cgroupsPath": it.path(), "resources": resources });
    let error = it.create(&it.id, "true", &linux).unwrap_err();
    assert_eq!(error.place(), Some("linux.resources.cpu.cpus"), "{error}");
    assert_eq!(cgroups_of(&it.path()), Vec::<PathBuf>::new());
}

#[test]
fn usage_and_lack_of_memory_are_told() {
    let Some(it) = Bundled::new("events") else { return };
    let limits = json!({ "memory": { "limit": 16 << 20 }, "pids": { "limit": 9 } });
    let linux = json!({ "cgroupsPath": it.path(), "resources": limits });
    let script = "while ! [ -e /mnt/go ]; do sleep 0.05; done
        (dd if=/dev/zero of=/tmp/x bs=1M count=64 2>/dev/null); sleep 0.2";
    it.create(&it.id, script, &linux).unwrap();
    container::start(&it.store, &it.id).unwrap();
    let stats = container::stats(&it.store, &it.id).unwrap();
    assert_eq!((&stats["type"], &stats["id"]), (&json!("stats"), &json!(it.id)));
    assert_eq!(stats["data"]["memory"]["usage"]["limit"], 16 << 20, "{stats:#}");
    assert_eq!(stats["data"]["pids"]["limit"], 9, "{stats:#}");
    assert!(stats["data"]["cpu"]["usage"]["total"].as_u64().unwrap() > 0, "{stats:#}");
    assert!(stats["data"]["memory"]["usage"]["usage"].as_u64().unwrap() > 0, "{stats:#}");

    let mut seen = Vec::new();
    container::events(&it.store, &it.id, Duration::from_millis(50), |event| {
        fs::write(it.dir.path().join("out/go"), "").unwrap();
        seen.push(event["type"].as_str().unwrap().to_owned());
        Ok(())
    })
    .unwrap();
    assert!(seen.contains(&"oom".to_owned()) && seen.contains(&"stats".to_owned()), "{seen:?}");
    let error = container::stats(&it.store, &it.id).unwrap_err().to_string();
    assert!(error.contains("is not running"), "{error}");
}

#[test]
fn limits_change_while_the_container_runs() {
    let Some(it) = Bundled::new("update") else { return };
    let memory = |bytes: u64| json!({ "memory": { "limit": bytes, "swap": bytes } });
    let linux = json!({ "cgroupsPath": it.path(), "resources": memory(32 << 20) });
    it.create(&it.id, "sleep 100", &linux).unwrap();
    container::start(&it.store, &it.id).unwrap();
    let limit = || {
        let stats = container::stats(&it.store, &it.id).unwrap();
        stats["data"]["memory"]["usage"]["limit"].as_u64().unwrap()
    };
    for bytes in [64 << 20, 16 << 20, 128 << 20] {
        let resources = serde_json::from_value(memory(bytes)).unwrap();
        container::update(&it.store, &it.id, &resources).unwrap();
        assert_eq!(limit(), bytes);
    }
    let nothing = serde_json::from_value(json!({ "memory": { "limit": 0 } })).unwrap();
    container::update(&it.store, &it.id, &nothing).unwrap();
    assert_eq!(limit(), 128 << 20);
    let quota = json!({ "cpu": { "quota": 50_000, "period": 100_000, "shares": 512 } });
    let quota = serde_json::from_value(quota).unwrap();
    container::update(&it.store, &it.id, &quota).unwrap();
    container::update(&it.store, &it.id, &quota).unwrap();
}

/// Nobody has chosen a cgroup for it: on v1 it isn't in those that only limit.
#[test]
fn the_first_limit_of_its_kind_holds_for_all_that_runs_already() {
    let Some(it) = Bundled::new("first-limit") else { return };
    let script = "sh -c 'sleep 100' & sh -c 'sleep 100' & wait";
    it.create(&it.id, script, &json!({})).unwrap();
    container::start(&it.store, &it.id).unwrap();
    let pids = || container::ps(&it.store, &it.id).unwrap();
    let patience = Instant::now() + Duration::from_secs(30);
    while pids().len() < 3 {
        assert!(Instant::now() < patience, "{:?}", pids());
        std::thread::sleep(Duration::from_millis(5));
    }
    let update = |limits: Value| {
        let limits = serde_json::from_value(json!({ "cpu": limits })).unwrap();
        container::update(&it.store, &it.id, &limits)
    };
    let refused = update(json!({ "cpus": "4000" })).unwrap_err().to_string();
    assert!(refused.contains("linux.resources.cpu.cpus"), "{refused}");
    update(json!({ "cpus": "0", "shares": 512 })).unwrap();
    let allowed = |pid: i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        line.unwrap().trim().to_owned()
    };
    assert_eq!(pids().into_iter().map(allowed).collect::<Vec<_>>(), ["0", "0", "0"]);
    // Who comes later is in it too.
    let root = it.dir.file("root");
    let words = ["--root", &root, "exec", &it.id, "grep", "Cpus_allowed_list", "/proc/self/status"];
    let output = minirun(&words).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("\t0\n"), "{}", said(&output));
    container::delete(&it.store, &it.id, true).unwrap();
    assert_eq!(left_of(&it.id), Vec::<String>::new());
}

#[test]
fn devices_are_allowed_and_denied_while_the_container_runs() {
    let Some(it) = Bundled::new("device-update") else { return };
    let deny = json!({ "allow": false, "access": "rwm" });
    let kmsg = json!({ "allow": true, "type": "c", "major": 1, "minor": 11, "access": "r" });
    let linux = json!({ "cgroupsPath": it.path(), "resources": { "devices": [deny] } });
    let script = "cd /tmp; mknod kmsg c 1 11
        for round in 1 2 3; do
            while ! [ -e /mnt/go$round ]; do sleep 0.01; done
            if (: < kmsg) 2>/dev/null; then echo yes; else echo no; fi >> /mnt/said
            : > /mnt/done$round
        done; sleep 1000";
    it.create(&it.id, script, &linux).unwrap();
    container::start(&it.store, &it.id).unwrap();
    let out = it.dir.path().join("out");
    for (round, devices) in [json!([deny]), json!([deny, kmsg]), json!([deny])].iter().enumerate() {
        let resources = serde_json::from_value(json!({ "devices": devices })).unwrap();
        container::update(&it.store, &it.id, &resources).unwrap();
        fs::write(out.join(format!("go{}", round + 1)), "").unwrap();
        let patience = Instant::now() + Duration::from_secs(10);
        while !out.join(format!("done{}", round + 1)).exists() {
            assert!(Instant::now() < patience, "round {round}");
            std::thread::sleep(Duration::from_millis(5));
        }
        let root = it.store.root().to_str().unwrap();
        let open = "if (: < /tmp/kmsg) 2>/dev/null; then echo yes; else echo no; fi";
        let exec = minirun(&["--root", root, "exec", &it.id, "sh", "-c", open]).output().unwrap();
        let expected = if round == 1 { "yes\n" } else { "no\n" };
        assert_eq!(String::from_utf8_lossy(&exec.stdout), expected, "{round}: {}", said(&exec));
    }
    assert_eq!(fs::read_to_string(out.join("said")).unwrap(), "no\nyes\nno\n");
}

/// What there is of containers whose names begin so: cgroups in every hierarchy, mounts, and
/// processes, which have the name in their arguments.
fn left_of(prefix: &str) -> Vec<String> {
    let mut left = Vec::new();
    let mut rest = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(dir) = rest.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let is_ours = entry.file_name().to_string_lossy().starts_with(prefix);
                left.extend(is_ours.then(|| entry.path().display().to_string()));
                rest.push(entry.path());
            }
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    left.extend(mounts.lines().filter(|line| line.contains(prefix)).map(str::to_owned));
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let words = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        if words.contains(prefix) {
            left.push(format!("{} {words:?}", entry.path().display()));
        }
    }
    left
}

#[test]
fn cgroups_below_that_of_a_killed_run_are_removed_with_it() {
    if skipped(without_cgroups()) {
        return;
    }
    let dir = TempDir::new("nested");
    let name = dir.path().file_name().unwrap().to_str().unwrap();
    let mut command = run_command(&["--name", name, "--pids", "20"], &["sleep", "1000"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let own = format!("minirun-{name}");
    let patience = Instant::now() + Duration::from_secs(60);
    let dirs = loop {
        let dirs: Vec<String> = left_of(&own).into_iter().filter(|at| at.ends_with(&own)).collect();
        if !dirs.is_empty() {
            break dirs;
        }
        assert!(Instant::now() < patience, "it has no cgroup");
    };
    for dir in dirs {
        for number in 0..30 {
            fs::create_dir_all(format!("{dir}/a{number}/{}", "b/".repeat(number))).unwrap();
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // Who removes them is a process with the same arguments, and has to end as well.
    while !left_of(name).is_empty() {
        assert!(Instant::now() < patience, "left behind: {:#?}", left_of(name));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// MINIRUN_CYCLES makes it another number; else a slow machine, as one that is emulated, stops
/// after a minute.
#[test]
fn five_hundred_containers_with_limits_leave_nothing() {
    let Some(it) = Bundled::new("five-hundred") else { return };
    let count = std::env::var("MINIRUN_CYCLES").ok().and_then(|number| number.parse().ok());
    let (count, time) = match count {
        Some(count) => (count, Duration::MAX),
        None => (500, Duration::from_secs(60)),
    };
    let start = Instant::now();
    let linux = json!({ "resources": {
        "memory": { "limit": 16 << 20 },
        "cpu": { "quota": 50_000, "period": 100_000, "shares": 512, "cpus": "0" },
        "pids": { "limit": 20 },
        "devices": [{ "allow": false, "access": "rwm" }],
    }});
    let bundle = it.bundle(&format!("sleep 1000; : {}", it.id), &linux);
    let root = it.store.root().to_str().unwrap().to_owned();
    let minirun = |args: &[&str]| {
        let log = it.dir.file(&format!("log-{}", args[args.len() - 1]));
        let mut command = minirun(&[&["--root", &root, "--log", &log], args].concat());
        // The container would keep a pipe to the test open.
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert!(status.success(), "{args:?}: {}", fs::read_to_string(&log).unwrap_or_default());
    };
    let (next, made) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let live_one_after_another = || {
        let mut alive = VecDeque::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let goes_on = number < count && start.elapsed() < time;
            if goes_on {
                let id = format!("{}-{number}", it.id);
                minirun(&["create", "--bundle", bundle.to_str().unwrap(), &id]);
                if number.is_multiple_of(3) {
                    minirun(&["start", &id]);
                }
                if number == 0 {
                    assert!(!left_of(&id).is_empty(), "what is looked for is there meanwhile");
                }
                made.fetch_add(1, Ordering::Relaxed);
                alive.push_back(id);
            }
            if !goes_on || alive.len() > 8 {
                let Some(id) = alive.pop_front() else { return };
                minirun(&["delete", "--force", &id]);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(live_one_after_another);
        }
    });
    let begun = made.load(Ordering::Relaxed);
    if begun < count {
        // Past the test harness, which would keep it to itself.
        let _ = writeln!(std::io::stderr(), "five hundred containers: {begun} in a minute");
    }
    // A process that was killed may be on its way out still.
    let patience = Instant::now() + Duration::from_secs(10);
    while !left_of(&it.id).is_empty() {
        assert!(Instant::now() < patience, "left behind: {:#?}", left_of(&it.id));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(it.store.ids().unwrap(), Vec::<String>::new());
}
