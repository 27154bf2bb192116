//! The library's face, shaped like [`std::process::Command`]: a [`Container`] is the
//! surroundings, a [`Command`] is a program in them, a [`Child`] is one that runs.

mod bundle;
mod child;
mod container;
mod itself;
mod spec;
mod stdio;

use std::time::Duration;

use oci_spec::runtime::Spec;

pub use bundle::Bundle;
pub use child::{Child, ExitStatus, Output};
pub use container::{Container, Network, Seccomp, UserNamespace};
pub use stdio::Stdio;

use crate::audit::{self, Audit};
use crate::error::Result;
use crate::host::Host;
use crate::launch;
use crate::plan::Plan;
use crate::plan::op::TerminalSize;
use crate::trace;

/// A program to be started in a container of its own.
///
/// ```
/// use std::io::{Read, Write};
/// use minirun::{Container, Stdio};
///
/// let mut child = Container::new("rootfs")
///     .command("tr")
///     .args(["a-z", "A-Z"])
///     .stdin(Stdio::Piped)
///     .stdout(Stdio::Piped)
///     .spawn()?;
/// child.stdin.take().unwrap().write_all(b"shout")?;
/// let mut answer = String::new();
/// child.stdout.take().unwrap().read_to_string(&mut answer)?;
/// assert_eq!((answer.as_str(), child.wait()?.exit_code()), ("SHOUT", 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Command {
    container: Container,
    args: Vec<String>,
    env: Vec<String>,
    cwd: Option<String>,
    user: (u32, u32),
    tty: Option<Option<TerminalSize>>,
    stdin: Stdio,
    stdout: Stdio,
    stderr: Stdio,
    timeout: Option<Duration>,
    kill_after: Duration,
    explain: bool,
}

impl Command {
    /// Adds an argument.
    pub fn arg(&mut self, arg: impl Into<String>) -> &mut Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    pub fn args<S: Into<String>>(&mut self, args: impl IntoIterator<Item = S>) -> &mut Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable. A target starts with PATH, HOME and HOSTNAME (and TERM when it
    /// has a terminal), not with the caller's environment.
    pub fn env(&mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> &mut Self {
        self.env.push(format!("{}={}", name.as_ref(), value.as_ref()));
        self
    }

    /// The working directory inside, an absolute path; it is made when it is missing.
    pub fn current_dir(&mut self, dir: impl Into<String>) -> &mut Self {
        self.cwd = Some(dir.into());
        self
    }

    /// The user and group inside; both 0 by default.
    pub fn user(&mut self, uid: u32, gid: u32) -> &mut Self {
        self.user = (uid, gid);
        self
    }

    /// Gives the target a pty of its own instead of the three descriptors, of this size
    /// if there is one.
    pub fn tty(&mut self, size: Option<TerminalSize>) -> &mut Self {
        self.tty = Some(size);
        self
    }

    /// Where the target reads from.
    pub fn stdin(&mut self, stdin: impl Into<Stdio>) -> &mut Self {
        self.stdin = stdin.into();
        self
    }

    /// Where the target writes to.
    pub fn stdout(&mut self, stdout: impl Into<Stdio>) -> &mut Self {
        self.stdout = stdout.into();
        self
    }

    /// Where the target writes its errors to.
    pub fn stderr(&mut self, stderr: impl Into<Stdio>) -> &mut Self {
        self.stderr = stderr.into();
        self
    }

    /// Sends SIGTERM after this time, and SIGKILL when that hasn't helped; it holds
    /// while [`Child::wait`] or [`Child::attach`] waits. See [`ExitStatus::timed_out`].
    pub fn timeout(&mut self, timeout: Duration) -> &mut Self {
        self.timeout = Some(timeout);
        self
    }

    /// How long after SIGTERM a timeout sends SIGKILL; ten seconds by default.
    pub fn kill_after(&mut self, kill_after: Duration) -> &mut Self {
        self.kill_after = kill_after;
        self
    }

    /// Narrates every step to standard error before the target runs.
    pub fn explain(&mut self, explain: bool) -> &mut Self {
        self.explain = explain;
        self
    }

    /// The runtime-spec (config.json) that says the same.
    ///
    /// # Errors
    /// When a setting contradicts another, or this host can't do what is asked for.
    pub fn spec(&self) -> Result<Spec> {
        spec::whole(self, &Host::read()?)
    }

    /// What a process of it could and couldn't do; nothing is started.
    ///
    /// # Errors
    /// As [`spec`](Self::spec).
    pub fn audit(&self) -> Result<Audit> {
        let host = Host::read()?;
        let spec = spec::whole(self, &host)?;
        Ok(audit::judge(&audit::planned(&spec, &host, false)))
    }

    /// The steps that [`spawn`](Self::spawn) would carry out, without doing so.
    ///
    /// # Errors
    /// As [`spec`](Self::spec); what can be known only from the root filesystem isn't
    /// looked at.
    pub fn plan(&self) -> Result<Plan> {
        Ok(self.plan_on(&Host::read()?)?.1)
    }

    /// The container's name and steps on a given host.
    pub(crate) fn plan_on(&self, host: &Host) -> Result<(String, Plan)> {
        let (spec, options) = spec::build(self, host)?;
        let plan = Plan::new(&spec, &options, host)?;
        Ok((options.name, plan))
    }

    /// Starts the program; returns when its execve has succeeded.
    ///
    /// # Errors
    /// The step that failed, named with its place and errno. Nothing is left behind.
    pub fn spawn(&self) -> Result<Child> {
        let host = match self.container.has_limits() {
            true => Host::read()?,
            false => Host::read_but_cgroups()?,
        };
        let (name, plan) = self.plan_on(&host)?;
        let (stdin, in_end) = self.stdin.open(true)?;
        let (stdout, out_end) = self.stdout.open(false)?;
        let (stderr, err_end) = self.stderr.open(false)?;
        let mut narrate = |plan: &Plan, journal: &launch::Journal| trace::narrate(plan, journal);
        let narrator: Option<launch::Narrator<'_>> =
            if self.explain { Some(&mut narrate) } else { None };
        let stdio = [stdin, stdout, stderr];
        let caller =
            launch::Caller { stdio, narrator, is_timed: true, ..launch::Caller::default() };
        let running = launch::launch(&plan, caller)?;
        Ok(Child::new(self, name, plan, running, [in_end, out_end, err_end]))
    }

    /// Runs the program to its end.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    pub fn status(&self) -> Result<ExitStatus> {
        self.spawn()?.wait()
    }

    /// Runs the program to its end and collects what it wrote. Its standard input is
    /// /dev/null unless [`stdin`](Self::stdin) said otherwise.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    pub fn output(&mut self) -> Result<Output> {
        self.stdout = Stdio::Piped;
        self.stderr = Stdio::Piped;
        if matches!(self.stdin, Stdio::Inherit) {
            self.stdin = Stdio::Null;
        }
        self.spawn()?.wait_with_output()
    }
}
