//! What the contenders run: `true`, the same few kilobytes for all of them, and a little more
//! when it is asked by a word.
//!
//! - `now`: writes the time of its end, in nanoseconds of CLOCK_MONOTONIC.
//! - `pause`: writes a line, and waits for a signal.
//! - `getppid`, `openat`: calls that often, and writes the nanoseconds that one took: the median
//!   of many batches, each in a process of its own. Where the kernel happens to have put one
//!   process's structures makes up to a sixth of a call's time, for as long as that process
//!   lives.
//! - `usage PROGRAM ARGUMENT…`: runs it, and writes the peak of its memory in KiB and its
//!   page faults. The peak that wait4(2) tells begins with that of whoever forked, so this
//!   is small.

// The Rust runtime's start-up is no part of what is measured.
#![no_main]

use std::ffi::{CStr, c_char, c_int};
use std::io::{Read, Write};

/// So few that the rounds of a benchmark take turns quickly: what else the machine does meanwhile
/// hits all contenders alike.
const BATCHES: usize = 100;
/// Calls in a batch, about half a millisecond of them.
const CALLS: u32 = 500;
/// Calls before a batch, for the pages and caches of a new process.
const FIRST: u32 = 20;

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

/// The time of a batch in nanoseconds, or `None` when a call fails.
fn batch(call: impl Fn() -> i64) -> Option<i64> {
    let fails = |count| (0..count).any(|_| call() < 0);
    if fails(FIRST) {
        return None;
    }
    let start = now();
    if fails(CALLS) { None } else { Some(now() - start) }
}

fn per_call(call: impl Fn() -> i64) -> String {
    let mut times = [0; BATCHES];
    for time in &mut times {
        let Some(taken) = in_child(|| batch(&call)) else {
            return "the call fails\n".to_owned();
        };
        *time = taken;
    }
    times.sort_unstable();
    format!("{}\n", times[BATCHES / 2] as f64 / f64::from(CALLS))
}

/// What a child has found out; `None` too when there can't be one.
fn in_child(work: impl Fn() -> Option<i64>) -> Option<i64> {
    let (mut reader, mut writer) = std::io::pipe().ok()?;
    // SAFETY: this process has one thread, so the child may do whatever it could.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let told = work().map(|number| writer.write_all(&number.to_ne_bytes()));
        // SAFETY: ends the child here.
        unsafe { libc::_exit(if matches!(told, Some(Ok(()))) { 0 } else { 1 }) };
    }
    drop(writer);
    let mut number = [0; 8];
    let told = reader.read_exact(&mut number);
    // SAFETY: a null status is allowed; -1 for a child that wasn't made ends at once.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
    told.ok().map(|()| i64::from_ne_bytes(number))
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
