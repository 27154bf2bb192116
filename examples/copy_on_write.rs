//! Copy-on-write: fork(2) copies no memory. Parent and child have the same pages until one
//! of them writes; that page fault is when the kernel copies the page.
//!
//! A program in the container fills 100 MiB and forks. Its child reads all of it, then writes
//! all of it. /proc/PID/smaps_rollup says each time how much of a process's memory is its own
//! and how much it has in common with others. Pss divides what is shared by those who share it,
//! so that the sum of both is what they take up together.
//!
//! Read next: fork(2), the notes; proc_pid_smaps(5); getrusage(2) on ru_minflt.

mod support;

use std::process::ExitCode;

use minirun::Container;
use nix::unistd::getppid;
use support::findings::{Findings, end, found};
use support::fork::fork;
use support::mapping::{Mapping, page_size};
use support::memory::{MIB, faults, mib, rollup};
use support::{Demo, Result, Table, itself};

const DEMO: Demo = Demo {
    intro: "A program in a container fills 100 MiB and forks. Its child reads it all, then\n\
            writes to every page.",
    columns: ["before the child writes", "after"],
    claim: "a fork shares all pages, and each is copied when it is first written to",
};

/// What parent and child have in common, in bytes.
const AREA: u64 = 100 * MIB;
/// What a program has besides: its code, its libraries, a heap, a stack.
const REST: u64 = 16 * MIB;

pub fn main() -> ExitCode {
    match itself::part() {
        Some(_) => end(fork_and_write()),
        None => DEMO.run_without_rootfs(compare),
    }
}

fn fork_and_write() -> Result<()> {
    let pages = usize::try_from(AREA)? / page_size();
    let area = Mapping::private(pages)?;
    area.write();
    fork(|| {
        let start = faults();
        area.read();
        found("read-faults", faults() - start)?;
        look("before")?;
        let start = faults();
        area.write();
        found("write-faults", faults() - start)?;
        look("after")?;
        Ok(0)
    })?
    .succeed()?;
    found("pages", pages)
}

fn look(when: &str) -> Result<()> {
    for (who, pid) in [("child", "self".to_owned()), ("parent", getppid().to_string())] {
        for (name, word) in [("private", "Private_"), ("shared", "Shared_"), ("pss", "Pss:")] {
            found(&format!("{who}-{name}-{when}"), rollup(&pid, word)?)?;
        }
    }
    Ok(())
}

fn compare(table: &mut Table) -> Result<()> {
    let seen = Findings::of(&mut itself::play(&Container::empty(), "parent")?)?;
    let mut memory = |question: &str, names: &[&str]| -> Result<[u64; 2]> {
        let mut sums = [0; 2];
        for (sum, when) in sums.iter_mut().zip(["before", "after"]) {
            for name in names {
                *sum += seen.number(&format!("{name}-{when}"))?;
            }
        }
        table.row(question, mib(sums[0]), mib(sums[1]));
        Ok(sums)
    };
    let own = memory("the child's own", &["child-private"])?;
    let shared = memory("what it shares", &["child-shared"])?;
    let parents = memory("the parent's own", &["parent-private"])?;
    let together = memory("both together", &["child-pss", "parent-pss"])?;

    let pages = seen.number("pages")?;
    let (reading, writing) = (seen.number("read-faults")?, seen.number("write-faults")?);
    table.row("page faults while it", format!("reads: {reading}"), format!("writes: {writing}"));
    table.row("pages in 100 MiB", pages, pages);

    let within = |bytes: u64, low: u64| (low..low + REST).contains(&bytes);
    let mut expect = |what: &str, seen: [u64; 2], low: [u64; 2]| {
        table.expect(
            within(seen[0], low[0]) && within(seen[1], low[1]),
            format!("{what} to be about {}, then about {}", mib(low[0]), mib(low[1])),
            seen.map(mib).join(", then "),
        );
    };
    expect("the child's own memory", own, [0, AREA]);
    expect("the parent's own memory", parents, [0, AREA]);
    expect("what they share", shared, [AREA, 0]);
    expect("both together", together, [AREA, 2 * AREA]);
    table.expect(reading < pages / 10, "hardly a fault by reading", reading);
    table.expect(
        (pages..pages + pages / 10).contains(&writing),
        format!("one fault for each of {pages} pages written to"),
        writing,
    );
    Ok(())
}
