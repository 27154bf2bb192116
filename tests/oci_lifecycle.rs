//! The life of a container that is written down: create, start, kill, delete, and what
//! `state` says in between. Through the library, which is all that the verbs call.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use minirun::container::{self, Request, Status, Store};
use serde_json::{Value, json};
use support::{TempDir, rootfs, skipped, without_root};

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

/// A store and a bundle of a test's own.
struct Place {
    dir: TempDir,
    store: Store,
}

impl Place {
    fn new(name: &str) -> Option<Place> {
        if skipped(without_root()) {
            return None;
        }
        let dir = TempDir::new(name);
        let store = Store::new(Some(&dir.path().join("root"))).unwrap();
        Some(Place { dir, store })
    }

    /// A bundle whose program is this script.
    fn bundle(&self, script: &str, change: impl FnOnce(&mut Value)) -> PathBuf {
        let bundle = self.dir.path().join("bundle");
        fs::create_dir_all(&bundle).unwrap();
        let mut config = config(script);
        change(&mut config);
        fs::write(bundle.join("config.json"), config.to_string()).unwrap();
        bundle
    }

    fn request(&self, id: &str, bundle: &Path) -> Request {
        // Engines name cgroups after containers, so ids of tests mustn't meet.
        Request { id: self.id(id), bundle: bundle.to_owned(), ..Request::default() }
    }

    fn id(&self, id: &str) -> String {
        let own = self.dir.path().file_name().unwrap().to_str().unwrap();
        format!("{own}-{id}")
    }

    fn create(&self, id: &str, script: &str) -> String {
        let bundle = self.bundle(script, |_| {});
        container::create(&self.store, &self.request(id, &bundle), &mut |_| ()).unwrap();
        self.id(id)
    }

    fn status(&self, id: &str) -> Status {
        container::state(&self.store, id).unwrap().status
    }

    fn wait_for(&self, id: &str, status: Status) {
        let patience = Instant::now() + Duration::from_secs(10);
        while self.status(id) != status {
            assert!(Instant::now() < patience, "{id} isn't {status} but {}", self.status(id));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Nothing is left in the store, nor of the container's cgroups.
    fn assert_gone(&self, id: &str) {
        assert!(!self.store.root().join(id).exists());
        assert!(!self.store.root().join(format!("{id}~")).exists());
        let own: Vec<_> = cgroups(Path::new("/sys/fs/cgroup"), id, 3);
        assert!(own.is_empty(), "{own:?}");
    }
}

fn cgroups(dir: &Path, id: &str, depth: u32) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    dirs.flat_map(|entry| {
        let mut found = if depth > 0 { cgroups(&entry.path(), id, depth - 1) } else { vec![] };
        found.extend(Some(entry.path()).filter(|path| path.to_string_lossy().contains(id)));
        found
    })
    .collect()
}

fn config(script: &str) -> Value {
    json!({
        "ociVersion": "1.0.2",
        "root": { "path": rootfs() },
        "mounts": [
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs" },
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/tmp", "type": "tmpfs", "source": "tmpfs" },
        ],
        "hostname": "box",
        "annotations": { "com.example.key": "value" },
        "process": {
            "cwd": "/",
            "user": { "uid": 0, "gid": 0 },
            "env": ["PATH=/bin:/usr/bin"],
            "args": ["/bin/sh", "-c", script],
        },
        "linux": {
            "namespaces": [
                { "type": "pid" }, { "type": "mount" }, { "type": "uts" }, { "type": "ipc" },
                { "type": "network" },
            ],
            "resources": { "pids": { "limit": 64 } },
        },
    })
}

fn message<T: std::fmt::Debug>(result: Result<T, minirun::Error>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn a_container_is_created_started_stopped_and_deleted() {
    let Some(place) = Place::new("life") else { return };
    let file = place.dir.file("pid");
    let bundle = place.bundle("sleep 1000", |_| {});
    let mut request = place.request("one", &bundle);
    request.pid_file = Some(file.clone().into());
    container::create(&place.store, &request, &mut |_| ()).unwrap();
    let id = request.id.as_str();

    let state = container::state(&place.store, id).unwrap();
    assert_eq!(state.status, Status::Created);
    assert_eq!(fs::read_to_string(&file).unwrap(), state.pid.to_string());
    assert_eq!((state.bundle.as_path(), state.rootfs), (bundle.as_path(), rootfs()));
    assert_eq!(state.annotations["com.example.key"], "value");
    assert_eq!((state.oci_version.as_str(), state.owner.as_str()), ("1.0.2", "root"));
    assert!(state.created.starts_with("20") && state.created.ends_with('Z'), "{}", state.created);

    container::start(&place.store, id).unwrap();
    assert_eq!(place.status(id), Status::Running);
    let error = message(container::start(&place.store, id));
    assert!(error.contains("cannot start an already running container"), "{error}");
    let error = message(container::delete(&place.store, id, false));
    assert_eq!(error, format!("cannot delete container {id} that is not stopped: running"));

    container::kill(&place.store, id, SIGKILL, false).unwrap();
    place.wait_for(id, Status::Stopped);
    assert_eq!(container::state(&place.store, id).unwrap().pid, 0);
    let error = message(container::kill(&place.store, id, SIGTERM, false));
    assert!(error.contains("container not running"), "{error}");
    let error = message(container::start(&place.store, id));
    assert!(error.contains("cannot start a container that has stopped"), "{error}");

    container::delete(&place.store, id, false).unwrap();
    place.assert_gone(id);
    let error = message(container::delete(&place.store, id, false));
    assert!(error.contains("container does not exist"), "{error}");
    container::delete(&place.store, id, true).unwrap();
}

#[test]
fn a_created_container_can_be_killed_and_deleted() {
    let Some(place) = Place::new("unstarted") else { return };
    let id = place.create("one", "true");
    container::delete(&place.store, &id, false).unwrap();
    place.assert_gone(&id);
    let id = place.create("two", "true");
    container::kill(&place.store, &id, SIGKILL, false).unwrap();
    place.wait_for(&id, Status::Stopped);
    container::delete(&place.store, &id, false).unwrap();
    place.assert_gone(&id);
}

#[test]
fn a_container_that_waits_holds_nothing_of_its_creator() {
    let Some(place) = Place::new("holds") else { return };
    let id = place.create("one", "true");
    let pid = container::state(&place.store, &id).unwrap().pid;
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    // The standard ones, the socket that start knocks at, and for a moment still that by
    // which create was told so.
    assert!((4..=5).contains(&open), "{open}");
    container::delete(&place.store, &id, false).unwrap();
}

#[test]
fn a_running_container_is_deleted_by_force() {
    let Some(place) = Place::new("force") else { return };
    let id = place.create("one", "sleep 1000 & sleep 1000");
    container::start(&place.store, &id).unwrap();
    container::delete(&place.store, &id, true).unwrap();
    place.assert_gone(&id);
}

#[test]
fn an_id_is_one_containers() {
    let Some(place) = Place::new("twice") else { return };
    let id = place.create("one", "true");
    let bundle = place.dir.path().join("bundle");
    let error =
        message(container::create(&place.store, &place.request("one", &bundle), &mut |_| ()));
    assert!(error.contains("container with given ID already exists"), "{error}");
    assert_eq!(place.status(&id), Status::Created, "the first one is untouched");
    container::delete(&place.store, &id, true).unwrap();
}

#[test]
fn a_failed_create_leaves_nothing() {
    let Some(place) = Place::new("failing") else { return };
    let changes: [fn(&mut Value); 4] = [
        |config| config["process"]["args"] = json!(["/nosuch"]),
        |config| config["mounts"][2]["options"] = json!(["nonsense=1"]),
        |config| config["hooks"] = json!({ "createRuntime": [{ "path": "/bin/false" }] }),
        |config| config["hooks"] = json!({ "createContainer": [{ "path": "/nosuch" }] }),
    ];
    for change in changes {
        let bundle = place.bundle("true", change);
        let request = place.request("one", &bundle);
        message(container::create(&place.store, &request, &mut |_| ()));
        place.assert_gone(&request.id);
    }
}

#[test]
fn a_program_that_is_none_is_told_by_start() {
    let Some(place) = Place::new("noexec") else { return };
    let bundle = place.bundle("", |config| {
        config["process"]["args"] = json!(["/tmp/text"]);
        config["mounts"][2] = json!({
            "destination": "/tmp", "type": "bind", "source": place.dir.path(), "options": ["bind"],
        });
    });
    fs::write(place.dir.path().join("text"), "no program").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(place.dir.path().join("text"), mode).unwrap();
    let request = place.request("one", &bundle);
    container::create(&place.store, &request, &mut |_| ()).unwrap();
    let error = message(container::start(&place.store, &request.id));
    assert!(error.contains("exec format error"), "{error}");
    place.wait_for(&request.id, Status::Stopped);
    container::delete(&place.store, &request.id, false).unwrap();
    place.assert_gone(&request.id);
}

#[test]
fn hooks_after_the_start_and_after_the_end_get_the_state() {
    let Some(place) = Place::new("hooks") else { return };
    let hook = |name: &str| {
        let script = format!("cat > {}", place.dir.file(name));
        json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }])
    };
    let bundle = place.bundle("sleep 1000", |config| {
        config["hooks"] = json!({ "poststart": hook("started"), "poststop": hook("stopped") });
    });
    let request = place.request("one", &bundle);
    container::create(&place.store, &request, &mut |_| ()).unwrap();
    let pid = container::state(&place.store, &request.id).unwrap().pid;
    assert!(!place.dir.path().join("started").exists());
    container::start(&place.store, &request.id).unwrap();
    container::delete(&place.store, &request.id, true).unwrap();
    let read = |name| -> Value {
        serde_json::from_str(&fs::read_to_string(place.dir.path().join(name)).unwrap()).unwrap()
    };
    let (started, stopped) = (read("started"), read("stopped"));
    assert_eq!((&started["status"], &started["pid"]), (&json!("running"), &json!(pid)));
    assert_eq!((&stopped["status"], &stopped["id"]), (&json!("stopped"), &json!(request.id)));
}

#[test]
fn a_failed_poststart_hook_ends_the_container_and_a_failed_poststop_hook_is_told() {
    let Some(place) = Place::new("badhooks") else { return };
    let bundle = place.bundle("sleep 1000", |config| {
        let fails = json!([{ "path": "/bin/false" }]);
        config["hooks"] = json!({ "poststart": fails, "poststop": fails });
    });
    let request = place.request("one", &bundle);
    container::create(&place.store, &request, &mut |_| ()).unwrap();
    let error = message(container::start(&place.store, &request.id));
    assert!(error.contains("hooks.poststart[0]"), "{error}");
    assert_eq!(place.status(&request.id), Status::Stopped);
    let error = message(container::delete(&place.store, &request.id, false));
    assert!(error.contains("hooks.poststop[0]"), "{error}");
    place.assert_gone(&request.id);
}

#[test]
fn hooks_end_with_the_first_that_fails() {
    let Some(place) = Place::new("order") else { return };
    let log = place.dir.file("log");
    let hook = |word: &str, status: u8| {
        let script = format!("echo {word} >> {log}; exit {status}");
        json!({ "path": "/bin/sh", "args": ["sh", "-c", script] })
    };
    let bundle = place.bundle("true", |config| {
        config["hooks"] = json!({
            "startContainer": [{ "path": "/bin/false" }],
            "poststart": [hook("poststart", 0)],
            "poststop": [hook("first", 0), hook("second", 1), hook("third", 0)],
        });
    });
    let request = place.request("one", &bundle);
    container::create(&place.store, &request, &mut |_| ()).unwrap();
    let error = message(container::start(&place.store, &request.id));
    assert!(error.contains("hooks.startContainer[0]"), "{error}");
    place.wait_for(&request.id, Status::Stopped);
    let error = message(container::delete(&place.store, &request.id, false));
    assert!(error.contains("hooks.poststop[1]"), "{error}");
    assert_eq!(fs::read_to_string(&log).unwrap(), "poststart\nfirst\nsecond\n");
    place.assert_gone(&request.id);
}

#[test]
fn containers_are_listed() {
    let Some(place) = Place::new("list") else { return };
    let ids = [place.create("a", "true"), place.create("b", "true")];
    let listed = container::list(&place.store).unwrap();
    let listed: Vec<_> = listed.into_iter().map(|state| state.unwrap().id).collect();
    assert_eq!(listed, ids);
    for id in ids {
        container::delete(&place.store, &id, false).unwrap();
    }
    assert!(container::list(&place.store).unwrap().is_empty());
}

#[test]
fn a_container_in_the_foreground_gives_its_status_and_is_gone() {
    let Some(place) = Place::new("run") else { return };
    let signals = minirun::Signals::collect().unwrap();
    for (script, status) in [("exit 7", 7), ("kill -9 $$", 0)] {
        let bundle = place.bundle(script, |_| {});
        let request = place.request("one", &bundle);
        // PID 1 isn't killed by itself.
        let ended = container::run(&place.store, &request, &signals, &mut |_| ()).unwrap();
        assert_eq!((ended.status, ended.deleted), (status, Ok(())));
        place.assert_gone(&request.id);
    }
    let bundle = place.bundle("exit 3", |_| {});
    let request = Request { keep: true, ..place.request("kept", &bundle) };
    assert_eq!(container::run(&place.store, &request, &signals, &mut |_| ()).unwrap().status, 3);
    assert_eq!(place.status(&request.id), Status::Stopped);
    container::delete(&place.store, &request.id, false).unwrap();
    // Its status isn't lost when something goes wrong after its end.
    let bundle = place.bundle("exit 5", |config| {
        config["hooks"] = json!({ "poststop": [{ "path": "/bin/false" }] });
    });
    let request = place.request("hooked", &bundle);
    let ended = container::run(&place.store, &request, &signals, &mut |_| ()).unwrap();
    assert_eq!(ended.status, 5);
    let error = message(ended.deleted);
    assert!(error.contains("hooks.poststop[0]"), "{error}");
    place.assert_gone(&request.id);
}

#[test]
fn a_detached_container_goes_on() {
    let Some(place) = Place::new("detached") else { return };
    let bundle = place.bundle("sleep 1000", |_| {});
    let request = place.request("one", &bundle);
    container::run_detached(&place.store, &request, &mut |_| ()).unwrap();
    assert_eq!(place.status(&request.id), Status::Running);
    container::kill(&place.store, &request.id, SIGKILL, true).unwrap();
    place.wait_for(&request.id, Status::Stopped);
    container::delete(&place.store, &request.id, false).unwrap();
    place.assert_gone(&request.id);
}

/// The first one may have been killed; its container's process still looks like one that waits.
#[test]
fn a_second_start_is_told_of_the_first_before_the_program_runs() {
    let Some(place) = Place::new("twice") else { return };
    let id = place.create("one", "true");
    fs::remove_file(place.store.root().join(format!("{id}~/start.sock"))).unwrap();
    let error = message(container::start(&place.store, &id));
    assert!(error.contains("cannot start a container that was started before"), "{error}");
    container::delete(&place.store, &id, true).unwrap();
    place.assert_gone(&id);
}

#[test]
fn a_container_is_paused_and_goes_on() {
    let Some(place) = Place::new("pause") else { return };
    let id = place.create("one", "sleep 1000 & sleep 1000");
    let error = message(container::resume(&place.store, &id));
    assert!(error.contains("container not paused"), "{error}");
    container::start(&place.store, &id).unwrap();
    container::pause(&place.store, &id).unwrap();
    assert_eq!(place.status(&id), Status::Paused);
    let error = message(container::delete(&place.store, &id, false));
    assert!(error.ends_with("that is not stopped: paused"), "{error}");
    container::resume(&place.store, &id).unwrap();
    assert_eq!(place.status(&id), Status::Running);
    let patience = Instant::now() + Duration::from_secs(10);
    while container::ps(&place.store, &id).unwrap().len() != 2 {
        assert!(Instant::now() < patience, "{:?}", container::ps(&place.store, &id));
    }
    let init = container::state(&place.store, &id).unwrap().pid;
    assert!(container::ps(&place.store, &id).unwrap().contains(&init));
    container::delete(&place.store, &id, true).unwrap();
    place.assert_gone(&id);
}

#[test]
fn a_paused_container_can_be_killed_and_deleted() {
    let Some(place) = Place::new("frozen") else { return };
    for (name, force) in [("one", true), ("two", false)] {
        let id = place.create(name, "sleep 1000");
        container::start(&place.store, &id).unwrap();
        container::pause(&place.store, &id).unwrap();
        if !force {
            container::kill(&place.store, &id, SIGKILL, false).unwrap();
            place.wait_for(&id, Status::Stopped);
        }
        container::delete(&place.store, &id, force).unwrap();
        place.assert_gone(&id);
    }
}

/// It is made beside everything else; what stands in its way is told nevertheless.
#[test]
fn a_network_namespace_that_cannot_be_made_is_named_and_leaves_nothing() {
    let Some(place) = Place::new("no-network") else { return };
    let bundle = place.bundle("true", |config| config["linux"]["resources"] = json!({}));
    let script = "echo 0 > /proc/sys/user/max_net_namespaces && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "sh", "-c", script, "sh"]).arg(support::binary());
    command.arg("--root").arg(place.store.root()).args(["run", "-b"]).arg(&bundle);
    let output = command.arg(place.id("one")).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    for words in ["a network namespace", "linux.namespaces", "ENOSPC", "max_*_namespaces"] {
        assert!(error.contains(words), "{words}: {error}");
    }
    assert_eq!(place.store.ids().unwrap(), Vec::<String>::new());
}

#[test]
fn a_limit_is_changed_while_the_container_runs() {
    let Some(place) = Place::new("update") else { return };
    let id = place.create("one", "sleep 1000");
    let pids = |limit| {
        let mut resources = oci_spec::runtime::LinuxResources::default();
        let mut pids = oci_spec::runtime::LinuxPids::default();
        pids.set_limit(limit);
        resources.set_pids(Some(pids)).set_devices(None);
        resources
    };
    container::update(&place.store, &id, &pids(77)).unwrap();
    let values: Vec<_> = cgroups(Path::new("/sys/fs/cgroup"), &id, 3)
        .into_iter()
        .filter_map(|dir| fs::read_to_string(dir.join("pids.max")).ok())
        .collect();
    assert_eq!(values, ["77\n"]);
    container::kill(&place.store, &id, SIGKILL, false).unwrap();
    place.wait_for(&id, Status::Stopped);
    let error = message(container::update(&place.store, &id, &pids(78)));
    assert!(error.contains("container not running"), "{error}");
    container::delete(&place.store, &id, false).unwrap();
}

#[test]
fn without_a_pid_namespace_every_process_is_killed() {
    let Some(place) = Place::new("hostpid") else { return };
    let bundle = place.bundle("sleep 98764 & exit 0", |config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().remove(0);
        config["mounts"] = json!([{ "destination": "/dev", "type": "tmpfs", "source": "tmpfs" }]);
    });
    for force in [true, false] {
        let request = place.request("one", &bundle);
        container::create(&place.store, &request, &mut |_| ()).unwrap();
        container::start(&place.store, &request.id).unwrap();
        place.wait_for(&request.id, Status::Stopped);
        assert_eq!(container::ps(&place.store, &request.id).unwrap().len(), 1);
        if !force {
            container::kill(&place.store, &request.id, SIGKILL, false).unwrap();
        }
        container::delete(&place.store, &request.id, force).unwrap();
        place.assert_gone(&request.id);
    }
}

#[test]
fn a_cgroup_of_somebody_else_stays() {
    let Some(place) = Place::new("shared") else { return };
    let path = format!("/{}", place.id("cgroup"));
    let bundle = place.bundle("sleep 1000", |config| config["linux"]["cgroupsPath"] = json!(path));
    let (first, second) = (place.request("one", &bundle), place.request("two", &bundle));
    container::create(&place.store, &first, &mut |_| ()).unwrap();
    container::start(&place.store, &first.id).unwrap();
    let error = message(container::create(&place.store, &second, &mut |_| ()));
    assert!(error.contains("linux.cgroupsPath"), "{error}");
    assert_eq!(place.status(&first.id), Status::Running);
    assert!(!cgroups(Path::new("/sys/fs/cgroup"), &path, 2).is_empty());
    container::delete(&place.store, &first.id, true).unwrap();
    place.assert_gone(&first.id);
}

#[test]
fn a_cgroup_that_another_container_has_taken_over_stays() {
    let Some(place) = Place::new("heirs") else { return };
    let path = format!("/{}", place.id("cgroup"));
    let bundle = place.bundle("sleep 1000", |config| config["linux"]["cgroupsPath"] = json!(path));
    let (first, second) = (place.request("one", &bundle), place.request("two", &bundle));
    container::create(&place.store, &first, &mut |_| ()).unwrap();
    container::kill(&place.store, &first.id, SIGKILL, false).unwrap();
    place.wait_for(&first.id, Status::Stopped);
    container::create(&place.store, &second, &mut |_| ()).unwrap();
    container::start(&place.store, &second.id).unwrap();
    let heirs = container::ps(&place.store, &second.id).unwrap();
    assert!(container::ps(&place.store, &first.id).unwrap().is_empty());
    container::kill(&place.store, &first.id, SIGKILL, true).unwrap();
    container::delete(&place.store, &first.id, true).unwrap();
    assert!(!place.store.root().join(&first.id).exists());
    assert_eq!(place.status(&second.id), Status::Running);
    assert_eq!(container::ps(&place.store, &second.id).unwrap(), heirs);
    container::delete(&place.store, &second.id, true).unwrap();
    place.assert_gone(&second.id);
}

#[test]
fn a_hook_that_hangs_ends_when_its_container_is_deleted_by_force() {
    let Some(place) = Place::new("hang") else { return };
    for stage in ["prestart", "createRuntime", "createContainer", "poststart"] {
        let mark = place.dir.path().join(stage);
        let script = format!("echo > {}; exec sleep 98761", mark.display());
        let hook = json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }]);
        let bundle = place.bundle("sleep 1000", |config| config["hooks"] = json!({ stage: hook }));
        let request = place.request("one", &bundle);
        std::thread::scope(|scope| {
            let running =
                scope.spawn(|| container::run_detached(&place.store, &request, &mut |_| ()));
            let patience = Instant::now() + Duration::from_secs(10);
            while !mark.exists() {
                assert!(Instant::now() < patience, "{stage}: the hook doesn't run");
                std::thread::sleep(Duration::from_millis(5));
            }
            let deleted = container::delete(&place.store, &request.id, true);
            assert_eq!(deleted, Ok(()), "{stage}");
            let error = message(running.join().unwrap());
            assert!(error.contains(&format!("hooks.{stage}[0]")), "{stage}: {error}");
        });
        place.assert_gone(&request.id);
    }
}

#[test]
fn a_container_tells_what_it_uses_until_it_ends() {
    let Some(place) = Place::new("events") else { return };
    let id = place.create("one", "sleep 1000");
    container::start(&place.store, &id).unwrap();
    let stats = container::stats(&place.store, &id).unwrap();
    assert_eq!((&stats["type"], &stats["id"]), (&json!("stats"), &json!(id)));
    assert_eq!(stats["data"]["pids"]["limit"], 64, "{stats}");
    let mut count = 0;
    container::events(&place.store, &id, Duration::from_millis(10), |event| {
        assert_eq!(event["type"], "stats");
        count += 1;
        if count == 3 {
            container::kill(&place.store, &id, SIGKILL, false)?;
        }
        Ok(())
    })
    .unwrap();
    assert!(count >= 3);
    let error = message(container::stats(&place.store, &id));
    assert!(error.contains("is not running"), "{error}");
    container::delete(&place.store, &id, false).unwrap();
}

#[test]
fn memory_that_runs_out_is_told() {
    let Some(place) = Place::new("oom") else { return };
    let bundle = place.bundle("head -c 100m /dev/zero | tail; sleep 1000", |config| {
        config["linux"]["resources"] = json!({ "memory": { "limit": 20 << 20 } });
    });
    let request = place.request("one", &bundle);
    container::create(&place.store, &request, &mut |_| ()).unwrap();
    let (mut started, mut told) = (false, false);
    container::events(&place.store, &request.id, Duration::from_millis(10), |event| {
        match event["type"].as_str() {
            Some("stats") if started => {}
            Some("stats") => {
                started = true;
                container::start(&place.store, &request.id)?;
            }
            _ => {
                assert_eq!(event, &json!({ "type": "oom", "id": request.id }));
                // The shell's other processes may be killed as well before it is.
                if !std::mem::replace(&mut told, true) {
                    container::kill(&place.store, &request.id, SIGKILL, false)?;
                }
            }
        }
        Ok(())
    })
    .unwrap();
    assert!(told);
    container::delete(&place.store, &request.id, true).unwrap();
    place.assert_gone(&request.id);
}

#[test]
fn arguments_that_are_too_long_are_refused_with_their_limit() {
    let Some(place) = Place::new("long") else { return };
    let bundle = place.bundle("true", |config| {
        config["process"]["env"] = json!([format!("X={}", "y".repeat(200_000))]);
    });
    let request = place.request("one", &bundle);
    let error = message(container::run_detached(&place.store, &request, &mut |_| ()));
    assert!(error.contains("(process.args): E2BIG") && error.contains("128 KiB"), "{error}");
    place.assert_gone(&request.id);
}

#[test]
fn hooks_of_a_container_in_the_foreground_can_be_interrupted() {
    let Some(place) = Place::new("mask") else { return };
    let signals = minirun::Signals::collect().unwrap();
    // No shell: some of them clear the mask themselves.
    let blocks_none = ["grep", "-q", "SigBlk:.0000000000000000", "/proc/self/status"];
    let bundle = place.bundle("true", |config| {
        let hook = json!([{ "path": "/bin/grep", "args": blocks_none }]);
        config["hooks"] = json!({ "createRuntime": hook, "poststart": hook, "poststop": hook });
    });
    let request = place.request("one", &bundle);
    let ended = container::run(&place.store, &request, &signals, &mut |_| ()).unwrap();
    assert_eq!((ended.status, ended.deleted), (0, Ok(())));
    place.assert_gone(&request.id);
}
