//! Demand paging: execve(2) and mmap(2) only note what is to be where. Memory is found for a
//! page when it is touched: the processor finds no entry for it, and the kernel makes one in
//! the page fault.
//!
//! A program in the container counts its page faults (ru_minflt) and its resident memory, at its
//! start and around each step: it maps an area, reads a quarter of it, writes to it, writes to it
//! again, then to the rest. A page that is only read is one page of zeros that everybody shares,
//! which counts as nobody's memory. The area has no huge pages, so that each page counts. A
//! file's pages that are in memory anyway come several at a time.
//!
//! Read next: mmap(2), madvise(2) on MADV_NOHUGEPAGE, getrusage(2), proc_pid_smaps(5).

mod support;

use std::fs::{self, File};
use std::process::ExitCode;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use minirun::Container;
use support::findings::{Findings, end, found};
use support::mapping::{Mapping, page_size};
use support::memory::{faults, rollup};
use support::{Demo, Result, Table, itself};

const DEMO: Demo = Demo {
    intro: "A program in a container maps 4,096 pages and touches them bit by bit. Its page\n\
            faults and its resident memory are read around each step.",
    columns: ["page faults", "more memory"],
    claim: "a page gets memory when it is first touched, by one page fault",
};

const PAGES: usize = 4096;
const QUARTER: usize = 1024;
/// The container has memory there.
const FILE: &str = "/tmp/file";

/// The steps, with the faults and pages of memory that each should cost.
const STEPS: [(&str, u64, i64); 6] = [
    ("mmap of 4,096 pages", 0, 0),
    ("1,024 of them are read", 1024, 0),
    ("they are written to", 1024, 1024),
    ("once more", 0, 0),
    ("3,072 more are written to", 3072, 3072),
    ("munmap of them all", 0, -4096),
];
/// How many pages the program may need besides.
const OWN: u64 = 64;

pub fn main() -> ExitCode {
    match itself::part() {
        Some(_) => end(touch()),
        None => DEMO.run_without_rootfs(compare),
    }
}

fn touch() -> Result<()> {
    found("start-faults", faults())?;
    found("start-resident", rollup("self", "Rss:")?)?;
    found("start-mapped", mapped()?)?;

    let mut meter = Meter::start()?;
    // What is needed to measure and to map at all isn't to count.
    drop(Mapping::private(1)?);
    meter.read()?;
    let mut step = 0;
    let mut done = |meter: &mut Meter| -> Result<()> {
        let (faults, memory) = meter.read()?;
        found(&format!("faults-{step}"), faults)?;
        found(&format!("memory-{step}"), memory)?;
        step += 1;
        meter.read().map(drop)
    };
    let area = Mapping::private(PAGES)?;
    done(&mut meter)?;
    let quarter: Vec<&AtomicU64> = area.pages().take(QUARTER).collect();
    meter.read()?;
    quarter.iter().for_each(|page| _ = std::hint::black_box(page.load(Relaxed)));
    done(&mut meter)?;
    quarter.iter().for_each(|page| page.store(1, Relaxed));
    done(&mut meter)?;
    quarter.iter().for_each(|page| page.store(2, Relaxed));
    done(&mut meter)?;
    area.pages().skip(QUARTER).for_each(|page| page.store(1, Relaxed));
    done(&mut meter)?;
    drop(area);
    done(&mut meter)?;

    fs::write(FILE, vec![1; QUARTER * page_size()])?;
    let file = Mapping::of(&File::open(FILE)?, QUARTER)?;
    let start = faults();
    file.read();
    found("file-faults", faults() - start)
}

/// Page faults and bytes of memory since the last look.
struct Meter {
    faults: u64,
    memory: u64,
}

impl Meter {
    fn start() -> Result<Meter> {
        Ok(Meter { faults: faults(), memory: rollup("self", "Rss:")? })
    }

    /// The difference; memory may have become less.
    fn read(&mut self) -> Result<(u64, i64)> {
        // The faults of the look itself come after it.
        let faults = faults();
        let memory = rollup("self", "Rss:")?;
        let differences = (faults - self.faults, memory.cast_signed() - self.memory.cast_signed());
        *self = Meter { faults: support::memory::faults(), memory };
        Ok(differences)
    }
}

/// How much the mappings of this process span, in bytes.
fn mapped() -> Result<u64> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap_or_default();
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1024)
}

fn compare(table: &mut Table) -> Result<()> {
    let seen = Findings::of(&mut itself::play(&Container::empty(), "touch")?)?;

    let (resident, mapped) = (seen.number("start-resident")?, seen.number("start-mapped")?);
    let start = seen.number("start-faults")?;
    let page = i64::try_from(page_size())?;
    let possible = mapped / page.unsigned_abs();
    let there = format!("{} of {possible} pages", resident / page.unsigned_abs());
    table.row("execve, up to main", start, there);
    table.expect(
        (1..possible).contains(&start) && resident < mapped,
        format!("less than all of {possible} pages to be touched at the start"),
        start,
    );

    for (index, (step, faults, pages)) in STEPS.into_iter().enumerate() {
        let seen_faults = seen.number(&format!("faults-{index}"))?;
        let text = seen.text(&format!("memory-{index}"))?;
        let seen_pages = text.parse::<i64>()? / page;
        table.row(step, seen_faults, format!("{seen_pages} pages"));
        table.expect(
            (faults..=faults + OWN).contains(&seen_faults) && seen_pages.abs_diff(pages) <= OWN,
            format!("{faults} page faults and {pages} pages for {step:?}"),
            format!("{seen_faults} and {seen_pages}"),
        );
    }

    let faults = seen.number("file-faults")?;
    table.row("1,024 of a file are read", faults, format!("{} at a time", 1024 / faults.max(1)));
    table.expect((1..=1024 + OWN).contains(&faults), "at most 1,024 faults in a file", faults);
    Ok(())
}
