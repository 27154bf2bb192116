//! User and system time: the processor carries out either a program's own instructions or the
//! kernel's on its behalf, and the kernel counts the two apart.
//!
//! Two programs in containers keep one processor busy for a while: a loop that asks for its
//! parent's pid again and again, which is about the cheapest system call, and a loop that only
//! computes.
//!
//! Read next: getrusage(2), time(1), sched_setaffinity(2), vdso(7) on calls that are none.

mod support;

use std::process::ExitCode;

use minirun::{Container, Stdio};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::unistd::{Pid, getppid};
use support::findings::{Findings, end, found};
use support::{Demo, Result, Table, itself};

const DEMO: Demo = Demo {
    intro: "Two loops run in containers for 0.3 s of processor time each, on one\n\
            processor: one makes system calls, one only computes.",
    columns: ["getppid loop", "pure loop"],
    claim: "system calls take system time, computing takes user time alone",
};

/// Milliseconds of processor time, which a loaded machine gives later but not less of.
const BUSY: i64 = 300;

pub fn main() -> ExitCode {
    match itself::part().as_deref() {
        None => DEMO.run_without_rootfs(compare),
        Some("calls") => end(busy(|| _ = std::hint::black_box(getppid()))),
        Some(_) => end(busy(|| _ = std::hint::black_box(std::hint::black_box(1) + 1))),
    }
}

fn busy(mut turn: impl FnMut()) -> Result<()> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let first = (0..CpuSet::count()).find(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    let first = first.ok_or("expected a processor to run on; saw none")?;
    let mut one = CpuSet::new();
    one.set(first)?;
    sched_setaffinity(Pid::from_raw(0), &one)?;
    found("processor", first)?;
    let mut turns: u64 = 0;
    let (user, system) = loop {
        // Asking for the time is a system call too, so not often.
        for _ in 0..100_000 {
            turn();
        }
        turns += 100_000;
        let usage = getrusage(UsageWho::RUSAGE_SELF)?;
        let times = (usage.user_time().num_milliseconds(), usage.system_time().num_milliseconds());
        if times.0 + times.1 >= BUSY {
            break times;
        }
    };
    found("turns", turns)?;
    found("user", user)?;
    found("system", system)
}

fn compare(table: &mut Table) -> Result<()> {
    let run =
        |part: &str| Findings::of(itself::play(&Container::empty(), part)?.stdin(Stdio::Null));
    let loops = [run("calls")?, run("computing")?];
    let mut row = |question: &str, name: &str, unit: &str| -> Result<[u64; 2]> {
        let seen = [loops[0].number(name)?, loops[1].number(name)?];
        table.row(question, format!("{}{unit}", seen[0]), format!("{}{unit}", seen[1]));
        Ok(seen)
    };
    row("on processor number", "processor", "")?;
    row("turns of the loop", "turns", "")?;
    let user = row("user time", "user", " ms")?;
    let system = row("system time", "system", " ms")?;
    let share = |index: usize| system[index] * 100 / (user[index] + system[index]).max(1);
    let (calls, pure) = (share(0), share(1));
    table.row("share of the kernel", format!("{calls} %"), format!("{pure} %"));
    table.expect(calls >= 15, "the kernel to take a good part of the getppid loop", calls);
    table.expect(user[0] > 0, "the getppid loop to have user time as well", user[0]);
    table.expect(pure <= 10, "the kernel to take hardly anything of the pure loop", pure);
    Ok(())
}
