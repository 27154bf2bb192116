//! /proc/PID/stat, which says what a process does now and to whom it belongs; looked at until
//! it shows what a demo waits for.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{PATIENCE, Result};

/// Some of the fields (proc_pid_stat(5)).
pub struct Stat {
    /// One letter.
    pub state: char,
    /// The parent's pid.
    pub parent: i32,
    /// Its process group.
    pub group: i32,
    /// Its session.
    pub session: i32,
    /// Its controlling terminal; 0 for none.
    pub terminal: i32,
    /// The group in that terminal's foreground; -1 where there is no terminal.
    pub foreground: i32,
    /// User and system time together, in clock ticks.
    pub ticks: u64,
}

impl Stat {
    /// Reads it; `None` when there is no such process.
    pub fn of(pid: i32) -> Option<Stat> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // A name may have spaces and parentheses of its own.
        let (_, fields) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<i32>().ok();
        let time = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Stat {
            state: fields.first()?.chars().next()?,
            parent: number(1)?,
            group: number(2)?,
            session: number(3)?,
            terminal: number(4)?,
            foreground: number(5)?,
            ticks: time(11)? + time(12)?,
        })
    }
}

/// Looks again and again until there is an answer.
///
/// # Errors
/// When there is none for as long as a demo's patience lasts.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return Ok(seen);
        }
        if Instant::now() > deadline {
            return Err(format!("expected {what} within {PATIENCE:?}; saw nothing like it").into());
        }
        sleep(Duration::from_millis(5));
    }
}
