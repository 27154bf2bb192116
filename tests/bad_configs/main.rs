//! Broken configurations: each is refused by one clear sentence that names the
//! config.json path, without a panic, and without leaving anything behind.
//!
//! A row is a good config.json with one thing changed. [`process`], [`mounts`], [`linux`],
//! [`resources`] and [`other`] hold the rows, [`files`] what isn't even JSON.

#[path = "../support/mod.rs"]
mod support;

mod files;
mod linux;
mod mounts;
mod other;
mod process;
mod resources;

use std::fs;

use minirun::Bundle;
use serde_json::{Value, json};
use support::TempDir;

/// JSON pointer of what is changed, the new value (`GONE` to remove it), and the place that
/// the error must name; a place that ends in `…` only begins so.
pub type Row = (&'static str, Value, &'static str);

/// Stands for "leave this property out".
pub const GONE: &str = "\u{0}gone";

pub fn gone() -> Value {
    json!(GONE)
}

/// A bundle that is fine, with a bit of everything that rows change.
fn good() -> Value {
    json!({
        "ociVersion": "1.2.0",
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "box",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid"] },
            { "destination": "/mnt", "type": "bind", "source": "/etc", "options": ["rbind", "ro"] },
        ],
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0, "additionalGids": [5] },
            "args": ["/bin/true"],
            "env": ["PATH=/bin", "A=b"],
            "cwd": "/",
            "capabilities": {
                "bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"],
            },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 100 }],
            "noNewPrivileges": true,
        },
        "hooks": { "createRuntime": [{ "path": "/bin/true" }] },
        "annotations": { "a": "b" },
        "linux": {
            "namespaces": [
                { "type": "pid" }, { "type": "mount" }, { "type": "uts" }, { "type": "ipc" },
                { "type": "network" },
            ],
            "devices": [{ "path": "/dev/x", "type": "c", "major": 1, "minor": 3 }],
            "resources": { "memory": { "limit": 100_000_000 }, "pids": { "limit": 100 } },
            "maskedPaths": ["/proc/kcore"],
            "readonlyPaths": ["/proc/sys"],
            "sysctl": { "net.ipv4.ip_forward": "1" },
        },
    })
}

/// The good configuration with one thing changed; missing parents are made.
fn changed(pointer: &str, value: Value) -> Value {
    let mut config = good();
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer begins with a slash");
    let mut place = &mut config;
    for step in parent.split('/').skip(1) {
        place = match step.parse::<usize>() {
            Ok(index) => &mut place[index],
            Err(_) => &mut place[step],
        };
    }
    match (key.parse::<usize>(), value == json!(GONE)) {
        (Ok(index), _) => place[index] = value,
        (_, true) => drop(place.as_object_mut().expect("an object").remove(key)),
        (_, false) => place[key] = value,
    }
    config
}

fn names(place: Option<&str>, expected: &str) -> bool {
    let place = place.unwrap_or_default();
    match expected.strip_suffix('…') {
        Some(start) => place.starts_with(start),
        None => place == expected,
    }
}

/// Every row is refused when the plan is made, before anything is touched.
fn check(rows: &[Row]) {
    let bundle = TempDir::new("bad-config");
    let mut wrong = Vec::new();
    for (pointer, value, place) in rows {
        let config = changed(pointer, value.clone());
        fs::write(bundle.file("config.json"), config.to_string()).expect("write config.json");
        let outcome = Bundle::load(bundle.path()).and_then(|bundle| bundle.plan("bad"));
        let row = format!("{pointer} = {value}");
        let row: String = row.chars().take(120).collect();
        match outcome {
            Ok(_) => wrong.push(format!("{row}: accepted, not refused at {place}")),
            Err(error) if !names(error.place(), place) => {
                wrong.push(format!("{row}: expected {place}: {error}"));
            }
            Err(error) if error.to_string().contains('\n') || error.to_string().len() > 1000 => {
                wrong.push(format!("{row}: not one sentence: {error}"));
            }
            Err(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[test]
fn the_good_configuration_is_good() {
    let bundle = TempDir::new("good-config");
    fs::write(bundle.file("config.json"), good().to_string()).expect("write config.json");
    Bundle::load(bundle.path()).and_then(|bundle| bundle.plan("good")).expect("a plan");
}

#[test]
fn there_are_two_hundred_rows() {
    let tables = [process::rows(), mounts::rows(), linux::rows(), resources::rows(), other::rows()];
    let count = tables.iter().map(Vec::len).sum::<usize>() + files::rows().len();
    assert!(count >= 200, "{count}");
}

#[test]
fn processes_are_refused_by_their_path() {
    check(&process::rows());
}

#[test]
fn mounts_are_refused_by_their_path() {
    check(&mounts::rows());
}

#[test]
fn linux_is_refused_by_its_path() {
    check(&linux::rows());
}

#[test]
fn resources_are_refused_by_their_path() {
    check(&resources::rows());
}

#[test]
fn the_rest_is_refused_by_its_path() {
    check(&other::rows());
}
