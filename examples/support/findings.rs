//! What a demo's program in the container has found, on its way to the table: a line
//! `name value` each.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use minirun::{Command, Stdio};

use super::Result;

/// Writes a finding down, for whoever reads this process's standard output.
///
/// # Errors
/// When nobody does any more.
pub fn found(name: &str, value: impl Display) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{name} {value}")?;
    Ok(out.flush()?)
}

/// The end of a program inside, which [`Findings::of`] waits for.
pub fn end(outcome: Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("FAILED: {error}");
            ExitCode::FAILURE
        }
    }
}

/// All lines of one run.
pub struct Findings(String);

impl Findings {
    /// Runs the program to its end.
    ///
    /// # Errors
    /// When it didn't end with 0; its standard error has gone to ours.
    pub fn of(command: &mut Command) -> Result<Findings> {
        let output = command
            .stdin(Stdio::Null)
            .stdout(Stdio::Piped)
            .timeout(Duration::from_secs(9))
            .spawn()?
            .wait_with_output()?;
        match output.status.exit_code() {
            0 => Ok(Findings(String::from_utf8(output.stdout)?)),
            code => Err(format!("expected the program inside to end with 0; saw {code}").into()),
        }
    }

    /// What was found under a name.
    ///
    /// # Errors
    /// When nothing was.
    pub fn text(&self, name: &str) -> Result<&str> {
        let mut lines = self.0.lines().filter_map(|line| line.split_once(' '));
        let found = lines.find(|(found, _)| *found == name);
        Ok(found.ok_or_else(|| format!("expected a line {name:?}; saw {:?}", self.0))?.1)
    }

    /// The same as a number.
    ///
    /// # Errors
    /// When nothing was found, or no number.
    pub fn number(&self, name: &str) -> Result<u64> {
        let text = self.text(name)?;
        text.parse().map_err(|_| format!("expected a number as {name}; saw {text:?}").into())
    }
}
