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
