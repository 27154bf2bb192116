//! A memory limit: the kernel counts the pages of all processes of a cgroup together. When
//! there would be more of them than allowed, and none can be given up, it kills one.
//!
//! On a machine with swap some of them may be moved there instead.
//!
//! Read next: cgroups(7), and "memory.max" and "memory.events" in the kernel's
//! admin-guide/cgroup-v2.rst.

mod support;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use minirun::{Container, ExitStatus, Report, Stdio};
use support::{Demo, Result, Table, limits};

const DEMO: Demo = Demo {
    intro: "A program that asks for 64 MiB and writes to all of it is run without a limit and\n\
            with one of 16 MiB; then one that asks for 4 MiB.",
    columns: ["no limit", "16 MiB"],
    claim: "no container has more memory than its limit: who asks for more is killed",
};

const LIMIT: u64 = 16 << 20;

pub fn main() -> ExitCode {
    limits::run(DEMO, limited, compare)
}

fn limited(rootfs: &Path) -> Container {
    Container::new(rootfs).memory(LIMIT).clone()
}

fn compare(rootfs: &Path, table: &mut Table) -> Result<()> {
    let swap = has_swap()?;
    let containers = [Container::new(rootfs), limited(rootfs)];
    let [(free, free_report), (hog, report)] =
        [fill(&containers[0], 64)?, fill(&containers[1], 64)?];
    table.row("exit status", free.exit_code(), hog.exit_code());
    table.row("killed by signal", signal(free), signal(hog));
    table.expect(free.success(), "64 MiB without a limit", free.exit_code());
    table.expect(
        swap || hog.exit_code() == 137 && hog.signal() == Some(libc::SIGKILL),
        "128 + 9, since SIGKILL ended it",
        hog.exit_code(),
    );

    let kills = |report: &Report| match report.oom_kills {
        Some(kills) => kills.to_string(),
        None => "(nobody counts)".to_owned(),
    };
    table.row("OOM kills", kills(&free_report), kills(&report));
    table.expect(swap || report.oom_kills == Some(1), "one OOM kill", kills(&report));
    table.row("limits hit", limits::hit(&free_report), limits::hit(&report));
    table.expect(swap || report.limits_hit == ["memory"], "the memory limit", limits::hit(&report));

    table.row("peak of its memory", mebibytes(&free_report), mebibytes(&report));
    table.expect(free_report.peak_memory >= 64 << 20, "64 MiB at least", mebibytes(&free_report));
    table.expect(report.peak_memory <= LIMIT, "16 MiB at most", mebibytes(&report));
    if swap {
        table.row("swap", "there is some", "may be used instead");
    }

    let [(free, _), (modest, report)] = [fill(&containers[0], 4)?, fill(&containers[1], 4)?];
    table.row("with 4 MiB: exit status", free.exit_code(), modest.exit_code());
    table.row("with 4 MiB: OOM kills", "(nobody counts)", kills(&report));
    table.expect(modest.success(), "4 MiB to be no matter", modest.exit_code());
    table.expect(report.oom_kills == Some(0), "no OOM kill for 4 MiB", kills(&report));
    Ok(())
}

/// dd reads everything into its memory that it writes in one go.
fn fill(container: &Container, mebibytes: u64) -> Result<(ExitStatus, Report)> {
    let mut command = container.command("dd");
    let size = format!("bs={mebibytes}M");
    command.args(["if=/dev/zero", "of=/dev/null", &size, "count=1"]).stderr(Stdio::Null);
    let mut child = command.spawn()?;
    let status = child.wait()?;
    Ok((status, child.report().ok_or("expected a report; saw none")?))
}

fn signal(status: ExitStatus) -> String {
    status.signal().map_or("none".to_owned(), |signal| signal.to_string())
}

fn mebibytes(report: &Report) -> String {
    format!("{:.1} MiB", report.peak_memory as f64 / f64::from(1 << 20))
}

fn has_swap() -> Result<bool> {
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
    Ok(swaps.lines().count() > 1)
}
