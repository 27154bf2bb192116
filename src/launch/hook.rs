//! Running hooks: on the runtime's side with all comforts, on the container's without
//! allocating.
//!
//! A hook reads the container's state from its standard input, and is killed when its time
//! is up (runtime-spec, "POSIX-platform Hooks").

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, Whence, lseek};

use super::journal::Journal;
use crate::error::{Error, Result};
use crate::plan::op::Hook;
use crate::sys;
use crate::sys::process::PointerArray;

/// The errno that stands for a hook that ran and failed; its status is in the journal.
const FAILED: Errno = Errno::ECANCELED;
/// The errno that stands for a hook whose time was up.
const TOO_LATE: Errno = Errno::ETIME;

/// Runs a hook in the runtime's namespaces, with `state` as its standard input.
///
/// # Errors
/// When it can't be executed, exits with another status than 0, takes longer than its
/// timeout, or `is_cancelled` while it runs; with what it wrote.
pub(crate) fn run(hook: &Hook, state: &str, is_cancelled: &dyn Fn() -> bool) -> Result<()> {
    let step = crate::plan::op::Op::Hook(hook.clone()).to_string();
    let failed = |error: &std::io::Error| Error::io(step.as_str(), error);
    let stdin = state_file(state).map_err(|errno| Error::system(step.as_str(), errno))?;
    let mut output: File = memory_file().map_err(|errno| Error::system(step.as_str(), errno))?;
    let share = |file: &File| file.try_clone().map(Stdio::from);
    let bytes = |string: &std::ffi::CString| OsStr::from_bytes(string.as_bytes()).to_owned();
    let mut command = Command::new(bytes(&hook.path));
    if let Some((name, args)) = hook.argv.split_first() {
        command.arg0(bytes(name)).args(args.iter().map(bytes));
    }
    command.env_clear().stdin(Stdio::from(stdin));
    command.stdout(share(&output).map_err(|e| failed(&e))?);
    command.stderr(share(&output).map_err(|e| failed(&e))?);
    for entry in &hook.envp {
        let entry = entry.as_bytes();
        if let Some(cut) = entry.iter().position(|byte| *byte == b'=') {
            let (name, value) = (&entry[..cut], &entry[cut + 1..]);
            command.env(OsStr::from_bytes(name), OsStr::from_bytes(value));
        }
    }
    // A runtime in the foreground takes its signals from a descriptor; a hook couldn't be
    // interrupted.
    sys::signal::reset_in_child(&mut command);
    let mut child = command.spawn().map_err(|error| failed(&error))?;
    let pid = Pid::from_raw(child.id() as i32);
    let end = watch(pid, hook.timeout, is_cancelled).map_err(|e| Error::system(step.as_str(), e));
    if !matches!(end, Ok(End::Own)) {
        // It may have ended in this moment; then there is nobody to kill.
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| failed(&error))?;
    let mut said = Vec::new();
    let _ = output.seek(SeekFrom::Start(0)).and_then(|_| output.read_to_end(&mut said));
    let reason = match end? {
        End::Own if status.success() => return Ok(()),
        End::Own => ended(status.into_raw()),
        End::TooLate => TIMED_OUT.to_owned(),
        End::Cancelled => "the container was deleted meanwhile, and it was killed".to_owned(),
    };
    Err(Error::said(step, with_output(reason, &String::from_utf8_lossy(&said))))
}

/// What a hook's end came of.
enum End {
    Own,
    TooLate,
    Cancelled,
}

/// How long a hook may still run when it has been cancelled.
const GLANCE: Duration = Duration::from_millis(100);

/// Waits for the end of a hook, which isn't reaped, or for a reason to kill it.
fn watch(pid: Pid, seconds: Option<u32>, is_cancelled: &dyn Fn() -> bool) -> sys::Result<End> {
    let pidfd = sys::process::pidfd_open(pid)?;
    let deadline = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds.into()));
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let pause = left.map_or(GLANCE, |left| left.min(GLANCE));
        let pause = PollTimeout::try_from(pause).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], pause) {
            Ok(0) if left.is_some_and(|left| left.is_zero()) => return Ok(End::TooLate),
            Ok(0) if is_cancelled() => return Ok(End::Cancelled),
            Ok(0) | Err(Errno::EINTR) => {}
            answer => return answer.map(|_| End::Own),
        }
    }
}

/// How a hook failed on the container's side, when it was the hook itself that failed.
pub(super) fn outcome(errno: Errno, status: i32) -> Option<String> {
    match errno {
        FAILED => Some(ended(status)),
        TOO_LATE => Some(TIMED_OUT.to_owned()),
        _ => None,
    }
}

const TIMED_OUT: &str = "it took longer than its timeout and was killed";

fn ended(status: i32) -> String {
    let status = std::process::ExitStatus::from_raw(status);
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it exited with status {code}"),
        (None, signal) => format!("it was killed by signal {}", signal.unwrap_or(0)),
    }
}

fn with_output(reason: String, said: &str) -> String {
    match said.trim() {
        "" => reason,
        said => format!("{reason} and said: {said}"),
    }
}

/// A file in memory with a state in it, to be read from its start.
///
/// # Errors
/// When there is no memory or descriptor for it.
pub(super) fn state_file(state: &str) -> sys::Result<File> {
    let file = memory_file()?;
    fill(&file, state)?;
    Ok(file)
}

pub(super) fn memory_file() -> sys::Result<File> {
    memfd_create(c"minirun-state", MFdFlags::MFD_CLOEXEC).map(File::from)
}

pub(super) fn fill(mut file: &File, state: &str) -> sys::Result<()> {
    let errno = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO));
    file.write_all(state.as_bytes()).map_err(errno)?;
    file.seek(SeekFrom::Start(0)).map(drop).map_err(errno)
}

/// Runs a hook in this process's namespaces; for the container's side, allocates nothing.
pub(super) fn run_inside(
    hook: &Hook,
    (argv, envp): (&PointerArray<'_>, &PointerArray<'_>),
    state: BorrowedFd<'_>,
    journal: &Journal,
) -> sys::Result<()> {
    // The hook before has read it to its end.
    lseek(state, 0, Whence::SeekSet)?;
    let Some(pid) = sys::process::fork(Some(Signal::SIGCHLD))? else {
        let _ = sys::descriptors::dup_onto(state, 0);
        let _ = sys::descriptors::close_on_exec_from(3);
        sys::signal::reset(u64::MAX);
        sys::process::execve(&hook.path, argv, envp, None);
        sys::process::exit(127);
    };
    if !wait_for(pid, hook.timeout)? {
        let _ = sys::signal::kill(pid.as_raw(), libc::SIGKILL);
        let _ = sys::process::wait4(pid, true);
        return Err(TOO_LATE);
    }
    let (status, _) = sys::process::wait4(pid, true)?.unwrap_or_default();
    journal.hook_ended(status);
    if status == 0 { Ok(()) } else { Err(FAILED) }
}

/// Waits for the end of a child, which isn't reaped; false when the time was up.
fn wait_for(pid: Pid, seconds: Option<u32>) -> sys::Result<bool> {
    let Some(seconds) = seconds else {
        return Ok(true);
    };
    let pidfd = sys::process::pidfd_open(pid)?;
    let deadline = Instant::now() + Duration::from_secs(seconds.into());
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) if left.is_zero() => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            answer => return answer.map(|_| true),
        }
    }
}
