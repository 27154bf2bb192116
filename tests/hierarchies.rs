//! cgroup v1: which hierarchies a container is in, and how it comes into others.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use minirun::host::{CgroupLayout, Host};
use serde_json::{Value, json};
use support::{TempDir, minirun, rootfs, run, said, skipped};

/// A bundle with a container that runs; deleted at the end.
struct Running {
    dir: TempDir,
    id: String,
}

impl Running {
    /// `None`, said so, where there is no cgroup v1 to be written to.
    fn new(script: &str, change: impl FnOnce(&mut Value, &str)) -> Option<Running> {
        if skipped(without_v1()) {
            return None;
        }
        let dir = TempDir::new("hierarchies");
        let id = dir.path().file_name().unwrap().to_str().unwrap().to_owned();
        let it = Running { dir, id };
        let bundle = it.dir.path().to_str().unwrap();
        let root = rootfs();
        let spec = ["spec", "--no-tty", "--no-init", "--bundle", bundle, root.to_str().unwrap()];
        let output = minirun(&[&spec[..], &["/bin/sh", "-c", script]].concat()).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        let file = it.dir.file("config.json");
        let mut config = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        change(&mut config, &it.id);
        fs::write(&file, config.to_string()).unwrap();
        // Its end of a pipe would be the container's too.
        let quiet = || fs::File::create("/dev/null").unwrap();
        let mut run = it.minirun(&["run", "--detach", "--bundle", bundle, &it.id]);
        assert!(run.stdout(quiet()).stderr(quiet()).status().unwrap().success());
        Some(it)
    }

    fn minirun(&self, words: &[&str]) -> std::process::Command {
        minirun(&[&["--root", &self.dir.file("state")], words].concat())
    }

    fn says(&self, words: &[&str]) -> String {
        let output = self.minirun(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Its cgroups' directories.
    fn dirs(&self) -> BTreeSet<PathBuf> {
        let hierarchies = fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
        let mut rest: Vec<PathBuf> = hierarchies.map(|entry| entry.path()).collect();
        let mut found = BTreeSet::new();
        while let Some(dir) = rest.pop() {
            let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
            rest.extend(entries.map(|entry| entry.path()).filter(|path| path.is_dir()));
            if dir.ends_with(&self.id) {
                found.insert(dir);
            }
        }
        found
    }

    /// The controllers that one of its directories is of.
    fn controllers(&self) -> Vec<String> {
        let top = Path::new("/sys/fs/cgroup");
        let name = |dir: &PathBuf| {
            let below = dir.strip_prefix(top).unwrap();
            below.iter().next().unwrap().to_str().unwrap().to_owned()
        };
        self.dirs().iter().map(name).collect()
    }

    fn has(&self, controller: &str) -> bool {
        self.controllers().iter().any(|names| names.split(',').any(|name| name == controller))
    }

    /// The processes in the directory of a hierarchy.
    fn members(&self, controller: &str) -> BTreeSet<String> {
        let dirs = self.dirs();
        let is_of = |dir: &&PathBuf| dir.iter().any(|part| part == controller);
        let dir = dirs.iter().find(is_of).unwrap_or_else(|| panic!("{controller}: {dirs:?}"));
        let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn wait_for(&self, what: &str, is_so: impl Fn() -> bool) {
        let patience = Instant::now() + Duration::from_secs(20);
        while !is_so() {
            assert!(Instant::now() < patience, "{what}: {:?}", self.dirs());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.minirun(&["delete", "--force", &self.id]).output();
        // Levels above a cgroup stay, as with every runtime.
        for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            let _ = fs::remove_dir(hierarchy.path().join(format!("{}-above", self.id)));
        }
        if !std::thread::panicking() {
            assert_eq!(self.dirs(), BTreeSet::new());
        }
    }
}

fn without_v1() -> Option<&'static str> {
    let cgroup = Host::read().expect("host").cgroup;
    let is_v1 = matches!(cgroup, CgroupLayout::V1 { delegated: true, .. });
    (!is_v1).then_some("there is no cgroup v1 here that can be written to")
}

fn without_limits(config: &mut Value, _id: &str) {
    config["linux"].as_object_mut().unwrap().remove("resources");
    config["linux"].as_object_mut().unwrap().remove("cgroupsPath");
}

fn lean(config: &mut Value, id: &str) {
    config["annotations"]["io.minirun.lean-cgroup"] = "true".into();
    config["linux"]["cgroupsPath"] = format!("/{id}-above/{id}").into();
    config["linux"]["resources"] = json!({ "pids": { "limit": 20 } });
}

#[test]
fn nobody_pays_for_a_hierarchy_that_neither_counts_nor_limits() {
    let Some(it) = Running::new("sleep 100 & sleep 100 & wait", without_limits) else { return };
    for controller in ["cpuacct", "memory", "blkio"] {
        assert!(it.has(controller), "{controller}: {:?}", it.dirs());
    }
    for controller in ["devices", "pids", "freezer", "cpuset", "systemd", "unified"] {
        assert!(!it.has(controller), "{controller}: {:?}", it.dirs());
    }
    // What the controller of pids would count is counted without it.
    let stats = |it: &Running| -> Value {
        serde_json::from_str(&it.says(&["events", "--stats", &it.id])).unwrap()
    };
    it.wait_for("three processes", || stats(&it)["data"]["pids"]["current"] == 3);
    assert_eq!(stats(&it)["data"]["pids"]["limit"], 0);
    let table: Value = serde_json::from_str(&it.says(&["stats", "--format", "json"])).unwrap();
    assert_eq!(table[0]["pids"], 3, "{table}");

    it.says(&["update", "--pids-limit", "9", &it.id]);
    assert_eq!(stats(&it)["data"]["pids"], json!({ "current": 3, "limit": 9 }));
    assert_eq!(it.members("pids"), it.members("memory"));
}

#[test]
fn who_is_paused_comes_into_the_freezer_with_all_that_runs() {
    // It forks all the time.
    let script = "sleep 100 & while :; do /bin/true; done";
    let Some(it) = Running::new(script, without_limits) else { return };
    for round in ["first", "second"] {
        it.says(&["pause", &it.id]);
        let state: Value = serde_json::from_str(&it.says(&["state", &it.id])).unwrap();
        assert_eq!(state["status"], "paused", "{round}");
        let frozen = it.members("freezer");
        assert_eq!(frozen, it.members("memory"), "{round}");
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(frozen, it.members("memory"), "{round}: nobody forks");
        it.says(&["resume", &it.id]);
        it.wait_for("it forks again", || it.members("freezer") != frozen);
    }
    // Who comes later is in it too, and so stops with the others.
    let cgroups = it.says(&["exec", &it.id, "cat", "/proc/self/cgroup"]);
    assert!(cgroups.contains(":freezer:"), "{cgroups}");
    it.says(&["pause", &it.id]);
    it.says(&["delete", "--force", &it.id]);
    assert_eq!(it.dirs(), BTreeSet::new());
}

#[test]
fn all_that_runs_gets_a_signal_without_a_freezer() {
    let script = "trap 'exit 0' TERM; sleep 100 & sleep 100 & while :; do /bin/true; done";
    let Some(it) = Running::new(script, without_limits) else { return };
    it.wait_for("all run", || it.members("memory").len() >= 3);
    it.says(&["kill", "--all", &it.id, "TERM"]);
    it.wait_for("all have ended", || it.members("memory").is_empty());
    assert!(!it.has("freezer"));
}

#[test]
fn a_lean_container_is_where_it_has_limits_until_it_gets_others() {
    let Some(it) = Running::new("sleep 100 & wait", lean) else { return };
    assert_eq!(it.controllers(), ["devices", "pids"]);
    let stats = |it: &Running| -> Value {
        let text = it.says(&["events", "--stats", &it.id]);
        serde_json::from_str::<Value>(&text).unwrap()["data"].take()
    };
    assert_eq!(stats(&it)["pids"]["limit"], 20);
    assert_eq!(stats(&it)["memory"]["usage"]["usage"], 0);
    it.says(&["update", "--memory", "33554432", &it.id]);
    assert_eq!(it.controllers(), ["devices", "memory", "pids"]);
    assert_eq!(it.members("memory"), it.members("pids"));
    assert_eq!(stats(&it)["memory"]["usage"]["limit"], 33554432);
    it.says(&["pause", &it.id]);
    assert_eq!(it.members("freezer"), it.members("pids"));
}

/// HotSpot (`os+container` in its log) looks at none of the limits where it misses a hierarchy.
#[test]
fn who_is_limited_finds_the_hierarchies_that_java_looks_for() {
    if skipped(without_v1()) {
        return;
    }
    let seen = |limit: &[&str]| -> Vec<String> {
        let output = run(limit, &["cat", "/proc/self/mountinfo"]);
        assert!(output.status.success(), "{}", said(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        let cgroups = text.lines().filter(|line| line.contains(" - cgroup "));
        let names = cgroups.filter_map(|line| line.rsplit(' ').next());
        names.flat_map(|names| names.split(',')).map(str::to_owned).collect()
    };
    for limit in [["--memory", "64m"], ["--cpus", "1"]] {
        let seen = seen(&limit);
        for controller in ["cpu", "cpuacct", "cpuset", "memory"] {
            assert!(seen.iter().any(|name| name == controller), "{limit:?}: {controller} {seen:?}");
        }
    }
    assert_eq!(seen(&["--pids", "20"]), ["rw", "pids"], "what costs nobody anything");
}
