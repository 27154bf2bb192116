//! A container's directory: its lock, its record, and its removal.
//!
//! Verbs that change a container hold an exclusive lock (flock(2)) on its directory;
//! those that only look, signal or execute read without one: what is written down there is
//! never changed, only continued. The lock is on the directory itself, not on a file in it: a
//! directory that was removed while somebody waited is noticed by its inode.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::ops::Deref;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat, stat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::record::Record;
use super::store::no_such_container;
use crate::error::{Error, Result};
use crate::sys;

/// What is written down of a container; `record.rs` says how.
pub(super) const RECORD: &str = "record";
/// A file that is there when somebody waits to delete the container by force.
const DELETING: &str = "deleting";
/// A file that is there once the container may be in cgroups that the record has for later.
const IN_LATER_CGROUP: &str = "in-later-cgroup";

const DIRECTORY: OFlag =
    OFlag::O_DIRECTORY.union(OFlag::O_RDONLY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

const WRITTEN: OFlag = OFlag::O_WRONLY.union(OFlag::O_CREAT).union(OFlag::O_CLOEXEC);

/// A container's directory. Its files are read by descriptor, so that all of them are
/// of the same container even if it is removed and made anew meanwhile.
#[derive(Debug)]
pub(crate) struct StateDir {
    id: String,
    path: PathBuf,
    fd: Arc<OwnedFd>,
}

/// A [`StateDir`] that is this process's to change.
#[derive(Debug)]
pub(crate) struct Locked {
    dir: StateDir,
    _lock: Lock,
}

/// A lock that ends when this is dropped, also when a child still has a copy of the
/// descriptor.
#[derive(Debug)]
struct Lock(Arc<OwnedFd>);

impl Drop for Lock {
    fn drop(&mut self) {
        // Else it ends with the last copy.
        let _ = sys::file::flock(self.0.as_fd(), libc::LOCK_UN);
    }
}

impl Deref for Locked {
    type Target = StateDir;

    fn deref(&self) -> &StateDir {
        &self.dir
    }
}

impl StateDir {
    /// The one at `path`, without a lock.
    ///
    /// # Errors
    /// `ENOENT` and the others of open(2).
    pub(super) fn open(id: &str, path: PathBuf) -> sys::Result<StateDir> {
        let fd = Arc::new(sys::file::open(&path, DIRECTORY)?);
        Ok(StateDir { id: id.to_owned(), path, fd })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// `None` when the directory at this path isn't this one any more.
    pub(super) fn lock(self, how: i32) -> Result<Option<Locked>> {
        let locked = self.wait(how)?;
        let failed = |errno| not_locked(&locked.id, errno);
        let identity = |found: FileStat| (found.st_dev, found.st_ino);
        let own = fstat(&locked.fd).map(identity).map_err(failed)?;
        match stat(&locked.path).map(identity) {
            Ok(found) if found == own => Ok(Some(locked)),
            Ok(_) | Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(failed(errno)),
        }
    }

    /// The same for who has other means to know whether it is there still.
    fn wait(self, how: i32) -> Result<Locked> {
        while let Err(errno) = sys::file::flock(self.fd.as_fd(), how) {
            if errno != Errno::EINTR {
                return Err(not_locked(&self.id, errno));
            }
        }
        let lock = Lock(self.fd.clone());
        Ok(Locked { dir: self, _lock: lock })
    }

    /// Locks a container again which this process has made; `None` when it has been deleted
    /// meanwhile, whoever has its directory now.
    pub(crate) fn lock_again(self, record: &RecordFile) -> Result<Option<Locked>> {
        let locked = self.wait(libc::LOCK_EX)?;
        let failed = |errno| Error::system(format!("look at {}", record.path.display()), errno);
        let links = fstat(&record.file).map_err(failed)?.st_nlink;
        Ok((links > 0).then_some(locked))
    }

    /// Begins a container in its directory; `None` when that was removed in the meantime.
    pub(super) fn begin(self, is_made: bool) -> Result<Option<(Locked, RecordFile)>> {
        let locked = self.wait(libc::LOCK_EX)?;
        let path = locked.path.join(RECORD);
        let mut is_vacant = is_made;
        loop {
            let flags = WRITTEN | OFlag::O_EXCL;
            match openat(&locked.fd, RECORD, flags, Mode::from_bits_truncate(0o600)) {
                Ok(file) => {
                    if !is_vacant {
                        locked.remove_rest()?;
                    }
                    return Ok(Some((locked, RecordFile { path, file: file.into() })));
                }
                // Nothing can be made in a directory that is removed already.
                Err(Errno::ENOENT) => return Ok(None),
                Err(Errno::EEXIST) if Record::parse(&locked.read()?).is_none() => {
                    locked.remove_record()?;
                    is_vacant = false;
                }
                Err(Errno::EEXIST) => {
                    let reason = "container with given ID already exists";
                    return Err(Error::said(format!("create container {}", locked.id), reason));
                }
                Err(errno) => return Err(not_written(&path, &errno.into())),
            }
        }
    }

    /// Whether somebody changes this container now.
    pub(crate) fn is_locked(&self) -> bool {
        // A descriptor of its own: a lock belongs to the open file.
        let probe = openat(&self.fd, ".", DIRECTORY, Mode::empty());
        let how = libc::LOCK_SH | libc::LOCK_NB;
        probe.is_ok_and(|fd| sys::file::flock(fd.as_fd(), how) == Err(Errno::EWOULDBLOCK))
    }

    /// Tells whoever has the container locked to come to an end.
    pub(crate) fn ask_to_delete(&self) {
        // Where nothing can be written, the wait has its limit nevertheless.
        let _ = self.mark(DELETING);
    }

    /// Makes an empty file, unless it is there.
    fn mark(&self, name: &str) -> sys::Result<()> {
        openat(&self.fd, name, WRITTEN, Mode::from_bits_truncate(0o600)).map(drop)
    }

    /// Whether [`ask_to_delete`](Self::ask_to_delete) was called.
    pub(crate) fn is_to_be_deleted(&self) -> bool {
        self.has(DELETING)
    }

    /// Adds the cgroups to a record that the container has come into since.
    pub(crate) fn notice_later_cgroup(&self, record: &mut Record) {
        if !record.later_cgroup.is_empty() && self.has(IN_LATER_CGROUP) {
            record.notice_later_cgroup();
        }
    }

    /// Whether there is a file of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok()
    }

    /// Who owns the container.
    pub(crate) fn owner(&self) -> String {
        let uid = fstat(&self.fd).map_or(0, |found| found.st_uid);
        let user = nix::unistd::User::from_uid(uid.into()).ok().flatten();
        user.map_or_else(|| format!("#{uid}"), |user| user.name)
    }

    /// What is known of the container.
    ///
    /// # Errors
    /// "container does not exist" when it was removed, or its creator hasn't begun.
    pub(crate) fn record(&self) -> Result<Record> {
        self.parse(&self.read()?).map(|(record, _)| record)
    }

    /// The same with its config.json, which is whole once there is a first process.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    pub(crate) fn record_and_config(&self) -> Result<(Record, Vec<u8>)> {
        self.parse(&self.read()?).map(|(record, config)| (record, config.to_owned()))
    }

    fn parse<'a>(&self, text: &'a [u8]) -> Result<(Record, &'a [u8])> {
        let parsed = Record::parse(text).ok_or_else(|| no_such_container(&self.id))?;
        let (mut record, config) = parsed.map_err(|error| {
            Error::said(format!("read {}", self.path.join(RECORD).display()), error.to_string())
        })?;
        self.notice_later_cgroup(&mut record);
        Ok((record, config))
    }

    /// Empty when there is no record.
    fn read(&self) -> Result<Vec<u8>> {
        let failed = |error: &std::io::Error| {
            Error::io(format!("read {}", self.path.join(RECORD).display()), error)
        };
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let mut text = Vec::new();
        match openat(&self.fd, RECORD, flags, Mode::empty()) {
            Err(Errno::ENOENT) => {}
            Ok(fd) => {
                File::from(fd).read_to_end(&mut text).map_err(|error| failed(&error))?;
            }
            Err(errno) => return Err(failed(&errno.into())),
        }
        Ok(text)
    }
}

fn not_locked(id: &str, errno: Errno) -> Error {
    Error::system(format!("lock container {id}"), errno)
}

/// A container's record, for who writes it. It stays open as long as its container is this
/// process's: a file that has been removed tells that the container was.
#[derive(Debug)]
pub(crate) struct RecordFile {
    path: PathBuf,
    file: File,
}

impl RecordFile {
    /// Writes down what has become known.
    pub(crate) fn append(&self, text: &[u8]) -> Result<()> {
        (&self.file).write_all(text).map_err(|error| not_written(&self.path, &error))
    }
}

fn not_written(path: &Path, error: &std::io::Error) -> Error {
    Error::io(format!("write {}", path.display()), error)
}

impl Locked {
    /// Lets others change the container.
    pub(crate) fn unlock(self) -> StateDir {
        self.dir
    }

    /// Says that the container comes into cgroups which its record has for later: before they
    /// are made, so that whoever deletes it knows.
    ///
    /// # Errors
    /// Those of open(2).
    pub(crate) fn note_later_cgroup(&self) -> Result<()> {
        let failed = |errno: Errno| not_written(&self.path.join(IN_LATER_CGROUP), &errno.into());
        self.mark(IN_LATER_CGROUP).map_err(failed)
    }

    /// Removes the directory with all that is in it. Once the record is gone, the container
    /// is; who is killed before the directory is, leaves it to the next creator.
    pub(crate) fn remove(self) -> Result<()> {
        self.remove_record()?;
        loop {
            match fs::remove_dir(&self.path) {
                // Most often there is nothing but the record. Or somebody has just asked for
                // what is happening here.
                Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {
                    self.remove_rest()?;
                }
                removed => return removed.map_err(|error| self.not_removed(&error)),
            }
        }
    }

    fn remove_record(&self) -> Result<()> {
        match unlinkat(&self.fd, RECORD, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(self.not_removed(&errno.into())),
        }
    }

    /// Removes what lies beside the record.
    fn remove_rest(&self) -> Result<()> {
        for entry in fs::read_dir(&self.path).map_err(|error| self.not_removed(&error))? {
            let entry = entry.map_err(|error| self.not_removed(&error))?;
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let removed = match entry.file_name() {
                name if name == RECORD => continue,
                _ if is_dir => fs::remove_dir_all(entry.path()),
                _ => fs::remove_file(entry.path()),
            };
            match removed {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(self.not_removed(&error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn not_removed(&self, error: &std::io::Error) -> Error {
        Error::io(format!("remove {}", self.path.display()), error)
    }
}
