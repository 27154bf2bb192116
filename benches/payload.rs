//! What the contenders run: `true`, the same few kilobytes for all of them, and a little more
//! when it is asked by a word.
//!
//! - `now`: writes the time of its end, in nanoseconds of CLOCK_MONOTONIC.
//! - `pause`: writes a line, and waits for a signal.
//! - `getppid`, `openat`: calls that often, and writes the nanoseconds that one took.
//! - `usage PROGRAM ARGUMENT…`: runs it, and writes the peak of its memory in KiB and its
//!   page faults. The peak that wait4(2) tells begins with that of whoever forked, so this
//!   is small.

// The Rust runtime's start-up is no part of what is measured.
#![no_main]

use std::ffi::{CStr, c_char, c_int};
use std::io::Write;

/// So few that the rounds of a benchmark take turns quickly: what else the machine does meanwhile
/// hits all contenders alike.
const CALLS: u32 = 50_000;

/// # Safety
/// Called by the C library alone, with its argument vector.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn main(count: c_int, arguments: *const *const c_char) -> c_int {
    if count < 2 {
        return 0;
    }
    // SAFETY: the vector holds `count` C strings that live as long as the process.
    let word = unsafe { CStr::from_ptr(*arguments.add(1)) };
    let line = match word.to_bytes() {
        b"now" => format!("{}\n", now()),
        b"pause" => "\n".to_owned(),
        // SAFETY: no arguments.
        b"getppid" => per_call(|| i64::from(unsafe { libc::getppid() })),
        b"openat" => per_call(|| {
            // SAFETY: a C string that outlives the call.
            let fd = unsafe { libc::openat(libc::AT_FDCWD, c"/".as_ptr(), libc::O_PATH) };
            // SAFETY: the descriptor was opened here and is used no more.
            unsafe { libc::close(fd) }.into()
        }),
        // SAFETY: the rest of a vector that ends in null.
        b"usage" if count > 2 => unsafe { usage(arguments.add(2)) },
        _ => return 2,
    };
    if std::io::stdout().write_all(line.as_bytes()).is_err() {
        return 1;
    }
    if word == c"pause" {
        // SAFETY: no arguments.
        unsafe { libc::pause() };
    }
    0
}

fn now() -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a place to write to.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

fn per_call(call: impl Fn() -> i64) -> String {
    let start = now();
    for _ in 0..CALLS {
        if call() < 0 {
            return "the call fails\n".to_owned();
        }
    }
    format!("{}\n", (now() - start) as f64 / f64::from(CALLS))
}

/// # Safety
/// The vector holds C strings and ends in null.
unsafe fn usage(arguments: *const *const c_char) -> String {
    // SAFETY: plain memory, filled by wait4; the child has a copy of all memory and one thread.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        let mut status = 0;
        let pid = libc::fork();
        if pid == 0 {
            libc::execv(*arguments, arguments);
            libc::_exit(127);
        }
        if libc::wait4(pid, &mut status, 0, &mut usage) != pid || status != 0 {
            return format!("it ended with the wait status {status}\n");
        }
        format!("{} {}\n", usage.ru_maxrss, usage.ru_minflt)
    }
}
