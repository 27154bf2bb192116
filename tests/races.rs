//! Verbs at once, verbs that are killed, and containers that end in between: afterwards
//! `delete --force` finds everything. MINIRUN_CYCLES sets how often (40 by default).

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use support::{TempDir, binary, rootfs, said, skipped, stderr, without_root};

/// Verbs that run at the same time.
const AT_ONCE: usize = 8;

fn cycles() -> usize {
    std::env::var("MINIRUN_CYCLES").ok().and_then(|number| number.parse().ok()).unwrap_or(40)
}

/// A root and a bundle of a test's own. Its name is in every id and in every command
/// line, so that what is left of it can be told from what other tests do meanwhile.
struct Place {
    dir: TempDir,
    name: String,
}

impl Place {
    fn new(test: &str) -> Option<Place> {
        if skipped(without_root()) {
            return None;
        }
        let dir = TempDir::new(test);
        let name = dir.path().file_name().unwrap().to_str().unwrap().to_owned();
        let place = Place { dir, name };
        place.bundle("sleep 1000");
        Some(place)
    }

    fn bundle(&self, script: &str) {
        // The last word is for finding it; the one before keeps the shell from executing
        // the program in its own place.
        let script = format!("{script}; : {}", self.name);
        let config = json!({
            "ociVersion": "1.0.2",
            "root": { "path": rootfs() },
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/tmp", "type": "tmpfs", "source": "tmpfs" },
            ],
            "process": {
                "cwd": "/",
                "user": { "uid": 0, "gid": 0 },
                "env": ["PATH=/bin:/usr/bin"],
                "args": ["/bin/sh", "-c", script],
            },
            "linux": {
                "namespaces": [
                    { "type": "pid" }, { "type": "mount" }, { "type": "uts" }, { "type": "ipc" },
                    { "type": "cgroup" },
                ],
                "resources": { "pids": { "limit": 64 } },
            },
        });
        fs::write(self.dir.path().join("config.json"), config.to_string()).unwrap();
    }

    fn id(&self, number: impl std::fmt::Display) -> String {
        format!("{}-{number}", self.name)
    }

    /// `minirun --root … VERB …`, and what runs it, with an end to all patience.
    fn command(&self, wrapper: &[&str], verb: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--signal=KILL", "60"]).args(wrapper).arg(binary());
        command.arg("--root").arg(self.dir.path().join("root")).args(verb);
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    /// A container would keep a pipe to the tests open, so errors go to a file.
    fn run_in(&self, wrapper: &[&str], verb: &[&str]) -> Output {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let path = self.dir.file(&format!("said-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        let file = fs::File::create(&path).unwrap();
        let mut command = self.command(wrapper, verb);
        command.stdout(file.try_clone().unwrap()).stderr(file);
        let status = command.status().unwrap();
        let said = fs::read(&path).unwrap();
        fs::remove_file(path).unwrap();
        Output { status, stdout: Vec::new(), stderr: said }
    }

    fn run(&self, verb: &[&str]) -> Output {
        let output = self.run_in(&[], verb);
        // A panic is 101 or SIGABRT, the end of patience SIGKILL.
        let code = output.status.code();
        assert!(code.is_some_and(|code| code != 101), "{verb:?}: {}", said(&output));
        output
    }

    fn must(&self, verb: &[&str]) {
        let output = self.run(verb);
        assert!(output.status.success(), "{verb:?}: {}", said(&output));
    }

    fn create(&self, id: &str) {
        self.must(&["create", id]);
    }

    /// Deletes by force, twice, and looks for what is left.
    fn clean_up(&self, id: &str, after: &str) {
        let first = self.run(&["delete", "--force", id]);
        assert!(first.status.success(), "after {after}: {}", said(&first));
        let second = self.run(&["delete", "--force", id]);
        assert!(second.status.success(), "after {after}, again: {}", said(&second));
        let unknown = self.run(&["state", id]);
        assert!(stderr(&unknown).contains("does not exist"), "{}", said(&unknown));
        let patience = Instant::now() + Duration::from_secs(10);
        loop {
            let left = self.left(id);
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < patience, "left after {after}: {left:#?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn left(&self, id: &str) -> Vec<String> {
        let mut left: Vec<String> = cgroups(Path::new("/sys/fs/cgroup"), id, 4)
            .into_iter()
            .map(|path| path.display().to_string())
            .collect();
        let state = |name: &str| self.dir.path().join("root").join(name);
        let states = [state(id), state(&format!("{id}~"))].into_iter();
        left.extend(states.filter(|path| path.exists()).map(|path| path.display().to_string()));
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        left.extend(mounts.lines().filter(|line| line.contains(&self.name)).map(str::to_owned));
        left.extend(self.processes(id));
        left
    }

    /// Those that name the container: minirun by its id, the program by its last word.
    fn processes(&self, id: &str) -> Vec<String> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let words = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
            let named = words.split('\0').any(|word| word == id);
            if named {
                found.push(format!("{} {words:?}", entry.path().display()));
            }
        }
        found
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A failed test shouldn't leave its containers to the next one.
        let root = self.dir.path().join("root");
        for entry in fs::read_dir(root).into_iter().flatten().flatten() {
            let id = entry.file_name();
            let _ = self.command(&[], &["delete", "--force"]).arg(id).status();
        }
    }
}

fn cgroups(dir: &Path, id: &str, depth: u32) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    dirs.flat_map(|entry| {
        let mut found = if depth > 0 { cgroups(&entry.path(), id, depth - 1) } else { vec![] };
        let is_own = entry.file_name().to_string_lossy().ends_with(id);
        found.extend(is_own.then(|| entry.path()));
        found
    })
    .collect()
}

#[test]
fn cycles_with_eight_at_once_leave_nothing() {
    let Some(place) = Place::new("cycles") else { return };
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= cycles() {
                        return;
                    }
                    let id = place.id(number);
                    place.create(&id);
                    place.must(&["start", &id]);
                    place.must(&["kill", &id, "KILL"]);
                    // It ends in a moment, which isn't this moment.
                    let patience = Instant::now() + Duration::from_secs(10);
                    while !place.run(&["delete", &id]).status.success() {
                        assert!(Instant::now() < patience, "{id} doesn't end");
                    }
                    assert_eq!(place.left(&id), Vec::<String>::new());
                }
            });
        }
    });
    let left = fs::read_dir(place.dir.path().join("root")).unwrap().count();
    assert_eq!(left, 0);
}

#[test]
fn verbs_at_once_on_one_id_take_turns() {
    let Some(place) = Place::new("turns") else { return };
    let id = place.id("one");
    let verbs: [&[&str]; AT_ONCE] = [
        &["create", &id],
        &["start", &id],
        &["kill", &id, "KILL"],
        &["delete", &id],
        &["state", &id],
        &["delete", "--force", &id],
        &["list"],
        &["create", &id],
    ];
    let expected = [
        "does not exist",
        "already exists",
        "not running",
        "cannot start a",
        "that is not stopped",
        "has ended before it was started",
        // The container's process is killed while it is being created.
        "killed by signal 9",
        "without a word",
        "the container was deleted meanwhile",
    ];
    std::thread::scope(|scope| {
        for (index, _) in verbs.iter().enumerate() {
            let (place, expected) = (&place, &expected);
            scope.spawn(move || {
                for round in 0..cycles() {
                    let verb = verbs[(index + round) % verbs.len()];
                    let output = place.run(verb);
                    let text = stderr(&output);
                    let is_told = expected.iter().any(|words| text.contains(words));
                    assert!(output.status.success() || is_told, "{verb:?}: {}", said(&output));
                }
            });
        }
    });
    place.clean_up(&id, "verbs at once");
}

#[test]
fn one_of_many_creators_wins() {
    let Some(place) = Place::new("creators") else { return };
    for round in 0..cycles().div_ceil(10) {
        let id = place.id(round);
        let made = std::thread::scope(|scope| {
            let create = || place.run(&["create", &id]).status.success();
            let creators: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(create)).collect();
            creators
                .into_iter()
                .filter(|_| true)
                .map(|one| usize::from(one.join().unwrap()))
                .sum::<usize>()
        });
        assert_eq!(made, 1);
        place.clean_up(&id, "creators at once");
    }
}

/// Brings a container to where a verb can be tried on it.
fn prepare(place: &Place, id: &str, state: &str) {
    if state == "none" {
        return;
    }
    place.create(id);
    if state == "created" {
        return;
    }
    place.must(&["start", id]);
    match state {
        "paused" => place.must(&["pause", id]),
        "stopped" => place.must(&["kill", id, "KILL"]),
        _ => {}
    }
}

/// A verb, and the state of a container that it is for; the id comes last, or at `ID`.
const VERBS: &[(&str, &[&str])] = &[
    ("none", &["create"]),
    ("none", &["run", "--detach", "--bundle", "."]),
    ("created", &["start"]),
    ("running", &["kill"]),
    ("running", &["delete", "--force"]),
    ("created", &["delete"]),
    ("running", &["pause"]),
    ("paused", &["resume"]),
    ("paused", &["delete", "--force"]),
    ("running", &["update", "--pids-limit", "77"]),
    ("running", &["exec", "ID", "/bin/true"]),
    ("running", &["exec", "--detach", "ID", "/bin/true"]),
];

fn with_id<'a>(verb: &[&'a str], id: &'a str) -> Vec<&'a str> {
    let mut words: Vec<&str> =
        verb.iter().map(|&word| if word == "ID" { id } else { word }).collect();
    if !verb.contains(&"ID") {
        words.push(id);
    }
    words
}

fn is_known(verb: &str) -> bool {
    let help = Command::new(binary()).arg("--help").output().unwrap();
    String::from_utf8_lossy(&help.stdout).contains(&format!("\n  {verb} "))
}

/// How often a verb makes each system call.
fn system_calls(log: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in log.lines() {
        if let Some((name, _)) = line.split_once('(').filter(|(name, _)| !name.contains(' ')) {
            *counts.entry(name.to_owned()).or_default() += 1;
        }
    }
    counts
}

/// strace kills minirun, and it alone, when it makes a system call for the N-th time.
#[test]
fn a_verb_that_is_killed_at_a_system_call_leaves_what_delete_finds() {
    let Some(place) = Place::new("killed") else { return };
    let missing = Command::new("strace").arg("-V").output().is_err();
    if skipped(missing.then_some("strace is not installed")) {
        return;
    }
    let log = place.dir.file("log");
    let mut number = 0;
    let mut killed = 0;
    for (state, verb) in VERBS.iter().filter(|(_, verb)| is_known(verb[0])) {
        let mut try_verb = |strace: &[&str]| {
            number += 1;
            let id = place.id(number);
            prepare(&place, &id, state);
            let words = with_id(verb, &id);
            let wrapper: Vec<&str> = std::iter::once(&"strace").chain(strace).copied().collect();
            let output = place.run_in(&wrapper, &words);
            // strace dies the way the program did.
            killed += usize::from(
                std::os::unix::process::ExitStatusExt::signal(&output.status) == Some(9)
                    || output.status.code() == Some(137),
            );
            place.clean_up(&id, &format!("{verb:?} under strace {strace:?}"));
            output
        };
        let output = try_verb(&["-o", &log]);
        assert!(output.status.success(), "{verb:?}: {}", said(&output));
        let calls = system_calls(&fs::read_to_string(&log).unwrap());
        let all: Vec<(String, usize)> = calls
            .into_iter()
            // At the start of the program nothing has been made yet.
            .filter(|(name, _)| !matches!(name.as_str(), "mmap" | "mprotect" | "brk" | "munmap"))
            .flat_map(|(name, count)| (1..=count).map(move |when| (name.clone(), when)))
            .collect();
        // Spread over all of them where not all can be tried.
        let step = (all.len() / cycles()).max(1);
        for (name, when) in all.iter().step_by(step) {
            let inject = format!("inject={name}:signal=SIGKILL:when={when}");
            try_verb(&["-o", "/dev/null", "-e", &inject]);
        }
    }
    println!("{killed} of {number} verbs were killed");
    assert!(killed * 2 > number, "only {killed} of {number} verbs were killed");
}

#[test]
fn a_verb_that_is_killed_at_any_time_leaves_what_delete_finds() {
    let Some(place) = Place::new("anytime") else { return };
    for (index, (state, verb)) in VERBS.iter().filter(|(_, verb)| is_known(verb[0])).enumerate() {
        for round in 0..cycles().div_ceil(2) {
            let id = place.id(format!("{index}-{round}"));
            prepare(&place, &id, state);
            let mut child = Command::new(binary())
                .arg("--root")
                .arg(place.dir.path().join("root"))
                .args(with_id(verb, &id))
                .current_dir(place.dir.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(Duration::from_micros(400 * round as u64));
            child.kill().unwrap();
            child.wait().unwrap();
            place.clean_up(&id, &format!("{verb:?} killed in round {round}"));
        }
    }
}

#[test]
fn an_exec_that_meets_the_end_of_its_container_is_told_so() {
    let Some(place) = Place::new("exec") else { return };
    if skipped((!is_known("exec")).then_some("there is no exec yet")) {
        return;
    }
    place.bundle("sleep 0.02");
    for round in 0..cycles() {
        let id = place.id(round);
        place.create(&id);
        place.must(&["start", &id]);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    // Until the container is gone, each of these runs or says why not.
                    loop {
                        let output = place.run(&["exec", &id, "/bin/true"]);
                        match output.status.code() {
                            Some(0 | 137) => {}
                            Some(255) => {
                                assert!(!stderr(&output).is_empty());
                                return;
                            }
                            _ => panic!("{}", said(&output)),
                        }
                    }
                });
            }
        });
        place.clean_up(&id, "exec and end");
    }
}
