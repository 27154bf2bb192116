//! A time namespace: the clocks that count from the machine's start can be set for a
//! container, so that one that moves to another machine goes on counting where it was.
//!
//! They are set once, before the first process enters; the time of day is the machine's for
//! everybody. A config.json asks for it by `linux.timeOffsets`.
//!
//! Read next: time_namespaces(7), clock_gettime(2) on CLOCK_BOOTTIME.

mod support;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use minirun::Container;
use serde_json::{Value, json};
use support::bundle::BundledShell;
use support::{Demo, Result, Table, namespace};

const DEMO: Demo = Demo {
    intro: "A container gets a time namespace whose clocks are a week ahead. Both sides read\n\
            how long the machine has been up, and what time it is.",
    columns: ["host", "container"],
    claim: "uptime belongs to a time namespace, the time of day to the machine",
};

const WEEK: u64 = 7 * 24 * 3600;

pub fn main() -> ExitCode {
    DEMO.run(compare)
}

fn compare(rootfs: &Path, table: &mut Table) -> Result<()> {
    let mut shell = BundledShell::start(&Container::new(rootfs), a_week_ahead)?;

    let (host_namespace, namespace) =
        (namespace("time")?, shell.run("readlink /proc/self/ns/time")?);
    table.row("time namespace", &host_namespace, &namespace);
    table.expect(namespace != host_namespace, "two time namespaces", &namespace);

    for clock in ["monotonic", "boottime"] {
        let of = |offsets: &str| -> String {
            let lines = offsets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            let mut seconds = lines.filter_map(|line| match line[..] {
                [name, seconds, _] if name == clock => Some(format!("{seconds} s")),
                _ => None,
            });
            seconds.next().unwrap_or_else(|| "not said".to_owned())
        };
        let (outside, inside) = (of(&read(OFFSETS)?), of(&shell.run(&format!("cat {OFFSETS}"))?));
        table.row(&format!("offset of {clock}"), &outside, &inside);
        table.expect(inside == format!("{WEEK} s"), format!("{WEEK} s of {clock}"), &inside);
    }

    // The host looks before and after, so that it doesn't matter how long anything takes.
    let before = uptime(&read(UPTIME)?)?;
    let inside = uptime(&shell.run(&format!("cat {UPTIME}"))?)?;
    let after = uptime(&read(UPTIME)?)?;
    table.row("uptime", days(before), days(inside));
    table.expect(
        (before + WEEK..=after + WEEK).contains(&inside),
        format!("an uptime of {} inside", days(before + WEEK)),
        days(inside),
    );

    let before = now()?;
    let inside = shell.run("date +%s")?;
    let inside: u64 = inside.parse().map_err(|_| format!("expected a time; saw {inside:?}"))?;
    let after = now()?;
    table.row("seconds since 1970", before, inside);
    // time(2) reads a clock that lags behind by a tick.
    table.expect((before - 1..=after).contains(&inside), "the same time of day", inside);
    Ok(())
}

/// The clocks are set by whoever makes the namespace, before anybody is in it.
fn a_week_ahead(config: &mut Value) {
    let offset = json!({ "secs": WEEK });
    config["linux"]["timeOffsets"] = json!({ "monotonic": offset, "boottime": offset });
    if let Some(namespaces) = config["linux"]["namespaces"].as_array_mut() {
        namespaces.push(json!({ "type": "time" }));
    }
}

const OFFSETS: &str = "/proc/self/timens_offsets";
const UPTIME: &str = "/proc/uptime";

/// Whole seconds; the file has the time of CLOCK_BOOTTIME.
fn uptime(file: &str) -> Result<u64> {
    let seconds = file.split('.').next().unwrap_or_default();
    Ok(seconds.parse().map_err(|_| format!("expected an uptime; saw {file:?}"))?)
}

fn days(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    format!("{days} days {hours:02}:{minutes:02}:{:02}", seconds % 60)
}

fn now() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

fn read(path: &str) -> Result<String> {
    Ok(fs::read_to_string(path).map_err(|error| format!("read {path}: {error}"))?)
}
