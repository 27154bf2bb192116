//! The memory of a process: code, data, bss, heap, mappings and stack, each at its place, and
//! where the two that grow do so.
//!
//! A program in the container takes the address of something of each kind and looks up which
//! line of its /proc/self/maps that lies in. It asks for 4 MiB more heap (brk(2)), which moves
//! the heap's end up, and calls itself until the stack has 1 MiB more, which moves the stack's
//! start down. Whether an allocator takes small pieces from the heap, as glibc's does, or from
//! mappings, as musl's does, is its own affair.
//!
//! Read next: proc_pid_maps(5), brk(2), mmap(2), elf(5).

mod support;

use std::collections::HashMap;
use std::fs;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU8, AtomicU64};

use minirun::Container;
use support::findings::{Findings, end, found};
use support::mapping::{Mapping, grow_heap};
use support::{Demo, Result, Table, itself};

const DEMO: Demo = Demo {
    intro: "A program in a container looks up where its parts lie, from the highest address\n\
            down, then lets its heap and its stack grow.",
    columns: ["address", "lies in"],
    claim: "code, data, bss and heap lie low, the stack high; heap grows up, stack down",
};

/// It has a value, so it is in the program's file.
static DATA: AtomicU64 = AtomicU64::new(1000);
/// It is all zeros, so the file says only how long it is; longer than a page, since what is
/// left of the last page of data is used for it first.
static BSS: [AtomicU8; 1 << 20] = [const { AtomicU8::new(0) }; 1 << 20];

/// How much the heap gets, and the stack, in bytes.
const HEAP_GROWTH: u64 = 4 << 20;
const STACK_GROWTH: u64 = 1 << 20;

/// From low to high; the C library and mmap's areas lie between heap and stack, in an order that
/// is the kernel's.
const ORDER: [&str; 5] = ["code", "data", "bss", "heap", "stack"];

pub fn main() -> ExitCode {
    match itself::part() {
        Some(_) => end(look()),
        None => DEMO.run_without_rootfs(compare),
    }
}

fn look() -> Result<()> {
    let local = 0u8;
    let boxed = Box::new(1u64);
    let mapping = Mapping::private(1)?;
    let before = maps()?;
    let heap = grow_heap(usize::try_from(HEAP_GROWTH)?)?;
    let maps = maps()?;
    found("heap-moves", moves(&before, &maps, "[heap]")?)?;
    for (name, address) in [
        ("code", look as fn() -> Result<()> as usize),
        ("data", (&raw const DATA).addr()),
        ("bss", (&raw const BSS[BSS.len() / 2]).addr()),
        ("heap", heap),
        ("box", (&raw const *boxed).addr()),
        ("library", libc::getpid as unsafe extern "C" fn() -> i32 as usize),
        ("mmap", mapping.words().as_ptr().addr()),
        ("stack", (&raw const local).addr()),
    ] {
        let area = maps.iter().find(|area| (area.start..area.end).contains(&(address as u64)));
        let area = area.ok_or_else(|| format!("expected {name} in /proc/self/maps; saw it not"))?;
        found(name, format!("{address} {} {}", area.access, area.name))?;
    }

    found("stack-moves", deeper((&raw const local).addr() as u64, &maps)?)
}

/// Calls itself until its locals lie so much lower than at first.
#[inline(never)]
fn deeper(first: u64, before: &[Area]) -> Result<String> {
    let local = black_box([0u8; 4096]);
    if first.abs_diff(local.as_ptr().addr() as u64) < STACK_GROWTH {
        let seen = deeper(first, before);
        // Used after the call, so that the frame has to stay.
        black_box(&local);
        return seen;
    }
    moves(before, &maps()?, "[stack]")
}

/// How far an area's start and end have moved up, in bytes.
fn moves(before: &[Area], after: &[Area], name: &str) -> Result<String> {
    // It may have several lines, with different rights.
    let bounds = |areas: &[Area]| {
        let own = || areas.iter().filter(|area| area.name == name);
        let start = own().map(|area| area.start.cast_signed()).min()?;
        Some((start, own().map(|area| area.end.cast_signed()).max()?))
    };
    match (bounds(before), bounds(after)) {
        (Some(old), Some(new)) => Ok(format!("{} {}", new.0 - old.0, new.1 - old.1)),
        _ => Err(format!("expected {name} in /proc/self/maps; saw it not").into()),
    }
}

/// A line of /proc/self/maps.
struct Area {
    start: u64,
    end: u64,
    /// As `r-xp`.
    access: String,
    /// Of a file without its directory, or as `[heap]`; nothing for anonymous memory.
    name: String,
}

fn maps() -> Result<Vec<Area>> {
    let text = fs::read_to_string("/proc/self/maps")?;
    let area = |line: &str| {
        let mut fields = line.split_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let access = fields.next()?.to_owned();
        let name = fields.nth(3).unwrap_or_default();
        let name = name.rsplit('/').next()?.to_owned();
        let number = |text| u64::from_str_radix(text, 16).ok();
        Some(Area { start: number(start)?, end: number(end)?, access, name })
    };
    Ok(text.lines().filter_map(area).collect())
}

fn compare(table: &mut Table) -> Result<()> {
    let seen = Findings::of(&mut itself::play(&Container::empty(), "look")?)?;
    let mut rows = Vec::new();
    let kinds = [
        ("stack", "stack: a local variable"),
        ("mmap", "a mapping of its own"),
        ("library", "the C library's code"),
        ("heap", "heap: of brk"),
        ("box", "a Box, of malloc"),
        ("bss", "bss: a static of zeros"),
        ("data", "data: a static of 1000"),
        ("code", "code: a function"),
    ];
    let mut addresses = HashMap::new();
    for (name, question) in kinds {
        let (address, place) = seen.text(name)?.split_once(' ').unwrap_or_default();
        let address: u64 = address.parse()?;
        addresses.insert(name, address);
        let place = place.trim();
        let access = &place[..4.min(place.len())];
        let wanted = if matches!(name, "code" | "library") { "r-xp" } else { "rw-p" };
        table.expect(access == wanted, format!("{name} to be {wanted}"), access);
        let area = place.get(5..).unwrap_or("anonymous memory");
        rows.push((address, question, format!("{access} {area}")));
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.0));
    for (address, question, place) in &rows {
        table.row(question, format!("{address:#014x}"), place);
    }
    let lowest_first: Vec<_> = ORDER.iter().map(|name| addresses[name]).collect();
    table.expect(
        lowest_first.is_sorted(),
        format!("from low to high {}", ORDER.join(", ")),
        format!("{lowest_first:#x?}"),
    );

    let heap = Growth::of(seen.text("heap-moves")?)?;
    table.row("heap after 4 MiB more", "start and end moved by", heap.in_words());
    table.expect(
        heap.start == 0 && heap.end.cast_unsigned() == HEAP_GROWTH,
        "the heap to grow up",
        heap.in_words(),
    );
    let stack = Growth::of(seen.text("stack-moves")?)?;
    table.row("stack 1 MiB deeper", "start and end moved by", stack.in_words());
    table.expect(
        stack.end == 0 && stack.start < 0 && stack.start.unsigned_abs() >= STACK_GROWTH / 2,
        "the stack to grow down",
        stack.in_words(),
    );
    Ok(())
}

/// How far an area's bounds have moved up, in bytes.
struct Growth {
    start: i64,
    end: i64,
}

impl Growth {
    fn of(text: &str) -> Result<Growth> {
        let (start, end) = text.split_once(' ').unwrap_or_default();
        Ok(Growth { start: start.parse()?, end: end.parse()? })
    }

    fn in_words(&self) -> String {
        format!("{:+} and {:+} KiB", self.start / 1024, self.end / 1024)
    }
}
