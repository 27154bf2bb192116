//! `create` and `start`, two processes that may never meet: the container's process waits
//! at a socket in a directory beside the container's file, and `start` knocks there.
//!
//! `start` builds no plan. It sends a byte, and the connection's end-of-file says that
//! execve has succeeded; a step that failed comes as one message, with the words that
//! `create` had ready for it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr, bind, connect, listen, recv,
    send, socket,
};
use nix::sys::stat::Mode;
use nix::unistd::mkdir;

use super::{GO, hint};
use crate::error::{Error, Result};
use crate::plan::Step;
use crate::plan::op::{Exec, Op};
use crate::sys;

/// The socket's name in its directory.
pub(crate) const SOCKET: &str = "start.sock";

const DIRECTORY: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY);

/// The longest message, in bytes; longer words are cut.
const LONGEST: usize = 4096;

/// errno, raw hook status, and which kind of failure it was.
const HEADER: usize = 9;

/// Opens the socket that the container's process will wait at, in a directory that is made.
///
/// # Errors
/// Those of mkdir(2); `EADDRINUSE` when there is a socket already.
pub(super) fn open(dir: &Path) -> sys::Result<OwnedFd> {
    match mkdir(dir, Mode::S_IRWXU) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno),
    }
    let socket = new_socket()?;
    bind(socket.as_raw_fd(), &address(&sys::file::open(dir, DIRECTORY)?)?)?;
    listen(&socket, Backlog::new(8).unwrap_or(Backlog::MAXCONN))?;
    Ok(socket)
}

fn new_socket() -> sys::Result<OwnedFd> {
    socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)
}

/// By descriptor, since the path of a socket has 107 bytes at most (unix(7)).
fn address(dir: &OwnedFd) -> sys::Result<UnixAddr> {
    UnixAddr::new(format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd()).as_str())
}

/// Lets the target of a created container run; returns when its execve has succeeded.
///
/// # Errors
/// The step that failed, in the words of `create`; when the container's process is gone.
pub(crate) fn start(dir: &Path) -> Result<()> {
    let step = "start the container";
    let failed = |errno| Error::system(step, errno);
    let opened = sys::file::open(dir, DIRECTORY).map_err(failed)?;
    let caller = new_socket().map_err(failed)?;
    let address = address(&opened).map_err(failed)?;
    let go = connect(caller.as_raw_fd(), &address)
        .and_then(|()| send(caller.as_raw_fd(), &[GO], MsgFlags::MSG_NOSIGNAL));
    match go {
        Err(Errno::ECONNREFUSED | Errno::ECONNRESET | Errno::EPIPE) => {
            return Err(Error::said(step, "its process has ended before it was started"));
        }
        // It looks as if it waited until its program runs, or it has died of a signal.
        Err(Errno::ENOENT) => {
            return Err(Error::said(step, "cannot start a container that was started before"));
        }
        sent => sent.map_err(failed)?,
    };
    // Only now: a start that is killed before this can be tried again.
    let _ = std::fs::remove_file(dir.join(SOCKET)).and_then(|()| std::fs::remove_dir(dir));
    let mut message = [0; LONGEST];
    let length = loop {
        match recv(caller.as_raw_fd(), &mut message, MsgFlags::empty()) {
            Err(Errno::EINTR) => {}
            // The container was killed meanwhile, which isn't this call's failure.
            Err(Errno::ECONNRESET) => break 0,
            answer => break answer.map_err(failed)?,
        }
    };
    match message.get(..length) {
        None | Some([]) => Ok(()),
        Some(evidence) => Err(read(evidence)),
    }
}

/// The words for a step that could fail after the hand-over, for [`tell`].
pub(super) fn words(step: &Step, exec: Option<&Exec>) -> Vec<u8> {
    let what = match (&step.op, exec) {
        (Op::Exec(_), Some(exec)) => hint::execute(exec),
        (op, _) => op.to_string(),
    };
    format!("{what}\0{}", step.place).into_bytes()
}

/// Tells `start` of a failure; allocates nothing.
pub(super) fn tell(
    caller: BorrowedFd<'_>,
    op: &Op,
    errno: Errno,
    hook_status: Option<i32>,
    words: &[u8],
) {
    let mut message = [0; LONGEST];
    let kind = match op {
        Op::Exec(_) => b'x',
        Op::Hook(_) => b'h',
        _ => b's',
    };
    message[..4].copy_from_slice(&(errno as i32).to_le_bytes());
    message[4..8].copy_from_slice(&hook_status.unwrap_or(0).to_le_bytes());
    message[8] = kind;
    let length = words.len().min(LONGEST - HEADER);
    if let (Some(room), Some(words)) =
        (message.get_mut(HEADER..HEADER + length), words.get(..length))
    {
        room.copy_from_slice(words);
    }
    // Nobody listens any more when `start` was killed.
    let message = message.get(..HEADER + length).unwrap_or(&[]);
    let _ = send(caller.as_raw_fd(), message, MsgFlags::MSG_NOSIGNAL);
}

fn read(message: &[u8]) -> Error {
    let number = |at: usize| {
        let bytes = message.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        i32::from_le_bytes(bytes.unwrap_or_default())
    };
    let (errno, status) = (Errno::from_raw(number(0)), number(4));
    let text = String::from_utf8_lossy(message.get(HEADER..).unwrap_or(&[]));
    let (step, place) = text.split_once('\0').unwrap_or((&text, ""));
    let error = match message.get(8) {
        Some(b'x') if errno == Errno::ENOEXEC => Error::exec(step, errno).hint(hint::NO_FORMAT),
        Some(b'x') => Error::exec(step, errno),
        Some(b'h') => match super::hook::outcome(errno, status) {
            Some(reason) => Error::said(step, reason),
            None => Error::system(step, errno),
        },
        _ => Error::system(step, errno),
    };
    error.at(place)
}

/// Waits until somebody connects and says go; gives the connection.
pub(super) fn await_start(listener: BorrowedFd<'_>) -> sys::Result<OwnedFd> {
    loop {
        let caller = sys::message::accept(listener)?;
        // One who connects and dies before saying go hasn't started anything.
        if let Ok(Some((GO, _))) = sys::message::receive(caller.as_fd()) {
            return Ok(caller);
        }
    }
}
