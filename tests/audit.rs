//! `minirun audit`: of what would be run, and of what runs.

mod support;

use std::process::{Output, Stdio};

use serde_json::{Value, json};
use support::running::Running;
use support::{TempDir, is_root, minirun, rootfs, said, skipped, without_root};

fn audit(options: &[&str], target: &str) -> Output {
    let mut command = minirun(&["audit"]);
    command.args(options).arg(target).output().unwrap()
}

/// Grade and subject of each finding that isn't ok, with what was found.
fn faults(output: &Output) -> Vec<(String, String, String)> {
    let json: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(output)));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let findings = json["findings"].as_array().unwrap().iter();
    let row = |f: &Value| (text(&f["grade"]), text(&f["what"]), text(&f["found"]));
    findings.map(row).filter(|row| row.0 != "ok").collect()
}

fn of_rootfs(options: &[&str]) -> Vec<(String, String, String)> {
    let options = [&["--format", "json"], options].concat();
    faults(&audit(&options, rootfs().to_str().unwrap()))
}

#[test]
fn a_default_container_lacks_limits_and_nothing_else_of_an_ordinary_users() {
    let subjects: Vec<String> = of_rootfs(&[]).into_iter().map(|row| row.1).collect();
    let root = is_root() && minirun::host::Host::read().unwrap().is_real_root();
    let expected =
        if root { &["user", "memory", "processes"][..] } else { &["memory", "processes"] };
    let own = subjects.iter().filter(|what| *what != "security module");
    assert_eq!(own.collect::<Vec<_>>(), expected);
    let limited = of_rootfs(&["--user", "1000:1000", "--memory", "64m", "--pids", "50"]);
    assert!(limited.iter().all(|row| row.1 == "security module"), "{limited:?}");
}

#[test]
fn every_loosening_option_shows() {
    if skipped(without_root()) {
        return;
    }
    for (options, grade, what, found) in [
        (&["--cap-add", "SYS_ADMIN"][..], "dangerous", "capability", "SYS_ADMIN"),
        (&["--cap-add", "NET_RAW"], "weak", "capability", "NET_RAW"),
        (&["--cap-add", "MKNOD"], "dangerous", "devices", "all of them"),
        (&["--net", "host"], "weak", "namespace", "network"),
        (&["--bind", "/:/host"], "dangerous", "host files", "/ on /host, writable"),
        (&["--bind", "/srv:/mnt"], "weak", "host files", "/srv on /mnt, writable"),
        (&["--bind", "/run/docker.sock:/s:ro"], "dangerous", "host files", "docker.sock"),
        (&["--security-opt", "seccomp=unconfined"], "weak", "seccomp", "no filter"),
        (&["--security-opt", "no-new-privileges=false"], "weak", "no_new_privs", "off"),
    ] {
        let rows = of_rootfs(options);
        let is_it = |row: &&(String, String, String)| {
            (row.0.as_str(), row.1.as_str()) == (grade, what) && row.2.contains(found)
        };
        assert_eq!(rows.iter().filter(is_it).count(), 1, "{options:?}: {rows:?}");
    }
    // The words of a run can be asked about as they are.
    let words = ["audit", "--format", "json", &rootfs().display().to_string(), "ls", "--all"];
    assert_eq!(faults(&minirun(&words).output().unwrap()), of_rootfs(&[]));
    // What is bound read-only and holds no secrets is fine.
    assert!(!of_rootfs(&["--bind", "/srv:/mnt:ro"]).iter().any(|row| row.1 == "host files"));
}

#[test]
fn the_exit_status_is_0_unless_a_grade_is_asked_about() {
    let rootfs = rootfs();
    let rootfs = rootfs.to_str().unwrap();
    for (options, status) in [
        (&[][..], 0),
        (&["--fail-on", "dangerous"], 0),
        (&["--fail-on", "weak"], 1),
        (&["--fail-on", "weak", "--bind", "/:/host"], 1),
        (&["--fail-on", "dangerous", "--bind", "/:/host"], 1),
        (&["--fail-on", "nothing"], 125),
    ] {
        let output = audit(options, rootfs);
        assert_eq!(output.status.code(), Some(status), "{options:?}: {}", said(&output));
    }
    let missing = audit(&["--fail-on", "dangerous"], "/nowhere");
    assert_eq!(missing.status.code(), Some(125), "{}", said(&missing));
    assert!(said(&missing).contains("/nowhere (ROOTFS): ENOENT"), "{}", said(&missing));
}

#[test]
fn the_table_fits_a_terminal_and_counts_its_rows() {
    let output = audit(&["--cap-add", "ALL", "--net", "host"], rootfs().to_str().unwrap());
    let text = String::from_utf8(output.stdout).unwrap();
    let wide = |line: &&str| line.chars().count() > 80 && line.trim().contains(' ');
    assert_eq!(text.lines().find(wide), None);
    let count = |grade: &str| text.lines().filter(|line| line.starts_with(grade)).count();
    let [dangerous, weak, ok] = ["dangerous ", "weak ", "ok "].map(count);
    assert_eq!(
        text.lines().last(),
        Some(format!("{dangerous} dangerous, {weak} weak, {ok} ok").as_str())
    );
}

fn faults_of(running: &Running) -> Vec<(String, String, String)> {
    faults(&running.minirun(&["audit", "--format", "json", running.id()]).output().unwrap())
}

#[test]
fn a_running_container_is_what_its_config_promised() {
    if skipped(without_root()) {
        return;
    }
    let dir = TempDir::new("audit-bound");
    let bind = format!("{}:/mnt", dir.path().display());
    let options =
        ["-v", &bind, "-v", "/etc:/opt:ro", "--cap-add", "NET_RAW", "--pids", "50", "-u", "7:7"];
    for options in [&[][..], &options] {
        for init in [true, false] {
            let options = [options, if init { &[] } else { &["--no-init"] }].concat();
            let running = Running::start("audit-same", &options, "sleep 98765", |_| {});
            let bundle = running.dir.file("");
            let planned = minirun(&["audit", "--format", "json", "--bundle", &bundle]).output();
            assert_eq!(faults_of(&running), faults(&planned.unwrap()), "{options:?}");
        }
    }
}

#[test]
fn what_the_kernel_says_counts_and_not_what_was_promised() {
    if skipped(without_root()) {
        return;
    }
    let options = ["--cap-add", "SYS_ADMIN", "--memory", "64m"];
    let script = "umount /proc/interrupts && mount -o remount,bind,rw /proc/sys && echo > /mnt/done; \
                  exec sleep 98765";
    let marker = TempDir::new("audit-marker");
    let running = Running::start("audit-truth", &options, script, |config| {
        let mount = json!({
            "destination": "/mnt", "type": "bind", "source": marker.path(), "options": ["bind"],
        });
        config["mounts"].as_array_mut().unwrap().push(mount);
    });
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !marker.path().join("done").exists() {
        assert!(std::time::Instant::now() < patience, "the script didn't get that far");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let found = |what: &str| {
        let faults = faults_of(&running);
        faults.into_iter().find(|row| row.1 == what).map(|row| row.2).unwrap_or_default()
    };
    assert!(found("masked paths").contains("/proc/interrupts"), "{:?}", faults_of(&running));
    assert!(found("read-only paths").contains("/proc/sys"), "{:?}", faults_of(&running));
    assert_eq!(found("memory"), "");
    let update = running.minirun(&["update", "--pids-limit", "70", running.id()]).status().unwrap();
    assert!(update.success());
    assert_eq!(found("processes"), "", "a limit that came later");
}

#[test]
fn a_container_that_does_not_run_is_said_to() {
    let dir = TempDir::new("audit-none");
    let root = dir.file("state");
    let audit = |id: &str| minirun(&["--root", &root, "audit", id]).output().unwrap();
    let output = audit("nobody");
    assert_eq!(output.status.code(), Some(125), "{}", said(&output));
    assert!(support::stderr(&output).contains("container does not exist"), "{}", said(&output));
    // Until it is started, its process is minirun's.
    let bundle = dir.file("");
    let mut spec = minirun(&["spec", "--no-tty", "--bundle", &bundle]);
    assert!(spec.arg(rootfs()).arg("true").status().unwrap().success());
    let id = dir.path().file_name().unwrap().to_str().unwrap();
    let mut create = minirun(&["--root", &root, "create", "--bundle", &bundle, id]);
    let created = create.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    let output = audit(id);
    let deleted = minirun(&["--root", &root, "delete", "--force", id]).status().unwrap();
    assert!(created.success() && deleted.success());
    assert_eq!(output.status.code(), Some(125), "{}", said(&output));
    assert!(support::stderr(&output).contains("audit --bundle"), "{}", said(&output));
}
