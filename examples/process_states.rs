//! The states of a process: running or ready to (R), asleep until something happens (S), asleep
//! so that signals don't wake it (D), stopped (T), ended but still in the process table (Z).
//!
//! Only R takes processor time; all others are idle, whatever they wait for. D is mostly a
//! device's work and too short to be seen; here it is a caller of posix_spawn, who waits for its
//! child to get as far as its execve, which the child doesn't before a pipe has a writer.
//!
//! Read next: proc_pid_stat(5), signal(7) on SIGSTOP, vfork(2), wait(2).

mod support;

use std::fs::OpenOptions;
use std::path::Path;
use std::process::ExitCode;

use minirun::Container;
use nix::fcntl::OFlag;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, posix_spawn};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::sys::wait::waitpid;
use nix::unistd::{mkfifo, pause};
use support::findings::{Findings, end, found};
use support::fork::{Forked, fork};
use support::proc_stat::{Stat, until};
use support::{Demo, Result, Table, itself};

const DEMO: Demo = Demo {
    intro: "A program in a container has five children, each in another state. While the loop\n\
            among them uses a tenth of a second, their processor time is read; then each is\n\
            moved on.",
    columns: ["state, time used", "moved on"],
    claim: "a process is in one state at a time, and only R takes processor time",
};

const PIPE: &str = "/tmp/pipe";
/// In clock ticks, which are hundredths of a second.
const A_WHILE: u64 = 10;

/// Each child, its state, what moves it on, and what is seen then.
const CHILDREN: [(&str, char, &str, &str); 5] = [
    ("a loop", 'R', "SIGSTOP", "T"),
    ("a stopped one", 'T', "SIGCONT", "S"),
    ("one that sleeps", 'S', "a signal", "gone"),
    ("one that can't be woken", 'D', "its child's execve", "gone"),
    ("one that has ended", 'Z', "wait by its parent", "gone"),
];

pub fn main() -> ExitCode {
    match itself::part() {
        Some(_) => end(watch()),
        None => DEMO.run(compare),
    }
}

fn watch() -> Result<()> {
    mkfifo(PIPE, Mode::S_IRWXU)?;
    let mut children = [
        fork(|| {
            loop {
                std::hint::spin_loop();
            }
        })?,
        fork(sleep)?,
        fork(sleep)?,
        fork(|| {
            let mut actions = PosixSpawnFileActions::init()?;
            actions.add_open(0, PIPE, OFlag::O_RDONLY, Mode::empty())?;
            let attributes = PosixSpawnAttr::init()?;
            let pid = posix_spawn("/bin/true", &actions, &attributes, &[c"true"], &[c"PATH=/bin"])?;
            waitpid(pid, None)?;
            Ok(0)
        })?,
        fork(|| Ok(0))?,
    ];
    let [_, stopped, ..] = &children;
    kill(stopped.pid(), Signal::SIGSTOP)?;
    for (child, (name, state, ..)) in children.iter().zip(CHILDREN) {
        reach(child, name, &[state])?;
    }

    let before: Vec<u64> = children.iter().map(ticks).collect();
    let [running, ..] = &children;
    until("the loop to use processor time", || {
        (ticks(running) >= before[0] + A_WHILE).then_some(())
    })?;
    for (number, (child, before)) in children.iter().zip(before).enumerate() {
        found(&format!("time-{number}"), ticks(child) - before)?;
        let state = Stat::of(child.pid().as_raw()).map_or('-', |stat| stat.state);
        found(&format!("state-{number}"), state)?;
    }

    let [running, stopped, asleep, unwakeable, ended] = &mut children;
    kill(running.pid(), Signal::SIGSTOP)?;
    found("then-0", reach(running, "the loop, after SIGSTOP", &['T'])?)?;
    kill(stopped.pid(), Signal::SIGCONT)?;
    found("then-1", reach(stopped, "the stopped one, after SIGCONT", &['S'])?)?;
    kill(asleep.pid(), Signal::SIGTERM)?;
    // A writer lets the child open the pipe.
    OpenOptions::new().write(true).open(PIPE)?;
    for (number, child) in [(2, asleep), (3, unwakeable), (4, ended)] {
        child.wait()?;
        let left = Stat::of(child.pid().as_raw()).map_or("gone", |_| "there");
        found(&format!("then-{number}"), left)?;
    }
    Ok(())
}

fn sleep() -> Result<u8> {
    pause();
    Ok(0)
}

fn ticks(child: &Forked) -> u64 {
    Stat::of(child.pid().as_raw()).map_or(0, |stat| stat.ticks)
}

fn reach(child: &Forked, name: &str, states: &[char]) -> Result<char> {
    until(&format!("{name} in state {states:?}"), || {
        Some(Stat::of(child.pid().as_raw())?.state).filter(|state| states.contains(state))
    })
}

fn compare(rootfs: &Path, table: &mut Table) -> Result<()> {
    let seen = Findings::of(&mut itself::play(&Container::new(rootfs), "program")?)?;
    for (number, (name, expected, mover, then)) in CHILDREN.into_iter().enumerate() {
        let state = seen.text(&format!("state-{number}"))?;
        let time = seen.number(&format!("time-{number}"))?;
        let after = seen.text(&format!("then-{number}"))?;
        table.row(name, format!("{state}, {} ms", time * 10), format!("by {mover}: {after}"));
        table.expect(state == expected.to_string(), format!("{name} in state {expected}"), state);
        table.expect(after == then, format!("{name}, after {mover}: {then}"), after);
        let idle = expected != 'R';
        table.expect(!idle || time == 0, format!("{name} to be idle"), format!("{time} ticks"));
    }
    Ok(())
}
