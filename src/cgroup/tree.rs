//! A container's cgroup with all that is below it, as the verbs act on it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::sys;

/// How long the kernel may take to stop every process.
const FREEZING: Duration = Duration::from_secs(2);
/// How long killed processes may take to leave.
const LEAVING: Duration = Duration::from_secs(5);

/// The directories of a container's cgroup, with the controllers of each hierarchy as in
/// /proc/PID/cgroup (empty for v2). Directories that are gone count as empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tree {
    dirs: Vec<(String, PathBuf)>,
}

impl Tree {
    pub(crate) fn new(dirs: Vec<(String, PathBuf)>) -> Self {
        Tree { dirs }
    }

    /// The directory that a v1 controller has.
    pub(super) fn v1(&self, controller: &str) -> Option<&Path> {
        let has = |controllers: &str| controllers.split(',').any(|found| found == controller);
        self.dirs.iter().find(|(found, _)| has(found)).map(|(_, dir)| dir.as_path())
    }

    /// The directory in the v2 hierarchy, alone or beside those of v1.
    pub(super) fn v2(&self) -> Option<&Path> {
        self.dirs.iter().find(|(found, _)| found.is_empty()).map(|(_, dir)| dir.as_path())
    }

    /// Whether there are cgroups at all.
    pub(crate) fn is_none(&self) -> bool {
        self.dirs.is_empty()
    }

    /// The directory that all processes of the container are in: the freezer's, as nobody
    /// moves processes there, else the first.
    fn main(&self) -> Option<&Path> {
        let first = || self.dirs.first().map(|(_, dir)| dir.as_path());
        self.v1("freezer").or_else(|| self.v1("devices")).or_else(first)
    }

    /// The pids of all processes in the cgroup and below it, as this process's pid
    /// namespace numbers them, in order.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let mut pids = BTreeSet::new();
        for dir in self.main().map(with_children).unwrap_or_default() {
            let text = match fs::read_to_string(dir.join("cgroup.procs")) {
                // A threaded cgroup of v2 names its processes only at the top of its domain.
                Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                    fs::read_to_string(dir.join("cgroup.threads"))
                }
                answer => answer,
            };
            // 0 stands for a process that this pid namespace doesn't see.
            let found = text.unwrap_or_default();
            let numbers = found.lines().filter_map(|line| line.parse::<i32>().ok());
            pids.extend(numbers.filter(|pid| *pid != 0));
        }
        pids.into_iter().collect()
    }

    /// Stops every process until [`thaw`](Self::thaw).
    ///
    /// # Errors
    /// When there is no freezer, or a process won't stop within two seconds; then all of
    /// them run again.
    pub(crate) fn freeze(&self) -> Result<()> {
        if let Some(dir) = self.v1("freezer") {
            return freeze_v1(dir);
        }
        let dir = self.freezer()?;
        let step = || format!("freeze cgroup {}", dir.display());
        write(&dir.join("cgroup.freeze"), "1").map_err(|error| Error::io(step(), &error))?;
        if wait_for(FREEZING, || event(dir, "frozen") == Some(1)) {
            return Ok(());
        }
        let _ = write(&dir.join("cgroup.freeze"), "0");
        Err(Error::said(step(), "a process in it can't be stopped now"))
    }

    /// Lets every process run again.
    ///
    /// # Errors
    /// When there is no freezer, or the kernel refuses.
    pub(crate) fn thaw(&self) -> Result<()> {
        let (file, word) = match self.v1("freezer") {
            Some(dir) => (dir.join("freezer.state"), "THAWED"),
            None => (self.freezer()?.join("cgroup.freeze"), "0"),
        };
        let step = || format!("thaw cgroup {}", file.parent().unwrap_or(&file).display());
        write(&file, word).map_err(|error| Error::io(step(), &error))?;
        match wait_for(FREEZING, || !self.is_frozen()) {
            true => Ok(()),
            false => Err(Error::said(step(), "a cgroup above it is frozen")),
        }
    }

    fn freezer(&self) -> Result<&Path> {
        let is_pure = self.dirs.len() == 1;
        self.v2().filter(|dir| is_pure || dir.join("cgroup.freeze").exists()).ok_or_else(|| {
            Error::said("freeze the container", "it has no cgroup with a freezer")
                .hint("give it one by linux.cgroupsPath, which for users needs delegation")
        })
    }

    /// Whether its processes are stopped, or being stopped.
    pub(crate) fn is_frozen(&self) -> bool {
        if let Some(dir) = self.v1("freezer") {
            let state = fs::read_to_string(dir.join("freezer.state"));
            return state.is_ok_and(|state| matches!(state.trim(), "FROZEN" | "FREEZING"));
        }
        self.v2().is_some_and(|dir| event(dir, "frozen") == Some(1))
    }

    /// Sends a signal to every process in the cgroup and below it.
    ///
    /// Without a way to reach all at once, they are stopped first, so that none can fork
    /// away from it; a process frozen by v1 acts on the signal when it is thawed. A
    /// container that was paused is paused afterwards, unless the signal is SIGKILL.
    ///
    /// # Errors
    /// `EPERM` for a process of somebody else.
    pub(crate) fn kill_all(&self, signal: i32) -> Result<()> {
        if signal == libc::SIGKILL
            && self.v1("freezer").is_none()
            && let Some(dir) = self.v2()
            && write(&dir.join("cgroup.kill"), "1").is_ok()
        {
            return Ok(());
        }
        let was_frozen = self.is_frozen();
        // Where nothing can be frozen, a second look finds those that forked meanwhile.
        let frozen = was_frozen || self.freeze().is_ok();
        let mut outcome = Ok(());
        for _ in 0..if frozen || signal != libc::SIGKILL { 1 } else { 3 } {
            for pid in self.processes() {
                match sys::signal::kill(pid, signal) {
                    Ok(()) | Err(Errno::ESRCH) => {}
                    Err(errno) => {
                        let step = format!("send signal {signal} to process {pid}");
                        outcome = Err(Error::system(step, errno));
                    }
                }
            }
        }
        if frozen && (!was_frozen || signal == libc::SIGKILL) {
            self.thaw()?;
        }
        outcome
    }

    /// Removes the cgroup with all below it. What is still in it must have been killed;
    /// it gets some seconds to leave. One that is gone already is as good.
    ///
    /// # Errors
    /// The directory that can't be removed, and why; the others are removed all the same.
    pub(crate) fn remove(&self) -> Result<()> {
        let mut outcome = Ok(());
        let deadline = Instant::now() + LEAVING;
        for (_, dir) in self.dirs.iter().rev() {
            // Most often there is nothing below it, and looking costs more than trying.
            if fs::remove_dir(dir).is_ok() {
                continue;
            }
            for dir in with_children(dir).iter().rev() {
                if let Err(error) = remove_dir(dir, deadline) {
                    let step = format!("remove cgroup {}", dir.display());
                    outcome = Err(Error::io(step, &error));
                }
            }
        }
        outcome
    }
}

/// The directory and all below it, parents first.
fn with_children(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![dir.to_owned()];
    let mut next = 0;
    while let Some(dir) = found.get(next).cloned() {
        next += 1;
        // One that vanishes meanwhile has nothing below it any more.
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                found.push(entry.path());
            }
        }
    }
    found
}

fn remove_dir(dir: &Path, deadline: Instant) -> io::Result<()> {
    let mut pause = Duration::from_millis(1);
    loop {
        match fs::remove_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error)
                if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline =>
            {
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(100));
            }
            answer => return answer,
        }
    }
}

/// The v1 freezer misses a process that forks at the wrong moment and then stays
/// FREEZING; thawing for an instant and asking anew helps (freezer-subsystem.txt).
fn freeze_v1(dir: &Path) -> Result<()> {
    let step = || format!("freeze cgroup {}", dir.display());
    let file = dir.join("freezer.state");
    let failed = |error: io::Error| Error::io(step(), &error);
    let deadline = Instant::now() + FREEZING;
    let mut rounds = 0u32;
    loop {
        write(&file, "FROZEN").map_err(failed)?;
        let state = fs::read_to_string(&file).map_err(failed)?;
        if state.trim() == "FROZEN" {
            return Ok(());
        }
        if Instant::now() > deadline {
            let _ = write(&file, "THAWED");
            return Err(Error::said(step(), "a process in it can't be stopped now"));
        }
        rounds += 1;
        if rounds.is_multiple_of(50) {
            write(&file, "THAWED").map_err(failed)?;
        }
        std::thread::sleep(Duration::from_micros(500));
    }
}

fn wait_for(limit: Duration, done: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_micros(100);
    while !done() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    true
}

/// A number of cgroup.events.
fn event(dir: &Path, key: &str) -> Option<u64> {
    super::stats::value_of(&fs::read_to_string(dir.join("cgroup.events")).ok()?, key)
}

fn write(file: &Path, text: &str) -> io::Result<()> {
    use std::io::Write;
    fs::OpenOptions::new().write(true).open(file)?.write_all(text.as_bytes())
}
