//! `minirun ps`: the processes in a container, as the host sees them.

use std::process::{Command, Stdio};

use clap::Parser;
use minirun::Error;
use minirun::container;

use super::CarryOut;
use super::global::Global;
use super::table::{self, Format, Formatted, Page};

/// List the processes of a container
///
/// The table is made by the host's ps(1), and no wider than the terminal. As JSON it is the
/// pids alone. Options behind the container are those of ps(1).
#[derive(Debug, Parser)]
pub struct Ps {
    #[command(flatten)]
    formatted: Formatted,
    /// The container
    id: String,
    /// Options for ps(1) [default: -ef]
    #[arg(value_name = "PS OPTIONS", trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

impl CarryOut for Ps {
    fn carry_out(&self, global: &Global) -> Result<u8, Error> {
        let pids = container::ps(&global.store()?, &self.id)?;
        match self.formatted.format() {
            Format::Json => super::print(&format!("{}\n", serde_json::json!(pids)))?,
            Format::Table => {
                let table = pick(&self.all_processes()?, &pids)?;
                let width = Page::of_stdout().width.unwrap_or(usize::MAX);
                let lines = table.lines().map(|line| table::start(line, width) + "\n");
                super::print(&lines.collect::<String>())?;
            }
        }
        Ok(0)
    }
}

impl Ps {
    /// What ps(1) says of the whole host.
    fn all_processes(&self) -> Result<String, Error> {
        let mut command = Command::new("ps");
        match self.options.as_slice() {
            [] => command.arg("-ef"),
            options => command.args(options),
        };
        let output = command.stdin(Stdio::null()).output().map_err(|error| {
            Error::io("run ps", &error).hint("--format json needs no such program")
        })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let reason = format!("{}: {}", output.status, said.lines().next().unwrap_or_default());
        Err(Error::said("run ps", reason))
    }
}

/// The header, and the lines whose column PID is one of `pids`.
fn pick(listing: &str, pids: &[i32]) -> Result<String, Error> {
    let mut lines = listing.lines();
    let header = lines.next().unwrap_or_default();
    let column = header.split_whitespace().position(|title| title == "PID").ok_or_else(|| {
        Error::said("read what ps says", "it has no column PID").hint("leave its options out")
    })?;
    let is_ours = |line: &&str| {
        let pid = line.split_whitespace().nth(column).and_then(|pid| pid.parse().ok());
        pid.is_some_and(|pid| pids.contains(&pid))
    };
    let lines = [header].into_iter().chain(lines.filter(is_ours));
    Ok(lines.map(|line| format!("{line}\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_picked_by_their_pid_wherever_its_column_is() {
        let listing = "USER   PID  PPID\nroot     7     1\nroot     1     7\nann     70     7\n";
        assert_eq!(pick(listing, &[7]).unwrap(), "USER   PID  PPID\nroot     7     1\n");
        assert!(pick("USER COMMAND\n", &[7]).is_err());
    }
}
