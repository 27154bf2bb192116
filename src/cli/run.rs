//! `minirun run`: a container from start to end.

use std::fs::File;
use std::path::Path;

use clap::{Args, Parser};
use minirun::background::{self, Background};
use minirun::container::{self, PidFile, Request};
use minirun::plan::Plan;
use minirun::{Child, Command, Error, Signals, Stdio};

use super::CarryOut;
use super::bundle::BundleOptions;
use super::files::ResultFile;
use super::global::Global;
use super::quick::{Words, switch};
use super::settings::Settings;
use super::target::{Asked, Here, Target};

/// Run a command in a new container, or a bundle as one
#[derive(Debug, Default, Parser)]
#[command(override_usage = "minirun run [OPTIONS] ROOTFS [COMMAND]...
       minirun run [OPTIONS] [--bundle DIR] ID")]
pub struct Run {
    /// Directory to use as the root filesystem, or the id for the container of a bundle
    #[arg(value_name = "ROOTFS|ID")]
    target: String,
    /// Command and its arguments [default: /bin/sh]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,

    #[command(flatten)]
    settings: Option<Settings>,
    #[command(flatten)]
    watching: Option<Watching>,

    /// Run in the background; without a bundle, print the container's name
    #[arg(short, long, conflicts_with_all = ["tty", "explain"], help_heading = "Command")]
    detach: bool,
    /// Write the pid of the container's first process
    #[arg(long, value_name = "FILE", help_heading = "Watching")]
    pid_file: Option<String>,

    #[command(flatten)]
    bundle: Option<BundleOptions>,
    /// Keep the container's state when it has ended, for `delete`
    #[arg(long, help_heading = "Bundle")]
    keep: bool,
    /// Callers say so; minirun never is one
    #[arg(long, hide = true)]
    no_subreaper: bool,
}

/// What a command in a root filesystem can have, and a bundle can't.
#[derive(Debug, Default, Args)]
struct Watching {
    /// Narrate every step on standard error
    #[arg(long, help_heading = "Watching")]
    explain: bool,
    /// Write the start-up as Chrome trace events (for Perfetto)
    #[arg(long, value_name = "FILE", help_heading = "Watching")]
    trace: Option<String>,
    /// Write what the container used, as JSON
    #[arg(long, value_name = "FILE", help_heading = "Watching")]
    report: Option<String>,
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
    const NOTES: &'static str = "\
A command in a ROOTFS is locked down: eleven capabilities, the container engines' default
seccomp profile, no_new_privs, no network but lo, no file of the host's but ROOTFS. What
loosens that is under Security, --net and --bind; minirun audit with the same words says how
far. A bundle's config.json says all of it itself.

An ID has no slash; write ./NAME for a directory of the same name.

Examples:
  minirun run ./rootfs                               a shell
  minirun run --explain ./rootfs ps                  every step, told as it is taken
  minirun run --memory 64m --pids 99 ./rootfs ./job  with limits
  minirun run --timeout 5m --report r.json ./rootfs ./test
                                                     for CI: a time limit, a report
  minirun run -v $PWD:/src:ro -w /src ./rootfs make  with files of the host
  minirun run --bundle DIR web                       a bundle as the container web";

    fn quick(words: &mut Words) -> Option<Self> {
        let (mut quick, mut bundle) = (Run::default(), None);
        while let Some(option) = words.option() {
            match option {
                "--bundle" | "-b" => words.value(&mut bundle)?,
                "--pid-file" => words.value(&mut quick.pid_file)?,
                "--detach" | "-d" => switch(&mut quick.detach)?,
                _ => return None,
            }
        }
        quick.bundle = bundle.map(BundleOptions::of);
        quick.target = words.word()?.to_owned();
        quick.command = words.command()?;
        Some(quick)
    }

    fn carry_out(&self, global: &Global) -> Result<u8, Error> {
        let default = BundleOptions::default();
        let bundle = self.bundle.as_ref().unwrap_or(&default);
        let asked = Asked {
            bundle: (self.bundle.is_some() || self.keep).then(|| bundle.directory()),
            shaped: !self.command.is_empty() || self.settings.is_some() || self.watching.is_some(),
        };
        match Target::decide(&self.target, asked, Here::look(&self.target))? {
            Target::Rootfs(rootfs) => {
                global.refuse_systemd()?;
                self.command_in(rootfs)
            }
            Target::Bundle(id) => {
                let request = Request {
                    pid_file: self.pid_file.as_ref().map(Into::into),
                    keep: self.keep,
                    systemd_cgroup: global.systemd_cgroup,
                    ..bundle.request(id)
                };
                let ran = run_bundle(&request, self.detach, global);
                Ok(ran.unwrap_or_else(|error| super::fail_as_oci(global, &error)))
            }
        }
    }
}

/// As engines run one: errors of the runtime are status 1.
fn run_bundle(request: &Request, detach: bool, global: &Global) -> Result<u8, Error> {
    let store = global.store()?;
    let announce = &mut |plan: &Plan| global.log.announce(plan);
    if detach {
        return container::run_detached(&store, request, announce).map(|()| 0);
    }
    let ended = container::run(&store, request, &Signals::collect()?, announce)?;
    if let Err(error) = ended.deleted {
        // The status is the command's own even so, as with runc.
        super::fail_as_oci(global, &error);
    }
    Ok(ended.status)
}

impl Run {
    fn command_in(&self, rootfs: &str) -> Result<u8, Error> {
        let (settings, watching) = (Settings::default(), Watching::default());
        let settings = self.settings.as_ref().unwrap_or(&settings);
        let watching = self.watching.as_ref().unwrap_or(&watching);
        let redirected = self.detach || watching.stdin.is_some() || watching.stdout.is_some();
        let mut command = settings.command(rootfs, &self.command, redirected)?;
        command.explain(watching.explain);
        watching.redirect(&mut command, self.detach)?;
        // What can't be written should be known before anything runs.
        let trace = watching.trace.as_deref().map(|path| ResultFile::create(path, "--trace"));
        let report = watching.report.as_deref().map(|path| ResultFile::create(path, "--report"));
        let (trace, report) = (trace.transpose()?, report.transpose()?);
        let pid_file = self.pid_file.as_deref().map(|path| {
            let made = PidFile::create(Path::new(path));
            made.map_err(|error| Error::io(format!("create {path}"), &error).at("--pid-file"))
        });
        let pid_file = pid_file.transpose()?;
        if self.detach {
            return detached(&command, pid_file, trace, report);
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

/// The runtime goes into the background with all its duties, so timeouts, reports and
/// the removal of cgroups hold there too.
fn detached(
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

impl Watching {
    fn redirect(&self, command: &mut Command, detach: bool) -> Result<(), Error> {
        let failed = |option: &str, path: &str, error: std::io::Error| {
            Error::io(format!("open {path}"), &error).at(option)
        };
        let append = |option: &str, path: &String| {
            let file = File::options().create(true).append(true).open(path);
            file.map_err(|error| failed(option, path, error))
        };
        if let Some(path) = &self.stdin {
            command.stdin(File::open(path).map_err(|error| failed("--stdin", path, error))?);
        } else if detach {
            command.stdin(Stdio::Null);
        }
        if let Some(path) = &self.stdout {
            command.stdout(append("--stdout", path)?);
        } else if detach {
            command.stdout(Stdio::Null);
        }
        if let Some(path) = &self.stderr {
            command.stderr(append("--stderr", path)?);
        } else if detach {
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
        let step = format!("write {}", pid_file.path().display());
        let written = pid_file.write(child.id());
        written.map_err(|error| Error::io(step, &error).at("--pid-file"))?;
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
