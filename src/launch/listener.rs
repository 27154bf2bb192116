//! The listener of a seccomp filter that notifies (seccomp_unotify(2)): from the container's
//! process to the socket that config.json names.
//!
//! The process that installs the filter is under it at once, and the call by which it sent
//! the listener might be one that the listener is to be asked about. So a second process,
//! which was forked before and has the same table of descriptors, sends it to the runtime,
//! and the runtime, whose files are the host's, to the socket. Only then does the
//! container's process go on: with whoever listens there, every call is answered.

use std::io::{IoSlice, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use serde_json::{Value, json};

use super::{FAILED, GO, Journal, LISTENER};
use crate::error::{Error, Result};
use crate::seccomp::{Filter, Listener};
use crate::sys;

/// There won't be a listener.
const NONE: u64 = 1;
/// The runtime has delivered it.
const DELIVERED: u64 = 2;
/// It has the descriptor number in the lower half.
const OPEN: u64 = 1 << 32;

const CONFIG: &str = "linux.seccomp.listenerPath";

/// Installs a filter and has its listener delivered; for the container's side.
pub(super) fn install(filter: &Filter, journal: &Journal, sync: BorrowedFd<'_>) -> sys::Result<()> {
    let own = std::process::id();
    journal.set_listener(0);
    let Some(sender) = sys::process::fork_sharing_descriptors()? else {
        sys::process::exit(send(own, journal, sync));
    };
    let (program, flags) = (filter.program.instructions(), filter.flags);
    match sys::seccomp::set_filter_with_listener(program, flags) {
        Ok(number) => journal.set_listener(OPEN | number as u64),
        Err(errno) => {
            journal.set_listener(NONE);
            let _ = sys::process::wait_silent(sender);
            return Err(errno);
        }
    }
    // The filter may refuse this too; then the journal tells, which no filter forbids.
    let waited = sys::process::wait_silent(sender);
    while waited.is_err() && journal.listener() & OPEN != 0 {
        std::hint::spin_loop();
    }
    match journal.listener() {
        DELIVERED => Ok(()),
        // The runtime couldn't, or is dead, and says itself what of.
        _ => sys::process::exit(FAILED),
    }
}

/// The sender's life; gives its exit status. `parent` can't wake it by a system call, which
/// might be one that the filter is about, so it looks again and again for the short while
/// in which the kernel installs the filter.
fn send(parent: u32, journal: &Journal, sync: BorrowedFd<'_>) -> i32 {
    let told = sys::identity::set_parent_death_signal(Signal::SIGKILL as i32);
    if told.is_err() || std::os::unix::process::parent_id() != parent {
        journal.set_listener(NONE);
        return FAILED;
    }
    let number = loop {
        match journal.listener() {
            0 => std::thread::yield_now(),
            NONE => return FAILED,
            open => break open as u32 as i32,
        }
    };
    // Closed for both when it has been sent: nobody in the container keeps it.
    let listener = sys::descriptors::adopt(number);
    let sent = sys::message::send(sync, LISTENER, Some(listener.as_fd()));
    drop(listener);
    match sent.and_then(|()| sys::message::receive(sync)) {
        Ok(Some((GO, _))) => {
            journal.set_listener(DELIVERED);
            0
        }
        _ => {
            journal.set_listener(NONE);
            FAILED
        }
    }
}

/// Sends a listener with the "container process state" (runtime-spec) of the process `pid`
/// in a container of this `state`, over a connection of its own.
///
/// # Errors
/// When nobody listens there, or the connection ends too early.
pub(super) fn deliver(
    named: &Listener,
    listener: BorrowedFd<'_>,
    pid: i32,
    state: &str,
) -> Result<()> {
    let step = format!("send the seccomp listener to {}", named.path.display());
    let failed = |errno| Error::system(step.as_str(), errno).at(CONFIG);
    let mut socket = UnixStream::connect(&named.path).map_err(|error| {
        let error = Error::io(step.as_str(), &error).at(CONFIG);
        error.hint("a process that answers its notifications must listen there first")
    })?;
    let message = process_state(named, pid, state).to_string().into_bytes();
    let descriptors = [listener.as_raw_fd()];
    let control = [ControlMessage::ScmRights(&descriptors)];
    let (data, flags) = ([IoSlice::new(&message)], MsgFlags::MSG_NOSIGNAL);
    let sent = loop {
        match sendmsg::<UnixAddr>(socket.as_raw_fd(), &data, &control, flags, None) {
            Err(Errno::EINTR) => {}
            sent => break sent.map_err(failed)?,
        }
    };
    // A descriptor goes with the first byte; a long message may need more than one call.
    let rest = message.get(sent..).unwrap_or_default();
    socket.write_all(rest).map_err(|error| Error::io(step.as_str(), &error).at(CONFIG))
}

fn process_state(named: &Listener, pid: i32, state: &str) -> Value {
    let state: Value = serde_json::from_str(state).unwrap_or_default();
    let mut json = json!({
        "ociVersion": state["ociVersion"],
        "fds": ["seccompFd"],
        "pid": pid,
        "state": state,
    });
    if let Some(metadata) = &named.metadata {
        json["metadata"] = metadata.as_str().into();
    }
    json
}
