//! /proc/PID: a process is a directory in /proc as long as it is in the process table, in each
//! /proc under the number that it has there.
//!
//! SIGKILL ends it, but its number stays taken until its parent has asked how it ended: so long
//! it is a zombie.
//!
//! Read next: proc(5), proc_pid_stat(5), kill(2), wait(2).

mod support;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use minirun::Container;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{Demo, PATIENCE, Result, Shell, Table, children};

const DEMO: Demo = Demo {
    intro: "A shell in a container starts a loop in the background. Its directory in /proc is\n\
            looked for on both sides: while it runs, after kill -9, and after wait.",
    columns: ["host", "container"],
    claim: "one process is a directory in both /procs, until its parent has waited for it",
};

pub fn main() -> ExitCode {
    DEMO.run(compare)
}

fn compare(rootfs: &Path, table: &mut Table) -> Result<()> {
    let mut shell = Shell::start(&Container::new(rootfs))?;
    let shell_pid = shell.pid()?;
    let inside: u32 = shell.run("while :; do :; done & echo $!")?.parse()?;
    let [ref process] = children(shell_pid)?[..] else {
        return Err("expected the shell to have one child; saw others".into());
    };
    let outside = process.pid;
    table.row("pid", outside, inside);

    let (status, inner) = (status_of(outside)?, shell.run(&format!("cat /proc/{inside}/status"))?);
    let (numbers, inner_numbers) = (field(&status, "NSpid:"), field(&inner, "NSpid:"));
    table.row("NSpid in its status", &numbers, &inner_numbers);
    table.expect(
        numbers.split(' ').next_back() == Some(&inner_numbers)
            && inner_numbers == inside.to_string(),
        format!("{outside} on the host to be {inside} inside"),
        &numbers,
    );
    let (parent, inner_parent) = (field(&status, "PPid:"), field(&inner, "PPid:"));
    table.row("pid of its parent", &parent, &inner_parent);
    table.expect(
        parent == shell_pid.to_string() && inner_parent == shell.run("echo $$")?,
        "the shell as its parent, under both numbers",
        format!("{parent}, {inner_parent}"),
    );

    let (host_sees, said) = (settle(outside, "there, R")?, see(&mut shell, inside)?);
    table.row("its directory", &host_sees, &said);
    for seen in [&host_sees, &said] {
        table.expect(seen == "there, R", "a running process in /proc", seen);
    }

    // Once it sleeps, the shell waits for its next command, and not for its child yet.
    settle(shell_pid, "there, S")?;
    kill(Pid::from_raw(outside.try_into()?), Signal::SIGKILL)?;
    let host_sees = settle(outside, "there, Z")?;
    table.row("after kill -9 by the host", &host_sees, "-");
    table.expect(host_sees == "there, Z", "a zombie", &host_sees);

    let waited = shell.run(&format!("wait {inside}; echo $?"))?;
    let waited = waited.lines().last().unwrap_or_default().to_owned();
    table.row("status that wait gives", "-", format!("{waited} (128 + 9)"));
    table.expect(waited == "137", "wait to tell of signal 9", &waited);

    let (host_sees, said) = (settle(outside, "not there")?, see(&mut shell, inside)?);
    table.row("its directory", &host_sees, &said);
    for seen in [&host_sees, &said] {
        table.expect(seen == "not there", "no directory after wait", seen);
    }
    Ok(())
}

/// Empty when there is none.
fn status_of(pid: u32) -> Result<String> {
    match fs::read_to_string(format!("/proc/{pid}/status")) {
        Ok(status) => Ok(status),
        Err(_) if !Path::new(&format!("/proc/{pid}")).exists() => Ok(String::new()),
        Err(error) => Err(format!("read /proc/{pid}/status: {error}").into()),
    }
}

fn see(shell: &mut Shell, pid: u32) -> Result<String> {
    Ok(state(&shell.run(&format!("cat /proc/{pid}/status"))?))
}

fn field(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn state(status: &str) -> String {
    match field(status, "State:").chars().next() {
        Some(letter) => format!("there, {letter}"),
        None => "not there".to_owned(),
    }
}

/// What the host sees once it is as expected; it takes a moment to become so.
fn settle(pid: u32, expected: &str) -> Result<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = state(&status_of(pid)?);
        if seen == expected || Instant::now() > deadline {
            return Ok(seen);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
