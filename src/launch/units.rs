//! The runtime's side of the steps that systemd carries out.
//!
//! Each has a connection of its own: one that was open while the container's process is
//! cloned would live on in it.

use std::fs;
use std::os::unix::ffi::OsStrExt;

use nix::unistd::Pid;

use crate::error::{Error, Result};
use crate::plan::op::{Op, Unit};
use crate::systemd::Systemd;

/// Carries out one step; `process` is the container's once it has been cloned.
pub(super) fn set(op: &Op, process: Option<Pid>) -> Result<()> {
    let cloned =
        || process.ok_or_else(|| Error::said(op.to_string(), "no process has been cloned yet"));
    match op {
        Op::CheckUnit { name, user } => Systemd::connect(*user)?.check_vacant(name),
        Op::StartUnit(unit) if unit.is_scope => start_scope(unit, cloned()?),
        Op::StartUnit(unit) => {
            Systemd::connect(unit.user)?.start(&unit.name, &unit.properties, None)
        }
        Op::JoinUnit { name, user, below } => {
            Systemd::connect(*user)?.attach(name, below, cloned()?.as_raw())
        }
        Op::SetUnit { name, user, properties } => Systemd::connect(*user)?.set(name, properties),
        other => Err(Error::said(other.to_string(), "systemd has no part in this step")),
    }
}

fn start_scope(unit: &Unit, process: Pid) -> Result<()> {
    let name = &unit.name;
    Systemd::connect(unit.user)?.start(name, &unit.properties, Some(process.as_raw()))?;
    // Every limit is written to where it is thought to be.
    let file = format!("/proc/{process}/cgroup");
    let text =
        fs::read_to_string(&file).map_err(|error| Error::io(format!("read {file}"), &error))?;
    let found = text.lines().find_map(|line| {
        line.split_once(':')?.1.strip_prefix(unit.controllers.as_str())?.strip_prefix(':')
    });
    let found = found.unwrap_or("/");
    match found != "/" && unit.dir.to_bytes().ends_with(found.as_bytes()) {
        true => Ok(()),
        false => {
            let dir = std::ffi::OsStr::from_bytes(unit.dir.to_bytes()).to_string_lossy();
            let reason = format!("systemd put the process into {found}, not into {dir}");
            Err(Error::said(format!("start unit {name}"), reason))
        }
    }
}
