//! What a thread costs, and what a process: for a process fork(2) copies the tables that say
//! where its memory is, and both then fault on the pages that they write to; a thread uses
//! what is there.
//!
//! Read next: clone(2), pthread_create(3), getrusage(2) on ru_minflt.

mod support;

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use minirun::Container;
use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use support::findings::{Findings, end, found};
use support::fork::fork;
use support::mapping::{Mapping, page_size};
use support::memory::{MIB, faults};
use support::{Demo, Result, Table, itself};

const DEMO: Demo = Demo {
    intro: "A program in a container that has filled 16 MiB makes threads, and processes by\n\
            fork, one after the other; each ends at once. The best of five rounds counts.",
    columns: ["a thread", "a process"],
    claim: "a process costs more than a thread, in processor time and in page faults",
};

const FILLED: u64 = 16 * MIB;
const ROUNDS: u32 = 5;
const EACH: u32 = 20;

pub fn main() -> ExitCode {
    match itself::part() {
        Some(_) => end(measure()),
        None => DEMO.run_without_rootfs(compare),
    }
}

fn measure() -> Result<()> {
    let area = Mapping::private(usize::try_from(FILLED)? / page_size())?;
    area.write();
    // First, as only a single thread may be forked.
    report("process", || fork(|| Ok(0))?.succeed())?;
    report("thread", || thread::spawn(|| ()).join().map_err(|_| "a thread panicked".into()))
}

fn report(what: &str, mut make: impl FnMut() -> Result<()>) -> Result<()> {
    let mut best = Duration::MAX;
    let before = all_faults()?;
    for _ in 0..ROUNDS {
        let start = processor_time()?;
        for _ in 0..EACH {
            make()?;
        }
        best = best.min((processor_time()? - start) / EACH);
    }
    found(&format!("{what}-nanoseconds"), best.as_nanos())?;
    found(&format!("{what}-faults"), all_faults()? - before)
}

/// What a clock shows depends on who else wants the processors.
fn processor_time() -> Result<Duration> {
    let of = |usage: Usage| usage.user_time() + usage.system_time();
    let (own, children) = (UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN);
    let spent = of(getrusage(own)?) + of(getrusage(children)?);
    Ok(Duration::from_micros(spent.num_microseconds().try_into()?))
}

/// Those of children that were waited for included.
fn all_faults() -> Result<u64> {
    let children = getrusage(UsageWho::RUSAGE_CHILDREN)?.minor_page_faults();
    Ok(faults() + u64::try_from(children)?)
}

fn compare(table: &mut Table) -> Result<()> {
    let seen = Findings::of(&mut itself::play(&Container::empty(), "measure")?)?;
    let both = |name: &str| -> Result<[u64; 2]> {
        Ok([seen.number(&format!("thread-{name}"))?, seen.number(&format!("process-{name}"))?])
    };
    let (time, faults) = (both("nanoseconds")?, both("faults")?);
    let made = ROUNDS * EACH;
    table.row("made", made, made);
    let micros = |nanoseconds: u64| format!("{:.1} µs", nanoseconds as f64 / 1000.0);
    table.row("processor time for one", micros(time[0]), micros(time[1]));
    table.row("ratio", 1, format!("{:.1}", time[1] as f64 / time[0].max(1) as f64));
    table.row("page faults, all rounds", faults[0], faults[1]);
    table.expect(time[1] > time[0], "a process to take more", micros(time[1]));
    table.expect(faults[1] > faults[0], "more page faults for a process", faults[1]);
    Ok(())
}
