//! `minirun run`: a container from start to end.

use std::fs::File;

use clap::Parser;
use minirun::background::{self, Background};
use minirun::{Child, Command, Error, Signals, Stdio};

use super::CarryOut;
use super::files::{PidFile, ResultFile};
use super::global::Global;
use super::settings::Settings;

/// Run a command in a new container, or a bundle as one
#[derive(Debug, Parser)]
#[command(
    override_usage = "minirun run [OPTIONS] ROOTFS [COMMAND]...
       minirun run [OPTIONS] [--bundle DIR] ID",
    after_help = "An ID has no slash; write ./NAME for a directory of the same name."
)]
pub struct Run {
    /// Directory to use as the root filesystem, or the id for the container of a bundle
    #[arg(value_name = "ROOTFS|ID")]
    target: String,
    /// Command and its arguments [default: /bin/sh]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,

    #[command(flatten)]
    settings: Option<Settings>,

    /// Narrate every step on standard error
    #[arg(long, help_heading = "Watching")]
    explain: bool,
    /// Write the start-up as Chrome trace events (for Perfetto)
    #[arg(long, value_name = "FILE", help_heading = "Watching")]
    trace: Option<String>,
    /// Write what the container used, as JSON
    #[arg(long, value_name = "FILE", help_heading = "Watching")]
    report: Option<String>,
    /// Write the pid of the container's first process
    #[arg(long, value_name = "FILE", help_heading = "Watching")]
    pid_file: Option<String>,

    /// Run in the background; without a bundle, print the container's name
    #[arg(short, long, conflicts_with_all = ["tty", "explain"], help_heading = "Command")]
    detach: bool,
    /// Read standard input from a file
    #[arg(long, value_name = "FILE", conflicts_with = "tty", help_heading = "Command")]
    stdin: Option<String>,
    /// Append standard output to a file
    #[arg(long, value_name = "FILE", conflicts_with = "tty", help_heading = "Command")]
    stdout: Option<String>,
    /// Append standard error to a file
    #[arg(long, value_name = "FILE", conflicts_with = "tty", help_heading = "Command")]
    stderr: Option<String>,
}

impl CarryOut for Run {
    fn carry_out(&self, _: &Global) -> Result<u8, Error> {
        let default = Settings::default();
        let settings = self.settings.as_ref().unwrap_or(&default);
        let redirected = self.detach || self.stdin.is_some() || self.stdout.is_some();
        let mut command = settings.command(&self.target, &self.command, redirected)?;
        command.explain(self.explain);
        self.redirect(&mut command)?;
        // What can't be written should be known before anything runs.
        let trace = self.trace.as_deref().map(|path| ResultFile::create(path, "--trace"));
        let report = self.report.as_deref().map(|path| ResultFile::create(path, "--report"));
        let (trace, report) = (trace.transpose()?, report.transpose()?);
        let pid_file = self.pid_file.as_deref().map(PidFile::create).transpose()?;
        if self.detach {
            return self.detached(&command, pid_file, trace, report);
        }
        let signals = Signals::collect()?;
        let mut child = start(&command, pid_file, trace.as_ref())?;
        if !child.plan().has_console() {
            // They are the target's now.
            background::release_stdio(&[0, 1])?;
        }
        finish(&mut child, &signals, report)
    }
}

impl Run {
    /// The runtime goes into the background with all its duties, so timeouts, reports and
    /// the removal of cgroups hold there too.
    fn detached(
        &self,
        command: &Command,
        pid_file: Option<PidFile>,
        trace: Option<ResultFile>,
        report: Option<ResultFile>,
    ) -> Result<u8, Error> {
        let caller = match background::enter()? {
            Background::Caller(status) => {
                // The files are the other process's to fill or to remove.
                std::mem::forget((pid_file, trace, report));
                return Ok(status);
            }
            Background::Runtime(caller) => caller,
        };
        let signals = Signals::collect()?;
        match start(command, pid_file, trace.as_ref()) {
            Ok(mut child) => {
                super::print(&format!("{}\n", child.name()))?;
                background::release_stdio(&[0, 1, 2])?;
                caller.tell(0);
                finish(&mut child, &signals, report)
            }
            Err(error) => {
                let status = error.exit_code();
                eprintln!("minirun: {error}");
                drop((trace, report));
                caller.tell(status);
                Ok(status)
            }
        }
    }

    fn redirect(&self, command: &mut Command) -> Result<(), Error> {
        let failed = |option: &str, path: &str, error: std::io::Error| {
            Error::io(format!("open {path}"), &error).at(option)
        };
        let append = |option: &str, path: &String| {
            let file = File::options().create(true).append(true).open(path);
            file.map_err(|error| failed(option, path, error))
        };
        if let Some(path) = &self.stdin {
            command.stdin(File::open(path).map_err(|error| failed("--stdin", path, error))?);
        } else if self.detach {
            command.stdin(Stdio::Null);
        }
        if let Some(path) = &self.stdout {
            command.stdout(append("--stdout", path)?);
        } else if self.detach {
            command.stdout(Stdio::Null);
        }
        if let Some(path) = &self.stderr {
            command.stderr(append("--stderr", path)?);
        } else if self.detach {
            command.stderr(Stdio::Null);
        }
        Ok(())
    }
}

fn start(
    command: &Command,
    pid_file: Option<PidFile>,
    trace: Option<&ResultFile>,
) -> Result<Child, Error> {
    let child = command.spawn()?;
    if let Some(pid_file) = pid_file {
        pid_file.write(child.id())?;
    }
    if let Some(trace) = trace {
        trace.write(&child.trace())?;
    }
    Ok(child)
}

fn finish(child: &mut Child, signals: &Signals, report: Option<ResultFile>) -> Result<u8, Error> {
    let status = child.attach(signals)?;
    if let (Some(file), Some(report)) = (report, child.report()) {
        file.write(&report.to_json())?;
    }
    Ok(status.exit_code())
}
