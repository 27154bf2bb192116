//! Exclusive control with files: 1,000 processes add 1 to a number in a file, all at once. To read
//! it, add, and write it back are three steps; who reads before another has written loses
//! that one's update.
//!
//! The same without a lock, and with ways to lock: a lock file that is looked for and then made,
//! which are two steps again, so that many find none; flock(2) on one descriptor that all have
//! inherited, and so are one owner of the lock; flock on a descriptor of one's own; and a lock
//! file made by O_CREAT|O_EXCL, which looks and makes in one step. Each process pauses for 100 µs
//! between reading and writing, and between looking and making. That stands for the work that
//! programs do there, and makes certain what would otherwise happen now and then.
//!
//! Read next: flock(2), open(2) on O_EXCL, fcntl_locking(2).

mod support;

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, Write};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use minirun::Container;
use nix::fcntl::{Flock, FlockArg};
use support::crowd::together;
use support::findings::{Findings, end, found};
use support::{Demo, Result, Table, itself};

const DEMO: Demo = Demo {
    intro: "1,000 processes in a container add 1 to a number in a file at the same time. Each\n\
            pauses between reading and writing, so that lost updates are certain.",
    columns: ["number in the end", "updates lost"],
    claim: "only a lock that is tested and taken in one step keeps every update",
};

const PROCESSES: usize = 1000;
const PAUSE: Duration = Duration::from_micros(100);
/// Until a lock file is looked for again.
const RETRY: Duration = Duration::from_millis(20);

/// In the container's memory.
const NUMBER: &str = "/tmp/number";
const LOCK: &str = "/tmp/lock";
const INHERITED: &str = "/tmp/inherited";

/// Adds 1, with the lock's file as all of them have inherited it.
type Way = fn(&File) -> Result<()>;

/// As it is named in findings and in the table, and whether every update is kept.
const WAYS: [(&str, &str, Way, bool); 5] = [
    ("none", "no lock", |_| add(), false),
    ("seen", "a file: seen, then made", file_in_two_steps, false),
    ("inherited", "flock, inherited file", inherited_flock, false),
    ("flock", "flock, a file of its own", flock, true),
    ("exclusive", "a file: made by O_EXCL", file_in_one_step, true),
];

pub fn main() -> ExitCode {
    match itself::part() {
        Some(_) => end(race()),
        None => DEMO.run_without_rootfs(compare),
    }
}

fn race() -> Result<()> {
    for (name, _, way, _) in WAYS {
        fs::write(NUMBER, "0000")?;
        let inherited = File::create(INHERITED)?;
        together(PROCESSES, || way(&inherited))?;
        found(name, fs::read_to_string(NUMBER)?)?;
    }
    Ok(())
}

/// Reads, adds and writes, as if nobody else were there.
fn add() -> Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(NUMBER)?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let number: usize = text.parse()?;
    sleep(PAUSE);
    file.rewind()?;
    // Always of the same length, so that nobody reads half of it.
    Ok(write!(file, "{:04}", number + 1)?)
}

fn file_in_two_steps(_: &File) -> Result<()> {
    while fs::exists(LOCK)? {
        sleep(RETRY);
    }
    sleep(PAUSE);
    File::create(LOCK)?;
    add()?;
    match fs::remove_file(LOCK) {
        // Another one thought that it was theirs.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => Ok(other?),
    }
}

fn file_in_one_step(_: &File) -> Result<()> {
    while let Err(error) = File::create_new(LOCK) {
        if error.kind() != ErrorKind::AlreadyExists {
            return Err(error.into());
        }
        sleep(RETRY);
    }
    add()?;
    Ok(fs::remove_file(LOCK)?)
}

/// A lock belongs to what open(2) has made, which a fork shares: all of them own it.
fn inherited_flock(file: &File) -> Result<()> {
    let _lock = lock(file.try_clone()?)?;
    add()
}

fn flock(_: &File) -> Result<()> {
    let _lock = lock(File::open(INHERITED)?)?;
    add()
}

/// Locked until it is dropped.
fn lock(file: File) -> Result<Flock<File>> {
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
}

fn compare(table: &mut Table) -> Result<()> {
    let seen = Findings::of(&mut itself::play(&Container::empty(), "race")?)?;
    for (name, question, _, kept) in WAYS {
        let number = seen.number(name)?;
        let lost = PROCESSES as u64 - number;
        table.row(question, number, lost);
        let expected = if kept { "no update to be lost" } else { "updates to be lost" };
        table.expect((lost == 0) == kept, format!("{expected}: {question}"), lost);
    }
    Ok(())
}
