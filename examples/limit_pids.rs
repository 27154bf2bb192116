//! A limit on processes: fork(2) fails when a cgroup has as many tasks as it may have, threads
//! included; who is there already isn't touched.
//!
//! Unlike RLIMIT_NPROC, which counts what a user has on the whole machine, this counts what is
//! in one container.
//!
//! Read next: cgroups(7), EAGAIN in fork(2), and "pids.max" in the kernel's
//! admin-guide/cgroup-v2.rst.

mod support;

use std::path::Path;
use std::process::ExitCode;

use minirun::Container;
use support::{Demo, Result, Table, limits};

const DEMO: Demo = Demo {
    intro: "A shell starts twenty programs in the background and counts the processes in its\n\
            /proc after each; once without a limit, once with one of ten.",
    columns: ["no limit", "10 processes"],
    claim: "fork fails in a container that has as many processes as it may have",
};

const LIMIT: u32 = 10;
const WANTED: usize = 20;

/// The built-in words of the shell alone, since none that has to fork works at the limit.
const SCRIPT: &str = "for i in $(seq $WANTED); do sleep 60 & set -- /proc/[0-9]*; echo $#; done";

pub fn main() -> ExitCode {
    limits::run(DEMO, limited, compare)
}

fn limited(rootfs: &Path) -> Container {
    Container::new(rootfs).pids(LIMIT).clone()
}

/// What was seen of one run.
struct Seen {
    counts: Vec<usize>,
    complaint: String,
    status: u8,
}

fn compare(rootfs: &Path, table: &mut Table) -> Result<()> {
    let [free, full] = [run(&Container::new(rootfs))?, run(&limited(rootfs))?];
    let last = |seen: &Seen| seen.counts.last().copied().unwrap_or(0);
    table.row("programs started", free.counts.len(), full.counts.len());
    table.row("with init and the shell", last(&free), last(&full));
    table.expect(last(&free) == WANTED + 2, format!("{} processes", WANTED + 2), last(&free));
    table.expect(last(&full) == LIMIT as usize, format!("{LIMIT} processes"), last(&full));

    table.row("the next fork", "(not tried)", &full.complaint);
    table.expect(free.complaint == "none", "no complaint without a limit", &free.complaint);
    table.expect(
        full.complaint == "Resource temporarily unavailable",
        "EAGAIN in words",
        &full.complaint,
    );
    table.row("exit status of the shell", free.status, full.status);
    table.expect(free.status == 0, "0 without a limit", free.status);
    table.expect(full.status != 0, "the shell to end with the refused fork", full.status);
    Ok(())
}

fn run(container: &Container) -> Result<Seen> {
    let mut command = container.command("/bin/sh");
    command.args(["-c", SCRIPT]).env("WANTED", WANTED.to_string());
    let output = command.output()?;
    let counts = String::from_utf8(output.stdout)?;
    let counts = counts.lines().map(str::parse).collect::<std::result::Result<_, _>>()?;
    let complaint = String::from_utf8(output.stderr)?;
    let complaint = complaint.trim().rsplit(": ").next().filter(|words| !words.is_empty());
    let complaint = complaint.unwrap_or("none").to_owned();
    Ok(Seen { counts, complaint, status: output.status.exit_code() })
}
