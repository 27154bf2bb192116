//! A limit on processor time: in each tenth of a second all processes of a cgroup together may
//! run for so long, and then they wait for the next one.
//!
//! It is a ceiling, not a share that is kept for anybody: the loop without a limit may get less
//! on a machine that has more to do.
//!
//! Read next: cgroups(7), "cpu.max" in the kernel's admin-guide/cgroup-v2.rst, and
//! scheduler/sched-bwc.rst.

mod support;

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use minirun::{Child, Container, Report, Stdio};
use support::{Demo, Result, Table, limits};

const DEMO: Demo = Demo {
    intro: "The same loop counts for a second in two containers at once; one may use a\n\
            twentieth of a processor.",
    columns: ["no limit", "0.05 processors"],
    claim: "processes are stopped when their cgroup has used its processor time up",
};

const LIMIT: f64 = 0.05;
const SECOND: Duration = Duration::from_secs(1);

pub fn main() -> ExitCode {
    limits::run(DEMO, limited, compare)
}

fn limited(rootfs: &Path) -> Container {
    Container::new(rootfs).cpus(LIMIT).clone()
}

/// The built-in words of the shell alone, so that it is one process.
const LOOP: &str = "trap 'echo $i; exit' TERM; while :; do i=$((i + 1)); done";

fn compare(rootfs: &Path, table: &mut Table) -> Result<()> {
    // At once, so that both find the same machine.
    let (mut free, mut slow) = (start(&Container::new(rootfs))?, start(&limited(rootfs))?);
    std::thread::sleep(SECOND);
    let ((free, rounds), (slow, few)) = (end(&mut free)?, end(&mut slow)?);
    table.row("rounds of the loop", rounds, few);
    table.row("wall clock", seconds(free.wall), seconds(slow.wall));
    let used = |report: &Report| report.user + report.system;
    table.row("processor time", seconds(used(&free)), seconds(used(&slow)));
    let share = |report: &Report| used(report).as_secs_f64() / report.wall.as_secs_f64();
    let (whole, part) = (share(&free), share(&slow));
    table.row("of a processor", format!("{whole:.3}"), format!("{part:.3}"));
    // Processors are told of a limit that was reached at their next tick.
    table.expect(part <= 5.0 * LIMIT, format!("{LIMIT} of a processor"), format!("{part:.3}"));
    table.expect(part < whole, "less than without a limit", format!("{part:.3}"));
    table.row("limits hit", limits::hit(&free), limits::hit(&slow));
    table.expect(slow.limits_hit == ["cpus"], "the loop to have been stopped", limits::hit(&slow));
    Ok(())
}

fn start(container: &Container) -> Result<Child> {
    let mut command = container.command("/bin/sh");
    Ok(command.args(["-c", LOOP]).stdout(Stdio::Piped).spawn()?)
}

/// What it used, and how often it has counted.
fn end(child: &mut Child) -> Result<(Report, u64)> {
    child.signal(libc::SIGTERM)?;
    child.wait()?;
    let mut said = String::new();
    if let Some(mut output) = child.stdout.take() {
        output.read_to_string(&mut said)?;
    }
    let rounds = said.trim().parse().map_err(|_| format!("expected a count; saw {said:?}"))?;
    Ok((child.report().ok_or("expected a report; saw none")?, rounds))
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
