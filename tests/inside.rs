//! Tests whose bodies run in containers: what a body sees there, and how it fails.

mod support;

use std::fs;
use std::path::Path;

use minirun::{Container, test};

/// Skips, loudly, where this user may not make containers at all.
fn inside(container: &Container, body: impl FnOnce()) {
    match test::inside(container, body) {
        Err(error) if error.to_string().starts_with("clone3") => {
            support::skipped(Some(&error.to_string()));
        }
        outcome => outcome.unwrap(),
    }
}

#[test]
fn a_body_has_its_own_processes() {
    inside(&Container::empty(), || {
        assert_eq!((std::process::id(), nix::unistd::getppid().as_raw()), (2, 1));
        let pids = fs::read_dir("/proc").unwrap().filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_string_lossy().parse::<u32>().is_ok()
        });
        assert_eq!(pids.count(), 2, "init and this test");
    });
}

#[test]
fn a_body_has_its_own_host_name_and_network() {
    inside(Container::empty().hostname("box"), || {
        assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), "box\n");
        let interfaces = fs::read_to_string("/proc/net/dev").unwrap();
        let names = interfaces.lines().filter_map(|line| line.split_once(':'));
        assert_eq!(names.map(|(name, _)| name.trim()).collect::<Vec<_>>(), ["lo"]);
    });
}

#[test]
fn a_body_sees_no_file_of_the_host_but_its_program() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    inside(&Container::empty(), || {
        assert!(!manifest.exists() && !Path::new("/etc").exists());
        let program = std::env::current_exe().unwrap();
        assert!(program.exists());
        assert!(fs::OpenOptions::new().append(true).open(program).is_err(), "it can be written to");
        // Its own places can be.
        fs::write("/file", "text").unwrap();
        fs::write(std::env::temp_dir().join("file"), "text").unwrap();
    });
    assert!(!Path::new("/file").exists());
}

#[test]
fn a_root_filesystem_is_there_and_keeps_nothing() {
    // This line is carried out in the container too, where it can't be built.
    let rootfs = if test::is_inside() { "/".into() } else { support::rootfs() };
    inside(&Container::new(&rootfs), || {
        let output = std::process::Command::new("/bin/busybox").arg("true").status().unwrap();
        assert!(output.success());
        fs::write("/left-behind", "text").unwrap();
    });
    assert!(!rootfs.join("left-behind").exists() && !rootfs.join("lib64").exists());
}

#[test]
fn each_call_has_a_container_of_its_own() {
    for round in 0..2 {
        inside(&Container::empty(), || {
            assert!(!Path::new("/round").exists(), "round {round}");
            fs::write("/round", "").unwrap();
        });
    }
}

#[test]
fn a_body_that_ends_in_another_way_than_well_fails_its_test() {
    // The process inside is in the midst of one of these when it ends: each is a call.
    let endings: [(fn(), &str); 3] = [
        (|| panic!("one is not two"), "status 101"),
        (|| std::process::exit(0), "ended without it"),
        (|| std::process::abort(), "killed by signal 6"),
    ];
    for (body, word) in endings {
        let held = std::panic::catch_unwind(|| inside(&Container::empty(), body));
        let Err(failure) = held else {
            // Skipped, if all three are.
            continue;
        };
        let message = failure.downcast_ref::<String>().unwrap();
        assert!(message.contains(word), "{word}: {message}");
    }
}
