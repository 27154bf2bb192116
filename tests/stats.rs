//! `minirun stats`: what real containers use, on a pipe and at a terminal.

mod support;

use std::io::Read;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::person::Person;
use support::{TempDir, binary, is_root, read_until, rootfs, said, skipped, stderr};

/// Containers in a store of their own, deleted at the end.
struct Containers(TempDir);

impl Containers {
    fn new(test: &str) -> Containers {
        Containers(TempDir::new(test))
    }

    fn minirun(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.arg("--root").arg(self.0.path().join("root")).args(args).stdin(Stdio::null());
        command
    }

    fn must(&self, args: &[&str]) -> String {
        let output = self.minirun(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn starts(&self, name: &str, options: &[&str], script: &str) -> String {
        let id = format!("{}-{name}", self.0.path().file_name().unwrap().to_str().unwrap());
        let bundle = self.0.file(&id);
        std::fs::create_dir(&bundle).unwrap();
        let rootfs = rootfs();
        let words = ["sh", "-c", script];
        let target = [rootfs.to_str().unwrap()];
        self.must(&[&["spec", "--no-tty", "--bundle", &bundle], options, &target, &words].concat());
        let detach = ["run", "--detach", "--bundle", &bundle, &id];
        // It would keep a pipe to the test open.
        let status = self.minirun(&detach).stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(status.unwrap().success());
        id
    }

    fn reading(&self, id: &str) -> Value {
        let text = self.must(&["stats", "--format", "json", "--interval", "300ms", id]);
        let all: Value = serde_json::from_str(&text).unwrap();
        all[0].clone()
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        for id in self.minirun(&["list", "--quiet"]).output().map(lines).unwrap_or_default() {
            let _ = self.minirun(&["delete", "--force", &id]).output();
        }
    }
}

fn lines(output: Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn processors_memory_and_processes_are_told_with_their_limits() {
    if skipped((!is_root()).then_some("only root can make cgroups here")) {
        return;
    }
    let it = Containers::new("stats");
    let limits = ["--memory", "64m", "--pids", "20", "--cpus", "0.5", "--tmpfs", "/mnt"];
    let script = "dd if=/dev/zero of=/mnt/x bs=1M count=24 2>/dev/null
        sleep 1000 & sleep 1000 & while :; do :; done";
    let id = it.starts("busy", &limits, script);
    let patience = Instant::now() + Duration::from_secs(20);
    let number = |usage: &Value, key: &str| usage[key].as_f64().unwrap_or(0.0);
    let usage = loop {
        let usage = it.reading(&id);
        // Its init, the shell and two sleeps: it has come to the loop.
        if usage["pids"] == 4 && number(&usage, "cpus") > 0.0 {
            break usage;
        }
        assert!(Instant::now() < patience, "{usage:#}");
    };
    let memory = number(&usage, "memory_bytes") / f64::from(1 << 20);
    assert!((24.0..40.0).contains(&memory), "{usage:#}");
    assert_eq!(usage["memory_limit_bytes"], 64 << 20);
    assert_eq!((&usage["pids_limit"], &usage["cpus_limit"]), (&20.into(), &0.5.into()));
    assert!(number(&usage, "cpu_seconds") > 0.0 && number(&usage, "cpus") < 1.5, "{usage:#}");

    let table = it.must(&["stats", "--interval", "100ms", &id]);
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!(rows.len(), 2, "{table}");
    assert!(rows[0].starts_with("ID ") && rows[0].ends_with("PSI IO"), "{table}");
    assert!(rows[1].starts_with(&id), "{table}");
    assert!(rows[1].contains("MiB / 64MiB") && rows[1].contains("  4 / 20  "), "{table}");
}

#[test]
fn all_that_run_are_shown_and_what_does_not_run_is_refused_by_name() {
    let it = Containers::new("all");
    let one = it.starts("one", &[], "sleep 1000");
    let two = it.starts("two", &[], "sleep 1000");
    let ended = it.starts("ended", &[], "exit 0");
    let created = format!("{one}-created");
    let bundle = it.0.file(&one);
    let create = ["create", "--bundle", &bundle, &created];
    let status = it.minirun(&create).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.unwrap().success());
    let patience = Instant::now() + Duration::from_secs(10);
    while !it.must(&["state", &ended]).contains("stopped") {
        assert!(Instant::now() < patience, "it doesn't end");
    }
    let table = it.must(&["stats", "--interval", "10ms"]);
    let ids: Vec<_> = table.lines().skip(1).filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(ids, [one.as_str(), two.as_str()], "{table}");
    for (id, reason) in [(ended.as_str(), "is not running"), ("nobody", "does not exist")] {
        let output = it.minirun(&["stats", &one, id]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(stderr(&output).contains(reason), "{}", said(&output));
    }
}

#[test]
fn a_container_without_a_cgroup_is_shown_with_dashes() {
    let it = Containers::new("dashes");
    let id = it.starts("plain", &[], "sleep 1000");
    let record = std::fs::read_to_string(it.0.path().join("root").join(&id));
    let record: Value = serde_json::from_str(record.unwrap().lines().next().unwrap()).unwrap();
    if skipped((record["cgroup"] != serde_json::json!([])).then_some("it has a cgroup here")) {
        return;
    }
    let table = it.must(&["stats", "--interval", "10ms"]);
    let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().skip(1).collect();
    assert!(!row.is_empty() && row.iter().all(|word| ["-", "/"].contains(word)), "{table}");
}

#[test]
fn a_pipe_gets_a_table_each_time_until_the_containers_end() {
    let it = Containers::new("pipe");
    let (one, two) = (it.starts("1", &[], "sleep 1000"), it.starts("2", &[], "sleep 1000"));
    let watch = ["stats", "--watch", "--interval", "20ms"];
    let spawn = |ids: &[&str]| {
        let mut command = it.minirun(&[&watch, ids].concat());
        command.stdout(Stdio::piped()).spawn().unwrap()
    };
    let mut all = spawn(&[]);
    let mut named = spawn(&[&one, &two]);
    let mut shown = named.stdout.take().unwrap();
    let text = read_until(&mut shown, &two) + &read_until(&mut shown, &two);
    assert!(text.contains(&one) && !text.contains('\x1b'), "{text}");
    it.must(&["delete", "--force", &one]);
    // The other one goes on being shown, alone.
    let patience = Instant::now() + Duration::from_secs(10);
    loop {
        let text = read_until(&mut shown, "PSI IO\n");
        if text.contains(&two) && !text.contains(&one) {
            break;
        }
        assert!(Instant::now() < patience, "{text}");
    }
    it.must(&["delete", "--force", &two]);
    let mut rest = String::new();
    shown.read_to_string(&mut rest).unwrap();
    assert!(named.wait().unwrap().success());
    // Without names there is no end, but that of who reads.
    assert!(all.try_wait().unwrap().is_none());
    drop(all.stdout.take());
    assert!(all.wait().unwrap().success());
}

#[test]
fn a_terminal_gets_one_table_drawn_again_until_interrupted() {
    let it = Containers::new("pty");
    let id = it.starts("1", &[], "sleep 1000");
    let root = it.0.file("root");
    let mut person = Person::at(&["--root", &root, "stats", "--watch", "--interval", "50ms", &id]);
    // The id is shortened to a quarter of 80 columns.
    let shown = id.chars().take(19).chain(['…']).collect::<String>();
    person.sees(&shown);
    person.sees("\x1b[J");
    person.sees("\r\x1b[2AID");
    person.sees(&shown);
    let resize = |columns: &str| {
        let terminal = person.terminal.try_clone().unwrap();
        let status = Command::new("stty").args(["cols", columns]).stdin(terminal).status();
        assert!(status.unwrap().success());
    };
    resize("40");
    person.sees("\x1b[H\x1b[2JID");
    person.sees("OF LIMIT\x1b[K");
    person.types("\x03");
    assert_eq!(person.leaves(), Some(0));
}

#[test]
fn at_a_terminal_too_it_ends_with_its_container() {
    let it = Containers::new("end");
    let id = it.starts("1", &[], "sleep 1000");
    let root = it.0.file("root");
    let mut person = Person::at(&["--root", &root, "stats", "--watch", "--interval", "50ms", &id]);
    person.sees("\x1b[J");
    it.must(&["kill", &id, "KILL"]);
    assert_eq!(person.leaves(), Some(0));
}
