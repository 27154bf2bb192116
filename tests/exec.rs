//! `minirun exec`: another process in a running container, for root and for others.

mod support;

use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{TempDir, is_root, minirun, rootfs, said, skipped, stderr, without_root};

/// A container that sleeps, deleted at the end.
struct Sleeper {
    dir: TempDir,
    id: String,
}

impl Sleeper {
    fn new(name: &str, change: impl FnOnce(&mut Value)) -> Sleeper {
        let dir = TempDir::new(name);
        let id = dir.path().file_name().unwrap().to_str().unwrap().to_owned();
        let mut config = json!({
            "ociVersion": "1.3.0",
            "root": { "path": rootfs() },
            "hostname": "sleeper",
            "process": {
                "cwd": "/",
                "user": { "uid": 0, "gid": 0 },
                "args": ["sleep", "98765"],
                "env": ["PATH=/bin:/usr/bin", "OWN=1"],
                "noNewPrivileges": true,
                "capabilities": { "bounding": ["CAP_KILL"], "effective": ["CAP_KILL"],
                    "permitted": ["CAP_KILL"] },
            },
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/dev", "type": "tmpfs", "source": "tmpfs" },
                { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
                  "options": ["newinstance", "ptmxmode=0666"] },
            ],
            "linux": { "namespaces": [{ "type": "pid" }, { "type": "mount" },
                { "type": "network" }, { "type": "ipc" }, { "type": "uts" }] },
        });
        if !is_root() {
            let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
            let linux = &mut config["linux"];
            linux["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
            linux["uidMappings"] = json!([{ "containerID": 0, "hostID": uid, "size": 1 }]);
            linux["gidMappings"] = json!([{ "containerID": 0, "hostID": gid, "size": 1 }]);
        }
        change(&mut config);
        fs::write(dir.file("config.json"), config.to_string()).unwrap();
        let sleeper = Sleeper { dir, id };
        let bundle = sleeper.dir.path().to_str().unwrap().to_owned();
        // To files: pipes would be held open by the container.
        let log = fs::File::create(sleeper.dir.file("log")).unwrap();
        let status = sleeper
            .verb("run", &["--detach", "--bundle", &bundle, &sleeper.id])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .status()
            .unwrap();
        let log = fs::read_to_string(sleeper.dir.file("log")).unwrap();
        assert!(status.success(), "{log}");
        sleeper
    }

    fn plain(name: &str) -> Sleeper {
        Sleeper::new(name, |_| {})
    }

    fn verb(&self, verb: &str, words: &[&str]) -> Command {
        let mut command = minirun(&["--root", &self.dir.file("state"), verb]);
        command.args(words);
        command
    }

    fn exec(&self, options: &[&str], words: &[&str]) -> Output {
        self.verb("exec", options).arg(&self.id).args(words).output().unwrap()
    }

    /// A script's standard output, after it has succeeded.
    fn script(&self, options: &[&str], script: &str) -> String {
        let output = self.exec(options, &["sh", "-c", script]);
        assert!(output.status.success(), "{script:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.verb("delete", &["--force", &self.id]).output();
    }
}

#[test]
fn it_runs_beside_the_containers_own_process() {
    let sleeper = Sleeper::plain("exec-beside");
    let text =
        sleeper.script(&[], "hostname; tr '\\0' ' ' < /proc/1/cmdline; echo; echo $OWN$HOME");
    assert_eq!(text, "sleeper\nsleep 98765 \n1/root\n");
    for kind in ["pid", "mnt", "net", "ipc", "uts", "user"] {
        let read = |pid: &str| {
            let link = format!("readlink /proc/{pid}/ns/{kind} || true");
            sleeper.script(&[], &link)
        };
        assert_eq!(read("self"), read("1"), "{kind}");
    }
}

#[test]
fn its_status_is_the_verbs_and_failures_of_minirun_are_255() {
    let sleeper = Sleeper::plain("exec-status");
    assert_eq!(sleeper.exec(&[], &["sh", "-c", "exit 7"]).status.code(), Some(7));
    assert_eq!(sleeper.exec(&[], &["sh", "-c", "kill -9 $$"]).status.code(), Some(137));
    for (words, reason) in [
        (&["nosuch"][..], "no such file or directory"),
        (&["/etc/passwd"], "permission denied"),
        (&[], "required arguments"),
    ] {
        let output = sleeper.exec(&[], words);
        assert_eq!(output.status.code(), Some(255), "{}", said(&output));
        assert!(stderr(&output).contains(reason), "{}", said(&output));
    }
    let output = sleeper.exec(&["--cwd", "/nowhere"], &["true"]);
    assert!(stderr(&output).contains("(--cwd): ENOENT"), "{}", said(&output));
}

#[test]
fn options_change_who_it_is_and_where() {
    if skipped(without_root()) {
        return;
    }
    let sleeper = Sleeper::plain("exec-options");
    let options = ["-u", "5:6", "-g", "9", "-e", "OWN=2", "--cwd", "/etc"];
    let text = sleeper.script(&options, "id -u; id -g; id -G; pwd; echo $OWN$HOME");
    assert_eq!(text, "5\n6\n6 9\n/etc\n2/\n");
    for user in ["abc", "1x", "", "1:", "-1", "4294967295"] {
        let output = sleeper.exec(&["-u", user], &["true"]);
        assert!(!output.status.success(), "{user:?} (CVE-2026-30892)");
    }
}

#[test]
fn standard_output_can_be_opened_anew_by_the_user() {
    if skipped(without_root()) {
        return;
    }
    let sleeper = Sleeper::plain("exec-stdout");
    assert_eq!(sleeper.script(&["-u", "4321"], "echo there > /dev/stdout"), "there\n");
}

#[test]
fn it_has_no_more_rights_than_were_asked_for() {
    let sleeper = Sleeper::plain("exec-rights");
    let status = "grep -E '^(Cap|NoNewPrivs)' /proc/self/status";
    let sets = |options: &[&str]| {
        let text = sleeper.script(options, status);
        let number =
            |line: &str| u64::from_str_radix(line.split_once('\t').unwrap().1, 16).unwrap();
        text.lines().map(number).collect::<Vec<_>>()
    };
    // Inheritable, permitted, effective, bounding, ambient; no_new_privs.
    assert_eq!(sets(&[]), [0, 1 << 5, 1 << 5, 1 << 5, 0, 1]);
    let chown = 1;
    let both = chown | 1 << 5;
    assert_eq!(sets(&["--cap", "CAP_CHOWN"]), [0, both, both, both, 0, 1], "CVE-2022-29162");
}

#[test]
fn no_descriptor_of_the_host_is_left_open() {
    let sleeper = Sleeper::plain("exec-descriptors");
    assert_eq!(sleeper.script(&[], "cd /proc/self/fd; echo *").trim(), "0 1 2 3", "3 is echo's *");
    let output = sleeper.exec(&["--cwd", "/proc/self/fd/7"], &["pwd"]);
    assert_eq!(output.status.code(), Some(255), "CVE-2024-21626: {}", said(&output));
}

#[test]
fn a_file_describes_all_of_the_process() {
    let sleeper = Sleeper::plain("exec-file");
    let file = sleeper.dir.file("process.json");
    let process = json!({ "cwd": "/etc", "user": { "uid": 0, "gid": 0 },
        "args": ["sh", "-c", "pwd; echo $OWN-$B; grep NoNewPrivs /proc/self/status"],
        "env": ["PATH=/bin", "B=3"] });
    fs::write(&file, process.to_string()).unwrap();
    let output = sleeper.exec(&["--process", &file], &[]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text, "/etc\n-3\nNoNewPrivs:\t0\n", "{}", said(&output));
    fs::write(&file, r#"{"cwd":"/","user":{"uid":"x","gid":0}}"#).unwrap();
    let output = sleeper.exec(&["--process", &file], &[]);
    assert!(stderr(&output).contains("(process.user.uid)"), "{}", said(&output));
}

#[test]
fn detached_it_goes_on_and_its_pid_is_known() {
    let sleeper = Sleeper::plain("exec-detached");
    let pid_file = sleeper.dir.file("pid");
    let status = sleeper
        .verb("exec", &["--detach", "--pid-file", &pid_file, &sleeper.id, "sleep", "98765"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let pid = fs::read_to_string(&pid_file).unwrap();
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    assert_eq!(command, b"sleep\x0098765\0");
}

#[test]
fn its_terminal_is_one_of_the_containers() {
    let sleeper = Sleeper::plain("exec-terminal");
    let socket = sleeper.dir.file("console.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let mut child = sleeper
        .verb("exec", &["--tty", "--detach", "--console-socket", &socket, &sleeper.id])
        .args(["sh", "-c", "read line; tty; echo got $line; exit"])
        .spawn()
        .unwrap();
    let (connection, _) = listener.accept().unwrap();
    let mut master = fs::File::from(support::receive_fd(connection.as_raw_fd()));
    assert!(child.wait().unwrap().success());
    master.write_all(b"words\n").unwrap();
    let text = support::read_until(&mut master, "got words");
    assert!(text.contains("/dev/pts/"), "{text}");
    let output = sleeper.exec(&["--tty", "--detach"], &["true"]);
    assert!(stderr(&output).contains("console socket"), "{}", said(&output));
}

#[test]
fn a_fake_ptmx_is_not_taken_for_a_terminal() {
    let sleeper = Sleeper::new("exec-fake-ptmx", |config| {
        // A directory that the container can fill, where devpts would be.
        config["mounts"].as_array_mut().unwrap().pop();
    });
    sleeper.script(&[], "mkdir /dev/pts; mkfifo /dev/pts/ptmx");
    let socket = sleeper.dir.file("console.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let output = sleeper.exec(&["--tty", "--detach", "--console-socket", &socket], &["sleep", "1"]);
    assert_eq!(output.status.code(), Some(255), "{}", said(&output));
    assert!(stderr(&output).contains("ENODEV"), "{}", said(&output));
}

#[test]
fn it_is_limited_and_counted_with_the_container() {
    if skipped(without_root()) {
        return;
    }
    let sleeper = Sleeper::new("exec-limits", |config| {
        config["linux"]["resources"] = json!({ "pids": { "limit": 3 } });
    });
    // The container's own process, the shell, and no room for two more.
    let output = sleeper.exec(&[], &["sh", "-c", "sleep 1 & sleep 1 & sleep 1 & wait"]);
    assert!(stderr(&output).contains("fork"), "{}", said(&output));
}

#[test]
fn processors_are_those_that_were_asked_for() {
    let sleeper = Sleeper::plain("exec-processors");
    let file = sleeper.dir.file("process.json");
    let process = |affinity: Value| {
        json!({ "cwd": "/", "user": { "uid": 0, "gid": 0 }, "env": ["PATH=/bin"],
            "args": ["grep", "Cpus_allowed_list", "/proc/self/status"],
            "execCPUAffinity": affinity })
    };
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find(|line| line.starts_with("Cpus_allowed_list:")).unwrap();
    // Before Linux 6.2 whoever enters a cgroup on v2 gets all of its processors again.
    let initially = ["Cpus_allowed_list:\t0", own];
    let finally = &initially[..1];
    let both = json!({ "initial": "0", "final": "0" });
    for (affinity, expected) in [
        (json!({ "initial": "0" }), &initially[..]),
        (json!({ "final": "0" }), finally),
        (both, finally),
    ] {
        fs::write(&file, process(affinity).to_string()).unwrap();
        let output = sleeper.exec(&["--process", &file], &[]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(expected.contains(&text.trim()), "{}", said(&output));
    }
    fs::write(&file, process(json!({ "final": "8000" })).to_string()).unwrap();
    let output = sleeper.exec(&["--process", &file], &[]);
    let place = "(process.execCPUAffinity.final): EINVAL";
    assert!(stderr(&output).contains(place), "{}", said(&output));
}

#[test]
fn a_container_with_other_ids_is_entered_as_its_root() {
    if skipped(without_root()) {
        return;
    }
    let sleeper = Sleeper::new("exec-ids", |config| {
        let linux = &mut config["linux"];
        linux["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
        let ids = json!([{ "containerID": 0, "hostID": 200_000, "size": 65536 }]);
        (linux["uidMappings"], linux["gidMappings"]) = (ids.clone(), ids);
    });
    let text = sleeper.script(&["-u", "3"], "id -u; cat /proc/self/uid_map");
    let numbers: Vec<&str> = text.split_ascii_whitespace().collect();
    assert_eq!(numbers, ["3", "0", "200000", "65536"]);
}

#[test]
fn what_does_not_run_is_not_entered() {
    let sleeper = Sleeper::plain("exec-stopped");
    let output = sleeper.verb("exec", &["no-such-container", "true"]).output().unwrap();
    assert!(stderr(&output).contains("container does not exist"), "{}", said(&output));
    assert!(sleeper.verb("kill", &[&sleeper.id, "KILL"]).status().unwrap().success());
    let output = sleeper.exec(&[], &["true"]);
    assert_eq!(output.status.code(), Some(255), "{}", said(&output));
    assert!(stderr(&output).contains("container not running"), "{}", said(&output));
}

#[test]
fn one_that_races_with_the_end_of_the_container_starts_or_says_so() {
    for round in 0..8 {
        let sleeper = Sleeper::new("exec-race", |config| {
            config["process"]["args"] = json!(["sleep", format!("0.0{round}")]);
        });
        loop {
            let output = sleeper.exec(&[], &["true"]);
            match output.status.code() {
                // 137: it had been started, and died with the container.
                Some(0 | 137) => {}
                Some(255) => {
                    let text = stderr(&output);
                    assert!(text.contains("container not running"), "{text}");
                    break;
                }
                _ => panic!("{}", said(&output)),
            }
        }
    }
}

/// The container's root could reach minirun's binary through /proc of an exec that is on its
/// way (CVE-2019-5736), so what it would find there is on a read-only mount.
#[test]
fn the_hosts_binary_is_out_of_reach() {
    if skipped(without_root()) {
        return;
    }
    let sleeper = Sleeper::plain("exec-binary");
    let mut child = sleeper.verb("exec", &[&sleeper.id, "sleep", "98765"]).spawn().unwrap();
    let own = format!("/proc/{}/exe", child.id());
    let patience = Instant::now() + Duration::from_secs(10);
    let is_read_only = || {
        let found = nix::sys::statvfs::statvfs(own.as_str()).unwrap();
        found.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY)
    };
    while !is_read_only() {
        assert!(Instant::now() < patience, "it could be written to, once it has ended");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
