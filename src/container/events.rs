//! events: what a container uses, and word when it runs out of memory.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};

use super::record::Record;
use super::status::{Look, Status};
use super::store::Store;
use crate::cgroup::{OutOfMemory, Seen};
use crate::error::{Error, Result};

/// What a container uses now, as the line of `runc events --stats`.
///
/// # Errors
/// "container with id ID is not running".
pub fn stats(store: &Store, id: &str) -> Result<Value> {
    Ok(usage(&found(store, id)?.0))
}

/// Gives the container's usage every `interval` and `{"type":"oom",…}` whenever a process
/// of it is killed because its memory limit was reached (on cgroup v1 also when reaching it
/// killed nobody); returns when it has ended.
///
/// # Errors
/// As [`stats`], and what `tell` returns.
pub fn events(
    store: &Store,
    id: &str,
    interval: Duration,
    mut tell: impl FnMut(&Value) -> Result<()>,
) -> Result<()> {
    let step = || format!("watch container {id}");
    if interval.is_zero() {
        return Err(Error::said(step(), "duration interval must be greater than 0"));
    }
    let (record, look) = found(store, id)?;
    let Some(init) = look.init else {
        return Err(not_running(id));
    };
    // Without the memory controller there is nothing to hear of, but much to tell.
    let mut memory = OutOfMemory::watch(&record.tree()).ok();
    let mut next = Instant::now() + interval;
    loop {
        let left = next.saturating_duration_since(Instant::now());
        // Rounded up, so that it doesn't wake before its time.
        let timeout = PollTimeout::try_from(left + Duration::from_millis(1));
        let mut fds = vec![PollFd::new(init.as_fd(), PollFlags::POLLIN)];
        fds.extend(memory.as_ref().map(|memory| PollFd::new(memory.as_fd(), PollFlags::POLLIN)));
        match poll(&mut fds, timeout.unwrap_or(PollTimeout::MAX)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::system(step(), errno)),
        }
        let has_ended = fds[0].any().unwrap_or(false);
        match memory.as_mut().map(OutOfMemory::look) {
            Some(Seen::OutOfMemory) => tell(&json!({ "type": "oom", "id": id }))?,
            // Its descriptor would stay readable.
            Some(Seen::End) => memory = None,
            Some(Seen::Nothing) | None => {}
        }
        if has_ended {
            return Ok(());
        }
        if Instant::now() >= next {
            tell(&usage(&record))?;
            next += interval;
        }
    }
}

fn usage(record: &Record) -> Value {
    json!({ "type": "stats", "id": record.id, "data": record.tree().usage() })
}

pub(super) fn found(store: &Store, id: &str) -> Result<(Record, Look)> {
    let file = store.find(id)?;
    let record = file.record()?;
    let look = Look::at(&file, &record)?;
    match look.status {
        Status::Stopped | Status::Creating => Err(not_running(id)),
        _ => Ok((record, look)),
    }
}

fn not_running(id: &str) -> Error {
    Error::said("look at its usage", format!("container with id {id} is not running"))
}
