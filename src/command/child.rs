//! A running target, and how it ends.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::Command;
use super::itself::Rootfs;
use crate::attach::{self, Deadline, Signals};
use crate::cgroup::Stats;
use crate::error::{Error, Result};
use crate::init::exit_code;
use crate::launch::{Journal, Running};
use crate::plan::Plan;
use crate::sys;
use crate::sys::process::Usage;
use crate::trace::{Report, timeline};

/// A container whose target has been started.
///
/// As with [`std::process::Child`], dropping it neither ends the target nor waits for it.
#[derive(Debug)]
pub struct Child {
    /// The caller's end of a piped standard input.
    pub stdin: Option<File>,
    /// The caller's end of a piped standard output.
    pub stdout: Option<File>,
    /// The caller's end of a piped standard error.
    pub stderr: Option<File>,
    name: String,
    plan: Plan,
    running: Running,
    started: Instant,
    deadline: Deadline,
    ended: Option<Ended>,
    /// An empty one is there for as long as this is.
    _rootfs: Rootfs,
}

#[derive(Debug, Clone, Copy)]
struct Ended {
    status: ExitStatus,
    usage: Usage,
    stats: Stats,
    wall: Duration,
}

/// How a target ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitStatus {
    code: i32,
    signal: Option<i32>,
    timed_out: bool,
}

/// How a target ended, and all that it wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
}

impl ExitStatus {
    /// Whether the target ended by itself with status 0, in time.
    pub fn success(&self) -> bool {
        self.exit_code() == 0
    }

    /// The status that a shell or `docker run` would give: the target's own, 128+N when
    /// signal N killed it, 124 when a timeout ended it.
    pub fn exit_code(&self) -> u8 {
        if self.timed_out { 124 } else { self.code as u8 }
    }

    /// The signal that killed the target, if one did.
    pub fn signal(&self) -> Option<i32> {
        self.signal
    }

    /// Whether the target was told to end because its time was up.
    pub fn timed_out(&self) -> bool {
        self.timed_out
    }
}

impl Child {
    pub(super) fn new(
        command: &Command,
        name: String,
        plan: Plan,
        running: Running,
        [stdin, stdout, stderr]: [Option<File>; 3],
    ) -> Self {
        let started = Instant::now();
        let deadline = Deadline::new(started, command.timeout, command.kill_after);
        let _rootfs = command.container.rootfs.clone();
        let ended = None;
        Child { stdin, stdout, stderr, name, plan, running, started, deadline, ended, _rootfs }
    }

    /// The container's name, chosen or random.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The pid of the container's first process (its PID 1), as the host numbers it.
    pub fn id(&self) -> u32 {
        self.running.init.pid.as_raw() as u32
    }

    /// A pidfd of that process; it polls readable when the container has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.running.init.pidfd.as_fd()
    }

    /// The steps that were carried out.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// When each step began and how long it took.
    pub fn journal(&self) -> &Journal {
        &self.running.journal
    }

    /// Sends a signal to the target, through init if there is one. A target that is
    /// PID 1 itself gets only signals for which it has a handler, and SIGKILL.
    ///
    /// # Errors
    /// `ESRCH` when the container has ended.
    pub fn signal(&self, signal: i32) -> Result<()> {
        sys::process::pidfd_send_signal(self.pidfd(), signal)
            .map_err(|errno| Error::system(format!("send signal {signal} to the container"), errno))
    }

    /// Kills the container with everything in it.
    ///
    /// # Errors
    /// `ESRCH` when it has ended.
    pub fn kill(&self) -> Result<()> {
        self.signal(libc::SIGKILL)
    }

    /// Waits for the target to end; what is left in the container is killed then, and
    /// its cgroup is gone when this returns.
    ///
    /// # Errors
    /// When somebody else has reaped the process.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.stdin = None;
        if self.ended.is_none() {
            attach::until_end(&self.running.init, None, None, &mut self.deadline)?;
        }
        self.reap()
    }

    /// Stands in for the target at the caller's terminal: passes on every signal that was
    /// collected and comes in, connects the target's pty (if it has one) with standard input and
    /// output, and waits. The terminal is as it was when this returns.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn attach(&mut self, signals: &Signals) -> Result<ExitStatus> {
        if self.ended.is_none() {
            let console = self.running.console.as_ref().map(AsFd::as_fd);
            attach::until_end(&self.running.init, Some(signals), console, &mut self.deadline)?;
        }
        self.reap()
    }

    /// Collects what the target writes to its pipes until it ends.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_with_output(mut self) -> Result<Output> {
        let (stdout, stderr) = (self.stdout.take(), self.stderr.take());
        let collect = |pipe: Option<File>| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                pipe.map_or(Ok(0), |mut pipe| pipe.read_to_end(&mut bytes)).map(|_| bytes)
            })
        };
        let readers = [collect(stdout), collect(stderr)];
        let status = self.wait()?;
        let mut collected = readers.into_iter().map(|reader| {
            let bytes = reader.join().unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into()));
            bytes.map_err(|error| Error::io("read the target's output", &error))
        });
        let mut next = || collected.next().unwrap_or_else(|| Ok(Vec::new()));
        Ok(Output { status, stdout: next()?, stderr: next()? })
    }

    fn reap(&mut self) -> Result<ExitStatus> {
        if let Some(ended) = self.ended {
            return Ok(ended.status);
        }
        let waited = sys::process::wait4(self.running.init.pid, true)
            .map_err(|errno| Error::system("wait for the container", errno))?;
        let wall = self.started.elapsed();
        let (own, usage) = waited.unwrap_or_default();
        // Init's own status can't tell an exit with 143 from a death by SIGTERM.
        let raw = self.running.journal.target_status().unwrap_or(own);
        let status = ExitStatus {
            code: exit_code(raw),
            signal: libc::WIFSIGNALED(raw).then(|| libc::WTERMSIG(raw)),
            timed_out: self.deadline.has_struck(),
        };
        let stats = self.running.sweeper.take().map(|sweeper| {
            let stats = Stats::read(sweeper.dirs());
            sweeper.finish();
            stats
        });
        self.ended = Some(Ended { status, usage, stats: stats.unwrap_or_default(), wall });
        Ok(status)
    }

    /// What the container used, once it has ended; `None` before.
    pub fn report(&self) -> Option<Report> {
        let ended = self.ended?;
        Some(Report::new(
            ended.status,
            ended.wall,
            ended.usage,
            ended.stats,
            self.running.journal.reaped(),
        ))
    }

    /// The start-up as Chrome trace events (Perfetto opens them), in JSON.
    pub fn trace(&self) -> serde_json::Value {
        timeline(&self.plan, &self.running.journal, self.id())
    }
}
