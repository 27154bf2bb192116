//! A second process swaps directories of the root filesystem while the container is made.
//!
//! MINIRUN_RACE_SECONDS says for how long each race is run (one second by default).

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use serde_json::json;

use crate::bundle::Bundle;
use crate::support::{said, skipped, stderr};

fn time() -> Duration {
    let asked = std::env::var("MINIRUN_RACE_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(asked.unwrap_or(1))
}

fn exchange(one: &Path, other: &Path) {
    let [one, other] =
        [one, other].map(|path| CString::new(path.as_os_str().as_bytes()).expect("no NUL"));
    let (here, flag) = (libc::AT_FDCWD, libc::RENAME_EXCHANGE);
    // SAFETY: two strings that end with NUL; nix has a function for it with glibc only.
    let exchanged = unsafe {
        libc::syscall(libc::SYS_renameat2, here, one.as_ptr(), here, other.as_ptr(), flag)
    };
    Errno::result(exchanged).expect("the filesystem exchanges names");
}

/// Exchanges two names all the time while `attempt` runs again and again, until it says that
/// it is done or the time is up; whether it was done.
fn race(one: PathBuf, other: PathBuf, time: Duration, mut attempt: impl FnMut() -> bool) -> bool {
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                exchange(&one, &other);
            }
            // As it was at first.
            if one.is_symlink() {
                exchange(&one, &other);
            }
        });
        // Also when the attempt panics: the scope waits for the thread.
        let _over = Over(&is_over);
        let start = Instant::now();
        loop {
            match attempt() {
                true => return true,
                false if start.elapsed() > time => return false,
                false => {}
            }
        }
    })
}

/// CVE-2021-30465, CVE-2024-45310: a directory becomes a symlink to the host between the look
/// and the use.
#[test]
fn a_swapped_directory_never_leads_to_the_host() {
    let Some(mut bundle) = Bundle::new("race-dir") else { return };
    let (root, outside) = (bundle.path("rootfs"), bundle.path("outside"));
    fs::create_dir(root.join("dir")).unwrap();
    bundle.link(&outside, "link");
    let made = outside.join("made");
    let attack = race(root.join("dir"), root.join("link"), Duration::from_secs(10), || {
        // What a careful program without descriptors would do.
        let inside = fs::canonicalize(root.join("dir")).is_ok_and(|path| path.starts_with(&root));
        if inside {
            let _ = fs::create_dir(root.join("dir/made"));
        }
        made.exists()
    });
    if !attack {
        skipped(Some("the race against the undefended program was not won here"));
    }
    let _ = fs::remove_dir(&made);
    let _ = fs::remove_dir_all(root.join("dir/made"));

    bundle.mount("/dir/a/b", "tmpfs", "tmpfs", &[]);
    bundle.mount("/dir/file", "bind", "config.json", &["bind"]);
    bundle.config["linux"]["devices"] = json!([
        { "path": "/dir/node", "type": "c", "major": 1, "minor": 3, "uid": 1, "gid": 1 }
    ]);
    bundle.config["process"]["cwd"] = json!("/dir/c/d");
    let before = bundle.outside();
    race(root.join("dir"), root.join("link"), time(), || {
        let output = bundle.run(&["/bin/true"]);
        assert_eq!(bundle.outside(), before, "{}", said(&output));
        let text = stderr(&output);
        assert!(output.status.success() || text.starts_with("minirun: error: "), "{text}");
        false
    });
}

/// GHSA-3q8j (youki), CVE-2025-31133, CVE-2025-52881: the directory that procfs is mounted on is
/// moved away, and what should be hidden or sealed in it isn't found.
#[test]
fn masks_follow_a_proc_that_is_moved() {
    let Some(mut bundle) = Bundle::new("race-proc") else { return };
    let root = bundle.path("rootfs");
    let fake = root.join("fake");
    fs::create_dir_all(fake.join("sys/kernel")).unwrap();
    let files = ["version", "sys/kernel/domainname", "uptime"];
    for file in files {
        fs::write(fake.join(file), "fake\n").unwrap();
    }
    // The same moves one after another, by paths.
    let script = "mount -t proc proc $1/rootfs/proc && touch $1/mounted; \
                  until [ -e $1/moved ]; do sleep 0.01; done; \
                  mount --bind /dev/null $1/rootfs/proc/version; cat $1/rootfs/fake/version";
    let output = std::thread::scope(|scope| {
        let attack = scope.spawn(|| bundle.undefended(script));
        let patience = Instant::now() + Duration::from_secs(10);
        while !bundle.path("mounted").exists() && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(1));
        }
        exchange(&root.join("proc"), &fake);
        fs::write(bundle.path("moved"), "").unwrap();
        attack.join().unwrap()
    });
    exchange(&root.join("proc"), &fake);
    assert!(output.stdout.starts_with(b"Linux version"), "the attack: {}", said(&output));

    bundle.config["linux"]["maskedPaths"] = json!(["/proc/version", "/proc/acpi"]);
    bundle.config["linux"]["readonlyPaths"] = json!(["/proc/sys"]);
    bundle.config["linux"]["sysctl"] = json!({ "kernel.domainname": "box" });
    // Whichever of the two procfs is now, it must be masked and sealed.
    let script = "for try in 1 2 3 4 5 6 7 8; do for dir in /proc /fake; do \
                  cd $dir || continue; [ -e self/mountinfo ] || continue; \
                  grep -q Linux version && echo naked; \
                  (echo naked > sys/kernel/domainname) 2>&1 | grep -q Read-only || echo open; \
                  done; done";
    let mut made = 0;
    race(root.join("proc"), fake.clone(), time(), || {
        let output = bundle.script(script);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!text.contains("naked") && !text.contains("open"), "{}", said(&output));
        made += usize::from(output.status.success() || stderr(&output).is_empty());
        let text = stderr(&output);
        assert!(!text.contains("panicked"), "{text}");
        false
    });
    assert!(made > 0, "no container came so far");
    let place = if fake.join("version").exists() { fake } else { root.join("proc") };
    for file in files {
        assert_eq!(fs::read_to_string(place.join(file)).unwrap(), "fake\n", "{file}");
    }
}

/// CVE-2025-52565: what is bound to /dev/console isn't the terminal that was made.
#[test]
fn the_console_is_the_terminal_that_was_made() {
    let Some(mut bundle) = Bundle::new("race-pts") else { return };
    let (root, fake) = (bundle.path("rootfs"), bundle.path("rootfs/dev/fake"));
    fs::create_dir_all(root.join("dev/pts")).unwrap();
    fs::create_dir_all(&fake).unwrap();
    for name in ["0", "1", "ptmx"] {
        symlink("/proc/version", fake.join(name)).unwrap();
    }
    // By its name, a moment later.
    exchange(&root.join("dev/pts"), &fake);
    let script = "mount -t proc proc $1/rootfs/proc && touch $1/console && \
                  mount --bind $1/rootfs/dev/pts/0 $1/console && cat $1/console";
    let output = bundle.undefended(script);
    exchange(&root.join("dev/pts"), &fake);
    assert!(output.stdout.starts_with(b"Linux version"), "the attack: {}", said(&output));

    bundle.config["process"]["terminal"] = json!(true);
    bundle.mount("/dev/pts", "devpts", "devpts", &["newinstance", "ptmxmode=0666"]);
    let socket = bundle.dir.file("console.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    // 88 is 136, the major number of a slave.
    bundle.write(&["/bin/sh", "-c", "stat -c '%F %t' /dev/console > /tmp/told; true"]);
    let place = bundle.dir.path().to_str().unwrap();
    let (mut made, mut rounds) = (0, 0);
    race(root.join("dev/pts"), fake, time(), || {
        rounds += 1;
        // The listener's queue is short, and nobody takes from it.
        let id = format!("{}-{rounds}", bundle.id());
        let words = ["--detach", "--console-socket", &socket, "--bundle", place, &id];
        let output = bundle.verb("run", &words).output().unwrap();
        let text = stderr(&output);
        if output.status.success() {
            let patience = Instant::now() + Duration::from_secs(10);
            let told = loop {
                let told = fs::read_to_string(root.join("tmp/told")).unwrap_or_default();
                if told.ends_with('\n') || Instant::now() > patience {
                    break told;
                }
            };
            assert_eq!(told, "character special file 88\n", "{text}");
            fs::remove_file(root.join("tmp/told")).unwrap();
            made += 1;
        } else {
            assert!(text.contains("process.terminal") || text.contains("mounts["), "{text}");
        }
        let _ = bundle.verb("delete", &["--force", &id]).output();
        made > 100
    });
    assert!(made > 0, "no container came so far");
}

/// The directory that a new filesystem takes its permissions from changes places with one that
/// the host's directory is mounted on.
#[test]
fn permissions_are_not_given_to_the_hosts_directory() {
    let Some(mut bundle) = Bundle::new("race-mode") else { return };
    let (one, other) = (bundle.path("rootfs/tmp/one"), bundle.path("rootfs/tmp/other"));
    let open = fs::Permissions::from_mode(0o1777);
    for dir in [&one, &other] {
        fs::create_dir(dir).unwrap();
        fs::set_permissions(dir, open.clone()).unwrap();
    }
    let outside = bundle.dir.file("outside");
    let mode = || fs::metadata(&outside).unwrap().permissions().mode() & 0o7777;
    let before = mode();
    let output = bundle.undefended(
        "mount --bind $1/outside $1/rootfs/tmp/other; mount -t tmpfs tmpfs $1/rootfs/tmp/one; \
         cd $1/rootfs/tmp; mount --move one /mnt; mount --move other one; chmod 1777 one",
    );
    assert_ne!(mode(), before, "the attack: {}", said(&output));
    fs::set_permissions(bundle.path("outside"), fs::Permissions::from_mode(before)).unwrap();

    for round in 0..20 {
        let (bound, new) = [("/tmp/one", "/tmp/other"), ("/tmp/other", "/tmp/one")][round % 2];
        bundle.mount(bound, "bind", &outside, &["rbind"]);
        bundle.mount(new, "tmpfs", "tmpfs", &[]);
    }
    race(one, other, time(), || {
        let output = bundle.run(&["/bin/true"]);
        assert_eq!(mode(), before, "{}", said(&output));
        false
    });
}
