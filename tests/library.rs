//! The library's promises to a Rust program, one with many threads among them.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, Instant};

use minirun::{Container, Stdio};
use support::rootfs;

/// The allocator of this test program ends a process that allocates between clone3 and
/// execve: a child has another pid than the program.
struct Watchful;

static PROGRAM: AtomicI32 = AtomicI32::new(0);
const ALLOCATED: i32 = 99;

// SAFETY: everything is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Watchful {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        watch();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        watch();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn watch() {
    let program = PROGRAM.load(Ordering::Relaxed);
    // SAFETY: getpid can't fail; the raw call, because the C library might remember.
    let this = unsafe { libc::syscall(libc::SYS_getpid) } as i32;
    if program != 0 && this != program {
        // SAFETY: _exit takes any integer.
        unsafe { libc::_exit(ALLOCATED) };
    }
}

#[global_allocator]
static ALLOCATOR: Watchful = Watchful;

fn watch_children() {
    PROGRAM.store(std::process::id() as i32, Ordering::Relaxed);
}

#[test]
fn output_is_collected() {
    let output = Container::new(rootfs())
        .hostname("box")
        .command("/bin/sh")
        .args(["-c", "hostname; echo error >&2; exit 3"])
        .output()
        .unwrap();
    assert_eq!(
        (output.stdout.as_slice(), output.stderr.as_slice()),
        (&b"box\n"[..], &b"error\n"[..])
    );
    assert_eq!((output.status.exit_code(), output.status.success()), (3, false));
}

#[test]
fn a_child_is_written_to_read_from_and_signalled() {
    let mut child = Container::new(rootfs())
        .command("cat")
        .stdin(Stdio::Piped)
        .stdout(Stdio::Piped)
        .spawn()
        .unwrap();
    // Held until the end: cat would end by itself at end-of-file.
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"there and back").unwrap();
    let mut answer = [0; 14];
    child.stdout.as_mut().unwrap().read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"there and back");
    assert!(std::fs::metadata(format!("/proc/{}", child.id())).is_ok());
    assert!(child.report().is_none());
    child.signal(libc::SIGTERM).unwrap();
    let status = child.wait().unwrap();
    assert_eq!((status.signal(), status.exit_code()), (Some(libc::SIGTERM), 143));
    assert_eq!(child.wait().unwrap(), status, "waiting again gives the same");
    assert_eq!(child.report().unwrap().status, status);
}

#[test]
fn waiting_enforces_the_timeout() {
    let mut container = Container::new(rootfs());
    container.init(false);
    let mut command = container.command("sleep");
    command.arg("98765").timeout(Duration::from_millis(100)).kill_after(Duration::from_millis(100));
    let status = command.status().unwrap();
    assert!(status.timed_out());
    assert_eq!((status.exit_code(), status.signal()), (124, Some(libc::SIGKILL)));
}

#[test]
fn a_dropped_child_is_neither_killed_nor_waited_for() {
    if support::skipped(support::without_root()) {
        return;
    }
    let mut container = Container::new(rootfs());
    container.name("dropped").pids(9);
    let child = container.command("sleep").arg("0.5").stdin(Stdio::Null).spawn().unwrap();
    let process = format!("/proc/{}", child.id());
    let began = Instant::now();
    drop(child);
    assert!(began.elapsed() < Duration::from_millis(300), "drop has waited");
    assert!(std::fs::metadata(&process).is_ok(), "drop has killed");
    let cgroup = || std::fs::metadata("/sys/fs/cgroup/pids/minirun-dropped").is_ok();
    while cgroup() {
        assert!(began.elapsed() < Duration::from_secs(5), "the cgroup stays");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_failed_spawn_names_its_step() {
    let error = Container::new(rootfs()).command("/bin/nosuch").spawn().unwrap_err();
    assert_eq!((error.exit_code(), error.errno()), (127, Some(nix::errno::Errno::ENOENT)));
    assert_eq!(error.place(), Some("COMMAND"));
}

/// The child has a copy of one thread. If anything between clone3 and execve took a lock
/// (the allocator's above all) that another thread held, it would wait for ever; if it
/// allocated at all, it would end with status 99.
#[test]
fn many_threads_start_containers_and_no_child_allocates() {
    watch_children();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    drop(std::hint::black_box(vec![0u8; 4096]));
                }
            });
        }
        let starters: Vec<_> = (0..4)
            .map(|number| {
                scope.spawn(move || {
                    for round in 0..10 {
                        let mut container = Container::new(rootfs());
                        container.init(round % 2 == 0).ephemeral(round % 3 == 0);
                        container.bind("/etc", "/mnt", true);
                        let mut command = container.command("true");
                        if number == 0 {
                            command.tty(None);
                        }
                        let status = command.stdin(Stdio::Null).status().unwrap();
                        assert_eq!(status.exit_code(), 0);
                        // A failing child takes other ways; they must not allocate either.
                        let error = container.command("/nosuch").status().unwrap_err();
                        assert_eq!(error.exit_code(), 127, "{error}");
                    }
                })
            })
            .collect();
        for starter in starters {
            starter.join().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// Every kind of mount step that a config.json can ask for, in a program whose children end
/// when they allocate.
#[test]
fn no_step_of_the_file_system_allocates() {
    if support::skipped(support::without_root()) {
        return;
    }
    watch_children();
    let dir = support::TempDir::new("no-allocation");
    let root = dir.path().join("rootfs");
    for path in ["bin", "etc/deep", "tmp"] {
        std::fs::create_dir_all(root.join(path)).unwrap();
    }
    std::fs::copy(rootfs().join("bin/busybox"), root.join("bin/sh")).unwrap();
    std::fs::write(root.join("etc/deep/file"), "content").unwrap();
    std::os::unix::fs::symlink("deep/file", root.join("etc/link")).unwrap();
    std::os::unix::fs::symlink("../run/missing/file", root.join("tmp/dangling")).unwrap();
    let ids = serde_json::json!([{ "containerID": 0, "hostID": 1000, "size": 10 }]);
    let namespaces = ["pid", "mount", "ipc", "uts"].map(|kind| serde_json::json!({ "type": kind }));
    let config = serde_json::json!({
        "ociVersion": "1.3.0",
        "root": { "path": "rootfs", "readonly": true },
        "domainname": "example.test",
        "process": { "cwd": "/made/cwd", "user": { "uid": 0, "gid": 0 }, "args": ["/bin/sh"] },
        "mounts": [
            { "destination": "/proc", "type": "proc" },
            { "destination": "/dev", "type": "tmpfs", "options": ["ro", "shared"] },
            { "destination": "/etc", "type": "tmpfs", "options": ["tmpcopyup", "rro"] },
            { "destination": "/tmp/dangling", "source": "config.json", "options": ["bind"] },
            { "destination": "/m", "source": ".", "options": ["rbind", "ridmap", "rslave"],
                "uidMappings": ids, "gidMappings": ids },
            { "destination": "/m", "options": ["bind", "remount", "noexec"] },
            { "destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["ro"] },
        ],
        "linux": {
            "namespaces": namespaces,
            "rootfsPropagation": "shared",
            "maskedPaths": ["/proc/kcore", "/etc/deep", "/missing"],
            "readonlyPaths": ["/proc/sys"],
            "sysctl": { "kernel.msgmax": "4242" },
            "devices": [{ "path": "/dev/fifo", "type": "p", "uid": 1 },
                { "path": "/srv/null", "type": "c", "major": 1, "minor": 3 }],
            "resources": {},
        },
    });
    std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    let store = minirun::container::Store::new(Some(&dir.path().join("state"))).unwrap();
    let request = minirun::container::Request {
        id: dir.path().file_name().unwrap().to_str().unwrap().to_owned(),
        bundle: dir.path().to_owned(),
        ..Default::default()
    };
    for no_pivot in [false, true] {
        let request = minirun::container::Request { no_pivot, ..request.clone() };
        minirun::container::create(&store, &request, &mut |_| ()).unwrap();
        minirun::container::delete(&store, &request.id, true).unwrap();
    }
}
