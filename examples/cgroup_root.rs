//! A cgroup namespace: the cgroup in which a container starts is the root of all that it sees
//! of cgroups, so that it can't tell where in the host's tree it is.
//!
//! The namespace limits nothing; the cgroup itself does that, with the namespace or without.
//!
//! Read next: cgroup_namespaces(7), cgroups(7).

mod support;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use minirun::Container;
use serde_json::Value;
use support::bundle::BundledShell;
use support::{Demo, Result, Shell, Table, namespace};

const DEMO: Demo = Demo {
    intro: "A shell is started in a container, and one more in a container without a cgroup\n\
            namespace. Both sides say in which cgroup they are, and what of the cgroup\n\
            filesystem is mounted.",
    columns: ["host", "container"],
    claim: "a container's own cgroup is the root of its cgroup namespace",
};

pub fn main() -> ExitCode {
    DEMO.run(compare)
}

fn compare(rootfs: &Path, table: &mut Table) -> Result<()> {
    // A limit gives it a cgroup of its own; who can't have one is in the caller's.
    let mut limited = Container::new(rootfs);
    limited.pids(1000);
    let container = match limited.command("/bin/sh").plan() {
        Ok(_) => limited,
        Err(_) => Container::new(rootfs),
    };
    let mut shell = Shell::start(&container)?;

    let (host_namespace, namespace) =
        (namespace("cgroup")?, shell.run("readlink /proc/self/ns/cgroup")?);
    table.row("cgroup namespace", &host_namespace, &namespace);
    table.expect(namespace != host_namespace, "two cgroup namespaces", &namespace);

    let (outside, inside) = (read(shell.pid()?, "cgroup")?, shell.run("cat /proc/self/cgroup")?);
    let (host_sees, seen) = (interesting(&outside)?, interesting(&inside)?);
    table.row("cgroup of the shell", host_sees, seen);
    let elsewhere: Vec<_> = inside.lines().filter(|line| !line.ends_with(":/")).collect();
    table.expect(elsewhere.is_empty(), "/ in each hierarchy inside", elsewhere.join(", "));
    if host_sees == seen {
        table.row("", "(it has none of its own)", "");
    }

    let host_sees = mounted(&read(shell.pid()?, "mountinfo")?);
    let seen = mounted(&shell.run("cat /proc/self/mountinfo")?);
    table.row("root of its cgroup mount", &host_sees, &seen);
    table.expect(matches!(&seen[..], "/" | "none"), "its own cgroup's directory as /", &seen);

    let mut open = BundledShell::start(&container, without_namespace)?;
    let (outside, inside) = (read(open.pid1()?, "cgroup")?, open.run("cat /proc/1/cgroup")?);
    let (host_sees, seen) = (interesting(&outside)?, interesting(&inside)?);
    table.row("without the namespace", host_sees, seen);
    table.expect(outside.trim() == inside, "what the host sees", seen);
    Ok(())
}

fn without_namespace(config: &mut Value) {
    if let Some(namespaces) = config["linux"]["namespaces"].as_array_mut() {
        namespaces.retain(|namespace| namespace["type"] != "cgroup");
    }
}

/// Of the lines `ID:controllers:path` the path where processes are counted on cgroup v1, which
/// has a line for each hierarchy, else that of v2.
fn interesting(cgroups: &str) -> Result<&str> {
    let lines: Vec<[&str; 3]> = cgroups
        .lines()
        .filter_map(|line| line.splitn(3, ':').collect::<Vec<_>>().try_into().ok())
        .collect();
    let of = |wanted: &str| lines.iter().find(|[_, controllers, _]| *controllers == wanted);
    let [_, _, path] = of("pids").or(of("")).ok_or("expected a line for pids or cgroup v2")?;
    Ok(path)
}

/// Which directory of the same hierarchy is mounted (proc_pid_mountinfo(5)).
fn mounted(mounts: &str) -> String {
    let one = |place: &str| {
        let mut rows = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        rows.find(|row| {
            row.get(4) == Some(&place) && row.iter().any(|word| word.starts_with("cgroup"))
        })
        .and_then(|row| row.get(3).map(|root| (*root).to_owned()))
    };
    one("/sys/fs/cgroup/pids").or(one("/sys/fs/cgroup")).unwrap_or_else(|| "none".to_owned())
}

fn read(pid: u32, file: &str) -> Result<String> {
    let file = format!("/proc/{pid}/{file}");
    Ok(fs::read_to_string(&file).map_err(|error| format!("read {file}: {error}"))?)
}
