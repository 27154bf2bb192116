//! Signals: what each does to a process that has made no arrangements, what a handler changes,
//! and the two that no handler can be set for.
//!
//! A program in the container forks a child for each signal of signal(7) and sends it. A byte in
//! a pipe then asks the child to end by itself, so that wait(2) tells apart who was killed,
//! who was stopped, and who didn't mind. The same again with a handler that counts. Then a
//! copying program says how far it is whenever SIGUSR1 comes from the host, as dd(1) does;
//! minirun-init, PID 1, forwards it.
//!
//! Read next: signal(7), sigaction(2), kill(2), wait(2).

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use minirun::{Container, PosixRlimitType, Stdio};
use nix::errno::Errno;
use nix::sys::prctl::set_dumpable;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus};
use nix::unistd::{Pid, setpgid};
use support::findings::{Findings, end, found};
use support::fork::{Forked, fork};
use support::memory::mib;
use support::{Demo, Result, Table, handler, itself, read_until};

const DEMO: Demo = Demo {
    intro: "A program in a container sends every signal to a child that has made no\n\
            arrangements, and to one with a handler.",
    columns: ["by default", "with a handler"],
    claim: "signals do what signal(7) says, and only SIGKILL and SIGSTOP can't be caught",
};

/// The signals that don't kill by default.
const MILD: [(Signal, &str); 8] = [
    (Signal::SIGCHLD, IGNORED),
    (Signal::SIGURG, IGNORED),
    (Signal::SIGWINCH, IGNORED),
    (Signal::SIGCONT, CONTINUED),
    (Signal::SIGSTOP, STOPPED),
    (Signal::SIGTSTP, STOPPED),
    (Signal::SIGTTIN, STOPPED),
    (Signal::SIGTTOU, STOPPED),
];
const IGNORED: &str = "ignored";
const STOPPED: &str = "stopped";
const CONTINUED: &str = "continued after a stop";
const KILLED: &str = "killed";
const CAUGHT: &str = "handler ran";

/// The exit status of a child that can't have a handler.
const REFUSED: u8 = 100;

pub fn main() -> ExitCode {
    match itself::part().as_deref() {
        None => DEMO.run_without_rootfs(compare),
        Some("copy") => end(copy()),
        Some(_) => end(try_all()),
    }
}

fn try_all() -> Result<()> {
    // Nobody is to collect the core dumps of these children.
    set_dumpable(false)?;
    for signal in Signal::iterator() {
        found(&format!("default-{signal}"), attempt(signal, false)?)?;
        found(&format!("handler-{signal}"), attempt(signal, true)?)?;
    }
    Ok(())
}

/// What becomes of a child that gets a signal, in words.
fn attempt(signal: Signal, with_handler: bool) -> Result<String> {
    let (mut answer, mut ready) = std::io::pipe()?;
    let (mut input, mut end) = std::io::pipe()?;
    let mut child = fork(|| {
        // A group of its own, whose parent is in another: the terminal's stop signals do
        // nothing to a group that nobody could continue.
        setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
        SigSet::all().thread_unblock()?;
        match if with_handler { handler::catch(signal) } else { handler::reset(signal) } {
            // The default is all that these have.
            Err(Errno::EINVAL) if !with_handler => {}
            Err(Errno::EINVAL) => return Ok(REFUSED),
            other => other?,
        }
        ready.write_all(b"r")?;
        // A handler interrupts read(2), and read_exact reads on.
        input.read_exact(&mut [0])?;
        Ok(handler::caught().try_into()?)
    })?;
    drop(ready);
    if answer.read(&mut [0])? == 1 {
        if signal == Signal::SIGCONT && !with_handler {
            return continued(&mut child);
        }
        kill(child.pid(), signal)?;
        // By the time that it could read this, it has got the signal.
        end.write_all(b"e")?;
    }
    Ok(match child.wait_for(WaitPidFlag::WUNTRACED)? {
        WaitStatus::Signaled(_, by, _) if by == signal => KILLED.to_owned(),
        WaitStatus::Stopped(_, by) if by == signal => STOPPED.to_owned(),
        WaitStatus::Exited(_, 0) => IGNORED.to_owned(),
        WaitStatus::Exited(_, 1) => CAUGHT.to_owned(),
        WaitStatus::Exited(_, code) if code == i32::from(REFUSED) => "refused: EINVAL".to_owned(),
        other => format!("{other:?}"),
    })
}

/// What SIGCONT does to a child that was stopped.
fn continued(child: &mut Forked) -> Result<String> {
    kill(child.pid(), Signal::SIGSTOP)?;
    child.wait_for(WaitPidFlag::WUNTRACED)?;
    kill(child.pid(), Signal::SIGCONT)?;
    Ok(match child.wait_for(WaitPidFlag::WCONTINUED)? {
        WaitStatus::Continued(_) => CONTINUED.to_owned(),
        other => format!("{other:?}"),
    })
}

/// Copies zeros to nowhere, and says how many at each signal.
fn copy() -> Result<()> {
    handler::catch(Signal::SIGUSR1)?;
    let (mut from, mut to) = (File::open("/dev/zero")?, File::create("/dev/null")?);
    let mut block = vec![0; 64 << 10];
    let (mut copied, mut said) = (0, 0);
    println!("ready");
    loop {
        from.read_exact(&mut block)?;
        to.write_all(&block)?;
        copied += block.len();
        if handler::caught() > said {
            said = handler::caught();
            println!("{copied}");
        }
    }
}

fn compare(table: &mut Table) -> Result<()> {
    let mut container = Container::empty();
    container.rlimit(PosixRlimitType::RlimitCore, 0, 0);
    let seen = Findings::of(&mut itself::play(&container, "signals")?)?;
    for signal in Signal::iterator() {
        let (default, caught) =
            (seen.text(&format!("default-{signal}"))?, seen.text(&format!("handler-{signal}"))?);
        table.row(&format!("{:2} {signal}", signal as i32), default, caught);
        let mild = MILD.iter().find(|(mild, _)| *mild == signal);
        let expected = mild.map_or(KILLED, |(_, word)| word);
        table.expect(default == expected, format!("{signal} to be {expected}"), default);
        let expected =
            if matches!(signal, Signal::SIGKILL | Signal::SIGSTOP) { "refused" } else { CAUGHT };
        table.expect(
            caught.starts_with(expected),
            format!("a handler for {signal} to be: {expected}"),
            caught,
        );
    }

    let mut child = itself::play(&container, "copy")?.stdout(Stdio::Piped).spawn()?;
    let mut output = child.stdout.take().ok_or("expected a pipe to the container; saw none")?;
    read_until(&mut output, "ready\n")?;
    let mut progress = Vec::new();
    for _ in 0..2 {
        // Time to copy something, for the eye; nothing depends on it.
        sleep(Duration::from_millis(20));
        child.signal(libc::SIGUSR1)?;
        progress.push(read_until(&mut output, "\n")?.parse::<u64>()?);
    }
    child.kill()?;
    child.wait()?;
    let said = format!("{}, then {}", mib(progress[0]), mib(progress[1]));
    table.row("progress at SIGUSR1", "", &said);
    table.expect(progress[0] < progress[1], "progress", said);
    Ok(())
}
