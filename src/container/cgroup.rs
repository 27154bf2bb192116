//! The processes in a container's cgroup: who they are, stopping and ending them.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::sys;
use crate::sys::process::{pidfd_open, pidfd_send_signal};
use std::os::fd::{AsFd, OwnedFd};

/// How long killed processes may take to leave.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a process that nobody needs may take to notice that.
const BRIEFLY: Duration = Duration::from_secs(1);
/// How long to wait between two looks.
const PAUSE: Duration = Duration::from_millis(1);

/// One directory of a container's cgroup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Dir {
    /// The controllers of its hierarchy as in /proc/self/cgroup, empty for v2.
    pub(crate) controllers: String,
    pub(crate) path: PathBuf,
}

/// A container's cgroup: one directory a v1 hierarchy, or a single one of v2, and all
/// that the container has made below.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tree<'a> {
    dirs: &'a [Dir],
}

impl<'a> Tree<'a> {
    pub(crate) fn new(dirs: &'a [Dir]) -> Self {
        Tree { dirs }
    }

    /// Whether there is anything left of it.
    pub(crate) fn exists(&self) -> bool {
        self.dirs.iter().any(|dir| dir.path.is_dir())
    }

    /// The processes in it, as the host numbers them.
    ///
    /// # Errors
    /// When a list can't be read; a directory that is gone has none.
    pub(crate) fn pids(&self) -> Result<Vec<i32>> {
        let mut pids = BTreeSet::new();
        for dir in self.dirs {
            for dir in with_children(&dir.path) {
                let file = dir.join("cgroup.procs");
                match fs::read_to_string(&file) {
                    Ok(text) => pids.extend(text.lines().filter_map(|pid| pid.parse::<i32>().ok())),
                    Err(error) if is_gone(&error) => {}
                    Err(error) => {
                        return Err(Error::io(format!("read {}", file.display()), &error));
                    }
                }
            }
        }
        // 0 stands for one of another pid namespace.
        Ok(pids.into_iter().filter(|pid| *pid > 0).collect())
    }

    /// Sends a signal to every process in it.
    ///
    /// # Errors
    /// As [`pids`](Self::pids).
    pub(crate) fn signal(&self, signal: i32) -> Result<()> {
        let found = self.pids()?;
        let opened: Vec<(i32, OwnedFd)> = found
            .into_iter()
            .filter_map(|pid| Some((pid, pidfd_open(Pid::from_raw(pid)).ok()?)))
            .collect();
        // A pid may have come to mean another process between the list and the descriptor;
        // who is still listed is that process, or it has ended.
        let listed = self.pids()?;
        for (pid, process) in opened {
            if listed.contains(&pid) {
                // Ended meanwhile, which is as good.
                let _ = pidfd_send_signal(process.as_fd(), signal);
            }
        }
        Ok(())
    }

    /// Kills every process in it, frozen or not, and waits until they have left.
    ///
    /// # Errors
    /// As [`pids`](Self::pids), and when some are still there after ten seconds.
    pub(crate) fn kill(&self) -> Result<()> {
        let start = Instant::now();
        while !self.pids()?.is_empty() {
            let at_once = self.dirs.iter().any(|dir| write(&dir.path, "cgroup.kill", "1").is_ok());
            if !at_once {
                self.signal(libc::SIGKILL)?;
            }
            self.thaw();
            if start.elapsed() > PATIENCE {
                let reason = format!("processes {:?} don't end", self.pids()?);
                return Err(Error::said("kill the container's processes", reason));
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Whether its processes are stopped by the freezer.
    pub(crate) fn is_frozen(&self) -> bool {
        let is = |dir: &Path, file: &str, yes: &[&str]| {
            fs::read_to_string(dir.join(file)).is_ok_and(|text| yes.contains(&text.trim()))
        };
        self.dirs.iter().any(|dir| {
            is(&dir.path, "freezer.state", &["FROZEN", "FREEZING"])
                || is(&dir.path, "cgroup.freeze", &["1"])
        })
    }

    /// Lets its processes go on; where there is no freezer, they do.
    pub(crate) fn thaw(&self) {
        for dir in self.dirs {
            let _ = write(&dir.path, "freezer.state", "THAWED");
            let _ = write(&dir.path, "cgroup.freeze", "0");
        }
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

    /// Removes its directories, what the container has made below them included.
    ///
    /// # Errors
    /// When processes are in it for more than ten seconds.
    pub(crate) fn remove(&self) -> Result<()> {
        let start = Instant::now();
        for dir in self.dirs {
            let mut rest = with_children(&dir.path);
            while let Some(child) = rest.pop() {
                let failed = |error: &std::io::Error| {
                    Error::io(format!("remove the cgroup {}", child.display()), error)
                };
                match fs::remove_dir(&child) {
                    Ok(()) => {}
                    Err(error) if is_gone(&error) => {}
                    Err(error) if error.raw_os_error() == Some(Errno::EBUSY as i32) => {
                        if start.elapsed() > PATIENCE {
                            return Err(failed(&error));
                        }
                        // Processes on their way out, or somebody was quick to make another.
                        self.kill()?;
                        std::thread::sleep(PAUSE);
                        rest = with_children(&dir.path);
                    }
                    Err(error) => return Err(failed(&error)),
                }
            }
        }
        Ok(())
    }
}

fn is_gone(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV))
        || error.kind() == ErrorKind::NotFound
}

fn write(dir: &Path, file: &str, value: &str) -> sys::Result<()> {
    use std::io::Write;
    fs::OpenOptions::new()
        .write(true)
        .open(dir.join(file))
        .and_then(|mut file| file.write_all(value.as_bytes()))
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
}

/// A directory and all below it, parents first.
fn with_children(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![dir.to_owned()];
    let mut next = 0;
    while let Some(dir) = found.get(next) {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let dirs: Vec<PathBuf> = dirs.map(|entry| entry.path()).collect();
        found.extend(dirs);
        next += 1;
    }
    found
}
