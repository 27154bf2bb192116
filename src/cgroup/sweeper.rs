//! A process that removes a cgroup when the runtime is done with it, or dead.
//!
//! Nothing in the kernel ties a cgroup's life to a process, and a runtime that was
//! killed with SIGKILL can't clean up. So a small fork waits at the end of a socket: when
//! the runtime's end closes, for whatever reason, it removes the directories and ends.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, UnlinkatFlags, read, setsid, unlinkat};

use super::{Dir, Tree};
use crate::error::{Error, Result};
use crate::sys;

/// How long to wait between attempts while processes still leave, in milliseconds.
const PAUSES: [u16; 8] = [1, 1, 2, 4, 8, 16, 50, 100];

/// How often to look after a cgroup that stays busy with nobody in it: ten seconds.
const PATIENCE: u32 = 50;

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// The runtime's word that nothing is to be removed.
const RELEASE: u8 = b'r';

/// The runtime's hold on the sweeper. Dropping it lets go: the cgroup is removed as soon
/// as the container has ended.
#[derive(Debug)]
pub(crate) struct Sweeper {
    pid: Pid,
    line: Option<OwnedFd>,
    dirs: Vec<CString>,
}

impl Sweeper {
    /// Forks the process that will remove `dirs`, the last first.
    ///
    /// # Errors
    /// When no process or descriptor can be had.
    pub(crate) fn start(dirs: Vec<CString>) -> Result<Self> {
        let failed = |errno| Error::system("start the cgroup's sweeper", errno);
        let (line, far_end) = sys::message::pair().map_err(failed)?;
        let mask = sys::signal::block_all();
        let forked = sys::process::fork(None);
        if let Ok(None) = forked {
            sys::descriptors::keep_only(far_end.as_fd(), |line| sweep(line, &dirs));
        }
        sys::signal::restore(&mask);
        match forked {
            Ok(Some(pid)) => Ok(Sweeper { pid, line: Some(line), dirs }),
            Ok(None) => sys::process::exit(0),
            Err(errno) => Err(failed(errno)),
        }
    }

    /// Removes the cgroup now, with all that was made below it; the container must have
    /// ended.
    pub(crate) fn finish(self) {
        let dir = |dir: &CString| Dir::new("", OsStr::from_bytes(dir.to_bytes()).as_ref());
        let dirs: Vec<Dir> = self.dirs.iter().map(dir).collect();
        if Tree::new(&dirs).remove().is_ok() {
            self.release();
        }
        // Else somebody is still in it, and the sweeper removes it when they have gone.
    }

    /// Removes the directories made before `dir`, which couldn't be made, and lets the rest
    /// be.
    pub(crate) fn release_from(self, dir: &CStr) {
        for made in self.dirs.iter().take_while(|made| made.as_c_str() != dir) {
            // Nobody has been in it yet.
            let _ = sys::process::rmdir(made);
        }
        self.release();
    }

    /// Lets the cgroup be: it has become somebody else's to remove.
    pub(crate) fn release(mut self) {
        if let Some(line) = self.line.take() {
            // A sweeper that doesn't get this is dead, and removes nothing either.
            let _ = sys::message::send(line.as_fd(), RELEASE, None);
        }
        // ECHILD: somebody else reaped it, so it has ended as well.
        let _ = sys::process::wait_silent(self.pid);
    }

    /// The directories that will be removed.
    pub(crate) fn dirs(&self) -> &[CString] {
        &self.dirs
    }
}

/// Runs in the fork: must not allocate.
fn sweep(line: BorrowedFd<'_>, dirs: &[CString]) -> i32 {
    // A signal to the terminal's process group must not reach it.
    let _ = setsid();
    let _ = nix::sys::prctl::set_name(c"minirun-sweeper");
    if sys::message::wait_until_closed(line) != Some(RELEASE) {
        remove(dirs);
    }
    0
}

/// Removes the directories, the last first; one that is gone already is as good.
fn remove(dirs: &[CString]) {
    for dir in dirs.iter().rev() {
        let mut pauses = PAUSES.iter();
        let mut vain = 0;
        while let Err(Errno::EBUSY) = sys::process::rmdir(dir) {
            match remove_lowest(dir) {
                Lowest::Removed => continue,
                // The container's processes are on their way out, or its owner let go of it
                // while it runs; either way they end some time.
                Lowest::Inhabited => {}
                // Something is mounted on it, perhaps, and stays.
                Lowest::Vacant if vain == PATIENCE => break,
                Lowest::Vacant => vain += 1,
            }
            let pause = pauses.next().copied().unwrap_or(200);
            let _ = nix::poll::poll(&mut [], pause);
        }
    }
}

/// What was found at the bottom of a cgroup, where the container may have made some too.
enum Lowest {
    Removed,
    Inhabited,
    Vacant,
}

/// Removes one cgroup that has none below it, if there is one. Not by recursion: nobody
/// knows how deep they go.
fn remove_lowest(dir: &CStr) -> Lowest {
    let Ok(mut lowest) = sys::file::open(dir, DIRECTORY) else {
        return Lowest::Vacant;
    };
    loop {
        match next_below(&lowest) {
            Next::Removed => return Lowest::Removed,
            Next::Busy(child) => lowest = child,
            Next::None => break,
        }
    }
    let procs = openat(&lowest, c"cgroup.procs", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
    match procs.and_then(|procs| read(&procs, &mut [0])) {
        Ok(0) => Lowest::Vacant,
        _ => Lowest::Inhabited,
    }
}

/// A cgroup right below another.
enum Next {
    Removed,
    /// It has some below it, or somebody in it.
    Busy(OwnedFd),
    None,
}

fn next_below(dir: &OwnedFd) -> Next {
    let mut buffer = [0; 1024];
    while let Ok(Some(names)) = sys::file::read_dir(dir.as_fd(), &mut buffer) {
        for name in names.filter(|name| !matches!(name.to_bytes(), b"." | b"..")) {
            match unlinkat(dir, name, UnlinkatFlags::RemoveDir) {
                Ok(()) => return Next::Removed,
                Err(Errno::EBUSY) => {
                    let child = openat(dir, name, DIRECTORY, Mode::empty());
                    // Gone meanwhile, which is as good.
                    return child.map_or(Next::Removed, Next::Busy);
                }
                // A file, most likely.
                Err(_) => {}
            }
        }
    }
    Next::None
}
