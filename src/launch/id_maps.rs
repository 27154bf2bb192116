//! Writing the id maps of a container's user namespace from outside.

use std::process::Command;

use nix::unistd::Pid;

use super::procfs;
use crate::error::{Error, Result};
use crate::host::find_tool;
use crate::plan::op::{IdMap, IdRange, Mapper};
use crate::sys;

/// Writes one map of process `pid`; a map can be written once only.
///
/// # Errors
/// `EPERM` when the ranges aren't the caller's to give (user_namespaces(7)); what
/// newuidmap(1) or newgidmap(1) said.
pub(super) fn write(pid: Pid, map: IdMap, ranges: &[IdRange], by: Mapper) -> Result<()> {
    match by {
        Mapper::Runtime => {
            let file = match map {
                IdMap::Uid => format!("{pid}/uid_map"),
                IdMap::Gid => format!("{pid}/gid_map"),
            };
            let lines: String = ranges
                .iter()
                .map(|range| format!("{} {} {}\n", range.container, range.host, range.size))
                .collect();
            procfs::write(file.as_str(), lines.as_bytes())
                .map_err(|errno| Error::system(format!("write /proc/{file}"), errno))
        }
        Mapper::Tool => with_tool(pid, map.tool(), ranges),
    }
}

fn with_tool(pid: Pid, tool: &str, ranges: &[IdRange]) -> Result<()> {
    let step = format!("map ids with {tool}");
    let Some(path) = find_tool(tool) else {
        return Err(Error::said(step, "it isn't installed")
            .hint("install the package uidmap, or use --userns single"));
    };
    let numbers = ranges.iter().flat_map(|range| [range.container, range.host, range.size]);
    let output = Command::new(path)
        .arg(pid.to_string())
        .args(numbers.map(|number| number.to_string()))
        .output()
        .map_err(|error| Error::io(step.as_str(), &error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::said(step, said.trim().to_owned())
        .hint("check /etc/subuid and /etc/subgid, or use --userns single"))
}

/// Maps the one id of an ordinary user in their new user namespace, by the process itself.
pub(super) fn write_own(map: IdMap, line: &str) -> sys::Result<()> {
    match map {
        IdMap::Uid => procfs::write(c"self/uid_map", line.as_bytes()),
        IdMap::Gid => {
            // An ordinary user could otherwise drop a group that denies them access.
            procfs::write(c"self/setgroups", b"deny")?;
            procfs::write(c"self/gid_map", line.as_bytes())
        }
    }
}
