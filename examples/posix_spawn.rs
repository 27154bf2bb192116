//! posix_spawn: a new process with another program, by one call. fork would mark every page of
//! the caller for copying, only to have the child throw its copy away in execve.
//!
//! A program with much memory starts another one in both ways, and writes to all of its memory
//! afterwards: each page that a fork has marked takes a page fault then. posix_spawn's child
//! borrows the caller's memory itself until its execve, and the caller waits so long.
//!
//! Read next: posix_spawn(3), vfork(2), clone(2) on CLONE_VM and CLONE_VFORK.

mod support;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use minirun::Container;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, posix_spawn};
use nix::sys::wait::{WaitStatus, waitpid};
use support::findings::{Findings, end, found};
use support::fork::fork;
use support::mapping::{Mapping, page_size};
use support::memory::{MIB, faults};
use support::{Demo, Result, Table, itself};

const DEMO: Demo = Demo {
    intro: "A program in a container, with 64 MiB of its own, starts busybox by fork and\n\
            execve, then by posix_spawn, and counts page faults as it goes on.",
    columns: ["fork, execve", "posix_spawn"],
    claim: "posix_spawn starts a program without touching the caller's memory",
};

const AREA: u64 = 64 * MIB;
/// busybox called so ends with 0.
const PROGRAM: &str = "/bin/true";

pub fn main() -> ExitCode {
    match itself::part() {
        Some(_) => end(start_twice()),
        None => DEMO.run(compare),
    }
}

fn start_twice() -> Result<()> {
    let pages = usize::try_from(AREA)? / page_size();
    let area = Mapping::private(pages)?;
    area.write();
    found("pages", pages)?;

    let began = Instant::now();
    fork(|| Err(Command::new(PROGRAM).exec().into()))?.succeed()?;
    report("fork", began, &area)?;

    let began = Instant::now();
    let (actions, attributes) = (PosixSpawnFileActions::init()?, PosixSpawnAttr::init()?);
    let pid = posix_spawn(PROGRAM, &actions, &attributes, &[c"true"], &[c"PATH=/bin"])?;
    match waitpid(pid, None)? {
        WaitStatus::Exited(_, 0) => {}
        other => return Err(format!("expected the program to end with 0; saw {other:?}").into()),
    }
    report("spawn", began, &area)
}

fn report(how: &str, began: Instant, area: &Mapping) -> Result<()> {
    found(&format!("{how}-time"), format!("{} µs", began.elapsed().as_micros()))?;
    let before = faults();
    area.write();
    found(&format!("{how}-faults"), faults() - before)
}

fn compare(rootfs: &Path, table: &mut Table) -> Result<()> {
    let seen = Findings::of(&mut itself::play(&Container::new(rootfs), "program")?)?;
    let pages = seen.number("pages")?;
    table.row("pages of the caller", pages, pages);
    table.row("until the program's end", seen.text("fork-time")?, seen.text("spawn-time")?);
    let (forked, spawned) = (seen.number("fork-faults")?, seen.number("spawn-faults")?);
    table.row("faults on those pages then", forked, spawned);
    table.expect(forked >= pages, "a fault for each page that fork has marked", forked);
    table.expect(spawned < pages / 10, "hardly any after posix_spawn", spawned);
    Ok(())
}
