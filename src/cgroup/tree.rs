//! A container's cgroup with all that is below it: who is in it, and stopping, ending and
//! removing all of that.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::deep;
use crate::error::{Error, Result};
use crate::host;
use crate::sys::process::{pidfd_open, pidfd_send_signal};

/// How long killed processes may take to leave.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a process that nobody needs may take to notice that.
const BRIEFLY: Duration = Duration::from_secs(1);
/// How long to wait between two looks.
pub(super) const PAUSE: Duration = Duration::from_millis(1);

/// One directory of a container's cgroup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Dir {
    /// The controllers of its hierarchy as in /proc/self/cgroup, empty for v2.
    pub(crate) controllers: String,
    pub(crate) path: PathBuf,
}

impl Dir {
    pub(crate) fn new(controllers: &str, path: &Path) -> Self {
        Dir { controllers: controllers.to_owned(), path: path.to_owned() }
    }

    /// Whether it is of the hierarchy of a v1 controller.
    pub(crate) fn has(&self, controller: &str) -> bool {
        self.controllers.split(',').any(|found| found == controller)
    }
}

/// A container's cgroup: one directory a v1 hierarchy, or a single one of v2, and all
/// that the container has made below. What is gone counts as empty.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tree<'a> {
    pub(super) dirs: &'a [Dir],
}

impl<'a> Tree<'a> {
    pub(crate) fn new(dirs: &'a [Dir]) -> Self {
        Tree { dirs }
    }

    /// The directory that a v1 controller has.
    pub(super) fn v1(&self, controller: &str) -> Option<&'a Path> {
        self.dirs.iter().find(|dir| dir.has(controller)).map(|dir| dir.path.as_path())
    }

    /// The directory in the v2 hierarchy, alone or beside those of v1.
    pub(super) fn v2(&self) -> Option<&'a Path> {
        let v2 = self.dirs.iter().find(|dir| dir.controllers.is_empty());
        v2.map(|dir| dir.path.as_path())
    }

    /// The processes in it, as the host numbers them, in order.
    ///
    /// # Errors
    /// When a list can't be read.
    pub(crate) fn pids(&self) -> Result<Vec<i32>> {
        let mut pids = BTreeSet::new();
        for dir in self.dirs {
            for dir in with_children(&dir.path) {
                let read = |file: &str| deep::read(&dir.join(file));
                let list = match read("cgroup.procs") {
                    // A threaded cgroup names its processes only at the top of its domain.
                    Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                        read("cgroup.threads")
                    }
                    list => list,
                };
                match list {
                    Ok(text) => pids.extend(text.lines().filter_map(|pid| pid.parse::<i32>().ok())),
                    Err(error) if is_gone(&error) => {}
                    Err(error) => {
                        let step = format!("list the processes of {}", dir.display());
                        return Err(Error::io(step, &error));
                    }
                }
            }
        }
        // 0 stands for one of another pid namespace.
        Ok(pids.into_iter().filter(|pid| *pid > 0).collect())
    }

    /// How many processes and threads are in it, as v1's pids controller would count them for
    /// who is in its hierarchy.
    pub(super) fn tasks(&self) -> Option<u64> {
        let v1 = self.dirs.iter().find(|dir| !dir.controllers.is_empty())?;
        let count = |dir: &PathBuf| {
            deep::read(&dir.join("tasks")).map_or(0, |tasks| tasks.lines().count() as u64)
        };
        Some(with_children(&v1.path).iter().map(count).sum())
    }

    /// Moves every process in it into `dir` as well, which is of another hierarchy.
    ///
    /// # Errors
    /// When the kernel refuses one, and after ten seconds when new ones keep coming.
    pub(crate) fn enter(&self, dir: &Dir) -> Result<()> {
        let start = Instant::now();
        let entered = Tree::new(std::slice::from_ref(dir));
        let step = || format!("move processes into cgroup {}", dir.path.display());
        loop {
            // Who forks before it has been moved leaves its child behind.
            let moved = entered.pids()?;
            let mut rest = self.pids()?.into_iter().filter(|pid| !moved.contains(pid)).peekable();
            if rest.peek().is_none() {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                return Err(Error::said(step(), "it makes new ones faster than they can be moved"));
            }
            for pid in rest {
                match write(&dir.path.join("cgroup.procs"), &pid.to_string()) {
                    // It has ended.
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                    moved => moved.map_err(|error| Error::io(step(), &error))?,
                }
            }
        }
    }

    /// Sends a signal to every process in it. They are stopped meanwhile where that can be
    /// done, so that none forks away from it. A container that was paused stays so; on v1
    /// its processes act on the signal, SIGKILL included, when they are thawed.
    ///
    /// # Errors
    /// As [`pids`](Self::pids).
    pub(crate) fn signal(&self, signal: i32) -> Result<()> {
        if signal == libc::SIGKILL && self.kill_at_once() {
            return Ok(());
        }
        let is_stopped_here = !self.is_frozen() && self.freeze().is_ok();
        let sent = self.signal_each(signal, &[]);
        if is_stopped_here {
            self.thaw()?;
            return sent.map(drop);
        }
        // Those that were forked meanwhile, by processes that hadn't got it yet.
        self.signal_each(signal, &sent?).map(drop)
    }

    /// Sends a signal to every process in it but `told`; gives those that were there.
    fn signal_each(&self, signal: i32, told: &[i32]) -> Result<Vec<i32>> {
        let found = self.pids()?;
        let others = found.iter().filter(|pid| !told.contains(pid));
        let opened: Vec<(i32, OwnedFd)> =
            others.filter_map(|&pid| Some((pid, pidfd_open(Pid::from_raw(pid)).ok()?))).collect();
        // A pid may have come to mean another process between the list and the descriptor;
        // who is still listed is that process, or it has ended.
        let listed = self.pids()?;
        for (pid, process) in opened {
            if listed.contains(&pid) {
                // Ended meanwhile, which is as good.
                let _ = pidfd_send_signal(process.as_fd(), signal);
            }
        }
        Ok(found)
    }

    /// cgroup v2 kills all processes in one step, frozen or forking.
    fn kill_at_once(&self) -> bool {
        self.v2()
            .is_some_and(|dir| self.dirs.len() == 1 && write(&dir.join("cgroup.kill"), "1").is_ok())
    }

    /// Kills every process in it, frozen or not, and waits until they have left.
    ///
    /// # Errors
    /// As [`pids`](Self::pids), and when some are still there after ten seconds.
    pub(crate) fn kill(&self) -> Result<()> {
        let start = Instant::now();
        while !self.pids()?.is_empty() {
            if !self.kill_at_once() {
                self.signal_each(libc::SIGKILL, &[])?;
            }
            self.ask_to_thaw();
            if start.elapsed() > PATIENCE {
                let reason = format!("processes {:?} don't end", self.pids()?);
                return Err(Error::said("kill the container's processes", reason));
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Whether all processes have left it by then.
    fn empties_by(&self, deadline: Instant) -> Result<bool> {
        while !self.pids()?.is_empty() {
            if Instant::now() > deadline {
                return Ok(false);
            }
            std::thread::sleep(PAUSE);
        }
        Ok(true)
    }

    /// Removes its directories unless somebody is in them; waits a little for processes that
    /// are about to end.
    pub(crate) fn remove_if_vacant(&self) {
        let start = Instant::now();
        for dir in self.dirs {
            while fs::remove_dir(&dir.path).is_err_and(|error| !is_gone(&error))
                && start.elapsed() < BRIEFLY
            {
                std::thread::sleep(PAUSE);
            }
        }
    }

    /// Removes its directories, what the container has made below them included, and kills
    /// who is still in them.
    ///
    /// # Errors
    /// The directory that can't be removed, and why; after ten seconds when processes in it
    /// don't end.
    pub(crate) fn remove(&self) -> Result<()> {
        self.remove_and(Inhabitants::End)
    }

    /// The same for a cgroup in which nobody is to be killed: while somebody is in it, for
    /// longer than it takes to leave, all of it stays.
    ///
    /// # Errors
    /// As [`remove`](Self::remove).
    pub(crate) fn remove_unless_inhabited(&self) -> Result<()> {
        self.remove_and(Inhabitants::Stay)
    }

    fn remove_and(&self, inhabitants: Inhabitants) -> Result<()> {
        let start = Instant::now();
        for dir in self.dirs.iter().rev() {
            // Most often there is nothing below it, and looking costs more than trying.
            let mut rest = vec![dir.path.clone()];
            while let Some(child) = rest.pop() {
                let failed = |error: &io::Error| {
                    Error::io(format!("remove the cgroup {}", child.display()), error)
                };
                match deep::remove(&child) {
                    Ok(()) => {}
                    Err(error) if is_gone(&error) => {}
                    Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                        if start.elapsed() > PATIENCE {
                            return Err(failed(&error));
                        }
                        // Processes on their way out, or somebody was quick to make another.
                        match inhabitants {
                            Inhabitants::End => self.kill()?,
                            Inhabitants::Stay if !self.empties_by(start + BRIEFLY)? => {
                                return Ok(());
                            }
                            Inhabitants::Stay => {}
                        }
                        rest = with_children(&dir.path);
                        if rest.len() == 1 {
                            std::thread::sleep(PAUSE);
                        }
                    }
                    Err(error) => return Err(failed(&error)),
                }
            }
        }
        Ok(())
    }
}

/// The cgroup of a process, by the text of its /proc/PID/cgroup; hierarchies that aren't
/// mounted are left out.
pub(crate) fn dirs_of(text: &str) -> Vec<Dir> {
    let top = Path::new("/sys/fs/cgroup");
    let is_v2 = top.join("cgroup.controllers").exists();
    let hierarchies = host::parse_cgroups(text).into_iter();
    let dirs = hierarchies.map(|found| {
        let mount = if is_v2 { top.to_owned() } else { top.join(&found.directory) };
        let below = found.own.trim_start_matches('/');
        let path = if below.is_empty() { mount } else { mount.join(below) };
        Dir { controllers: found.controllers, path }
    });
    dirs.filter(|dir| dir.path.exists()).collect()
}

/// What becomes of the processes in a cgroup that is to be removed.
#[derive(Debug, Clone, Copy)]
enum Inhabitants {
    End,
    Stay,
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV))
}

pub(super) fn write(file: &Path, value: &str) -> io::Result<()> {
    use std::io::Write;
    fs::OpenOptions::new().write(true).open(file)?.write_all(value.as_bytes())
}

/// A directory and all below it, parents first.
fn with_children(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![dir.to_owned()];
    let mut next = 0;
    while let Some(dir) = found.get(next) {
        let names = deep::directories(dir).unwrap_or_default();
        let dirs: Vec<PathBuf> = names.iter().map(|name| dir.join(name)).collect();
        found.extend(dirs);
        next += 1;
    }
    found
}
