//! `linux.seccomp` by its effect, in containers of bundles.

mod support;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use support::{TempDir, minirun, rootfs, said, skipped, stderr, without_root};

struct Place {
    dir: TempDir,
    no_new_privileges: bool,
}

impl Place {
    fn new(name: &str) -> Option<Place> {
        if skipped(without_root()) {
            return None;
        }
        Some(Place { dir: TempDir::new(name), no_new_privileges: false })
    }

    fn config(&self, profile: Value, args: Value) -> Value {
        json!({
            "ociVersion": "1.0.2",
            "root": { "path": rootfs(), "readonly": true },
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                {
                    "destination": "/mnt", "type": "bind", "source": self.dir.path(),
                    "options": ["bind", "ro"],
                },
            ],
            "process": {
                "cwd": "/", "user": { "uid": 0, "gid": 0 }, "env": ["PATH=/bin"], "args": args,
                "noNewPrivileges": self.no_new_privileges,
                "capabilities": { "bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"] },
            },
            "linux": {
                "namespaces": [{ "type": "pid" }, { "type": "mount" }],
                "seccomp": profile,
            },
        })
    }

    fn command(&self, verb: &[&str], config: &Value) -> Command {
        let bundle = self.dir.path().join("bundle");
        fs::create_dir_all(&bundle).unwrap();
        fs::write(bundle.join("config.json"), config.to_string()).unwrap();
        let root = self.dir.file("state");
        let mut args = vec!["--root", &root];
        args.extend(verb);
        minirun(&args)
    }

    fn id(&self) -> &str {
        self.dir.path().file_name().unwrap().to_str().unwrap()
    }

    fn run_config(&self, config: &Value) -> Output {
        let bundle = self.dir.file("bundle");
        self.command(&["run", "--bundle", &bundle, self.id()], config).output().unwrap()
    }

    fn run(&self, profile: Value, args: Value) -> Output {
        self.run_config(&self.config(profile, args))
    }

    fn probe(&self) -> Option<PathBuf> {
        support::probe(self.dir.path())
    }

    fn probed(&self, profile: &Value, call: &str) -> Output {
        let script = format!("exec /mnt/probe {call}");
        self.run(profile.clone(), json!(["/bin/sh", "-c", script]))
    }
}

fn errno(number: i32, names: &[&str]) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": number }],
    })
}

#[test]
fn a_forbidden_call_gets_its_errno() {
    let Some(mut place) = Place::new("seccomp-errno") else { return };
    for no_new_privileges in [false, true] {
        place.no_new_privileges = no_new_privileges;
        let profile = errno(libc::EPROTO, &["mkdir", "mkdirat"]);
        let output = place.run(profile, json!(["/bin/mkdir", "/x"]));
        assert!(stderr(&output).contains("Protocol error"), "{}", said(&output));
        let output =
            place.run(errno(1, &["uname"]), json!(["/bin/grep", "Seccomp:", "/proc/self/status"]));
        assert_eq!(String::from_utf8_lossy(&output.stdout), "Seccomp:\t2\n", "{}", said(&output));
    }
}

#[test]
fn a_killing_action_ends_the_container_by_sigsys() {
    let Some(place) = Place::new("seccomp-kill") else { return };
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"] {
        let profile = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["uname"], "action": action }],
        });
        let output = place.run(profile, json!(["/bin/uname"]));
        assert_eq!(output.status.code(), Some(128 + libc::SIGSYS), "{action}: {}", said(&output));
        assert_eq!(output.status.signal(), None);
    }
}

#[test]
fn arguments_decide_and_other_abis_are_told_apart() {
    let Some(place) = Place::new("seccomp-probe") else { return };
    if place.probe().is_none() {
        return;
    }
    let says = |profile: &Value, call: &str| {
        let output = place.probed(profile, call);
        let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if answer.is_empty() { format!("{:?}", output.status.code()) } else { answer }
    };
    let personality = |args: Value, architectures: Value| {
        json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": architectures,
            "syscalls": [{
                "names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99, "args": args,
            }],
        })
    };
    let arg = |op: &str| json!([{ "index": 0, "value": 0xffff_ffff_u32, "op": op }]);
    let both = json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]);
    let equal = personality(arg("SCMP_CMP_EQ"), both.clone());
    assert_eq!(says(&equal, "x86_64 135 0xffffffff"), "-99");
    assert_eq!(says(&equal, "x86_64 135 0"), "0");
    assert_eq!(says(&equal, "i386 136 0xffffffff"), "-99");
    assert_eq!(says(&equal, "i386 136 0"), "0");
    let unequal = personality(arg("SCMP_CMP_NE"), both);
    assert_eq!(says(&unequal, "x86_64 135 0xffffffff"), "0");
    assert_eq!(says(&unequal, "x86_64 135 0"), "-99");
    // i386 isn't listed, and what isn't kills.
    let only_64 = personality(json!([]), json!(["SCMP_ARCH_X86_64"]));
    assert_eq!(says(&only_64, "x86_64 135 0"), "-99");
    assert_eq!(says(&only_64, "i386 20"), format!("{:?}", Some(128 + libc::SIGSYS)));
}

#[test]
fn calls_newer_than_a_strict_profile_are_unknown() {
    let Some(place) = Place::new("seccomp-newer") else { return };
    if place.probe().is_none() {
        return;
    }
    let bundle = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/bundles/engine-default");
    let config = fs::read_to_string(bundle.join("config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    let mut profile = config["linux"]["seccomp"].clone();
    profile["defaultErrnoRet"] = json!(99);
    let says = |call: &str| {
        let output = place.probed(&profile, call);
        assert!(output.status.success(), "{call}: {}", said(&output));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(says("x86_64 39"), "1");
    assert_eq!(says("x86_64 135 4"), "-99");
    assert_eq!(says("x86_64 246"), "-1");
    assert_eq!(says("x86_64 462"), format!("-{}", libc::ENOSYS));
    assert_eq!(says("i386 462"), format!("-{}", libc::ENOSYS));
}

#[test]
fn with_no_new_privileges_a_profile_needs_to_allow_little_beyond_the_programs_own_calls() {
    let Some(mut place) = Place::new("seccomp-strict") else { return };
    let Some(_) = place.probe() else { return };
    place.no_new_privileges = true;
    let strict = json!({
        "defaultAction": "SCMP_ACT_KILL_PROCESS",
        "syscalls": [
            // What execve takes.
            { "names": ["execve", "rt_sigaction", "rt_sigprocmask"], "action": "SCMP_ACT_ALLOW" },
            // What a static program and its C library do.
            {
                "names": [
                    "arch_prctl", "brk", "exit_group", "fstat", "getppid", "getrandom", "mprotect",
                    "newfstatat", "prlimit64", "readlink", "readlinkat", "rseq",
                    "set_robust_list", "set_tid_address", "uname", "write",
                ],
                "action": "SCMP_ACT_ALLOW",
            },
        ],
    });
    let output = place.run(strict.clone(), json!(["/mnt/probe", "x86_64", "110"]));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "0\n", "{}", said(&output));
    // Without it the steps after the filter are under it too, and say what may be wrong.
    place.no_new_privileges = false;
    let output = place.run(strict, json!(["/mnt/probe", "x86_64", "110"]));
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(stderr(&output).contains("linux.seccomp may forbid"), "{}", said(&output));
}

#[test]
fn create_and_start_work_under_an_engines_profile() {
    let Some(place) = Place::new("seccomp-create") else { return };
    let bundle = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/bundles/engine-default");
    let config = fs::read_to_string(bundle.join("config.json")).unwrap();
    let engine: Value = serde_json::from_str(&config).unwrap();
    let profile = engine["linux"]["seccomp"].clone();
    let config = place.config(profile, json!(["/bin/sleep", "100"]));
    let bundle = place.dir.file("bundle");
    for verb in [
        &["create", "--bundle", &bundle, place.id()][..],
        &["start", place.id()],
        &["delete", "--force", place.id()],
    ] {
        // The container inherits what is open, so a pipe would have no end.
        let errors = fs::File::create(place.dir.file("errors")).unwrap();
        let mut command = place.command(verb, &config);
        let status = command.stdout(Stdio::null()).stderr(errors).status().unwrap();
        let errors = fs::read_to_string(place.dir.file("errors")).unwrap();
        assert!(status.success(), "{verb:?}: {errors}");
    }
}

#[test]
fn the_plan_says_what_the_filter_does() {
    let Some(place) = Place::new("seccomp-plan") else { return };
    let config = place.config(errno(1, &["uname", "mkdir"]), json!(["/bin/true"]));
    let bundle = place.dir.file("bundle");
    let output = place.command(&["plan", "--bundle", &bundle], &config).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let words = "install seccomp filter: 2 system calls restricted, default ALLOW, ";
    assert!(text.contains(words), "{}", said(&output));
}

#[test]
fn exec_is_under_the_containers_filter() {
    let Some(mut place) = Place::new("seccomp-exec") else { return };
    for no_new_privileges in [false, true] {
        place.no_new_privileges = no_new_privileges;
        let profile = errno(libc::EPROTO, &["mkdir", "mkdirat"]);
        let config = place.config(profile, json!(["/bin/sleep", "100"]));
        let bundle = place.dir.file("bundle");
        let mut run = place.command(&["run", "--detach", "--bundle", &bundle, place.id()], &config);
        assert!(run.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
        let words =
            ["exec", place.id(), "/bin/sh", "-c", "grep Seccomp: /proc/self/status; mkdir /x"];
        let output = place.command(&words, &config).output().unwrap();
        let delete = place.command(&["delete", "--force", place.id()], &config).status().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "Seccomp:\t2\n", "{}", said(&output));
        assert!(stderr(&output).contains("Protocol error"), "{}", said(&output));
        assert!(delete.success());
    }
}
