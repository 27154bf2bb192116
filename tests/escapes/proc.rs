//! /proc: what stands in for it, what is written through it, what hides parts of it.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::bundle::Bundle;
use crate::support::{said, stderr};

/// CVE-2019-19921, CVE-2023-27561, CVE-2023-28642, CVE-2025-54867: /proc or /sys is a symlink
/// in the image, and what is mounted there lands elsewhere.
#[test]
fn proc_and_sys_are_no_symlinks() {
    let Some(mut bundle) = Bundle::new("proc-link") else { return };
    let outside = bundle.path("outside");
    bundle.link(&outside, "proc");
    let output = bundle.undefended("mount -t proc proc $1/rootfs/proc; ls -d $1/outside/self");
    assert!(output.status.success(), "the attack: {}", said(&output));

    bundle.mount("/sys", "sysfs", "sysfs", &["ro"]);
    for (name, other, place) in [("proc", "sys", "mounts[0]"), ("sys", "proc", "mounts[1]")] {
        bundle.link("tmp", other);
        fs::remove_file(bundle.path("rootfs").join(other)).unwrap();
        for target in [outside.as_path(), "../outside".as_ref(), "/tmp".as_ref(), "tmp".as_ref()] {
            bundle.link(target, name);
            bundle.assert_refused(&["ELOOP", "symlink", place]);
        }
    }
    assert_eq!(bundle.outside().len(), 1, "{:?}", bundle.outside());
}

/// CVE-2015-3631, CVE-2019-16884: a volume over /proc, so that labels are written to files of
/// the image's.
#[test]
fn nothing_stands_in_for_proc() {
    let Some(bundle) = Bundle::new("proc-volume") else { return };
    fs::create_dir_all(bundle.path("fake/self/attr")).unwrap();
    fs::write(bundle.path("fake/self/attr/exec"), "").unwrap();
    let output = bundle.undefended("mount --bind $1/fake /proc; echo label > /proc/self/attr/exec");
    let written = fs::read_to_string(bundle.path("fake/self/attr/exec")).unwrap();
    assert_eq!(written, "label\n", "the attack: {}", said(&output));

    let refused = |link: Option<(&str, &str)>, mount: [&str; 3], words: &[&str]| {
        let mut bundle = Bundle::new("proc-stand-in").unwrap();
        fs::create_dir(bundle.path("fake")).unwrap();
        if let Some((target, name)) = link {
            bundle.link(target, name);
        }
        let options: &[&str] = if mount[1] == "bind" { &["bind"] } else { &[] };
        bundle.mount(mount[0], mount[1], mount[2], options);
        bundle.assert_refused(words);
    };
    refused(None, ["/proc", "bind", "fake"], &["mounts[1]", "EPERM"]);
    // Of procfs, but not all of it.
    refused(None, ["/proc", "bind", "/proc/self"], &["mounts[1]", "EPERM"]);
    refused(None, ["/proc", "tmpfs", "tmpfs"], &["mounts[1]", "only procfs"]);
    refused(None, ["/proc/self/attr", "bind", "fake"], &["mounts[1]", "can't be covered"]);
    refused(None, ["/x/../proc/sys", "tmpfs", "tmpfs"], &["mounts[1]", "can't be covered"]);
    refused(None, ["/a/..", "tmpfs", "tmpfs"], &["mounts[1]", "the root itself"]);
    // Links that lead there, whatever they are called.
    for name in ["data", "processes"] {
        let inside = format!("/{name}/self");
        refused(Some(("proc", name)), [&inside, "tmpfs", "tmpfs"], &["mounts[1]", "ELOOP"]);
        let whole = format!("/{name}");
        refused(Some(("/proc", name)), [&whole, "bind", "fake"], &["mounts[1]", "ELOOP"]);
        refused(Some(("/proc/sys", name)), [&whole, "tmpfs", "tmpfs"], &["mounts[1]", "ELOOP"]);
    }
}

/// CVE-2025-52881, CVE-2025-62596: writes that are meant for procfs go to what somebody has
/// mounted there.
#[test]
fn writes_to_proc_do_not_go_astray() {
    const COVER: &str = "mount --bind $1/outside/secret /proc/sys/kernel/domainname";
    let Some(mut bundle) = Bundle::new("proc-write") else { return };
    let script = format!("{COVER}; echo box > /proc/sys/kernel/domainname");
    let output = bundle.undefended(&script);
    let written = fs::read_to_string(bundle.path("outside/secret")).unwrap();
    assert_eq!(written, "box\n", "the attack: {}", said(&output));
    fs::write(bundle.path("outside/secret"), "secret\n").unwrap();

    bundle.config["linux"]["sysctl"] = json!({ "kernel.domainname": "box" });
    bundle.write(&["/bin/echo", "it runs"]);
    let before = bundle.outside();
    let output = bundle.undefended(&format!("{COVER}; $2 --root $1/state run --bundle $1 $3"));
    let text = stderr(&output);
    assert!(output.stdout.is_empty() && text.contains("EXDEV"), "{}", said(&output));
    assert!(text.contains("linux.sysctl.kernel.domainname"), "{text}");
    assert_eq!(bundle.outside(), before);

    // A whole /proc that isn't one.
    bundle.config["linux"]["sysctl"] = json!({});
    bundle.config["process"]["oomScoreAdj"] = json!(1000);
    bundle.write(&["/bin/echo", "it runs"]);
    fs::create_dir_all(bundle.path("fake/self")).unwrap();
    fs::write(bundle.path("fake/self/oom_score_adj"), "untouched\n").unwrap();
    let output =
        bundle.undefended("mount --bind $1/fake /proc; exec $2 --root $1/state run --bundle $1 $3");
    assert!(output.stdout.is_empty() && !output.status.success(), "{}", said(&output));
    assert!(stderr(&output).starts_with("minirun: "), "{}", said(&output));
    let score = fs::read_to_string(bundle.path("fake/self/oom_score_adj")).unwrap();
    assert_eq!(score, "untouched\n");
}

/// CVE-2025-31133, CVE-2025-62161: masks made of what the image has at /dev/null.
#[test]
fn masks_are_made_of_the_null_device() {
    let Some(mut bundle) = Bundle::new("mask-null") else { return };
    bundle.link("/proc/version", "dev/null");
    bundle.config["linux"]["maskedPaths"] = json!(["/proc/uptime"]);
    let script = "mount -t proc proc $1/rootfs/proc; \
                  mount --bind $1/rootfs/dev/null $1/rootfs/proc/uptime; \
                  exec cat $1/rootfs/proc/uptime";
    let output = bundle.undefended(script);
    assert!(output.stdout.starts_with(b"Linux version"), "the attack: {}", said(&output));

    bundle.assert_refused(&["make device /dev/null", "EEXIST"]);
    // A /dev of the volume's is left as it is, and not relied upon.
    fs::create_dir(bundle.path("volume")).unwrap();
    symlink("/proc/version", bundle.path("volume/null")).unwrap();
    bundle.mount("/dev", "bind", "volume", &["rbind"]);
    let output = bundle.run(&["/bin/cat", "/proc/uptime"]);
    assert!(output.status.success() && output.stdout.is_empty(), "{}", said(&output));
    // Neither is the host's.
    let script = "mount --bind $1/outside/secret /dev/null; $2 --root $1/state run --bundle $1 $3";
    let output = bundle.undefended(script);
    let text = stderr(&output);
    assert!(output.stdout.is_empty() && text.contains("is not the null device"), "{text}");
}
