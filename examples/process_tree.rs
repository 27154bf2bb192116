//! The tree of processes: each has one parent, up to a PID 1 that has none it could see.
//!
//! A container's tree is a branch of the host's. The host's /proc tells of each process in it
//! both numbers (NSpid); what is drawn from them is held against what ps shows inside.
//!
//! Read next: pstree(1), proc_pid_status(5) on PPid and NSpid, pid_namespaces(7).

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use minirun::Container;
use support::{Demo, Process, Result, Shell, Table, children};

const DEMO: Demo = Demo {
    intro: "A shell in a container starts a few processes, which start others. Their tree is\n\
            read from the host's /proc, with the pids of both sides.",
    columns: ["pid (parent) on the host", "pid (parent) inside"],
    claim: "a container's processes are one tree below its PID 1, seen from either side",
};

/// Something of each shape: a child, a grandchild, two siblings.
const BRANCHES: &str = "sleep 1000 & (sleep 1001 & sleep 1002 & wait) & sh -c 'sleep 1003; true' &";
const PROCESSES: usize = 8;

/// A process and how deep below PID 1 it is.
struct Node {
    process: Process,
    depth: usize,
    /// Its own pid and its parent's, as they are called inside.
    inside: (u32, u32),
}

pub fn main() -> ExitCode {
    DEMO.run(compare)
}

fn compare(rootfs: &Path, table: &mut Table) -> Result<()> {
    let mut shell = Shell::start(&Container::new(rootfs))?;
    // The subshells have started theirs when all of the sleeps are there.
    shell.run(&format!(
        "{BRANCHES} until [ $(ps -o comm | grep -c '^sleep') = 4 ]; do usleep 10000; done"
    ))?;
    let tree = tree(shell.pid1())?;
    for Node { process, depth, inside } in &tree {
        let branch = match depth {
            0 => process.name.clone(),
            depth => format!("└{} {}", "─".repeat(2 * depth - 1), process.name),
        };
        let Process { pid, parent, .. } = process;
        table.row(&branch, format!("{pid} ({parent})"), format!("{} ({})", inside.0, inside.1));
    }
    table.expect(tree.len() == PROCESSES, format!("{PROCESSES} processes"), tree.len());
    let Some(first) = tree.first() else { return Err("expected a tree; saw none".into()) };
    table.expect(first.inside == (1, 0), "PID 1 without a parent inside", first.inside.0);
    let outer = first.process.parent;
    table.expect(outer == std::process::id(), "this program as its parent outside", outer);

    let listed = shell.run("ps -o pid,ppid | sed 1d")?;
    let ps: BTreeMap<u32, u32> = listed.lines().filter_map(pair).collect();
    for Node { process, inside: (pid, parent), .. } in &tree {
        let seen = ps.get(pid);
        table.expect(
            seen == Some(parent),
            format!("ps inside to show {} ({pid}) below {parent}", process.name),
            format!("{seen:?}"),
        );
    }
    Ok(())
}

fn pair(line: &str) -> Option<(u32, u32)> {
    let mut words = line.split_whitespace().map(str::parse);
    Some((words.next()?.ok()?, words.next()?.ok()?))
}

/// A process and all below it, parents before their children.
fn tree(root: u32) -> Result<Vec<Node>> {
    let process = support::processes()?.into_iter().find(|process| process.pid == root);
    let process = process.ok_or("expected PID 1 in the host's /proc; saw none")?;
    let mut nodes = Vec::new();
    grow(&mut nodes, process, 0, 0)?;
    Ok(nodes)
}

fn grow(nodes: &mut Vec<Node>, process: Process, depth: usize, parent: u32) -> Result<()> {
    let pid = process.pid;
    let own = inner_pid(pid)?;
    nodes.push(Node { process, depth, inside: (own, parent) });
    for child in children(pid)? {
        grow(nodes, child, depth + 1, own)?;
    }
    Ok(())
}

/// What a process is called in its own pid namespace.
fn inner_pid(pid: u32) -> Result<u32> {
    let file = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&file).map_err(|error| format!("read {file}: {error}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    let last = line.split_whitespace().next_back().unwrap_or_default();
    Ok(last.parse().map_err(|_| format!("expected pids behind NSpid in {file}; saw {line:?}"))?)
}
