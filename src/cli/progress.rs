//! A line on a terminal for whoever waits for more than a second.

use std::io::{IsTerminal, Write, stderr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::thread;
use std::time::{Duration, Instant};

use super::global::Global;
use super::table::start;

/// Until it is worth a word; what takes a second by itself has ended then.
const AFTER: Duration = Duration::from_millis(1200);
const AGAIN: Duration = Duration::from_secs(1);

/// Does something that may take its time. Somebody at a terminal reads meanwhile what it is,
/// in a line that goes away again; neither a pipe nor a log hears of it.
pub fn told<T>(global: &Global, what: impl Fn() -> String + Sync, work: impl FnOnce() -> T) -> T {
    if !global.log.is_for_people() || !stderr().is_terminal() {
        return work();
    }
    let began = Instant::now();
    let tell = || {
        let width = minirun::terminal_size(&stderr()).map_or(80, |size| size.columns.max(20));
        let line = format!("minirun: {}, {} s", what(), began.elapsed().as_secs());
        // The last column would take some terminals to the next line.
        let line = start(&line, usize::from(width) - 1);
        let _ = stderr().write_all(format!("\r{line}\x1b[K").as_bytes());
    };
    let has_ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let teller = thread::Builder::new().spawn_scoped(scope, || {
            let mut next = AFTER;
            while !has_ended.load(Acquire) {
                match next.checked_sub(began.elapsed()) {
                    Some(pause) => thread::park_timeout(pause),
                    None => {
                        tell();
                        next = began.elapsed() + AGAIN;
                    }
                }
            }
            if next > AFTER {
                let _ = stderr().write_all(b"\r\x1b[K");
            }
        });
        let outcome = work();
        has_ended.store(true, Release);
        // Nothing else is to be written before the line has gone.
        if let Ok(teller) = teller {
            teller.thread().unpark();
            let _ = teller.join();
        }
        outcome
    })
}

/// Who has a file locked, by flock(2).
pub fn holder(file: &Path) -> Option<i32> {
    let inode = std::fs::metadata(file).ok()?.ino();
    find_holder(&std::fs::read_to_string("/proc/locks").ok()?, inode)
}

/// Lines of `1: FLOCK  ADVISORY  WRITE 4711 fe:00:123 0 EOF` (proc_locks(5)); those who wait
/// have an arrow behind the number.
fn find_holder(locks: &str, inode: u64) -> Option<i32> {
    let of = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", pid, file, ..] = words.as_slice() else { return None };
        let found = file.rsplit(':').next()?.parse::<u64>().ok()?;
        pid.parse().ok().filter(|_| found == inode)
    };
    locks.lines().find_map(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_lock_is_told_from_who_waits() {
        let locks = "\
1: POSIX  ADVISORY  WRITE 11 fe:00:70 0 EOF
2: FLOCK  ADVISORY  WRITE 22 fe:00:71 0 EOF
3: FLOCK  ADVISORY  WRITE 33 fe:00:70 0 EOF
3: -> FLOCK  ADVISORY  WRITE 44 fe:00:70 0 EOF
";
        assert_eq!(find_holder(locks, 70), Some(33));
        assert_eq!(find_holder(locks, 72), None);
    }
}
