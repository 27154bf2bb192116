//! Context switches: a task leaves its processor either by itself, because it has to wait
//! (voluntary), or because its time is up or somebody else is more urgent (not voluntary).
//!
//! The kernel counts both for each task.
//!
//! Read next: sched(7), voluntary_ctxt_switches in proc_pid_status(5), sched_setaffinity(2).

mod support;

use std::fs;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use minirun::Container;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use support::findings::{Findings, end, found};
use support::fork::{Forked, fork};
use support::{Demo, PATIENCE, Result, Table, itself};

const DEMO: Demo = Demo {
    intro: "A process in a container sleeps a millisecond at a time. Two others, on one\n\
            processor, never wait for anything.",
    columns: ["the sleeper", "one of two spinners"],
    claim: "who waits leaves the processor by itself; who never waits is taken off it",
};

/// It is watched until there have been so many.
const ENOUGH: u64 = 20;

pub fn main() -> ExitCode {
    match itself::part() {
        Some(_) => end(watch()),
        None => DEMO.run_without_rootfs(compare),
    }
}

fn watch() -> Result<()> {
    let sleeper = fork(|| {
        loop {
            sleep(Duration::from_millis(1));
        }
    })?;
    // The processor of both is one that this container may use.
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let cpu = (0..CpuSet::count()).find(|cpu| allowed.is_set(*cpu) == Ok(true));
    let mut one = CpuSet::new();
    one.set(cpu.ok_or("expected a processor; saw none")?)?;
    let spin = || -> Result<Forked> {
        fork(|| {
            sched_setaffinity(Pid::from_raw(0), &one)?;
            loop {
                std::hint::spin_loop();
            }
        })
    };
    let (spinner, _rival) = (spin()?, spin()?);

    let deadline = Instant::now() + PATIENCE;
    let (slept, spun) = loop {
        sleep(Duration::from_millis(20));
        let (slept, spun) = (Switches::of(sleeper.pid())?, Switches::of(spinner.pid())?);
        let enough = slept.voluntary >= ENOUGH && spun.forced >= ENOUGH;
        if enough || Instant::now() > deadline {
            break (slept, spun);
        }
    };
    for (who, pid, switches) in
        [("sleeper", sleeper.pid(), slept), ("spinner", spinner.pid(), spun)]
    {
        found(&format!("{who}-voluntary"), switches.voluntary)?;
        found(&format!("{who}-forced"), switches.forced)?;
        found(&format!("{who}-ticks"), ticks(pid)?)?;
    }
    Ok(())
}

struct Switches {
    voluntary: u64,
    forced: u64,
}

impl Switches {
    fn of(pid: Pid) -> Result<Switches> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let count = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            Ok(line
                .ok_or_else(|| format!("expected {name} in the status; saw none"))?
                .trim()
                .parse()?)
        };
        let voluntary = count("voluntary_ctxt_switches:")?;
        Ok(Switches { voluntary, forced: count("nonvoluntary_ctxt_switches:")? })
    }
}

/// The processor time of a process, in and out of the kernel: fields 14 and 15.
fn ticks(pid: Pid) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    Ok(fields.split_whitespace().skip(11).take(2).flat_map(str::parse::<u64>).sum())
}

fn compare(table: &mut Table) -> Result<()> {
    let seen = Findings::of(&mut itself::play(&Container::empty(), "watch")?)?;
    let both = |name: &str| -> Result<[u64; 2]> {
        Ok([seen.number(&format!("sleeper-{name}"))?, seen.number(&format!("spinner-{name}"))?])
    };
    let (voluntary, forced, ticks) = (both("voluntary")?, both("forced")?, both("ticks")?);
    table.row("voluntary switches", voluntary[0], voluntary[1]);
    table.row("not voluntary", forced[0], forced[1]);
    let seconds = |ticks: u64| format!("{:.2} s", ticks as f64 / 100.0);
    table.row("processor time", seconds(ticks[0]), seconds(ticks[1]));

    for (count, who) in
        [(voluntary[0], "voluntary ones of the sleeper"), (forced[1], "others of the spinner")]
    {
        table.expect(count >= ENOUGH, format!("{ENOUGH} {who}"), count);
    }
    table.expect(voluntary[0] > forced[0], "the sleeper to leave by itself mostly", forced[0]);
    table.expect(forced[1] > voluntary[1], "the spinner to be taken off mostly", voluntary[1]);
    Ok(())
}
