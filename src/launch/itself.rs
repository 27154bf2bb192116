//! What the container's process changes of itself, without allocating.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, SFlag};
use nix::unistd::write;

use super::{inside, procfs};
use crate::plan::op::Schedule;
use crate::sys::schedule::SchedAttr;
use crate::sys::{self, Result};

/// Opens a file and writes to it, in one call.
pub(super) fn write_file(path: &CStr, bytes: &[u8]) -> Result<()> {
    let file = sys::file::open(path, OFlag::O_WRONLY)?;
    let written = write(&file, bytes)?;
    if written == bytes.len() { Ok(()) } else { Err(Errno::EIO) }
}

/// Makes a terminal the standard input, output and error.
pub(super) fn connect_to(slave: BorrowedFd<'_>) -> Result<()> {
    (0..3).try_for_each(|number| sys::descriptors::dup_onto(slave, number))
}

/// Gives the pipes among 0, 1 and 2 to a user. What else a caller connects stays theirs: files, and terminals.
pub(super) fn own_pipes(uid: u32) -> Result<()> {
    for number in 0..3 {
        // One that isn't open is no pipe either.
        let is_pipe = |found: &FileStat| inside::file_type(found.st_mode) == SFlag::S_IFIFO;
        if sys::descriptors::fstat_number(number).is_ok_and(|found| is_pipe(&found)) {
            sys::descriptors::fchown_number(number, uid)?;
        }
    }
    Ok(())
}

/// Writes the process's own oom_score_adj (proc(5)).
pub(super) fn set_oom_score(score: &str) -> Result<()> {
    procfs::write(c"self/oom_score_adj", score.as_bytes())
}

/// sched_setattr(2).
pub(super) fn set_scheduler(schedule: &Schedule) -> Result<()> {
    let &Schedule { policy, flags, nice, priority, runtime, deadline, period } = schedule;
    let attributes = SchedAttr {
        policy,
        flags,
        nice,
        priority,
        runtime,
        deadline,
        period,
        ..SchedAttr::default()
    };
    sys::schedule::sched_setattr(attributes)
}

/// Drops what isn't kept, up to the last capability that this kernel knows.
pub(super) fn limit_bounding(keep: u64) -> Result<()> {
    for capability in capabilities(!keep) {
        match sys::identity::drop_bounding(capability) {
            Err(Errno::EINVAL) => break,
            answer => answer?,
        }
    }
    Ok(())
}

/// The numbers of the bits of a set.
pub(super) fn capabilities(set: u64) -> impl Iterator<Item = u8> {
    (0..64).filter(move |number| set & (1 << number) != 0)
}
