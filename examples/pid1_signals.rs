//! Signals to PID 1 of a pid namespace: the kernel keeps from it what it has no handler for, so
//! that nobody inside can end the container by it. For a sender outside the namespace that holds
//! too, but for SIGKILL and SIGSTOP.
//!
//! A program is PID 1 of a container, without an init. A process beside it and the host send it
//! the same signals; after each it says how often its handler has run, as long as it lives. A
//! process that isn't PID 1 gets SIGTERM for comparison.
//!
//! Read next: pid_namespaces(7) on the init process, kill(2), signal(7).

mod support;

use std::fs::File;
use std::io::{Write, stdin};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use minirun::{Child, Container, Stdio};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::{Pid, pause};
use support::findings::end;
use support::fork::fork;
use support::{Demo, PATIENCE, Result, Table, handler, itself, processes, read_until};

const DEMO: Demo = Demo {
    intro: "A program is PID 1 of a container. A process beside it and the host send it the\n\
            same signals, at first without a handler, then with one for SIGTERM.",
    columns: ["sent from inside", "sent from the host"],
    claim: "PID 1 gets what it has a handler for; SIGKILL, SIGSTOP from outside alone",
};

pub fn main() -> ExitCode {
    match itself::part() {
        Some(_) => end(obey()),
        None => DEMO.run_without_rootfs(compare),
    }
}

/// Does what each line of standard input says, and answers with a line.
fn obey() -> Result<()> {
    SigSet::all().thread_unblock()?;
    handler::reset(Signal::SIGTERM)?;
    for line in stdin().lines() {
        let line = line?;
        let (verb, signal) = line.split_once(' ').unwrap_or((&line, ""));
        match verb {
            "handle" => handler::catch(signal.parse()?)?,
            "send" => {
                let signal: Signal = signal.parse()?;
                // kill(2) succeeds even when the signal goes nowhere.
                fork(|| Ok(kill(Pid::from_raw(1), signal).map(|()| 0)?))?.succeed()?;
            }
            "neighbour" => {
                let mut neighbour = fork(|| {
                    loop {
                        pause();
                    }
                })?;
                kill(neighbour.pid(), signal.parse::<Signal>()?)?;
                println!("{:?}", neighbour.wait()?);
                continue;
            }
            _ => {}
        }
        println!("pid {} lives, {} caught", std::process::id(), handler::caught());
    }
    Ok(())
}

/// The program in the container.
struct First {
    child: Child,
    input: File,
    output: File,
}

impl First {
    fn start() -> Result<First> {
        let mut command = itself::play(Container::empty().init(false), "first")?;
        let mut child = command.stdin(Stdio::Piped).stdout(Stdio::Piped).spawn()?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(input), Some(output)) => Ok(First { child, input, output }),
            _ => Err("expected pipes to the container; saw none".into()),
        }
    }

    fn ask(&mut self, line: &str) -> Result<String> {
        writeln!(self.input, "{line}")?;
        read_until(&mut self.output, "\n")
    }

    /// Waits until the process is in a state (proc_pid_stat(5)), or gives up; which it is in.
    fn settle(&self, state: char) -> Result<char> {
        let deadline = Instant::now() + PATIENCE / 2;
        loop {
            let pid = self.child.id();
            let seen = processes()?.into_iter().find(|process| process.pid == pid);
            let seen = seen.ok_or("expected PID 1 to live; saw it gone")?.state;
            if seen == state || Instant::now() > deadline {
                return Ok(seen);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for First {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn compare(table: &mut Table) -> Result<()> {
    let mut first = First::start()?;
    let neighbour = first.ask("neighbour SIGTERM")?;
    let killed = neighbour.starts_with("Signaled") && neighbour.contains("SIGTERM");
    table.row("SIGTERM to another process", if killed { "killed" } else { &neighbour }, "");
    table.expect(killed, "SIGTERM to kill a process other than PID 1", &neighbour);

    // By the time that it reads the next line, it has got what was sent before.
    let mut both = |first: &mut First, signal: Signal, question: &str, caught: [u32; 2]| {
        let inside = first.ask(&format!("send {signal}"))?;
        first.child.signal(signal as i32)?;
        let host = first.ask("")?;
        table.row(question, &inside, &host);
        for (seen, caught) in [(&inside, caught[0]), (&host, caught[1])] {
            let expected = format!("pid 1 lives, {caught} caught");
            table.expect(*seen == expected, format!("{question}: {expected}"), seen);
        }
        Result::Ok(())
    };
    both(&mut first, Signal::SIGTERM, "SIGTERM, no handler", [0, 0])?;
    both(&mut first, Signal::SIGUSR1, "SIGUSR1, no handler", [0, 0])?;
    first.ask("handle SIGTERM")?;
    both(&mut first, Signal::SIGTERM, "SIGTERM, a handler", [1, 2])?;

    let inside = first.ask("send SIGSTOP")?;
    first.child.signal(libc::SIGSTOP)?;
    let state = first.settle('T')?;
    first.child.signal(libc::SIGCONT)?;
    let host = if state == 'T' { "stopped".to_owned() } else { format!("in state {state}") };
    table.row("SIGSTOP", &inside, &host);
    table.expect(inside.contains("lives"), "PID 1 not to stop by SIGSTOP from inside", inside);
    table.expect(state == 'T', "PID 1 to stop by SIGSTOP from the host", host);

    let inside = first.ask("send SIGKILL")?;
    first.child.kill()?;
    let status = first.child.wait()?;
    let host = match status.signal() {
        Some(signal) => format!("killed by signal {signal}"),
        None => format!("exit {}", status.exit_code()),
    };
    table.row("SIGKILL", &inside, &host);
    table.expect(inside.contains("lives"), "PID 1 to outlive SIGKILL from inside", inside);
    table.expect(status.signal() == Some(libc::SIGKILL), "SIGKILL from the host to kill it", host);
    Ok(())
}
