//! Places in the root filesystem that lead to the host: what is made, mounted or opened there.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::bundle::Bundle;
use crate::support::{receive_fd, said, skipped, stderr};

/// CVE-2019-18837, CVE-2026-87766: a target below a symlink that leads out.
#[test]
fn what_is_mounted_or_made_stays_inside() {
    let Some(mut bundle) = Bundle::new("place-link") else { return };
    let outside = bundle.path("outside");
    bundle.link(&outside, "link");
    let output = bundle.undefended(
        "mkdir -p $1/rootfs/link/made && mount -t tmpfs tmpfs $1/rootfs/link/made && \
         touch $1/outside/made/file && exec ls $1/outside/made",
    );
    assert_eq!(output.stdout, b"file\n", "the attack: {}", said(&output));
    fs::remove_dir(outside.join("made")).unwrap();
    bubblewrap_leaves_the_root(&bundle);

    let before = bundle.outside();
    bundle.mount("/link/mounted/here", "tmpfs", "tmpfs", &[]);
    bundle.mount("/link/bound", "bind", "config.json", &["bind"]);
    bundle.config["linux"]["devices"] = json!([
        { "path": "/link/node", "type": "c", "major": 1, "minor": 3, "uid": 1, "gid": 1 },
        { "path": "/link/fifo", "type": "p", "uid": 1, "gid": 1 },
    ]);
    bundle.config["process"]["cwd"] = json!("/link/cwd");
    for target in [outside.to_str().unwrap(), "../outside", "../../../../../../../../../outside"] {
        bundle.link(target, "link");
        let output = bundle.script("cd /link && ls");
        assert_eq!(output.stdout, b"bound\ncwd\nfifo\nmounted\nnode\n", "{}", said(&output));
        assert_eq!(bundle.outside(), before, "{target}");
    }
}

/// The peer's own way out: its old root is there while it makes directories.
fn bubblewrap_leaves_the_root(bundle: &Bundle) {
    symlink(format!("/oldroot{}", bundle.dir.file("outside")), bundle.path("rootfs/old")).unwrap();
    let mut command = Command::new("bwrap");
    command.arg("--bind").arg(bundle.path("rootfs")).args(["/", "--dir", "/old/made", "true"]);
    let ran = command.env("PATH", "/usr/bin:/bin").stdin(Stdio::null()).output();
    match ran {
        Ok(_) if fs::remove_dir(bundle.path("outside/made")).is_ok() => {}
        Ok(_) => drop(skipped(Some("on the peer: this bwrap hasn't got the weakness"))),
        Err(_) => drop(skipped(Some("on the peer: there is no bwrap"))),
    }
}

/// CVE-2026-41579: devices and links below a /dev that is a symlink.
#[test]
fn a_dev_that_leads_out_gets_nothing() {
    let Some(mut bundle) = Bundle::new("place-dev") else { return };
    let ptmx = bundle.path("outside/ptmx");
    fs::write(&ptmx, "the host's\n").unwrap();
    bundle.link(bundle.path("outside"), "dev");
    let before = bundle.outside();
    bundle.undefended("rm -f $1/rootfs/dev/ptmx; ln -s pts/ptmx $1/rootfs/dev/ptmx");
    assert!(ptmx.is_symlink(), "the attack");
    let reset = || {
        fs::remove_dir_all(bundle.path("outside")).unwrap();
        fs::create_dir(bundle.path("outside")).unwrap();
        fs::write(bundle.path("outside/secret"), "secret\n").unwrap();
        fs::write(&ptmx, "the host's\n").unwrap();
    };
    reset();
    if bundle.peer("runc", &["/bin/true"]).is_some() && bundle.outside() == before {
        skipped(Some("on the peer: this runc hasn't got the weakness"));
    }
    reset();

    let output = bundle.run(&["/bin/ls", "/dev/"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(bundle.outside(), before);
    bundle.mount("/dev", "tmpfs", "tmpfs", &[]);
    assert!(bundle.run(&["/bin/true"]).status.success());
    assert_eq!(bundle.outside(), before);
}

/// CVE-2026-88264, CVE-2025-52565: the terminal's name leads to the host, or into /proc.
#[test]
fn the_console_is_made_inside_and_is_a_terminal() {
    let Some(mut bundle) = Bundle::new("place-console") else { return };
    bundle.link(bundle.path("outside"), "dev");
    let before = bundle.outside();
    bundle.undefended(": > $1/rootfs/dev/console");
    assert_ne!(bundle.outside(), before, "the attack");
    fs::remove_file(bundle.path("outside/console")).unwrap();
    fs::create_dir(bundle.path("fake")).unwrap();
    symlink("/proc/version", bundle.path("fake/0")).unwrap();
    let script = "mount --bind $1/fake/0 $1/outside/secret; exec cat $1/outside/secret";
    let output = bundle.undefended(script);
    assert!(output.stdout.starts_with(b"Linux version"), "the attack: {}", said(&output));

    bundle.config["process"]["terminal"] = json!(true);
    let create = |bundle: &Bundle| {
        let socket = bundle.dir.file("console.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        bundle.write(&["/bin/sh", "-c", "ls -l /dev/console; sleep 98765"]);
        let words = ["--console-socket", &socket, "--bundle", bundle.dir.path().to_str().unwrap()];
        let output = bundle.verb("create", &words).arg(bundle.id()).output().unwrap();
        fs::remove_file(&socket).unwrap();
        (output, listener)
    };
    // Without devpts there is no terminal, whatever the image has in its place.
    let (output, _) = create(&bundle);
    assert!(stderr(&output).contains("process.terminal"), "{}", said(&output));
    bundle.link("nowhere", "dev");
    fs::remove_file(bundle.path("rootfs/dev")).unwrap();
    fs::create_dir_all(bundle.path("rootfs/dev/pts")).unwrap();
    for target in ["/dev/ptmx", "/proc/version", "/tmp"] {
        bundle.link(target, "dev/pts/ptmx");
        let (output, _) = create(&bundle);
        let text = stderr(&output);
        assert!(!output.status.success() && text.contains("process.terminal"), "{target}: {text}");
    }
    bundle.mount("/dev/pts", "devpts", "devpts", &["newinstance", "ptmxmode=0666"]);
    bundle.link("/proc/version", "dev/console");
    let (output, _) = create(&bundle);
    let text = stderr(&output);
    assert!(text.contains("process.terminal") && text.contains("ELOOP"), "{text}");

    bundle.link(bundle.path("outside"), "dev");
    let (output, listener) = create(&bundle);
    assert!(output.status.success(), "{}", said(&output));
    let _running = crate::bundle::Running(&bundle);
    let (connection, _) = listener.accept().unwrap();
    let mut master = fs::File::from(receive_fd(connection.as_raw_fd()));
    assert!(bundle.verb("start", &[bundle.id()]).output().unwrap().status.success());
    let told = crate::support::read_until(&mut master, "/dev/console");
    assert!(told.starts_with("crw"), "{told}");
    assert_eq!(bundle.outside(), before);
}

/// CVE-2026-88265: what the image has at /dev/null becomes standard output, and another's.
#[test]
fn a_fake_null_device_is_not_connected() {
    let Some(mut bundle) = Bundle::new("place-null") else { return };
    let secret = bundle.dir.file("outside/secret");
    fs::create_dir(bundle.path("volume")).unwrap();
    let lead = |number: i32| {
        let _ = fs::remove_file(bundle.path("volume/null"));
        symlink(format!("/proc/self/fd/{number}{secret}"), bundle.path("volume/null")).unwrap();
    };
    lead(9);
    bundle.undefended(
        "mount -t proc proc $1/rootfs/proc; mount --bind $1/volume $1/rootfs/dev; exec 9</; \
         exec chroot $1/rootfs /bin/sh -c 'echo overwritten > /dev/null'",
    );
    assert_eq!(fs::read_to_string(&secret).unwrap(), "overwritten\n", "the attack");

    fs::write(&secret, "secret\n").unwrap();
    let before = bundle.outside();
    bundle.config["process"]["user"] = json!({ "uid": 1, "gid": 1 });
    bundle.config["mounts"].as_array_mut().unwrap().push(
        json!({ "destination": "/dev", "type": "bind", "source": "volume", "options": ["rbind"] }),
    );
    bundle.write(&["/bin/echo", "overwritten"]);
    for number in 3..16 {
        let _ = fs::remove_file(bundle.path("volume/null"));
        symlink(format!("/proc/self/fd/{number}{secret}"), bundle.path("volume/null")).unwrap();
        let place = bundle.dir.path().to_str().unwrap();
        let mut command = bundle.verb("run", &["--bundle", place, bundle.id()]);
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert!(status.success(), "what the caller connected stays");
        assert_eq!(bundle.outside(), before, "descriptor {number}");
    }
    // The runtime's own device goes there, and finds something else.
    bundle.config["mounts"].as_array_mut().unwrap().pop();
    bundle.link(&secret, "dev/null");
    bundle.assert_refused(&["make device /dev/null", "EEXIST"]);
}

/// A root filesystem that lies on a shared mount: what is mounted in it shows up on the host,
/// and what is unmounted vanishes there.
#[test]
fn mounts_do_not_travel_to_the_host() {
    let Some(mut bundle) = Bundle::new("place-shared") else { return };
    // As on hosts whose `/` is shared: the mount that holds the root filesystem.
    const SHARED: &str = "mount --bind $1 $1 && mount --make-shared $1 && cd $1 && \
                          seen() { grep -c \"$1/rootfs\" /proc/self/mountinfo; }; ";
    let script = format!(
        "{SHARED} unshare --mount --propagation unchanged \
         mount -t tmpfs tmpfs $1/rootfs/tmp; seen $1"
    );
    let output = bundle.undefended(&script);
    assert_eq!(output.stdout, b"1\n", "the attack: {}", said(&output));

    bundle.mount("/tmp", "tmpfs", "tmpfs", &[]);
    bundle.mount("/tmp/inner", "tmpfs", "tmpfs", &["rslave"]);
    bundle.config["linux"]["maskedPaths"] = json!(["/proc/version", "/sys"]);
    bundle.write(&["/bin/sleep", "98765"]);
    let script = format!(
        "{SHARED} $2 --root $1/state run --detach --bundle $1 $3 > log 2>&1; seen $1; \
         $2 --root $1/state state $3 | grep -c running; \
         $2 --root $1/state delete --force $3; seen $1; mount -t tmpfs tmpfs tmp; true"
    );
    fs::create_dir(bundle.path("tmp")).unwrap();
    for propagation in ["", "private", "slave", "unbindable"] {
        bundle.config["linux"]["rootfsPropagation"] = json!(propagation);
        bundle.write(&["/bin/sleep", "98765"]);
        let output = bundle.undefended(&script);
        assert_eq!(output.stdout, b"0\n1\n0\n", "{propagation}: {}", said(&output));
    }
}
