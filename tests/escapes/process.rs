//! The process inside: who it is, what rights it inherits, and what it can do to those that
//! come in or called.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::pty::openpty;
use serde_json::json;

use crate::bundle::{Bundle, Running};
use crate::support::{binary, said, skipped, stderr};

/// A program under a caller with more rights than it should pass on.
fn generous(words: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--inh-caps=+chown", "--ambient-caps=+chown", "--groups=12345"]);
    command.args(words).stdin(Stdio::null());
    command
}

/// A program that makes any call; on Debian it is always there.
const PERL: &str = "/usr/bin/perl";

fn without_perl() -> bool {
    skipped((!Path::new(PERL).exists()).then_some("there is no perl to make the calls with"))
}

fn sets(output: &Output) -> Vec<(String, u64)> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().filter_map(|line| line.strip_prefix("Cap")?.split_once(":\t"));
    let sets: Vec<_> = lines
        .map(|(name, bits)| (name.to_owned(), u64::from_str_radix(bits, 16).unwrap()))
        .collect();
    assert_eq!(sets.len(), 5, "{}", said(output));
    sets
}

/// CVE-2022-24769, CVE-2022-27650, CVE-2022-29162, CVE-2025-27612: inheritable or ambient
/// capabilities that nobody asked for, and the caller's groups.
#[test]
fn nothing_is_inherited_from_the_caller() {
    let Some(mut bundle) = Bundle::new("inherit") else { return };
    let read = ["cat", "/proc/self/status"];
    let output = generous(&read).output().unwrap();
    let has = |sets: &[(String, u64)], name: &str| {
        sets.iter().any(|(set, bits)| set == name && *bits != 0)
    };
    let seen = sets(&output);
    assert!(has(&seen, "Inh") && has(&seen, "Amb"), "the attack: {}", said(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("12345"), "{}", said(&output));

    let chown = json!(["CAP_CHOWN"]);
    bundle.config["process"]["capabilities"] =
        json!({ "bounding": chown, "effective": chown, "permitted": chown });
    let assert_plain = |output: &Output, expected: u64| {
        for (name, bits) in sets(output) {
            let expected = if name == "Inh" || name == "Amb" { 0 } else { expected };
            assert_eq!(bits, expected, "{name}: {}", said(output));
        }
        assert!(!String::from_utf8_lossy(&output.stdout).contains("12345"), "{}", said(output));
    };
    bundle.write(&["/bin/cat", "/proc/self/status"]);
    let (own, state) = (binary(), bundle.dir.file("state"));
    let place = bundle.dir.path().to_str().unwrap();
    let start = [own.to_str().unwrap(), "--root", &state];
    let run = [&start[..], &["run", "--bundle", place, bundle.id()]].concat();
    assert_plain(&generous(&run).output().unwrap(), 1);
    let _running = bundle.start("exec sleep 98765");
    for (options, expected) in [(&[][..], 1), (&["--cap", "CAP_KILL"], 1 | 1 << 5)] {
        let exec = [&start[..], &["exec"], options, &[bundle.id()], &read].concat();
        assert_plain(&generous(&exec).output().unwrap(), expected);
    }
}

/// The caller's securebits: with one of them a program that gives root up keeps its rights.
#[test]
fn giving_root_up_gives_rights_up() {
    const GIVE_UP: &str = "$( = $) = 5; $< = $> = 5; open(my $f, '<', '/proc/self/status'); \
                           print grep { /^(Uid|CapEff)/ } <$f>";
    let Some(mut bundle) = Bundle::new("securebits") else { return };
    if without_perl() {
        return;
    }
    let kept = |output: &Output| {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.starts_with("Uid:\t5\t5\t5\t5\n"), "{}", said(output));
        !text.ends_with("CapEff:\t0000000000000000\n")
    };
    let caller = |words: &[&str]| {
        let mut command = Command::new("setpriv");
        command.arg("--securebits=+no_setuid_fixup").args(words).stdin(Stdio::null());
        command.output().unwrap()
    };
    let program = [PERL, "-e", GIVE_UP];
    assert!(kept(&caller(&program)), "the attack");

    bundle.bind_programs();
    let rights = json!(["CAP_SETUID", "CAP_SETGID", "CAP_CHOWN"]);
    bundle.config["process"]["capabilities"] =
        json!({ "bounding": rights, "effective": rights, "permitted": rights });
    bundle.write(&program);
    let (own, state) = (binary(), bundle.dir.file("state"));
    let place = bundle.dir.path().to_str().unwrap();
    let start = [own.to_str().unwrap(), "--root", &state];
    assert!(!kept(&caller(&[&start[..], &["run", "--bundle", place, bundle.id()]].concat())));
    let _running = bundle.start("exec sleep 98765");
    assert!(!kept(&caller(&[&start[..], &["exec", bundle.id()], &program].concat())));
}

/// CVE-2016-3697, CVE-2026-30892: a user that is a number becomes root.
#[test]
fn users_are_numbers_and_no_others() {
    let Some(mut bundle) = Bundle::new("users") else { return };
    fs::create_dir(bundle.path("rootfs/etc")).unwrap();
    fs::write(bundle.path("rootfs/etc/passwd"), "1000:x:0:0:root:/:/bin/sh\n").unwrap();
    // Both ways to get it wrong: a name that looks like a number, a number that isn't one.
    let passwd = fs::read_to_string(bundle.path("rootfs/etc/passwd")).unwrap();
    let by_name = passwd.lines().find_map(|line| line.strip_prefix("1000:x:")?.split(':').next());
    assert_eq!(by_name, Some("0"), "the attack");
    let output = bundle.undefended("unset abc; echo $((abc))");
    assert_eq!(output.stdout, b"0\n", "the attack: {}", said(&output));

    bundle.config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    let output = bundle.run(&["/bin/id", "-u"]);
    assert_eq!(output.stdout, b"1000\n", "{}", said(&output));
    let running = bundle.start("exec sleep 98765");
    for (user, expected) in [("1", "uid=1 gid=1000"), ("1:7", "uid=1 gid=7"), ("0", "uid=0")] {
        let output = running.exec(&["--user", user], &["id"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.starts_with(expected), "{user}: {}", said(&output));
    }
    for user in ["abc", "1x", "", "-1", "+0", " 0", "0x0", "1:", ":0", "root", "4294967295"] {
        let output = running.exec(&[&format!("--user={user}")], &["id"]);
        assert!(output.stdout.is_empty(), "{user:?}: {}", said(&output));
        assert_eq!(output.status.code(), Some(255), "{user:?}: {}", said(&output));
    }
    drop(running);
    bundle.config["process"]["user"]["uid"] = json!("abc");
    bundle.assert_refused(&["process.user.uid"]);
}

/// Root of a user namespace with every right in it, looking into whoever comes.
fn watcher(bundle: &mut Bundle) -> Running<'_> {
    let ids = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    bundle.config["linux"]["uidMappings"] = ids.clone();
    bundle.config["linux"]["gidMappings"] = ids;
    let kinds = ["user", "pid", "mount", "ipc", "uts", "network"];
    bundle.config["linux"]["namespaces"] =
        kinds.iter().map(|kind| json!({ "type": kind })).collect();
    let all = json!(["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN"]);
    bundle.config["process"]["capabilities"] =
        json!({ "bounding": all, "effective": all, "permitted": all });
    bundle.mount("/dev", "tmpfs", "tmpfs", &[]);
    bundle.mount("/tmp", "tmpfs", "tmpfs", &[]);
    let secret = bundle.dir.file("outside/secret");
    bundle.start(&format!(
        "while :; do for place in root cwd fd/3 fd/4 fd/5 fd/6 fd/7 fd/8; do \
         cat /proc/[0-9]*/$place{secret} >> /tmp/told 2>/dev/null; \
         done; done"
    ))
}

fn told(running: &Running<'_>) -> String {
    // Its first line may take a while to be reached.
    let output = running.exec(&[], &["sh", "-c", "until cat /tmp/told 2>/dev/null; do :; done"]);
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// CVE-2016-9962: a process that is on its way in has the host's files and descriptors still.
#[test]
fn who_comes_in_cannot_be_looked_into() {
    let Some(mut bundle) = Bundle::new("enter") else { return };
    let second = Bundle::new("enter-second").unwrap();
    let running = watcher(&mut bundle);
    let state = running.0.verb("state", &[running.0.id()]).output().unwrap();
    let state: serde_json::Value = serde_json::from_slice(&state.stdout).unwrap();
    let pid = state["pid"].to_string();
    assert_eq!(told(&running), "");
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(1) {
        assert!(running.exec(&[], &["true"]).status.success());
    }
    assert_eq!(told(&running), "", "an exec was looked into");
    // Another container in the same namespaces, as in a pod.
    let joined =
        |kind: &str, name: &str| json!({ "type": kind, "path": format!("/proc/{pid}/ns/{name}") });
    let mut second = second;
    second.config["linux"]["namespaces"] = json!([joined("user", "user"), joined("pid", "pid"),
        { "type": "mount" }, { "type": "uts" }]);
    second.mount("/dev", "tmpfs", "tmpfs", &[]);
    second.mount("/tmp", "tmpfs", "tmpfs", &[]);
    // All that it does while it still has the host's files takes longer like this.
    for number in 0..100 {
        second.mount(&format!("/tmp/{number}"), "tmpfs", "tmpfs", &[]);
    }
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(1) {
        let output = second.run(&["/bin/true"]);
        assert!(output.status.success(), "{}", said(&output));
    }
    assert_eq!(told(&running), "", "a container was looked into");

    // One that doesn't hide, last: what it tells stays told.
    let mut entering = Command::new("nsenter")
        .args(["--user", "--pid", "--target", &pid, "sleep", "20"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let patience = Instant::now() + Duration::from_secs(10);
    while told(&running).is_empty() && Instant::now() < patience {}
    let seen = told(&running);
    entering.kill().unwrap();
    entering.wait().unwrap();
    assert!(seen.starts_with("secret\n"), "the attack: {seen:?}");
}

/// Init overwrites its arguments, and mustn't believe the image where they lie.
#[test]
fn the_image_does_not_choose_what_init_overwrites() {
    let Some(mut bundle) = Bundle::new("init-memory") else { return };
    bundle.config["annotations"] = json!({ "io.minirun.init": "true" });
    let mounts = bundle.config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| mount["destination"] != "/proc");
    fs::create_dir_all(bundle.path("rootfs/proc/self")).unwrap();
    let stat = bundle.path("rootfs/proc/self/stat");
    // All of what a process can have.
    let fields = format!("1 (init) S {} 4096 140737488347136 4096 4096", ["0"; 44].join(" "));
    fs::write(&stat, fields).unwrap();
    let output = bundle.script("echo it runs");
    assert_eq!(output.stdout, b"it runs\n", "{}", said(&output));
    fs::remove_file(&stat).unwrap();
    nix::unistd::mkfifo(&stat, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let output = bundle.script("echo it runs");
    assert_eq!(output.stdout, b"it runs\n", "{}", said(&output));
}

/// CVE-2017-5226, CVE-2023-28100: typing into the terminal that minirun was started at.
#[test]
fn the_callers_terminal_takes_no_input_from_inside() {
    const TYPE: &str = r#"$c = "x"; print ioctl(STDIN, 0x5412, $c) ? "typed" : "refused"; \
                          print open(my $tty, "<", "/dev/tty") ? " opened" : " none";"#;
    let Some(bundle) = Bundle::new("terminal") else { return };
    if without_perl() {
        return;
    }
    let at_terminal = |words: &[&str]| {
        let pty = openpty(None, None).unwrap();
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait"]).args(words);
        command.stdin(pty.slave.try_clone().unwrap()).output().unwrap()
    };
    let program = TYPE.replace("\\\n", "");
    let output = at_terminal(&[PERL, "-e", &program]);
    if !output.stdout.starts_with(b"typed") {
        skipped(Some("this kernel lets nobody type for others (dev.tty.legacy_tiocsti)"));
        return;
    }
    let (own, root) = (binary(), bundle.dir.file("rootfs"));
    let mut words = vec![own.to_str().unwrap(), "run"];
    for volume in ["/usr:/usr:ro", "/lib:/lib:ro", "/lib64:/lib64:ro"] {
        if Path::new(volume.split(':').next().unwrap()).exists() {
            words.extend(["-v", volume]);
        }
    }
    words.extend(["--cap-add", "SYS_TTY_CONFIG", &root, PERL, "-e", &program]);
    let output = at_terminal(&words);
    assert_eq!(output.stdout, b"refused none", "{}", said(&output));
    assert_eq!(stderr(&output), "");
}
