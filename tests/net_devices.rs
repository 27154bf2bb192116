//! `linux.netDevices`: devices of the host that become a container's.

mod support;

use std::fs;
use std::process::{Command, Output};

use serde_json::{Value, json};
use support::{TempDir, minirun, rootfs, said, skipped, stderr, without_root};

/// One end of a pair of a test's own; both go when either does.
struct Pair(String);

impl Pair {
    /// `None` when this machine can't make one.
    fn new(name: &str) -> Option<Pair> {
        if skipped(without_root()) {
            return None;
        }
        let name = format!("{name}{}", std::process::id() % 100_000);
        let pair = Pair(name);
        let peer = pair.peer();
        let made = ip(&["link", "add", &pair.0, "type", "veth", "peer", "name", &peer]);
        (!skipped((!made).then_some("no veth devices can be made here"))).then_some(pair)
    }

    fn peer(&self) -> String {
        format!("p{}", self.0)
    }

    fn is_on_the_host(&self) -> bool {
        fs::exists(format!("/sys/class/net/{}", self.0)).unwrap()
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        ip(&["link", "del", &self.0]);
        ip(&["link", "del", &self.peer()]);
    }
}

fn ip(words: &[&str]) -> bool {
    Command::new("ip").args(words).output().is_ok_and(|output| output.status.success())
}

fn run(script: &str, devices: Value) -> Output {
    let dir = TempDir::new("net-devices");
    let id = dir.path().file_name().unwrap().to_str().unwrap().to_owned();
    let config = json!({
        "ociVersion": "1.3.0",
        "root": { "path": rootfs() },
        "process": { "cwd": "/", "user": { "uid": 0, "gid": 0 }, "args": ["sh", "-c", script],
            "env": ["PATH=/bin:/sbin:/usr/bin:/usr/sbin"] },
        "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
        "linux": { "netDevices": devices,
            "namespaces": [{ "type": "pid" }, { "type": "mount" }, { "type": "network" }] },
    });
    fs::write(dir.file("config.json"), config.to_string()).unwrap();
    let (root, bundle) = (dir.file("state"), dir.path().to_str().unwrap());
    minirun(&["--root", &root, "run", "--bundle", bundle, &id]).output().unwrap()
}

#[test]
fn a_device_is_moved_and_renamed_and_keeps_its_addresses() {
    let Some(pair) = Pair::new("mva") else { return };
    assert!(ip(&["addr", "add", "192.0.2.7/24", "brd", "+", "dev", &pair.0]));
    assert!(ip(&["addr", "add", "2001:db8::7/64", "nodad", "dev", &pair.0]));
    assert!(ip(&["addr", "add", "169.254.1.1/32", "scope", "link", "dev", &pair.0]));
    assert!(ip(&["link", "set", &pair.0, "up"]));
    let devices = json!({ pair.0.clone(): { "name": "inside0" } });
    let output = run("ip addr show dev inside0", devices);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", said(&output));
    assert!(text.contains("192.0.2.7/24 brd 192.0.2.255"), "{text}");
    assert!(text.contains("2001:db8::7/64"), "{text}");
    assert!(!text.contains("169.254.1.1"), "it has a meaning on the host alone: {text}");
    assert!(text.contains(",UP"), "{text}");
    assert!(!pair.is_on_the_host(), "the kernel ends it with the namespace");
}

#[test]
fn a_template_gives_a_free_name() {
    let Some(pair) = Pair::new("mvt") else { return };
    let output = run("ls /proc/sys/net/ipv4/conf", json!({ pair.0.clone(): { "name": "net%d" } }));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.lines().any(|name| name == "net0"), "{}", said(&output));
}

#[test]
fn a_device_that_cannot_be_had_is_named() {
    let Some(pair) = Pair::new("mvx") else { return };
    let output = run("true", json!({ "nosuchdevice": {} }));
    assert!(!output.status.success());
    let text = stderr(&output);
    assert!(text.contains("(linux.netDevices.nosuchdevice): ENODEV"), "{text}");
    let flags = || std::fs::read_to_string("/sys/class/net/lo/flags").expect("lo");
    let before = flags();
    let output = run("true", json!({ "lo": { "name": "other" } }));
    assert_eq!(flags(), before, "a device that can't leave is up if it was");
    assert!(stderr(&output).contains("(linux.netDevices.lo): EINVAL"), "{}", said(&output));
    let output = run("true", json!({ pair.0.clone(): { "name": "lo" } }));
    assert!(stderr(&output).contains("EEXIST"), "{}", said(&output));
    assert!(pair.is_on_the_host(), "what can't be moved stays");
}
