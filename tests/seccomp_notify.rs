//! `SCMP_ACT_NOTIFY`: an agent gets the listener of a container's filter, and decides.

mod support;

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use nix::sys::socket::{MsgFlags, recv};
use serde_json::{Value, json};
use support::{TempDir, minirun, receive_fd, rootfs, said, skipped, stderr, without_root};

/// `_IOWR('!', 0, struct seccomp_notif)`.
const NOTIF_RECV: libc::Ioctl = 0xc050_2100_u32 as libc::Ioctl;
/// `_IOWR('!', 1, struct seccomp_notif_resp)`.
const NOTIF_SEND: libc::Ioctl = 0xc018_2101_u32 as libc::Ioctl;

/// What the agent is asked about: what the test looks at, and all that could be in the way
/// of the listener itself, of the hand-over and of the end of it.
const NOTIFIED: &[&str] = &[
    "mkdir",
    "mkdirat",
    "sendmsg",
    "sendto",
    "recvmsg",
    "recvfrom",
    "accept4",
    "wait4",
    "close",
    "futex",
    "setresuid",
    "capset",
    "exit_group",
];

/// Listens at `path` and answers for every container that comes: the first mkdir gets
/// EPROTO, and everything else goes on. Gives the containers' process states.
fn agent(path: &str) -> Receiver<Value> {
    let listener = UnixListener::bind(path).unwrap();
    let (sender, states) = channel();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let (state, fd) = process_state(&socket.unwrap());
            std::thread::spawn(move || answer(&fd));
            if sender.send(state).is_err() {
                break;
            }
        }
    });
    states
}

/// The one message of a connection, which must end then.
fn process_state(socket: &UnixStream) -> (Value, OwnedFd) {
    let mut bytes = [0; 4096];
    let length = recv(socket.as_raw_fd(), &mut bytes, MsgFlags::MSG_PEEK).unwrap();
    let fd = receive_fd(socket.as_raw_fd());
    assert_eq!(recv(socket.as_raw_fd(), &mut [0], MsgFlags::empty()), Ok(0));
    (serde_json::from_slice(&bytes[..length]).unwrap(), fd)
}

fn answer(fd: &OwnedFd) {
    let mut refused = false;
    loop {
        // SAFETY: plain integers, which the kernel wants to be zero.
        let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes one struct of this type.
        if unsafe { libc::ioctl(fd.as_raw_fd(), NOTIF_RECV, &raw mut asked) } != 0 {
            match nix::errno::Errno::last() {
                // The caller was killed before its question could be read.
                nix::errno::Errno::EINTR | nix::errno::Errno::ENOENT if is_open(fd) => continue,
                _ => return,
            }
        }
        let number = i64::from(asked.data.nr);
        let is_mkdir = [libc::SYS_mkdirat, 83].contains(&number);
        let refuse = is_mkdir && !refused;
        refused |= is_mkdir;
        let (error, flags) = if refuse { (-libc::EPROTO, 0) } else { (0, 1) };
        let mut answer = libc::seccomp_notif_resp { id: asked.id, val: 0, error, flags };
        // SAFETY: the kernel reads one struct of this type; who asked may be gone by now.
        unsafe { libc::ioctl(fd.as_raw_fd(), NOTIF_SEND, &raw mut answer) };
    }
}

/// Whether a process is left that can ask.
fn is_open(fd: &OwnedFd) -> bool {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: 0, revents: 0 };
    // SAFETY: one live pollfd.
    unsafe { libc::poll(&raw mut poll, 1, 0) };
    poll.revents & libc::POLLHUP == 0
}

struct Place(TempDir);

impl Place {
    fn new(name: &str) -> Option<Place> {
        (!skipped(without_root())).then(|| Place(TempDir::new(name)))
    }

    fn id(&self) -> &str {
        self.0.path().file_name().unwrap().to_str().unwrap()
    }

    fn socket(&self) -> String {
        self.0.file("agent.sock")
    }

    fn config(&self, no_new_privileges: bool, script: &str) -> Value {
        json!({
            "ociVersion": "1.0.2",
            "root": { "path": rootfs(), "readonly": true },
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/tmp", "type": "tmpfs", "source": "tmpfs" },
            ],
            "process": {
                "cwd": "/", "user": { "uid": 0, "gid": 0 }, "env": ["PATH=/bin"],
                "args": ["/bin/sh", "-c", script],
                "noNewPrivileges": no_new_privileges,
            },
            "linux": {
                "namespaces": [{ "type": "pid" }, { "type": "mount" }],
                "seccomp": {
                    "defaultAction": "SCMP_ACT_ALLOW",
                    "listenerPath": self.socket(),
                    "listenerMetadata": "for the agent",
                    "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
                    "syscalls": [{ "names": NOTIFIED, "action": "SCMP_ACT_NOTIFY" }],
                },
            },
        })
    }

    fn write(&self, config: &Value) -> String {
        let bundle = self.0.path().join("bundle");
        fs::create_dir_all(&bundle).unwrap();
        fs::write(bundle.join("config.json"), config.to_string()).unwrap();
        self.0.file("bundle")
    }

    fn verb(&self, words: &[&str]) -> Command {
        let root = self.0.file("state");
        // A container that waits for ever shouldn't make the test do so.
        let mut command = Command::new("timeout");
        command.args(["-s", "KILL", "60"]).arg(minirun(&[]).get_program());
        command.args(["--root", &root]).args(words).stdin(Stdio::null());
        command
    }

    /// A verb whose container may keep what it inherits.
    fn quietly(&self, words: &[&str]) {
        let errors = fs::File::create(self.0.file("errors")).unwrap();
        let status = self.verb(words).stdout(Stdio::null()).stderr(errors).status().unwrap();
        let errors = fs::read_to_string(self.0.file("errors")).unwrap();
        assert!(status.success(), "{words:?}: {errors}");
    }

    fn json(&self, words: &[&str]) -> Value {
        serde_json::from_slice(&self.verb(words).output().unwrap().stdout).unwrap()
    }
}

fn next(states: &Receiver<Value>) -> Value {
    states.recv_timeout(Duration::from_secs(20)).expect("a container process state")
}

#[test]
fn an_agent_refuses_a_system_call_and_lets_the_next_one_go_on() {
    let Some(place) = Place::new("notify-run") else { return };
    let states = agent(&place.socket());
    let script = "mkdir /tmp/a; mkdir /tmp/b; echo /tmp/*";
    for no_new_privileges in [false, true] {
        let bundle = place.write(&place.config(no_new_privileges, script));
        let output = place.verb(&["run", "--bundle", &bundle, place.id()]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "/tmp/b\n", "{}", said(&output));
        assert!(stderr(&output).contains("'/tmp/a': Protocol error"), "{}", said(&output));
        let state = next(&states);
        assert_eq!(state["fds"], json!(["seccompFd"]));
        assert_eq!(state["metadata"], "for the agent");
        assert_eq!(state["ociVersion"], "1.0.2");
        assert_eq!(state["state"]["id"], place.id());
        assert_eq!(state["state"]["status"], "creating");
        assert_eq!(state["state"]["pid"], state["pid"]);
    }
}

/// runc refuses such a profile, since it sends the listener from under the filter.
#[test]
fn even_every_system_call_can_be_notified() {
    let Some(place) = Place::new("notify-all") else { return };
    let _states = agent(&place.socket());
    for no_new_privileges in [false, true] {
        let mut config = place.config(no_new_privileges, "mkdir /tmp/a; mkdir /tmp/b; echo /tmp/*");
        config["linux"]["seccomp"]["defaultAction"] = json!("SCMP_ACT_NOTIFY");
        let bundle = place.write(&config);
        let output = place.verb(&["run", "--bundle", &bundle, place.id()]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "/tmp/b\n", "{}", said(&output));
    }
}

#[test]
fn create_delivers_the_listener_and_exec_one_of_its_own() {
    let Some(place) = Place::new("notify-verbs") else { return };
    let states = agent(&place.socket());
    for no_new_privileges in [false, true] {
        let bundle = place.write(&place.config(no_new_privileges, "sleep 100"));
        place.quietly(&["create", "--bundle", &bundle, place.id()]);
        let created = next(&states);
        let state = place.json(&["state", place.id()]);
        assert_eq!((&state["status"], &state["pid"]), (&json!("created"), &created["pid"]));
        place.quietly(&["start", place.id()]);
        let script = "mkdir /tmp/a; mkdir /tmp/b && echo /tmp/*";
        let output = place.verb(&["exec", place.id(), "/bin/sh", "-c", script]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "/tmp/b\n", "{}", said(&output));
        let executed = next(&states);
        assert_ne!(executed["pid"], created["pid"]);
        assert_eq!(executed["state"]["pid"], created["pid"]);
        assert_eq!(executed["state"]["status"], "running");
        place.quietly(&["delete", "--force", place.id()]);
    }
}

#[test]
fn the_program_has_neither_the_listener_nor_a_process_that_sent_it() {
    let Some(place) = Place::new("notify-rest") else { return };
    let _states = agent(&place.socket());
    let script = "echo /proc/[0-9]*; ls -l /proc/1/fd | grep -c seccomp";
    for no_new_privileges in [false, true] {
        let bundle = place.write(&place.config(no_new_privileges, script));
        let output = place.verb(&["run", "--bundle", &bundle, place.id()]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "/proc/1\n0\n", "{}", said(&output));
    }
}

#[test]
fn a_filter_that_refuses_the_wait_for_the_sender_still_has_its_listener_delivered() {
    let Some(place) = Place::new("notify-wait") else { return };
    let states = agent(&place.socket());
    let mut config = place.config(true, "mkdir /tmp/a");
    config["process"]["args"] = json!(["/bin/mkdir", "/tmp/a"]);
    config["linux"]["seccomp"]["syscalls"] = json!([
        { "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY" },
        { "names": ["wait4"], "action": "SCMP_ACT_ERRNO" },
    ]);
    let bundle = place.write(&config);
    let output = place.verb(&["run", "--bundle", &bundle, place.id()]).output().unwrap();
    assert!(stderr(&output).contains("'/tmp/a': Protocol error"), "{}", said(&output));
    next(&states);
}

#[test]
fn without_an_agent_nothing_is_created() {
    let Some(place) = Place::new("notify-absent") else { return };
    // A socket whose listener is gone, and none at all.
    for is_there in [true, false] {
        if is_there {
            drop(UnixListener::bind(place.socket()).unwrap());
        } else {
            fs::remove_file(place.socket()).unwrap();
        }
        for no_new_privileges in [false, true] {
            let bundle = place.write(&place.config(no_new_privileges, "true"));
            let output = place.verb(&["create", "--bundle", &bundle, place.id()]).output().unwrap();
            assert_eq!(output.status.code(), Some(1), "{}", said(&output));
            let words = format!(
                "send the seccomp listener to {} (linux.seccomp.listenerPath)",
                place.socket()
            );
            assert!(stderr(&output).contains(&words), "{}", said(&output));
            assert!(!Path::new(&place.0.file("state")).join(place.id()).exists());
        }
    }
}

#[test]
fn an_action_that_notifies_needs_a_listener() {
    let Some(place) = Place::new("notify-config") else { return };
    let mut config = place.config(false, "true");
    config["linux"]["seccomp"]["listenerPath"] = Value::Null;
    config["linux"]["seccomp"]["listenerMetadata"] = Value::Null;
    let bundle = place.write(&config);
    let output = place.verb(&["run", "--bundle", &bundle, place.id()]).output().unwrap();
    assert!(stderr(&output).contains("(linux.seccomp.listenerPath)"), "{}", said(&output));
    // Nobody is asked then, so nobody has to be there.
    let mut config = place.config(false, "mkdir /tmp/a && echo made");
    config["linux"]["seccomp"]["syscalls"] = json!([]);
    let bundle = place.write(&config);
    let output = place.verb(&["run", "--bundle", &bundle, place.id()]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "made\n", "{}", said(&output));
}
