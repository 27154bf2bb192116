//! The container's first process, found again by another run of minirun.
//!
//! A pid alone may have come to mean another process; a pid with the time at which the
//! process started doesn't.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::str::FromStr;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::sys;

/// Set while a process runs the program of the one that cloned it (linux/sched.h).
const PF_FORKNOEXEC: u64 = 0x40;

/// A process, once and for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InitProcess {
    pub(crate) pid: i32,
    /// Clock ticks since boot (field 22 of /proc/PID/stat).
    pub(crate) start_time: u64,
}

/// A process that is still there, perhaps as a zombie.
#[derive(Debug)]
pub(crate) struct Present {
    pub(crate) pidfd: OwnedFd,
    executed: bool,
}

impl InitProcess {
    /// Names the process that has this pid now.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn of(pid: i32) -> Result<Self> {
        Ok(InitProcess::with_processor(pid)?.0)
    }

    /// The same, with the number of the processor that it is on.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub(crate) fn with_processor(pid: i32) -> Result<(Self, u32)> {
        let stat =
            Stat::read(pid).map_err(|error| Error::io(format!("look at process {pid}"), &error))?;
        Ok((InitProcess { pid, start_time: stat.start_time }, stat.processor))
    }

    /// `None` when it has ended and been reaped, whoever has its pid now.
    ///
    /// # Errors
    /// Those of pidfd_open(2), and when /proc can't tell: a process that can't be looked at
    /// may well run.
    pub(crate) fn find(&self) -> Result<Option<Present>> {
        let failed = |errno| Error::system(format!("open process {}", self.pid), errno);
        // The descriptor first: if the start time is right after that, it was then.
        let pidfd = match sys::process::pidfd_open(Pid::from_raw(self.pid)) {
            Err(Errno::ESRCH | Errno::EINVAL) => return Ok(None),
            pidfd => pidfd.map_err(failed)?,
        };
        Ok(match Stat::read(self.pid) {
            Ok(stat) if stat.start_time == self.start_time => {
                Some(Present { pidfd, executed: stat.flags & PF_FORKNOEXEC == 0 })
            }
            Err(error) if !is_gone(&error) => {
                return Err(Error::io(format!("look at process {}", self.pid), &error));
            }
            _ => None,
        })
    }

    /// The process, unless it has ended.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub(crate) fn running(&self) -> Result<Option<Present>> {
        Ok(self.find()?.filter(|present| !present.has_ended()))
    }
}

impl AsFd for Present {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl Present {
    /// Whether all of its threads have ended, reaped or not.
    pub(crate) fn has_ended(&self) -> bool {
        is_readable(self.pidfd.as_fd(), PollTimeout::ZERO)
    }

    /// Whether it runs a program of its own, rather than minirun's.
    pub(crate) fn has_executed(&self) -> bool {
        self.executed
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// `ESRCH` when it has ended, `EPERM` when it isn't ours to signal.
    pub(crate) fn signal(&self, signal: i32) -> sys::Result<()> {
        sys::process::pidfd_send_signal(self.pidfd.as_fd(), signal)
    }

    /// Whether it has ended within this time.
    pub(crate) fn ends_within(&self, patience: PollTimeout) -> bool {
        is_readable(self.pidfd.as_fd(), patience)
    }
}

/// Reaped before the file was opened, or before it was read.
fn is_gone(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

/// A pidfd is readable when the process has ended with all its threads, which the state
/// of its first thread doesn't tell (pidfd_open(2)).
fn is_readable(pidfd: BorrowedFd<'_>, patience: PollTimeout) -> bool {
    let mut fds = [PollFd::new(pidfd, PollFlags::POLLIN)];
    while let Err(Errno::EINTR) = poll(&mut fds, patience) {}
    fds[0].any().unwrap_or(false)
}

impl fmt::Display for InitProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pid, self.start_time)
    }
}

impl FromStr for InitProcess {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let (pid, start_time) = text.split_once(' ').unwrap_or((text, ""));
        Ok(InitProcess { pid: pid.parse()?, start_time: start_time.parse()? })
    }
}

/// What is needed of /proc/PID/stat (proc_pid_stat(5)).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    flags: u64,
    start_time: u64,
    processor: u32,
}

impl Stat {
    fn read(pid: i32) -> std::io::Result<Stat> {
        let mut buffer = [0; 1024];
        let text = sys::file::read_start(format!("/proc/{pid}/stat").as_str(), &mut buffer)?;
        Stat::parse(text).ok_or_else(|| std::io::ErrorKind::InvalidData.into())
    }

    /// The second field, the name, may hold anything but ends at the last parenthesis.
    fn parse(text: &[u8]) -> Option<Stat> {
        let name_end = text.iter().rposition(|byte| *byte == b')')?;
        let fields = std::str::from_utf8(text.get(name_end + 1..)?).ok()?;
        // The third field comes first here.
        let mut fields = fields.split_ascii_whitespace().skip(9 - 3);
        let flags = fields.next()?.parse().ok()?;
        let start_time = fields.nth(22 - 10)?.parse().ok()?;
        let processor = fields.nth(39 - 23)?.parse().ok()?;
        Some(Stat { flags, start_time, processor })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        let numbers: Vec<String> = (4..=52).map(|field| field.to_string()).collect();
        let text = format!("1 (a) b) (c) S {}", numbers.join(" "));
        assert_eq!(
            Stat::parse(text.as_bytes()),
            Some(Stat { flags: 9, start_time: 22, processor: 39 })
        );
        assert_eq!(Stat::parse(b"1 (x"), None);
        assert_eq!(Stat::parse(b""), None);
    }

    #[test]
    fn a_process_is_found_until_it_is_reaped() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let init = InitProcess::of(child.id() as i32).unwrap();
        assert_eq!(init.to_string().parse(), Ok(init));
        let present = init.running().unwrap().unwrap();
        assert!(present.has_executed() && !present.has_ended());
        present.signal(libc::SIGKILL).unwrap();
        assert!(present.ends_within(PollTimeout::MAX));
        assert!(init.running().unwrap().is_none(), "a zombie doesn't run");
        assert!(init.find().unwrap().is_some(), "but it is there");
        child.wait().unwrap();
        assert!(init.find().unwrap().is_none());
    }

    #[test]
    fn a_reused_pid_is_another_process() {
        let own = InitProcess::of(std::process::id() as i32).unwrap();
        assert!(own.running().unwrap().is_some());
        let other = InitProcess { start_time: own.start_time + 1, ..own };
        assert!(other.find().unwrap().is_none());
    }
}
