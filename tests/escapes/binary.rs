//! The runtime's own binary, in the hands of a container.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::bundle::Bundle;
use crate::support::copy_program;
use crate::support::{binary, said, skipped};

/// Waits for a process among `PROCESSES` that executes something else than this script's shell
/// and reads the bait, which keeps it waiting; takes hold of its binary, ends it, and overwrites
/// the binary when nobody executes it any more.
const ATTACK: &str = "\
    own=$(readlink /proc/$$/exe); tries=0
    while [ $tries -lt 1000 ]; do tries=$((tries + 1))
        for process in PROCESSES; do
            case $(cat $process/cmdline 2>/dev/null) in *bait*) ;; *) continue ;; esac
            [ \"$(readlink $process/exe)\" = $own ] && continue
            (: < $process/exe) 2>/dev/null || continue
            exec 9< $process/exe
            kill -9 ${process#/proc/}
            again=0
            while [ $again -lt 100 ]; do again=$((again + 1))
                sleep 0.1
                (echo overwritten > /proc/self/fd/9) 2> /tmp/why.$$ && echo written && exit
                grep -q busy /tmp/why.$$ || break
            done
            cat /tmp/why.$$
            exit
        done
        sleep 0.01
    done";

/// A copy of minirun, so that the one under test stays whole.
fn copy(bundle: &Bundle) -> PathBuf {
    let copy = bundle.path("minirun");
    copy_program(&binary(), &copy);
    copy
}

fn is_whole(copy: &Path) -> bool {
    fs::read(copy).unwrap() == fs::read(binary()).unwrap()
}

/// A config.json that never comes: who reads it waits.
fn bait(dir: &Path) {
    fs::create_dir_all(dir).unwrap();
    nix::unistd::mkfifo(&dir.join("config.json"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::set_permissions(dir.join("config.json"), fs::Permissions::from_mode(0o666)).unwrap();
}

/// The attack beside minirun on the host, where nothing shields the binary.
fn assert_undefended_falls(bundle: &Bundle, copy: &Path, user: Option<u32>) {
    let place = bundle.path("bait");
    bait(&place);
    let as_user = |program: &str| {
        let mut command = Command::new(program);
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        command.stdin(Stdio::null());
        command
    };
    // Verbs that start no container don't shield themselves.
    let mut victim =
        as_user(copy.to_str().unwrap()).arg("plan").arg("--bundle").arg(&place).spawn().unwrap();
    let script = ATTACK.replace("PROCESSES", &format!("/proc/{}", victim.id()));
    // A static shell: its own binary is another file than the victim's, whatever sh is.
    let shell = bundle.path("rootfs/bin/busybox");
    let output = as_user(shell.to_str().unwrap()).args(["sh", "-c", &script]).output().unwrap();
    let _ = victim.kill();
    victim.wait().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("written") && !is_whole(copy), "the attack: {}", said(&output));
    copy_program(&binary(), copy);
}

/// What the attack in a container comes to; `victim` is given time to be caught.
fn attack(bundle: &mut Bundle, minirun: impl Fn(&[&str]) -> Command) -> String {
    // Where it is no static binary, the attacker's image has what it needs.
    bundle.bind_programs();
    bait(&bundle.path("rootfs/bait"));
    let (state, place) = (bundle.dir.file("state"), bundle.dir.path().to_str().unwrap());
    let script = ATTACK.replace("PROCESSES", "/proc/[0-9]*");
    bundle.write(&["/bin/sh", "-c", &format!("( {script} ) > /told 2>&1; echo end >> /told")]);
    let log = fs::File::create(bundle.path("log")).unwrap();
    let status = minirun(&["--root", &state, "run", "--detach", "--bundle", place, bundle.id()])
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .status()
        .unwrap();
    assert!(status.success(), "{}", fs::read_to_string(bundle.path("log")).unwrap());
    // The container's program is the runtime's own, which reads what the attacker offers.
    let words = ["--root", &state, "exec", bundle.id(), "/proc/self/exe", "plan", "--bundle"];
    let victim: Output = minirun(&words).arg("/bait").output().unwrap();
    let patience = Instant::now() + Duration::from_secs(20);
    let told = loop {
        let told = fs::read_to_string(bundle.path("rootfs/told")).unwrap_or_default();
        if told.ends_with("end\n") || Instant::now() > patience {
            break told;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let _ = minirun(&["--root", &state, "delete", "--force", bundle.id()]).output();
    assert_eq!(victim.status.code(), Some(137), "it was caught: {} {told}", said(&victim));
    told
}

/// CVE-2019-5736.
#[test]
fn a_container_of_root_cannot_overwrite_it() {
    let Some(mut bundle) = Bundle::new("binary-root") else { return };
    let copy = copy(&bundle);
    assert_undefended_falls(&bundle, &copy, None);
    let told = attack(&mut bundle, |args| {
        let mut command = Command::new(&copy);
        command.args(args).stdin(Stdio::null());
        command
    });
    assert!(!told.contains("written") && told.contains("Read-only file system"), "{told}");
    assert!(is_whole(&copy));
}

/// The same for a user who has minirun in their home: root of the container is this user.
#[test]
fn a_container_of_its_owner_cannot_overwrite_it() {
    const USER: u32 = 54321;
    let Some(mut bundle) = Bundle::new("binary-user") else { return };
    let copy = copy(&bundle);
    let own = |place: &Path| {
        let owner = format!("{USER}:{USER}");
        let status = Command::new("chown").args(["-R", &owner]).arg(place).status().unwrap();
        assert!(status.success());
    };
    own(bundle.dir.path());
    assert_undefended_falls(&bundle, &copy, Some(USER));
    own(bundle.dir.path());
    bundle.config["linux"]["namespaces"] = json!([{ "type": "user" }, { "type": "pid" },
        { "type": "mount" }, { "type": "ipc" }, { "type": "uts" }, { "type": "network" }]);
    let ids = json!([{ "containerID": 0, "hostID": USER, "size": 1 }]);
    bundle.config["linux"]["uidMappings"] = ids.clone();
    bundle.config["linux"]["gidMappings"] = ids;
    let minirun = |args: &[&str]| {
        let mut command = Command::new(&copy);
        command.args(args).uid(USER).gid(USER).stdin(Stdio::null());
        command
    };
    let trial = Command::new("unshare").args(["--user", "true"]).uid(USER).gid(USER).output();
    if !trial.is_ok_and(|output| output.status.success()) {
        skipped(Some("ordinary users can't make user namespaces here"));
        return;
    }
    let told = attack(&mut bundle, minirun);
    assert!(!told.contains("written") && told.contains("Operation not permitted"), "{told}");
    assert!(is_whole(&copy));
}
