//! Exclusive control in memory: processes add 1 to a number in shared memory, 1,000 times in all.
//! A load and a store are two steps, between which others store as well. An atomic
//! compare-and-exchange stores only if the number is still the one that was loaded; who comes too
//! late loads again. It needs no lock, and is what locks are made of, as here one that spins.
//!
//! Each process pauses between load and store, which makes the loss certain; the same pause before
//! the exchange makes sure that some come too late.
//!
//! Read next: futex(7), pthread_mutex_lock(3), the documentation of std::sync::atomic.

mod support;

use std::process::ExitCode;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::thread::{sleep, yield_now};
use std::time::Duration;

use minirun::Container;
use support::crowd::together;
use support::findings::{Findings, end, found};
use support::mapping::Mapping;
use support::{Demo, Result, Table, itself};

const DEMO: Demo = Demo {
    intro: "20 processes in a container add 1 to a number in shared memory, 50 times each, with\n\
            a pause between reading and writing it.",
    columns: ["number in the end", "attempts"],
    claim: "an exchange that is refused when the number has changed loses no update",
};

const PROCESSES: usize = 20;
const EACH: usize = 50;
const ALL: u64 = (PROCESSES * EACH) as u64;
const PAUSE: Duration = Duration::from_micros(100);

/// Shared memory: what is added to, how often somebody tried to, and whether it is locked.
struct Shared<'a> {
    number: &'a AtomicU64,
    attempts: &'a AtomicU64,
    locked: &'a AtomicU64,
}

/// Adds 1 to the number.
type Way = fn(&Shared);

/// As it is named in findings and in the table, and whether every update is kept.
const WAYS: [(&str, &str, Way, bool); 4] = [
    ("store", "load, then store", load_and_store, false),
    ("exchange", "compare-and-exchange", compare_and_exchange, true),
    ("lock", "load, store, a spin lock", under_a_lock, true),
    ("add", "one atomic addition", add, true),
];

pub fn main() -> ExitCode {
    match itself::part() {
        Some(_) => end(race()),
        None => DEMO.run_without_rootfs(compare),
    }
}

fn race() -> Result<()> {
    for (name, _, way, _) in WAYS {
        let memory = Mapping::shared(1)?;
        let [number, attempts, locked, ..] = memory.words() else {
            return Err("expected three words in a page; saw less".into());
        };
        let shared = Shared { number, attempts, locked };
        together(PROCESSES, || {
            (0..EACH).for_each(|_| way(&shared));
            Ok(())
        })?;
        found(name, number.load(SeqCst))?;
        found(&format!("{name}-attempts"), attempts.load(SeqCst))?;
    }
    Ok(())
}

fn load_and_store(shared: &Shared) {
    shared.attempts.fetch_add(1, SeqCst);
    let number = shared.number.load(SeqCst);
    sleep(PAUSE);
    shared.number.store(number + 1, SeqCst);
}

fn compare_and_exchange(shared: &Shared) {
    loop {
        shared.attempts.fetch_add(1, SeqCst);
        let number = shared.number.load(SeqCst);
        sleep(PAUSE);
        if shared.number.compare_exchange(number, number + 1, SeqCst, SeqCst).is_ok() {
            return;
        }
    }
}

fn under_a_lock(shared: &Shared) {
    while shared.locked.compare_exchange(0, 1, SeqCst, SeqCst).is_err() {
        yield_now();
    }
    load_and_store(shared);
    shared.locked.store(0, SeqCst);
}

fn add(shared: &Shared) {
    shared.attempts.fetch_add(1, SeqCst);
    sleep(PAUSE);
    shared.number.fetch_add(1, SeqCst);
}

fn compare(table: &mut Table) -> Result<()> {
    let seen = Findings::of(&mut itself::play(&Container::empty(), "race")?)?;
    for (name, question, _, kept) in WAYS {
        let number = seen.number(name)?;
        let attempts = seen.number(&format!("{name}-attempts"))?;
        table.row(question, format!("{number} of {ALL}"), attempts);
        let expected = if kept { "no update to be lost" } else { "updates to be lost" };
        table.expect((number == ALL) == kept, format!("{expected}: {question}"), number);
        let again = name == "exchange";
        table.expect(
            attempts == ALL || again && attempts > ALL,
            format!("{ALL} attempts, or more where they can fail: {question}"),
            attempts,
        );
    }
    Ok(())
}
