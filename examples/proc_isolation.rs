//! A pid namespace and its /proc: a container sees its own processes only, and numbers
//! them from 1; the host sees them too, under other numbers.
//!
//! /proc also has what belongs to the whole machine. A container engine hides some of it
//! below mounts of its own and makes /proc/sys read-only.
//!
//! Read next: pid_namespaces(7), proc(5), and NSpid in proc_pid_status(5).

mod support;

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::process::ExitCode;

use minirun::{Capability, Container};
use support::{Demo, Result, Shell, Table, in_words, namespace, processes};

const DEMO: Demo = Demo {
    intro: "A shell is started in a container. Both sides list the processes in /proc, find\n\
            that same shell in it by its pid, and try what else /proc gives away.",
    columns: ["host", "container"],
    claim: "a pid namespace numbers its processes from 1 and sees no others",
};

/// Of the paths that are hidden inside, some that kernels usually have.
const HIDDEN: [&str; 3] = ["/proc/interrupts", "/proc/keys", "/proc/timer_list"];

/// Opened for writing, but never written to.
const SYSCTL: &str = "/proc/sys/net/ipv4/ip_forward";

pub fn main() -> ExitCode {
    DEMO.run(compare)
}

fn compare(rootfs: &Path, table: &mut Table) -> Result<()> {
    // With this capability the container may write the sysctls of its own network, also in
    // a user namespace; if they can't be written, then because of how /proc/sys is mounted.
    let mut shell = Shell::start(Container::new(rootfs).cap_add([Capability::NetAdmin]))?;

    let (host_namespace, namespace) = (namespace("pid")?, shell.run("readlink /proc/self/ns/pid")?);
    table.row("pid namespace", &host_namespace, &namespace);
    table.expect(namespace != host_namespace, "two pid namespaces", &namespace);

    let outside: Vec<String> = processes()?.into_iter().map(|process| process.name).collect();
    let listed = shell.run("ps -o comm")?;
    let inside: Vec<&str> = listed.lines().skip(1).map(str::trim).collect();
    table.row("processes", outside.len(), inside.len());
    table.row("their names", some_of(&outside), inside.join(", "));
    table.expect(
        inside == ["minirun-init", "sh", "ps"],
        "init, the shell and ps alone inside",
        inside.join(", "),
    );

    let first =
        fs::read_to_string("/proc/1/comm").map_err(|e| format!("read /proc/1/comm: {e}"))?;
    let first_inside = shell.run("cat /proc/1/comm")?;
    table.row("pid 1", first.trim(), &first_inside);
    table.expect(first_inside == "minirun-init", "minirun-init as pid 1 inside", &first_inside);

    let own_words =
        [("init", shell.pid1(), "1".to_owned()), ("sh", shell.pid()?, shell.run("echo $$")?)];
    for (name, pid, own_word) in own_words {
        let numbers = namespace_pids(pid)?;
        let (Some(outer), Some(inner)) = (numbers.first(), numbers.last()) else {
            return Err(format!("expected pids behind NSpid of {pid}; saw none").into());
        };
        table.row(&format!("pid of the {name} inside"), outer, inner);
        table.expect(
            numbers.len() > 1 && *outer == pid.to_string() && *inner == own_word,
            format!("{name} to be {pid} on the host and {own_word} inside"),
            numbers.join(", "),
        );
    }

    for path in HIDDEN {
        let seen = shell.run(&format!("wc -c < {path}"))?;
        let seen = if seen.contains("No such file") { "not there" } else { &seen };
        table.row(&format!("bytes in {path}"), bytes(path), seen);
        table.expect(
            matches!(seen, "0" | "not there"),
            format!("{path} to be hidden inside"),
            seen,
        );
    }

    let writable = match OpenOptions::new().append(true).open(SYSCTL) {
        Ok(_) => "allowed".to_owned(),
        Err(error) => in_words(&error),
    };
    // In a subshell, because a shell ends when a redirection of its `:` fails.
    let said = shell.run(&format!("(: >> {SYSCTL}) && echo allowed"))?;
    let seen = said.rsplit(": ").next().unwrap_or_default();
    table.row("opening a sysctl to write", writable, seen);
    table.expect(seen == "Read-only file system", "/proc/sys to be read-only inside", seen);
    Ok(())
}

/// The pids of a process, from the outermost namespace that we see to its own.
fn namespace_pids(pid: u32) -> Result<Vec<String>> {
    let file = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&file).map_err(|error| format!("read {file}: {error}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    Ok(line.unwrap_or_default().split_whitespace().map(str::to_owned).collect())
}

/// How much can be read from a file on the host.
fn bytes(path: &str) -> String {
    match fs::read(path) {
        Ok(bytes) => bytes.len().to_string(),
        Err(error) => in_words(&error),
    }
}

fn some_of(names: &[String]) -> String {
    let shown = names.len().min(4);
    match names.len() - shown {
        0 => names.join(", "),
        more => format!("{}, and {more} more", names[..shown].join(", ")),
    }
}
