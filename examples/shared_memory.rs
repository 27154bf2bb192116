//! Memory between processes: after a fork each has its own, so that what the child writes the
//! parent never sees, unless the memory was mapped with MAP_SHARED before.
//!
//! A program in the container puts 1000 into a variable, into a private mapping and into a
//! shared one, and forks. The child doubles all three. Both say what they have then. The
//! addresses are the same in both: what differs is the memory behind them.
//!
//! Read next: fork(2), mmap(2) on MAP_PRIVATE and MAP_SHARED, shm_overview(7).

mod support;

use std::process::ExitCode;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use minirun::Container;
use support::findings::{Findings, end, found};
use support::fork::fork;
use support::mapping::Mapping;
use support::{Demo, Result, Table, itself};

const DEMO: Demo = Demo {
    intro: "A program in a container puts 1000 into three places and forks; its child\n\
            doubles them. Both look what is there, the parent at the end.",
    columns: ["parent", "child"],
    claim: "a child's memory is its own; only what is mapped as shared is common",
};

/// Each with the question it answers, and what the parent has in the end.
const PLACES: [(&str, &str, u64); 3] = [
    ("variable", "a variable", 1000),
    ("private", "mmap, MAP_PRIVATE", 1000),
    ("shared", "mmap, MAP_SHARED", 2000),
];

pub fn main() -> ExitCode {
    match itself::part() {
        Some(_) => end(double()),
        None => DEMO.run_without_rootfs(compare),
    }
}

fn double() -> Result<()> {
    let variable = AtomicU64::new(0);
    let (private, shared) = (Mapping::private(1)?, Mapping::shared(1)?);
    let places = [&variable, &private.words()[0], &shared.words()[0]];
    let say = |who: &str| -> Result<()> {
        for ((name, ..), place) in PLACES.iter().zip(places) {
            found(&format!("{who}-{name}"), place.load(SeqCst))?;
            found(&format!("{who}-{name}-at"), format!("{place:p}"))?;
        }
        Ok(())
    };
    places.iter().for_each(|place| place.store(1000, SeqCst));
    fork(|| {
        say("forked")?;
        places.iter().for_each(|place| place.store(place.load(SeqCst) * 2, SeqCst));
        say("child").map(|()| 0)
    })?
    .succeed()?;
    say("parent")
}

fn compare(table: &mut Table) -> Result<()> {
    let seen = Findings::of(&mut itself::play(&Container::empty(), "parent")?)?;
    for (name, question, expected) in PLACES {
        let value = |who: &str| seen.number(&format!("{who}-{name}"));
        let (before, parent, child) = (value("forked")?, value("parent")?, value("child")?);
        table.row(question, parent, format!("{before}, doubled: {child}"));
        table.expect(
            (before, parent, child) == (1000, expected, 2000),
            format!("{question} to be {expected} for the parent, 1000 and 2000 for the child"),
            format!("{parent}, {before} and {child}"),
        );
        let at = |who: &str| seen.text(&format!("{who}-{name}-at"));
        let (parent, child) = (at("parent")?, at("child")?);
        table.row("its address", parent, child);
        table.expect(parent == child, "one address in both", format!("{parent} and {child}"));
    }
    Ok(())
}
