//! execve: another program takes the place of the one that calls it. The process stays: its
//! pid, its parent, its start; its memory and its program are new.
//!
//! A shell runs a command by both calls: fork makes a process, which then executes the command.
//! Here a program forks, and its child executes busybox.
//!
//! Read next: execve(2), fork(2), proc_pid_exe(5).

mod support;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use minirun::Container;
use nix::unistd::getppid;
use support::findings::{Findings, end, found};
use support::fork::fork;
use support::{Demo, Result, Table, itself};

const DEMO: Demo = Demo {
    intro: "A program in a container forks. Its child writes down what /proc says of itself,\n\
            and executes a shell, which does the same.",
    columns: ["after fork", "after execve"],
    claim: "execve puts another program into the process, whose pid stays",
};

/// What the shell finds out, by the names that this program has for it.
const LOOK: &str = "
    say() { echo \"after-$1 $2\"; }
    say pid $$
    say parent $PPID
    say start $(sed 's/.*) //' /proc/$$/stat | cut -d ' ' -f 20)
    say program $(readlink /proc/$$/exe)
    say name $(cat /proc/$$/comm)
    say maps $(grep -cF -- \"$OLD\" /proc/$$/maps)";

pub fn main() -> ExitCode {
    match itself::part() {
        Some(_) => end(fork_and_execute()),
        None => DEMO.run(compare),
    }
}

fn fork_and_execute() -> Result<()> {
    found("caller", std::process::id())?;
    fork(|| {
        let own = std::env::current_exe()?;
        found("before-pid", std::process::id())?;
        found("before-parent", getppid())?;
        let stat = fs::read_to_string("/proc/self/stat")?;
        let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
        found("before-start", fields.split(' ').nth(19).unwrap_or_default())?;
        found("before-program", own.display())?;
        found("before-name", fs::read_to_string("/proc/self/comm")?.trim_end())?;
        let maps = fs::read_to_string("/proc/self/maps")?;
        let of_program = maps.lines().filter(|line| line.ends_with(&*own.to_string_lossy()));
        found("before-maps", of_program.count())?;
        Err(Command::new("/bin/sh").args(["-c", LOOK]).env("OLD", own).exec().into())
    })?
    .succeed()
}

fn compare(rootfs: &Path, table: &mut Table) -> Result<()> {
    let seen = Findings::of(&mut itself::play(&Container::new(rootfs), "program")?)?;
    let mut row = |question: &str, name: &str| -> Result<[String; 2]> {
        let (before, after) =
            (seen.text(&format!("before-{name}"))?, seen.text(&format!("after-{name}"))?);
        // Of a path the end tells enough.
        let shown = |text: &str| text.rsplit('/').next().unwrap_or_default().to_owned();
        table.row(question, shown(before), shown(after));
        Ok([before.to_owned(), after.to_owned()])
    };
    let pids = row("pid", "pid")?;
    let parents = row("its parent's pid", "parent")?;
    let starts = row("started, in clock ticks", "start")?;
    let programs = row("program", "program")?;
    let names = row("name of the process", "name")?;
    let maps = row("mappings of the old one", "maps")?;
    for (what, [before, after]) in [("pid", &pids), ("parent", &parents), ("start", &starts)] {
        table.expect(before == after, format!("the same {what} before and after"), after);
    }
    let caller = seen.text("caller")?;
    table.expect(parents[0] == caller && pids[0] != caller, "a child of the caller", &pids[0]);
    table.expect(programs[1] == "/bin/busybox", "busybox in its place", &programs[1]);
    table.expect(names[0] != names[1], "another name", &names[1]);
    table.expect(maps[0] != "0" && maps[1] == "0", "the old program's memory to go", &maps[1]);
    Ok(())
}
