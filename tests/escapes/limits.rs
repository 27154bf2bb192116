//! Numbers and names that are too large, and cgroups that aren't the container's.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::support::{said, skipped, stderr};

/// CVE-2021-43784: lengths that don't fit where they are written, so that what follows is
/// taken for something else.
#[test]
fn what_is_too_long_is_refused_and_leaves_nothing() {
    let Some(mut bundle) = Bundle::new("too-long") else { return };
    let ids = |count: u32| -> Value {
        (0..count).map(|id| json!({ "containerID": id, "hostID": id, "size": 1 })).collect()
    };
    let lines: String = (0..6000).map(|id| format!("{id} {id} 1\n")).collect();
    let length = lines.len() as u16;
    assert!(usize::from(length) < lines.len(), "the attack: 16 bits hold the rest alone");

    let kinds = ["user", "pid", "mount", "ipc", "uts", "network"];
    let refused = |bundle: &Bundle, words: &[&str]| {
        bundle.assert_refused(words);
        let left = fs::read_dir(bundle.path("state")).map_or(0, |entries| entries.count());
        assert_eq!(left, 0, "{words:?}");
    };
    bundle.config["linux"]["namespaces"] =
        kinds.iter().map(|kind| json!({ "type": kind })).collect();
    bundle.config["linux"]["gidMappings"] = ids(1);
    bundle.config["linux"]["uidMappings"] = ids(6000);
    refused(&bundle, &["linux.uidMappings", "6000 mappings"]);
    for (first, size) in [(1u64, u64::from(u32::MAX)), (u64::from(u32::MAX), 1), (0, 1 << 32)] {
        bundle.config["linux"]["uidMappings"] =
            json!([{ "containerID": 0, "hostID": first, "size": size }]);
        refused(&bundle, &["linux.uidMappings[0]"]);
    }
    bundle.config["linux"]["uidMappings"] = ids(1);
    let long = "x".repeat(1 << 17);
    for (field, words) in [
        ("/hostname", "hostname"),
        ("/process/cwd", "process.cwd"),
        ("/process/env/0", "process.env"),
        ("/mounts/0/options", "mounts[0].options"),
        ("/linux/rootfsPropagation", "linux.rootfsPropagation"),
        ("/linux/cgroupsPath", "linux.cgroupsPath"),
    ] {
        let mut other = Bundle::new("too-long-field").unwrap();
        other.config["linux"]["rootfsPropagation"] = json!("private");
        other.config["linux"]["cgroupsPath"] = json!("");
        other.config["hostname"] = json!("");
        other.config["mounts"][0]["options"] = json!([]);
        let value = match field {
            "/mounts/0/options" => json!([long]),
            "/process/cwd" => json!(format!("/{long}")),
            "/process/env/0" => json!(format!("A={long}")),
            _ => json!(long),
        };
        *other.config.pointer_mut(field).unwrap() = value;
        refused(&other, &[words]);
    }
}

/// The top of a hierarchy that this process may change.
fn hierarchy() -> Option<PathBuf> {
    // That of cgroup v2 alone, else one of several.
    let several = fs::read_dir("/sys/fs/cgroup").ok()?.flatten().map(|entry| entry.path());
    std::iter::once("/sys/fs/cgroup".into()).chain(several).find(|top: &PathBuf| {
        let made = top.join(format!("minirun-test-{}", std::process::id()));
        top.join("cgroup.procs").exists()
            && fs::create_dir(&made).is_ok()
            && fs::remove_dir(made).is_ok()
    })
}

/// CVE-2023-25809: without a cgroup namespace the host's cgroups can be written to.
#[test]
fn the_hosts_cgroups_are_read_only_inside() {
    let Some(mut bundle) = Bundle::new("cgroups") else { return };
    let Some(top) = hierarchy() else {
        skipped(Some("no cgroup can be made here"));
        return;
    };
    let relative = top.strip_prefix("/sys/").unwrap().to_str().unwrap();
    let script = format!(
        "mount --rbind /sys $1/rootfs/sys && mkdir $1/rootfs/sys/{relative}/$3 && \
         rmdir $1/rootfs/sys/{relative}/$3 && echo made"
    );
    let output = bundle.undefended(&script);
    assert_eq!(output.stdout, b"made\n", "the attack: {}", said(&output));

    bundle.mount("/sys", "sysfs", "sysfs", &["rw"]);
    bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw"]);
    let script = "for dir in /sys/fs/cgroup /sys/fs/cgroup/*; do \
                  [ -e $dir/cgroup.procs ] && mkdir $dir/escaped && echo made; done; true";
    let output = bundle.script(script);
    let text = stderr(&output);
    assert!(
        output.stdout.is_empty() && text.contains("Read-only file system"),
        "{}",
        said(&output)
    );
    bundle.config["mounts"].as_array_mut().unwrap().truncate(1);
    bundle.mount("/sys", "bind", "/sys", &["rbind", "rro"]);
    let output = bundle.script(script);
    let text = stderr(&output);
    assert!(
        output.stdout.is_empty() && text.contains("Read-only file system"),
        "{}",
        said(&output)
    );
}

/// A container that may make cgroups makes them so deep that no path leads there.
#[test]
fn cgroups_are_removed_however_deep_they_are() {
    let Some(mut bundle) = Bundle::new("deep") else { return };
    let Some(top) = hierarchy() else {
        skipped(Some("no cgroup can be made here"));
        return;
    };
    bundle.config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "cgroup" }));
    bundle.config["linux"]["cgroupsPath"] = json!(format!("/{}", bundle.id()));
    bundle.mount("/sys", "sysfs", "sysfs", &[]);
    bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw"]);
    let (inside, name) =
        (format!("/{}", top.strip_prefix("/").unwrap().display()), "x".repeat(200));
    let script =
        format!("cd {inside}; while mkdir {name} && cd {name}; do true; done; exec sleep 98765");
    let running = bundle.start(&script);
    let mut path = top.join(bundle.id());
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let too_long = loop {
        match fs::read_dir(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => break error,
            Ok(_) => path.push(&name),
            Err(_) => assert!(std::time::Instant::now() < patience, "{}", path.display()),
        }
    };
    assert_eq!(too_long.raw_os_error(), Some(libc::ENAMETOOLONG), "the attack");
    // The script is done when it sleeps.
    while !String::from_utf8_lossy(&running.exec(&[], &["cat", "/proc/1/cmdline"]).stdout)
        .starts_with("sleep")
    {
        assert!(std::time::Instant::now() < patience);
    }

    let output = bundle.verb("delete", &["--force", bundle.id()]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(!top.join(bundle.id()).exists());
}
