//! Launches whose two halves are different processes' business: hand-over, joined
//! namespaces, hooks. They need root and skip without.

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::{Caller, Running, hand_over, launch};
use crate::error::Error;
use crate::host::Host;
use crate::plan::{Lifecycle, Options, Plan};
use crate::sys;

/// The host's own root, read-only, so that no userland has to be built for these.
fn spec(script: &str) -> Value {
    json!({
        "ociVersion": "1.0.0",
        "root": { "path": "/", "readonly": true },
        "mounts": [{ "destination": "/proc", "type": "proc" }],
        "process": {
            "cwd": "/", "user": { "uid": 0, "gid": 0 }, "env": ["PATH=/bin:/usr/bin"],
            "args": ["/bin/sh", "-c", script],
        },
        "linux": { "namespaces": [{ "type": "pid" }, { "type": "mount" }, { "type": "uts" }] },
    })
}

/// A state directory; one at a time, since a child of another test's thread would
/// inherit the listening socket as well.
struct Place {
    dir: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

impl Place {
    fn new(name: &str) -> Option<Place> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED: {name}: only root can do this");
            return None;
        }
        let dir = std::env::temp_dir().join(format!("launch-test-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        static TURN: Mutex<()> = Mutex::new(());
        Some(Place { dir, _turn: TURN.lock().unwrap_or_else(PoisonError::into_inner) })
    }

    fn plan(&self, spec: Value, lifecycle: Lifecycle) -> Result<Plan, Error> {
        let options = Options {
            name: "launch-test".into(),
            lifecycle,
            start_dir: Some(self.dir.clone()),
            ..Options::default()
        };
        Plan::new(&serde_json::from_value(spec).unwrap(), &options, &Host::read()?)
    }

    /// Launches with standard output in a pipe.
    fn launch(&self, spec: Value, lifecycle: Lifecycle) -> Result<(Running, fs::File), Error> {
        let plan = self.plan(spec, lifecycle)?;
        let (reader, writer) = std::io::pipe().unwrap();
        let state = |pid: i32, status: &str| json!({ "pid": pid, "status": status }).to_string();
        let stdio = [None, Some(OwnedFd::from(writer)), None];
        // Descriptors are connected by a step that only `stdio` asks for.
        let mut plan = plan;
        let at = plan.clone_index() + 1;
        let step = crate::plan::Step {
            side: crate::plan::Side::Container,
            op: crate::plan::op::Op::Stdio,
            place: String::new(),
            tolerates: &[],
        };
        plan.steps.insert(at, step);
        let caller = Caller { stdio, state: Some(&state), ..Caller::default() };
        launch(&plan, caller).map(|running| (running, OwnedFd::from(reader).into()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn end(running: &Running, output: fs::File) -> (i32, String) {
    let (status, text) = raw_end(running, output);
    (libc::WEXITSTATUS(status), text)
}

fn raw_end(running: &Running, mut output: fs::File) -> (i32, String) {
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    let (status, _) = sys::process::wait4(running.init.pid, true).unwrap().unwrap();
    (status, text)
}

fn hook(args: &str) -> Value {
    json!([{ "path": "/bin/sh", "args": ["sh", "-c", args] }])
}

#[test]
fn a_created_container_waits_for_start() {
    let Some(place) = Place::new("created") else { return };
    let (running, output) = place.launch(spec("echo started; exit 7"), Lifecycle::Created).unwrap();
    assert!(place.dir.join(hand_over::SOCKET).exists());
    assert_eq!(sys::process::wait4(running.init.pid, false), Ok(None));
    hand_over::start(&place.dir).unwrap();
    assert_eq!(end(&running, output), (7, "started\n".into()));
    assert!(!place.dir.join(hand_over::SOCKET).exists());
}

#[test]
fn start_is_told_which_step_failed() {
    let Some(place) = Place::new("failing") else { return };
    let mut failing = spec("");
    failing["process"]["args"] = json!(["/etc/passwd"]);
    let (running, output) = place.launch(failing, Lifecycle::Created).unwrap();
    let error = hand_over::start(&place.dir).unwrap_err();
    assert_eq!(error.place(), Some("process.args"), "{error}");
    assert!(error.to_string().contains("permission denied"), "{error}");
    assert_eq!(end(&running, output).0, 125);
    let error = hand_over::start(&place.dir).unwrap_err();
    assert!(error.to_string().starts_with("start the container: "), "{error}");
}

#[test]
fn a_killed_container_cannot_be_started() {
    let Some(place) = Place::new("killed") else { return };
    let (running, _output) = place.launch(spec(""), Lifecycle::Created).unwrap();
    sys::process::pidfd_send_signal(running.init.pidfd.as_fd(), libc::SIGKILL).unwrap();
    sys::process::wait4(running.init.pid, true).unwrap();
    let error = hand_over::start(&place.dir).unwrap_err();
    assert!(error.to_string().contains("has ended before"), "{error}");
}

#[test]
fn namespaces_by_path_are_joined_by_a_process_in_between() {
    let Some(place) = Place::new("joined") else { return };
    let mut first = spec("read x");
    first["hostname"] = json!("the-first");
    let (one, _output) = place.launch(first, Lifecycle::Created).unwrap();
    let uts = format!("/proc/{}/ns/uts", one.init.pid);
    let pid = format!("/proc/{}/ns/pid", one.init.pid);
    let mut second = spec("hostname; readlink /proc/self/ns/pid");
    second["linux"]["namespaces"] = json!([
        { "type": "mount" }, { "type": "uts", "path": uts }, { "type": "pid", "path": pid },
    ]);
    let (two, output) = place.launch(second.clone(), Lifecycle::Attached).unwrap();
    let inode = fs::read_link(&pid).unwrap();
    assert_eq!(end(&two, output), (0, format!("the-first\n{}\n", inode.display())));

    second["linux"]["namespaces"][1]["path"] = json!(pid);
    let error = place.launch(second.clone(), Lifecycle::Attached).unwrap_err();
    assert_eq!(error.place(), Some("linux.namespaces[1].path"));
    assert!(error.to_string().contains("another type"), "{error}");
    second["linux"]["namespaces"][1]["path"] = json!("/dev/null");
    let error = place.launch(second, Lifecycle::Attached).unwrap_err();
    assert!(error.to_string().contains("no namespace"), "{error}");
    sys::process::pidfd_send_signal(one.init.pidfd.as_fd(), libc::SIGKILL).unwrap();
    sys::process::wait4(one.init.pid, true).unwrap();
}

fn with_hooks(place: &Path) -> Value {
    let log = place.join("log").display().to_string();
    let mut spec = spec("echo target");
    let write = |stage: &str| hook(&format!("{{ echo {stage}; cat; echo; hostname; }} >> {log}"));
    spec["hostname"] = json!("inside");
    spec["hooks"] = json!({
        "prestart": write("prestart"),
        "createRuntime": write("createRuntime"),
        "createContainer": write("createContainer"),
        "startContainer": hook("echo startContainer; cat; echo; hostname"),
    });
    spec
}

#[test]
fn hooks_run_in_their_namespaces_with_the_state_on_standard_input() {
    let Some(place) = Place::new("hooks") else { return };
    let (running, output) = place.launch(with_hooks(&place.dir), Lifecycle::Created).unwrap();
    let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
    let pid = running.init.pid;
    let block = |stage: &str, status: &str, host: &str| {
        format!("{stage}\n{{\"pid\":{pid},\"status\":\"{status}\"}}\n{host}\n")
    };
    let before = [
        block("prestart", "created", &host),
        block("createRuntime", "creating", &host),
        // The host name is set after pivot_root, so the uts namespace still has the host's.
        block("createContainer", "creating", &host),
    ];
    assert_eq!(fs::read_to_string(place.dir.join("log")).unwrap(), before.concat());
    hand_over::start(&place.dir).unwrap();
    let said = block("startContainer", "created", "inside") + "target\n";
    assert_eq!(end(&running, output), (0, said));
}

#[test]
fn a_hook_that_fails_fails_the_container_and_says_why() {
    let Some(place) = Place::new("hook-fails") else { return };
    let rows = [
        ("createRuntime", hook("echo oh no >&2; exit 3"), "exited with status 3 and said: oh no"),
        ("createContainer", hook("exit 4"), "exited with status 4"),
        ("startContainer", hook("kill -9 $$"), "killed by signal 9"),
        (
            "createContainer",
            json!([{ "path": "/bin/sleep", "args": ["sleep", "9"], "timeout": 1 }]),
            "longer than its timeout",
        ),
        (
            "createRuntime",
            json!([{ "path": "/bin/sleep", "args": ["sleep", "9"], "timeout": 1 }]),
            "longer than its timeout",
        ),
        ("prestart", json!([{ "path": "/nowhere" }]), "ENOENT"),
        ("createRuntime", json!([{ "path": "relative" }]), "absolute"),
        ("poststop", json!([{ "path": "/bin/true", "timeout": 0 }]), "positive"),
    ];
    for (stage, hooks, reason) in rows {
        let mut spec = spec("echo target");
        spec["hooks"] = json!({ stage: hooks });
        let error = match place.launch(spec, Lifecycle::Created) {
            Err(error) => error,
            Ok((running, _)) => {
                let error = hand_over::start(&place.dir).unwrap_err();
                sys::process::wait4(running.init.pid, true).unwrap();
                error
            }
        };
        let place_of = error.place().unwrap_or_default();
        assert!(place_of.starts_with(&format!("hooks.{stage}[0]")), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
        let _ = fs::remove_file(place.dir.join(hand_over::SOCKET));
    }
}

#[test]
fn a_seccomp_filter_holds_in_both_of_its_places() {
    let Some(place) = Place::new("seccomp") else { return };
    let filtered = |no_new_privileges: bool, profile: Value| {
        let mut spec = spec("umask 077 && mkdir /proc/x 2>&1; echo $?; kill -s PWR $$; echo alive");
        spec["process"]["noNewPrivileges"] = no_new_privileges.into();
        spec["linux"]["seccomp"] = profile;
        place.launch(spec, Lifecycle::Attached).map(|(running, output)| raw_end(&running, output))
    };
    for no_new_privileges in [false, true] {
        let profile = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [
                { "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 71 },
                {
                    "names": ["kill"], "action": "SCMP_ACT_KILL_PROCESS",
                    "args": [{ "index": 1, "value": libc::SIGPWR, "op": "SCMP_CMP_EQ" }],
                },
            ],
        });
        let (status, text) = filtered(no_new_privileges, profile).unwrap();
        assert!(text.contains("Protocol error"), "{text}");
        assert!(!text.contains("alive"), "{text}");
        assert_eq!(libc::WTERMSIG(status), libc::SIGSYS, "{status:#x}");
        let forbids_capset = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["capset"], "action": "SCMP_ACT_KILL" }],
        });
        let outcome = filtered(no_new_privileges, forbids_capset);
        assert_eq!(outcome.is_ok(), no_new_privileges, "{outcome:?}");
        if let Err(error) = outcome {
            assert!(error.to_string().starts_with("set capabilities"), "{error}");
            assert!(error.to_string().contains("linux.seccomp may forbid"), "{error}");
        }
    }
}
