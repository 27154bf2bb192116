//! Every system call fails once: strace makes it fail without carrying it out, and whatever
//! the kernel refuses, minirun says which step failed or does without, leaves nothing, and
//! comes to an end.
//!
//! Each kind of call is tried once for each verb, with MINIRUN_FAULTS=all every call, and with
//! the beginning of a fault's name, such as MINIRUN_FAULTS=run:mount:, what it stands for with
//! all of [`ERRNOS`].

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{TempDir, binary, minirun, rootfs, skipped, without_root};

/// Where there is no memory, no permission, an older kernel, or a signal; and one that
/// nothing is prepared for.
const ERRNOS: [&str; 5] = ["ENOMEM", "EPERM", "ENOSYS", "EINTR", "EIO"];

/// What a run under strace may take, a hundred times what it does.
const PATIENCE: Duration = Duration::from_secs(20);

/// The program of the containers; what fails in it is nobody's business.
const PAYLOAD: &str = "/bin/busybox";

/// No kernel fails these, so nothing has to be prepared for it: whoever ends would go on, and
/// a descriptor that is closed would stay open with the end-of-file that others wait for. What
/// rseq did for the first thread it does for others; glibc aborts otherwise.
const NEVER_FAIL: [&str; 16] = [
    "arch_prctl",
    "brk",
    "close",
    "exit",
    "exit_group",
    "getegid",
    "geteuid",
    "getgid",
    "getpid",
    "gettid",
    "getuid",
    "munmap",
    "rseq",
    "rt_sigreturn",
    "set_tid_address",
    "umask",
];

/// A verb, what has to be there before it, and its words, where ID, BUNDLE and ROOTFS stand
/// for what they say.
struct Verb {
    name: &'static str,
    before: &'static [&'static str],
    words: &'static [&'static str],
    /// It leaves a container behind that is to be started.
    creates: bool,
}

const fn verb(
    name: &'static str,
    before: &'static [&'static str],
    words: &'static [&'static str],
) -> Verb {
    Verb { name, before, words, creates: false }
}

static VERBS: [Verb; 8] = [
    verb("run", &[], &["run", "--bundle", "BUNDLE", "ID"]),
    Verb { creates: true, ..verb("create", &[], &["create", "--bundle", "BUNDLE", "ID"]) },
    verb("start", &["create", "--bundle", "BUNDLE", "ID"], &["start", "ID"]),
    verb(
        "exec",
        &["run", "--detach", "--bundle", "WAITING", "ID"],
        &["exec", "ID", PAYLOAD, "true"],
    ),
    verb("delete", &["run", "--detach", "--bundle", "WAITING", "ID"], &["delete", "--force", "ID"]),
    verb("detach", &[], &["run", "--detach", "--bundle", "WAITING", "ID"]),
    verb(
        "userns",
        &[],
        &["run", "--name", "ID", "--userns", "full", "--net", "host", "ROOTFS", PAYLOAD, "true"],
    ),
    verb(
        "run-rootfs",
        &[],
        &[
            "run",
            "--name",
            "ID",
            "--ephemeral",
            "--tmpfs",
            "/mnt",
            "-v",
            "/etc:/media:ro",
            "--memory",
            "32m",
            "--pids",
            "32",
            "ROOTFS",
            PAYLOAD,
            "true",
        ],
    ),
];

/// A call that is to fail.
struct Fault {
    verb: &'static Verb,
    call: String,
    errno: &'static str,
    number: u32,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}:{}", self.verb.name, self.call, self.errno, self.number)
    }
}

/// Where the bundles and the containers of a test are.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(TempDir::new("faults"));
        for (name, script) in [("BUNDLE", "exit 0"), ("WAITING", "exec sleep 600")] {
            let source = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("benches/bundles/engine-default/config.json");
            let text = fs::read_to_string(source).unwrap();
            let mut config: Value = serde_json::from_str(&text).unwrap();
            config["root"]["path"] = rootfs().to_str().unwrap().into();
            config["process"]["args"] = serde_json::json!([PAYLOAD, "sh", "-c", script]);
            fs::create_dir(place.0.path().join(name)).unwrap();
            fs::write(place.0.path().join(name).join("config.json"), config.to_string()).unwrap();
        }
        place
    }

    /// The words of a verb on a container.
    fn words(&self, words: &[&str], id: &str) -> Vec<String> {
        let word = |word: &&str| match *word {
            "ID" => id.to_owned(),
            "BUNDLE" | "WAITING" => self.0.file(&format!("{id}-{word}")),
            "ROOTFS" => rootfs().to_str().unwrap().to_owned(),
            word => word.to_owned(),
        };
        ["--root".to_owned(), self.0.file("root")]
            .into_iter()
            .chain(words.iter().map(word))
            .collect()
    }

    /// The bundles, with a cgroup of the container's own.
    fn bundles(&self, id: &str) {
        for name in ["BUNDLE", "WAITING"] {
            let text = fs::read_to_string(self.0.path().join(name).join("config.json")).unwrap();
            let mut config: Value = serde_json::from_str(&text).unwrap();
            config["linux"]["cgroupsPath"] = format!("/{id}").into();
            let dir = self.0.path().join(format!("{id}-{name}"));
            fs::create_dir(&dir).unwrap();
            fs::write(dir.join("config.json"), config.to_string()).unwrap();
        }
    }

    /// A verb without faults, to its end.
    fn undisturbed(&self, words: &[&str], id: &str) -> (bool, String) {
        let log = File::create(self.0.file(&format!("{id}.undisturbed"))).unwrap();
        let words = self.words(words, id);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut child =
            minirun(&words).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let ended = wait(&mut child, PATIENCE);
        if !ended {
            child.kill().unwrap();
        }
        let status = child.wait().unwrap();
        let text = fs::read_to_string(self.0.file(&format!("{id}.undisturbed"))).unwrap();
        (ended && status.success(), if ended { text } else { format!("{text}it hangs") })
    }

    /// What is left of a container.
    fn remains(&self, id: &str) -> Vec<String> {
        let mut found = Vec::new();
        for (name, what) in [(id.to_owned(), "its file"), (format!("{id}~"), "its directory")] {
            if self.0.path().join("root").join(name).exists() {
                found.push(what.to_owned());
            }
        }
        cgroups(Path::new("/sys/fs/cgroup"), id, 3, &mut found);
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        found.extend(mounts.lines().filter(|line| line.contains(id)).map(str::to_owned));
        found
    }
}

fn cgroups(dir: &Path, id: &str, depth: u32, found: &mut Vec<String>) {
    for path in fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if path.is_symlink() || !path.is_dir() {
            continue;
        }
        if path.file_name().is_some_and(|name| name.to_string_lossy().contains(id)) {
            found.push(path.display().to_string());
        } else if depth > 0 {
            cgroups(&path, id, depth - 1, found);
        }
    }
}

/// Whether a process ends in time.
fn wait(child: &mut Child, patience: Duration) -> bool {
    until(patience, || child.try_wait().unwrap().is_some())
}

fn until(patience: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + patience;
    while !holds() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(4));
    }
    true
}

/// minirun under strace, which stays as long as anything that minirun has started.
struct Traced {
    strace: Child,
    log: PathBuf,
    output: PathBuf,
}

impl Traced {
    fn start(place: &Place, words: &[&str], id: &str, options: &[String]) -> Traced {
        let log = place.0.path().join(format!("{id}.log"));
        let path = place.0.path().join(format!("{id}.output"));
        // A file: a pipe would be held open by containers.
        let output = File::create(&path).unwrap();
        let strace = Command::new("strace")
            .args(["-f", "-o"])
            .arg(&log)
            .args(options)
            .arg(binary())
            .args(place.words(words, id))
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        Traced { strace, log, output: path }
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.output).unwrap()).into_owned()
    }

    /// How minirun itself ended, its container left aside: `0`, `1`, `SIGABRT` …
    fn ended(&mut self) -> Option<String> {
        let mut status = None;
        until(PATIENCE, || {
            // Read after the look at strace, which writes all before it ends.
            let over = self.strace.try_wait().unwrap().is_some();
            status = end(&self.log());
            status.is_some() || over
        });
        status
    }

    /// Whether nothing of it runs any more.
    fn is_over(&mut self) -> bool {
        wait(&mut self.strace, PATIENCE)
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        let log = self.log();
        let _ = fs::remove_file(&self.log);
        if self.strace.try_wait().unwrap().is_some() {
            return;
        }
        let pids: BTreeSet<&str> = lines(&log).map(|(pid, _)| pid).collect();
        let over = lines(&log).filter(|(_, call)| call.starts_with("+++ "));
        let over: BTreeSet<&str> = over.map(|(pid, _)| pid).collect();
        for pid in pids.difference(&over).filter_map(|pid| pid.parse().ok()) {
            let pid = nix::unistd::Pid::from_raw(pid);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

/// The lines of a log: whose, and what.
fn lines(log: &str) -> impl DoubleEndedIterator<Item = (&str, &str)> {
    log.lines().filter_map(|line| line.split_once(' ')).map(|(pid, call)| (pid, call.trim_start()))
}

/// The end of the first process in a log.
fn end(log: &str) -> Option<String> {
    let (first, _) = lines(log).next()?;
    let is_end = |(pid, call): &(&str, &str)| *pid == first && call.starts_with("+++ ");
    let (_, call) = lines(log).rev().find(is_end)?;
    call.split_whitespace().nth(3).map(str::to_owned)
}

/// How often one process makes each system call, at most.
fn counts(log: &str) -> BTreeMap<String, u32> {
    let mut counts: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for (pid, call) in before_payload(log) {
        if let Some((name, _)) = call.split_once('(').filter(|(name, _)| !name.contains(' ')) {
            *counts.entry((pid, name)).or_default() += 1;
        }
    }
    let mut most = BTreeMap::new();
    for ((_, name), count) in counts {
        let entry = most.entry(name.to_owned()).or_insert(0);
        *entry = count.max(*entry);
    }
    most
}

/// The lines that aren't a payload's.
fn before_payload(log: &str) -> Vec<(&str, &str)> {
    let mut payloads = BTreeSet::new();
    let mut own = Vec::new();
    for (pid, call) in lines(log) {
        if !payloads.contains(pid) {
            own.push((pid, call));
        }
        // One that fails comes again or ends.
        if call.starts_with(&format!("execve(\"{PAYLOAD}\"")) && !call.contains(" = -1 ") {
            payloads.insert(pid);
        }
    }
    own
}

/// Makes one call fail and says what is wrong with what comes of it; `None` when the call
/// isn't met.
fn inject(place: &Place, fault: &Fault, id: &str) -> Option<Result<String, String>> {
    let Fault { verb, call, errno, number } = fault;
    place.bundles(id);
    if !verb.before.is_empty() {
        let (succeeded, text) = place.undisturbed(verb.before, id);
        if !succeeded {
            return Some(Err(format!("before it: {text}")));
        }
    }
    let options = [
        "-e".to_owned(),
        format!("trace={call},execve"),
        "-e".to_owned(),
        format!("inject={call}:error={errno}:when={number}"),
    ];
    let mut traced = Traced::start(place, verb.words, id, &options);
    let ended = traced.ended();
    let mut wrong = Vec::new();
    let mut told = traced.output();
    let log = traced.log();
    let hit = log.contains("(INJECTED)");
    let own = before_payload(&log);
    let mut met = own.iter().map(|(_, call)| call).filter(|call| call.contains("(INJECTED)"));
    // The fault may have met the message itself.
    let is_mute = met.clone().any(|call| call.starts_with("write(2, "));
    let own = met.next().is_some();
    match ended.as_deref() {
        None => wrong.push("it hangs".to_owned()),
        Some("0") => {
            if verb.creates {
                let (succeeded, text) = place.undisturbed(&["start", "ID"], id);
                told += &text;
                if !succeeded && !is_clear(&text) {
                    wrong.push(format!("its start isn't clear: {text:?}"));
                }
            }
        }
        // The dynamic linker or the C library, before there is a `main`.
        Some("SIGSEGV") if told.is_empty() && call == "mmap" => {}
        Some(_) if own && !is_mute && !is_clear(&told) => {
            wrong.push("the error isn't clear".to_owned());
        }
        Some(_) => {
            let leaves =
                verb.before.is_empty() && !until(PATIENCE / 6, || place.remains(id).is_empty());
            if leaves {
                wrong.push(format!("it leaves {:?}", place.remains(id)));
            }
        }
    }
    let (succeeded, text) = place.undisturbed(&["delete", "--force", "ID"], id);
    if !succeeded {
        wrong.push(format!("delete --force fails: {text}"));
    }
    if !traced.is_over() {
        wrong.push("it leaves a process".to_owned());
    }
    if !until(PATIENCE / 6, || place.remains(id).is_empty()) {
        wrong.push(format!("delete --force leaves {:?}", place.remains(id)));
    }
    let log = traced.log();
    let hit = hit || log.contains("(INJECTED)");
    let _ = fs::remove_dir_all(place.0.path().join(format!("{id}-BUNDLE")));
    let _ = fs::remove_dir_all(place.0.path().join(format!("{id}-WAITING")));
    let ended = ended.unwrap_or_default();
    let what = format!("{fault} -> {ended}: {}", told.trim());
    if !wrong.is_empty() {
        return Some(Err(format!("{what}\n    {}", wrong.join("; "))));
    }
    hit.then_some(Ok(what))
}

/// A sentence of minirun's, or the last words of those who have no better ones before its
/// `main`, or without memory: the dynamic linker, and the standard library.
fn is_clear(told: &str) -> bool {
    let says = |line: &str| {
        let sentence = line.strip_prefix("minirun: ");
        let sentence = sentence.map(|words| words.strip_prefix("error: ").unwrap_or(words));
        sentence.is_some_and(|words| words.contains(": "))
            || LAST_WORDS.iter().any(|words| line.contains(words))
    };
    told.lines().any(says)
}

/// Of the dynamic linker and the standard library.
const LAST_WORDS: [&str; 5] = [
    "error while loading shared libraries",
    "fatal runtime error",
    "failed to generate random data",
    "failed to set up alternative stack guard page",
    "memory allocation of",
];

/// The calls of a verb that nothing disturbs.
fn calls(place: &Place, verb: &Verb, id: &str) -> BTreeMap<String, u32> {
    place.bundles(id);
    if !verb.before.is_empty() {
        let (succeeded, text) = place.undisturbed(verb.before, id);
        assert!(succeeded, "{}: {text}", verb.name);
    }
    let mut traced = Traced::start(place, verb.words, id, &[]);
    let ended = traced.ended();
    assert_eq!(ended.as_deref(), Some("0"), "{}: {}", verb.name, traced.output());
    if verb.creates {
        let (succeeded, text) = place.undisturbed(&["start", "ID"], id);
        assert!(succeeded, "{text}");
    }
    let (succeeded, text) = place.undisturbed(&["delete", "--force", "ID"], id);
    assert!(succeeded, "{text}");
    assert!(traced.is_over(), "{}", verb.name);
    counts(&traced.log())
}

#[test]
fn a_system_call_that_fails_is_told_and_leaves_nothing() {
    let missing = Command::new("strace").arg("-V").output().is_err();
    let missing = missing.then_some("strace is not installed");
    if skipped(without_root().or(missing)) {
        return;
    }
    let place = Place::new();
    let own = place.0.path().file_name().unwrap().to_str().unwrap().to_owned();
    let asked = std::env::var("MINIRUN_FAULTS").unwrap_or_default();
    let mut faults = Vec::new();
    for verb in &VERBS {
        let calls = calls(&place, verb, &format!("{own}-{}", verb.name));
        let expected = if verb.name == "start" { "connect" } else { "clone3" };
        assert!(verb.name == "delete" || calls.contains_key(expected), "{calls:?}");
        for (kind, (call, count)) in calls.into_iter().enumerate() {
            let is_unreal = match call.as_str() {
                // The fault would meet both who remove this cgroup: the sweeper, and then the
                // runtime that stands in for it.
                "rmdir" => verb.words.contains(&"ROOTFS"),
                // PID 1 doesn't wait in it, and then it fails for want of children only.
                "wait4" => verb.words.contains(&"ROOTFS"),
                call => NEVER_FAIL.contains(&call),
            };
            if is_unreal {
                continue;
            }
            // Where a fault has cost a container or its file.
            let is_dear = call == "flock"
                || verb.name == "delete" && ["openat", "read"].contains(&call.as_str());
            for (number, errno) in (1..=count).flat_map(|n| (0..ERRNOS.len()).map(move |e| (n, e)))
            {
                let fault = Fault { verb, call: call.clone(), errno: ERRNOS[errno], number };
                let in_turn = errno == (kind + number as usize) % ERRNOS.len();
                let is_asked = match asked.as_str() {
                    // Of each kind the first, the last, or one in between.
                    "" => in_turn && (is_dear || number == 1 + kind as u32 % count),
                    "all" => in_turn,
                    beginning => fault.to_string().starts_with(beginning),
                };
                faults.extend(is_asked.then_some(fault));
            }
        }
    }
    let count = faults.len();
    let (queue, outcomes) = (Mutex::new(faults.into_iter().enumerate()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from).min(8) {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap().next();
                    let Some((index, fault)) = next else { break };
                    let outcome = inject(&place, &fault, &format!("{own}-{index}"));
                    if !asked.is_empty() {
                        println!("{fault}: {outcome:?}");
                    }
                    outcomes.lock().unwrap().extend(outcome);
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().unwrap();
    let met = outcomes.len();
    let wrong: Vec<String> = outcomes.into_iter().filter_map(Result::err).collect();
    println!("{met} of {count} faults were met, {} of them badly", wrong.len());
    assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), wrong.join("\n"));
    assert!(!asked.is_empty() || met > 200, "only {met} of {count} faults were met");
}
