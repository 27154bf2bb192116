//! The verbs of an OCI runtime as engines call them: arguments, formats, messages and
//! statuses. What the verbs do is tested in `oci_lifecycle.rs`.

mod support;

use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use serde_json::Value;
use support::person::Person;
use support::{TempDir, minirun, rootfs, said, stderr};

/// A bundle and a store of a test's own. Every container in it is deleted at the end.
struct Place {
    dir: TempDir,
}

impl Place {
    /// With a bundle that runs this script, for whoever runs the test.
    fn new(name: &str, options: &[&str], script: &str) -> Place {
        let place = Place { dir: TempDir::new(name) };
        let mut command = minirun(&["spec", "--no-tty", "--no-init", "--bundle"]);
        command.arg(place.dir.path()).args(options).arg(rootfs());
        let output = command.args(["/bin/sh", "-c", script]).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        place
    }

    fn change(&self, change: impl FnOnce(&mut Value)) {
        let file = self.dir.file("config.json");
        let mut config = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        change(&mut config);
        fs::write(&file, config.to_string()).unwrap();
    }

    /// Ids become names of cgroups, so those of tests mustn't meet.
    fn id(&self, id: &str) -> String {
        format!("{}-{id}", self.dir.path().file_name().unwrap().to_str().unwrap())
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = minirun(&["--root", &self.dir.file("state")]);
        command.args(args).current_dir(self.dir.path());
        command
    }

    fn output(&self, args: &[&str]) -> Output {
        // Through files, since a container that goes on would keep a pipe open.
        let (out, err) = (self.dir.file("out"), self.dir.file("err"));
        let mut command = self.command(args);
        command.stdout(fs::File::create(&out).unwrap()).stderr(fs::File::create(&err).unwrap());
        let status = command.status().unwrap();
        Output { status, stdout: fs::read(out).unwrap(), stderr: fs::read(err).unwrap() }
    }

    fn succeeds(&self, args: &[&str]) -> String {
        let output = self.output(args);
        assert!(output.status.success(), "{args:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Fails with 1, one line on standard error that begins as ours do; gives that line.
    fn fails(&self, args: &[&str]) -> String {
        let output = self.output(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", said(&output));
        let text = stderr(&output);
        assert!(text.starts_with("minirun: error: ") && text.lines().count() == 1, "{text}");
        text
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.succeeds(args)).unwrap()
    }

    fn wait_for(&self, id: &str, status: &str) {
        let patience = Instant::now() + Duration::from_secs(10);
        while self.json(&["state", id])["status"] != status {
            assert!(Instant::now() < patience, "{id} isn't {status}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let listed = self.output(&["list", "--quiet"]).stdout;
        for id in String::from_utf8_lossy(&listed).lines() {
            self.output(&["delete", "--force", id]);
        }
    }
}

#[test]
fn a_container_passes_through_its_states() {
    let place = Place::new("states", &[], "exec sleep 60");
    let id = place.id("one");
    let pid_file = place.dir.file("pid");
    assert_eq!(place.succeeds(&["create", "--pid-file", &pid_file, &id]), "");
    let state = place.json(&["state", &id]);
    assert_eq!((&state["id"], &state["status"]), (&id.as_str().into(), &"created".into()));
    assert_eq!(state["ociVersion"], "1.3.0");
    assert_eq!(state["bundle"], place.dir.path().to_str().unwrap());
    assert_eq!(state["rootfs"], rootfs().to_str().unwrap());
    assert_eq!(state["pid"].to_string(), fs::read_to_string(&pid_file).unwrap());
    assert!(state["created"].as_str().unwrap().ends_with('Z'));
    assert_eq!(place.succeeds(&["start", &id]), "");
    assert_eq!(place.json(&["state", &id])["status"], "running");
    assert!(place.fails(&["delete", &id]).contains("cannot delete container"));
    place.succeeds(&["kill", &id, "KILL"]);
    place.wait_for(&id, "stopped");
    assert_eq!(place.json(&["state", &id])["pid"], 0);
    assert_eq!(place.succeeds(&["delete", &id]), "");
    assert!(place.fails(&["state", &id]).contains("does not exist"));
}

/// In a directory where others may write, as /tmp is.
#[test]
fn a_pid_file_overwrites_nothing_that_a_link_leads_to() {
    let place = Place::new("pid-link", &[], "exec sleep 60");
    let (id, dir) = (place.id("one"), place.dir.path().to_str().unwrap());
    fs::write(place.dir.file("victim"), "whole").unwrap();
    let create = place.command(&["create", "--pid-file", "pid", &id]);
    let output = Command::new("sh")
        .args(["-c", "ln -s victim pid.$$ && exec \"$@\"", "sh"])
        .arg(create.get_program())
        .args(create.get_args())
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    assert!(output.unwrap().success());
    assert_eq!(fs::read_to_string(place.dir.file("victim")).unwrap(), "whole");
    let pid = fs::read_to_string(place.dir.file("pid")).unwrap();
    assert_eq!(place.json(&["state", &id])["pid"].to_string(), pid);
}

#[test]
fn lists_are_tables_json_or_ids() {
    let place = Place::new("list", &[], "exec sleep 60");
    assert_eq!(place.json(&["list", "--format", "json"]), serde_json::json!([]));
    assert_eq!(place.succeeds(&["list", "-q"]), "");
    let id = place.id("one");
    place.succeeds(&["create", &id]);
    assert_eq!(place.succeeds(&["list", "-q"]), format!("{id}\n"));
    let all = place.json(&["list", "-f", "json"]);
    assert_eq!(all.as_array().unwrap().len(), 1);
    assert_eq!(all[0], place.json(&["state", &id]));
    let table = place.succeeds(&["list"]);
    let lines: Vec<Vec<&str>> = table.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    assert_eq!((lines[1][0], lines[1][2], lines.len()), (id.as_str(), "created", 2));
    let output = place.output(&["list", "--format", "xml"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
}

#[test]
fn at_a_terminal_tables_fit_and_have_colours_unless_they_are_not_wanted() {
    let place = Place::new("a-bundle-whose-directory-has-a-long-name", &[], "exec sleep 60");
    let id = place.id("one");
    place.succeeds(&["run", "-d", &id]);
    let shown = |no_color: &str, verb: &[&str]| {
        let root = place.dir.file("state");
        let words = [&["--root", &root], verb].concat();
        let mut person = Person::with(("NO_COLOR", no_color), &words);
        assert_eq!(person.leaves(), Some(0));
        support::read_some(&mut person.master)
    };
    let table = shown("", &["list"]);
    assert!(table.contains("\x1b[32mrunning"), "{table}");
    assert!(table.contains("…-one  ") || table.contains("…  "), "{table}");
    let plain = shown("1", &["list"]);
    assert!(plain.contains("  running  ") && !plain.contains('\x1b'), "{plain}");
    let processes = shown("1", &["ps", &id, "-eo", "pid,user,args,args,args,args,args,args"]);
    assert!(processes.lines().count() == 2, "{processes}");
    for text in [plain, processes] {
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
    let piped = place.succeeds(&["list"]);
    assert!(piped.contains(place.dir.path().to_str().unwrap()), "{piped}");
}

/// Holds a container's lock as a verb does that changes it.
fn held(place: &Place, id: &str) -> Flock<fs::File> {
    let directory = fs::File::open(place.dir.path().join("state").join(id)).unwrap();
    Flock::lock(directory, FlockArg::LockExclusive).unwrap()
}

#[test]
fn at_a_terminal_a_line_says_what_is_waited_for_and_goes_away() {
    let place = Place::new("progress", &[], "exec sleep 60");
    let id = place.id("one");
    place.succeeds(&["create", &id]);
    let lock = held(&place, &id);
    let root = place.dir.file("state");
    let mut person = Person::at(&["--root", &root, "start", &id]);
    person.sees(&format!("\rminirun: start {id}"));
    person.sees("\x1b[K");
    drop(lock);
    person.sees("\r\x1b[K");
    assert_eq!(person.leaves(), Some(0));
    assert_eq!(support::read_some(&mut person.master), "");
    // What measures for longer says so, too.
    let mut person = Person::at(&["--root", &root, "stats", "-i", "3s", &id]);
    person.sees("\rminirun: stats: measuring, ");
    person.sees("\r\x1b[KID");
    assert_eq!(person.leaves(), Some(0));
}

#[test]
fn a_pipe_and_a_log_hear_nothing_of_waiting() {
    let place = Place::new("no-progress", &[], "exec sleep 60");
    let (one, two) = (place.id("one"), place.id("two"));
    place.succeeds(&["create", &one]);
    place.succeeds(&["create", &two]);
    let locks = [held(&place, &one), held(&place, &two)];
    let (root, log) = (place.dir.file("state"), place.dir.file("log"));
    let mut piped = place.command(&["start", &one]);
    let piped = piped.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut person = Person::at(&["--root", &root, "--log", &log, "start", &two]);
    // Longer than it takes for a line.
    std::thread::sleep(Duration::from_secs(2));
    drop(locks);
    assert_eq!(person.leaves(), Some(0));
    assert_eq!(support::read_some(&mut person.master), "");
    let output = piped.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", said(&output));
}

#[test]
fn unknown_containers_are_named_as_callers_expect() {
    let place = Place::new("unknown", &[], "true");
    let verbs = ["state", "start", "kill", "delete", "ps", "pause", "resume", "update", "events"];
    for verb in verbs {
        let text = place.fails(&[verb, "nobody"]);
        assert!(text.contains("container does not exist"), "{verb:?}: {text}");
    }
    assert_eq!(place.output(&["delete", "--force", "nobody"]).stderr, b"");
    assert!(place.fails(&["state", "no/body"]).contains("(ID): invalid id format"));
}

#[test]
fn signals_go_by_name_and_number() {
    let script = "trap 'exit 7' TERM; trap 'exit 8' USR1; while :; do sleep 0.02; done";
    let place = Place::new("signals", &[], script);
    for signal in [&[][..], &["SIGUSR1"], &["usr1"], &["10"], &["KILL"]] {
        let id = place.id("one");
        place.succeeds(&["create", &id]);
        place.succeeds(&["start", &id]);
        // The shell needs a moment to set its traps; without them PID 1 ignores the signal.
        let patience = Instant::now() + Duration::from_secs(10);
        while place.json(&["state", &id])["status"] != "stopped" {
            assert!(Instant::now() < patience, "{signal:?} didn't end it");
            let output = place.output(&[&["kill", &id], signal].concat());
            let gone = stderr(&output).contains("container not running");
            assert!(output.status.success() || gone, "{}", said(&output));
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(place.fails(&["kill", &id]).contains("container not running"));
        place.succeeds(&["delete", &id]);
    }
    let output = place.output(&["kill", "x", "SIGNONSENSE"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("unknown signal"), "{}", said(&output));
}

#[test]
fn a_bundle_in_the_foreground_gives_its_status_and_is_gone() {
    let place = Place::new("run", &[], "echo out; echo err >&2; exit 7");
    let id = place.id("one");
    let bundle = place.dir.path().to_str().unwrap();
    for args in [&["run", &id][..], &["run", "--bundle", bundle, &id], &["run", "-b", ".", &id]] {
        let output = place.output(args);
        assert_eq!(output.status.code(), Some(7), "{}", said(&output));
        assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
    }
    assert_eq!(place.succeeds(&["list", "-q"]), "");
    assert_eq!(place.output(&["run", "--keep", &id]).status.code(), Some(7));
    assert_eq!(place.json(&["state", &id])["status"], "stopped");
}

#[test]
fn a_bundle_in_the_background_goes_on() {
    let place = Place::new("detach", &[], "exec sleep 60");
    let id = place.id("one");
    let pid_file = place.dir.file("pid");
    assert_eq!(place.succeeds(&["run", "-d", "--pid-file", &pid_file, &id]), "");
    let state = place.json(&["state", &id]);
    assert_eq!(state["status"], "running");
    assert_eq!(state["pid"].to_string(), fs::read_to_string(pid_file).unwrap());
    assert!(place.fails(&["run", "-d", &id]).contains("already exists"));
}

#[test]
fn a_word_that_could_mean_two_things_is_refused() {
    let place = Place::new("doubt", &[], "true");
    let run = |args: &[&str]| place.output(args);
    fs::create_dir(place.dir.path().join("box")).unwrap();
    for (args, words) in [
        (&["run", "box"][..], &["say ./box", "--bundle . box"][..]),
        (&["run", "-b", ".", "./box"], &["the id of a container has no slash"]),
        (&["run", "-b", ".", "box", "true"], &["config.json says what to run"]),
        (&["run", "--keep", "--memory", "1m", "box"], &["config.json says what to run"]),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(125), "{args:?}: {}", said(&output));
        let text = stderr(&output);
        assert!(words.iter().all(|word| text.contains(word)), "{args:?}: {text}");
    }
    fs::remove_file(place.dir.file("config.json")).unwrap();
    assert!(stderr(&run(&["run", "other"])).contains("name a root filesystem by its path"));
    let output = run(&["run", "box", "true"]);
    assert!(stderr(&output).contains("execute true in the container"), "{}", said(&output));
}

#[test]
fn what_is_wrong_with_a_bundle_is_named_and_nothing_is_left() {
    let place = Place::new("wrong", &[], "true");
    let id = place.id("one");
    place.change(|config| config["process"]["args"] = serde_json::json!(["/nosuch"]));
    for verb in ["create", "run"] {
        let text = place.fails(&[verb, &id]);
        assert!(text.contains("(process.args") && text.contains("no such file or directory"));
    }
    place.change(|config| config["process"]["cwd"] = 7.into());
    assert!(place.fails(&["create", &id]).contains("(process.cwd)"));
    let text = place.fails(&["create", "--bundle", "/nowhere", &id]);
    assert!(text.contains("/nowhere/config.json") && text.contains("ENOENT"), "{text}");
    assert_eq!(place.succeeds(&["list", "-q"]), "");
}

#[test]
fn without_systemd_it_is_refused_only_where_it_matters() {
    let by_systemd = std::path::Path::new("/run/systemd/system").exists();
    if support::skipped(by_systemd.then_some("this machine was started by systemd")) {
        return;
    }
    let place = Place::new("systemd", &[], "exec sleep 60");
    let id = place.id("one");
    for verb in [&["create"][..], &["run"], &["run", "-d"]] {
        let text = place.fails(&[&["--systemd-cgroup"], verb, &[&id]].concat());
        assert!(text.contains("(--systemd-cgroup)") && text.contains("cgroupfs"), "{text}");
        assert!(text.contains("wasn't started by systemd"), "{text}");
    }
    place.succeeds(&["create", &id]);
    for verb in [&["state"][..], &["start"], &["kill"], &["delete", "--force"]] {
        place.succeeds(&[&["--systemd-cgroup"], verb, &[&id]].concat());
    }
}

#[test]
fn a_terminal_of_a_detached_container_goes_to_the_socket() {
    let place = Place::new("console", &["--tty"], "tty; stty size; exec sleep 60");
    place.change(|config| {
        config["process"]["terminal"] = true.into();
        config["process"]["consoleSize"] = serde_json::json!({"height": 33, "width": 77});
    });
    let id = place.id("one");
    let refused = place.fails(&["create", &id]);
    assert!(refused.contains("console socket"), "{refused}");
    let path = place.dir.file("console.sock");
    let listener = UnixListener::bind(&path).unwrap();
    place.succeeds(&["create", "--console-socket", &path, &id]);
    let (connection, _) = listener.accept().unwrap();
    let mut master = fs::File::from(support::receive_fd(connection.as_raw_fd()));
    place.succeeds(&["start", &id]);
    let told = support::read_until(&mut master, "77");
    assert!(told.contains("/dev/") && told.contains("33 77"), "{told:?}");
}

#[test]
fn a_created_container_with_a_terminal_lets_go_of_its_callers_pipes() {
    let place = Place::new("pipes", &["--tty"], "exec sleep 60");
    place.change(|config| config["process"]["terminal"] = true.into());
    let (id, path) = (place.id("one"), place.dir.file("console.sock"));
    let _listener = UnixListener::bind(&path).unwrap();
    let mut create = place.command(&["create", "--console-socket", &path, &id]);
    // An engine reads to the end before it calls start; that end must come.
    let (ended, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || ended.send(create.output().unwrap()));
    let output = end.recv_timeout(Duration::from_secs(20)).expect("the pipes' end");
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn a_null_device_opened_for_reading_alone_can_be_written_inside() {
    let place = Place::new("null", &[], "echo hi");
    let mut run = place.command(&["run", &place.id("one")]);
    run.stdout(fs::File::open("/dev/null").unwrap());
    let output = run.output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn a_pidfd_goes_to_its_socket() {
    let place = Place::new("pidfd", &[], "exec sleep 60");
    let (id, path) = (place.id("one"), place.dir.file("pidfd.sock"));
    let listener = UnixListener::bind(&path).unwrap();
    place.succeeds(&["create", "--pidfd-socket", &path, &id]);
    let (connection, _) = listener.accept().unwrap();
    let pidfd = support::receive_fd(connection.as_raw_fd());
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).unwrap();
    let pid = place.json(&["state", &id])["pid"].to_string();
    assert!(info.lines().any(|line| line == format!("Pid:\t{pid}")), "{info}");
}

#[test]
fn descriptors_are_kept_where_asked_for() {
    let place = Place::new("fds", &[], "ls /proc/self/fd | wc -l; cat <&3");
    let (id, file) = (place.id("one"), place.dir.file("kept"));
    fs::write(&file, "kept\n").unwrap();
    let run = |options: &str| -> Output {
        let binary = support::binary();
        let script = format!(
            "exec 3<{file} 4<{file}; exec {} --root {} run {options} -b {} {id}",
            binary.display(),
            place.dir.file("state"),
            place.dir.path().display()
        );
        Command::new("sh").args(["-c", &script]).output().unwrap()
    };
    let output = run("--preserve-fds 1");
    // 0, 1, 2, 3 and the directory that ls reads.
    assert_eq!(output.stdout, b"5\nkept\n", "{}", said(&output));
    assert_eq!(run("").stdout, b"4\n");
}

#[test]
fn sockets_of_systemd_are_handed_on() {
    let script = "echo $LISTEN_FDS of $LISTEN_PID; ls /proc/self/fd | wc -l; cat <&4";
    let place = Place::new("listen", &[], script);
    fs::write(place.dir.file("kept"), "kept\n").unwrap();
    let run = |pid: &str| -> Output {
        let script = format!(
            "exec 3<{file} 4<{file}; export LISTEN_FDS=2 LISTEN_PID={pid}; \
             exec {} --root {} run -b {} {}",
            support::binary().display(),
            place.dir.file("state"),
            place.dir.path().display(),
            place.id("one"),
            file = place.dir.file("kept"),
        );
        Command::new("sh").args(["-c", &script]).output().unwrap()
    };
    let output = run("$$");
    assert_eq!(output.stdout, b"2 of 1\n6\nkept\n", "{}", said(&output));
    let output = run("1");
    assert!(output.stdout.starts_with(b"of\n4\n"), "they were another's: {}", said(&output));
    place.change(|config| config["annotations"]["io.minirun.init"] = "true".into());
    let output = run("$$");
    assert_eq!(output.stdout, b"2 of 2\n6\nkept\n", "beside init: {}", said(&output));
}

#[test]
fn errors_of_engines_verbs_are_the_last_line_of_the_log() {
    let place = Place::new("log", &[], "true");
    let log = place.dir.file("log");
    for args in [&["state", "nobody"][..], &["create", "--bundle", "/nowhere", "x"]] {
        place.fails(&[&["--log", &log, "--log-format", "json"], args].concat());
        let text = fs::read_to_string(&log).unwrap();
        let entry: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(entry["level"], "error");
    }
    assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 2);
}

#[test]
fn an_init_and_a_throw_away_layer_travel_as_annotations() {
    let place = Place::new("annotations", &["--ephemeral"], "touch /made; exec sleep 60");
    place.change(|config| config["annotations"]["io.minirun.init"] = "true".into());
    let id = place.id("one");
    place.succeeds(&["create", &id]);
    assert_eq!(place.json(&["state", &id])["status"], "created");
    place.succeeds(&["start", &id]);
    let state = place.json(&["state", &id]);
    assert_eq!(state["status"], "running");
    let name = fs::read_to_string(format!("/proc/{}/comm", state["pid"])).unwrap();
    assert_eq!(name, "minirun-init\n");
    assert!(!rootfs().join("made").exists());
}

#[test]
fn wrong_usage_is_1_and_says_what_is_right() {
    let place = Place::new("usage", &[], "true");
    for args in [&["create"][..], &["state"], &["kill"], &["delete", "--nonsense", "x"]] {
        let output = place.output(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", said(&output));
        assert!(stderr(&output).contains("Usage: minirun "), "{}", said(&output));
    }
}

#[test]
fn processes_are_listed_as_pids_or_by_ps() {
    let place = Place::new("ps", &[], "sleep 60 & exec sleep 61");
    let id = place.id("one");
    place.succeeds(&["run", "-d", &id]);
    let init = place.json(&["state", &id])["pid"].clone();
    let patience = Instant::now() + Duration::from_secs(10);
    let table = loop {
        let table = place.succeeds(&["ps", &id]);
        if table.lines().count() == 3 || Instant::now() > patience {
            break table;
        }
    };
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines.len() == 3 && lines[0].contains("PID") && lines[0].contains("CMD"), "{table}");
    assert!(table.contains("sleep 61") && table.contains("sleep 60"), "{table}");
    let pids = place.json(&["ps", "--format", "json", &id]);
    assert!(pids.as_array().unwrap().len() == 2 && pids.as_array().unwrap().contains(&init));
    let chosen = place.succeeds(&["ps", &id, "-o", "pid,comm", "-e"]);
    assert_eq!(chosen.lines().next().unwrap().split_whitespace().count(), 2, "{chosen}");
    assert_eq!(chosen.lines().count(), 3, "{chosen}");
    assert!(place.fails(&["ps", &id, "-o", "comm"]).contains("it has no column PID"));
    assert!(place.fails(&["ps", &id, "--nonsense"]).contains("run ps: exit status"));
}

#[test]
fn a_container_is_paused_and_resumed() {
    if support::skipped(support::without_root()) {
        return;
    }
    let place = Place::new("pause", &[], "exec sleep 60");
    let id = place.id("one");
    place.succeeds(&["run", "-d", &id]);
    assert!(place.fails(&["resume", &id]).contains("container not paused"));
    assert_eq!(place.succeeds(&["pause", &id]), "");
    assert_eq!(place.json(&["state", &id])["status"], "paused");
    assert_eq!(place.succeeds(&["resume", &id]), "");
    assert_eq!(place.json(&["state", &id])["status"], "running");
    place.succeeds(&["pause", &id]);
    place.succeeds(&["delete", "--force", &id]);
}

#[test]
fn limits_are_changed_by_options_and_by_json() {
    if support::skipped(support::without_root()) {
        return;
    }
    let script = "trap : USR1; while :; do sleep 60 & wait; \
                  cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max; done";
    let place = Place::new("update", &["--memory", "64m"], script);
    let id = place.id("one");
    let mut command = place.command(&["run", &id]);
    let mut child = Reaped(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut out = child.0.stdout.take().unwrap();
    let mut limit_is = |bytes: u64| {
        let patience = Instant::now() + Duration::from_secs(10);
        let (word, mut read) = (format!("{bytes}\n"), String::new());
        while !read.contains(&word) && Instant::now() < patience {
            place.output(&["kill", &id, "USR1"]);
            read += &support::read_some(&mut out);
        }
        assert!(read.contains(&word), "the limit isn't {bytes} but {read}");
    };
    let running = || place.output(&["state", &id]).status.success();
    let patience = Instant::now() + Duration::from_secs(10);
    while !running() && Instant::now() < patience {}
    place.succeeds(&["update", "--memory", "32m", "--pids-limit", "50", &id]);
    limit_is(32 << 20);
    let file = place.dir.file("resources");
    fs::write(&file, r#"{"memory": {"limit": 50331648}}"#).unwrap();
    place.succeeds(&["update", "--resources", &file, &id]);
    limit_is(48 << 20);
    let mut command = place.command(&["update", "--resources=-", &id]);
    command.stdin(Stdio::piped()).stderr(Stdio::inherit());
    let mut update = command.spawn().unwrap();
    let mut stdin = update.stdin.take().unwrap();
    stdin.write_all(br#"{"memory": {"limit": 41943040}}"#).unwrap();
    drop(stdin);
    assert!(update.wait().unwrap().success());
    limit_is(40 << 20);
    fs::write(&file, r#"{"memory": {"limit": "much"}}"#).unwrap();
    let text = place.fails(&["update", "-r", &file, &id]);
    assert!(text.contains("(--resources memory.limit)"), "{text}");
    assert!(place.fails(&["update", "-r", "/nowhere", &id]).contains("read /nowhere"));
    place.succeeds(&["delete", "--force", &id]);
}

#[test]
fn a_command_runs_in_a_container_and_gives_its_status() {
    let place = Place::new("exec", &[], "exec sleep 60");
    let id = place.id("one");
    place.succeeds(&["run", "-d", &id]);
    let output = place.output(&["exec", &id, "/bin/sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!(output.status.code(), Some(7), "{}", said(&output));
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
    assert_eq!(place.succeeds(&["exec", &id, "hostname"]), hostname(&place));
    let told =
        place.succeeds(&["exec", "-e", "A=b", "--cwd", "/etc", &id, "sh", "-c", "echo $A; pwd"]);
    assert_eq!(told, "b\n/etc\n");
    let status = place.output(&["exec", &id, "sh", "-c", "kill -9 $$"]).status;
    assert_eq!(status.code(), Some(137));
    // What begins with a dash behind the command is the command's.
    assert_eq!(place.succeeds(&["exec", &id, "echo", "-u", "5", "--detach"]), "-u 5 --detach\n");
}

fn hostname(place: &Place) -> String {
    let config = fs::read_to_string(place.dir.file("config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    format!("{}\n", config["hostname"].as_str().unwrap())
}

#[test]
fn what_fails_before_the_command_is_255() {
    let place = Place::new("exec255", &[], "exec sleep 60");
    let id = place.id("one");
    place.succeeds(&["run", "-d", &id]);
    let fails = |args: &[&str], words: &str| {
        let output = place.output(&[&["exec"], args].concat());
        assert_eq!(output.status.code(), Some(255), "{args:?}: {}", said(&output));
        assert!(stderr(&output).contains(words), "{args:?}: {}", said(&output));
    };
    fails(&["nobody", "true"], "minirun: error: open container nobody: container does not exist");
    fails(&[&id, "nosuch"], "no such file or directory");
    fails(&[&id, "/etc"], "permission denied");
    fails(&["-u", "abc", &id, "true"], "is not a number");
    fails(&["-u", "1x", &id, "true"], "is not a number");
    fails(&["--cap", "ALL", &id, "true"], "names no single capability");
    fails(&["--process", "/nowhere", &id], "(--process): ENOENT");
    fails(&["--process", "/nowhere", &id, "true"], "cannot be used with");
    fails(&[&id], "COMMAND");
    place.succeeds(&["kill", &id, "KILL"]);
    place.wait_for(&id, "stopped");
    fails(&[&id, "true"], "container not running");
}

#[test]
fn a_process_is_read_from_a_file_and_left_behind() {
    let place = Place::new("execfile", &[], "exec sleep 60");
    let (id, pid_file) = (place.id("one"), place.dir.file("pid"));
    place.succeeds(&["run", "-d", &id]);
    let config = fs::read_to_string(place.dir.file("config.json")).unwrap();
    let mut process = serde_json::from_str::<Value>(&config).unwrap()["process"].take();
    process["args"] = serde_json::json!(["/bin/sleep", "62"]);
    let file = place.dir.file("process.json");
    fs::write(&file, process.to_string()).unwrap();
    let args = ["exec", "--detach", "--pid-file", &pid_file, "--process", &file, &id];
    assert_eq!(place.succeeds(&args), "");
    let pid = fs::read_to_string(&pid_file).unwrap();
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    assert_eq!(words, b"/bin/sleep\x0062\0");
}

#[test]
fn a_terminal_of_exec_goes_to_the_socket() {
    let place = Place::new("exectty", &[], "exec sleep 60");
    let (id, path) = (place.id("one"), place.dir.file("console.sock"));
    place.succeeds(&["run", "-d", &id]);
    let listener = UnixListener::bind(&path).unwrap();
    place.succeeds(&["exec", "-d", "-t", "--console-socket", &path, &id, "sh", "-c", "tty; cat"]);
    let (connection, _) = listener.accept().unwrap();
    let mut master = fs::File::from(support::receive_fd(connection.as_raw_fd()));
    assert!(support::read_until(&mut master, "/dev/").contains("/dev/"));
}

#[test]
fn events_are_lines_of_json() {
    let place = Place::new("events", &[], "exec sleep 60");
    let id = place.id("one");
    place.succeeds(&["run", "-d", &id]);
    let stats = place.json(&["events", "--stats", &id]);
    assert_eq!((&stats["type"], &stats["id"]), (&"stats".into(), &id.as_str().into()));
    for part in ["cpu", "memory", "pids", "blkio", "hugetlb"] {
        assert!(stats["data"][part].is_object(), "{part}: {stats}");
    }
    if support::is_root() {
        assert_eq!(stats["data"]["pids"]["current"], 1);
    }
    let mut command = place.command(&["events", "--interval", "50ms", &id]);
    let mut child = Reaped(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut out = child.0.stdout.take().unwrap();
    let lines = support::read_until(&mut out, "}\n{");
    let first = lines.lines().next().unwrap();
    assert_eq!(serde_json::from_str::<Value>(first).unwrap()["type"], "stats");
    place.succeeds(&["kill", &id, "KILL"]);
    assert!(child.0.wait().unwrap().success(), "it ends with the container");
    let text = place.fails(&["events", "--stats", &id]);
    assert!(text.contains("is not running"), "{text}");
    assert_eq!(place.output(&["events", "--interval", "0", &id]).status.code(), Some(1));
}

#[test]
fn events_end_when_nobody_reads_them() {
    let place = Place::new("unread", &[], "exec sleep 60");
    let id = place.id("one");
    place.succeeds(&["run", "-d", &id]);
    let mut command = place.command(&["events", "--interval", "20ms", &id]);
    let mut child = Reaped(command.stdout(Stdio::piped()).spawn().unwrap());
    drop(child.0.stdout.take());
    assert!(child.0.wait().unwrap().success());
}

/// Keeps a child from outliving a failed assertion.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_bundle_in_the_foreground_is_signalled_through_its_runtime() {
    let script = "trap 'echo caught; exit 5' TERM; echo ready; while :; do sleep 0.02; done";
    let place = Place::new("forward", &[], script);
    let id = place.id("one");
    let mut command = place.command(&["run", &id]);
    let mut child = Reaped(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut out = child.0.stdout.take().unwrap();
    assert!(support::read_until(&mut out, "ready").contains("ready"));
    let pid = nix::unistd::Pid::from_raw(child.0.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(child.0.wait().unwrap().code(), Some(5));
    assert!(support::read_until(&mut out, "caught").contains("caught"));
}
