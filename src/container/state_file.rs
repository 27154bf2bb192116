//! A container's file: its lock, its record, and its removal.
//!
//! Verbs that change a container hold an exclusive lock (flock(2)) on its file; those that
//! only look, signal or execute read without one: what is written down there is never
//! changed, only continued. That a file was removed while somebody waited for it shows in its
//! number of links, whatever has its name by then.
//!
//! A file and not a directory: some file systems wait until the disk knows that a directory's
//! block is free. Only a container that waits for `start` has one beside its file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fchmod, fstat};

use super::record::{IN_LATER_CGROUP, Record};
use super::store::no_such_container;
use crate::error::{Error, Result};
use crate::launch::hand_over;
use crate::sys;

/// The file's mode, and what it is when somebody waits to delete the container by force.
const PRIVATE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);
const DELETING: Mode = PRIVATE.union(Mode::S_IXUSR);

/// A container's file. It stays the same container's if that is removed and made anew
/// meanwhile.
#[derive(Debug)]
pub(crate) struct StateFile {
    id: String,
    path: PathBuf,
    file: Arc<File>,
}

/// A [`StateFile`] that is this process's to change.
#[derive(Debug)]
pub(crate) struct Locked {
    file: StateFile,
    _lock: Lock,
}

/// A lock that ends when this is dropped, also when a child still has a copy of the
/// descriptor.
#[derive(Debug)]
struct Lock(Arc<File>);

impl Drop for Lock {
    fn drop(&mut self) {
        // Else it ends with the last copy.
        let _ = sys::file::flock(self.0.as_fd(), libc::LOCK_UN);
    }
}

impl Deref for Locked {
    type Target = StateFile;

    fn deref(&self) -> &StateFile {
        &self.file
    }
}

/// The directory beside a container's file with the socket that `start` knocks at. No id has
/// this character in it.
pub(super) fn start_dir(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push("~");
    path.into()
}

impl StateFile {
    /// The one at `path`, without a lock.
    ///
    /// # Errors
    /// `ENOENT` and the others of open(2).
    pub(super) fn open(id: &str, path: PathBuf) -> sys::Result<StateFile> {
        let file = sys::file::open(&path, OFlag::O_RDONLY | OFlag::O_NOFOLLOW)?;
        Ok(StateFile::new(id, path, file))
    }

    /// A new one, without a lock: somebody may take it for what a killed creator left, and
    /// remove it.
    ///
    /// # Errors
    /// `EEXIST`, and the others of open(2).
    pub(super) fn make(id: &str, path: PathBuf) -> sys::Result<StateFile> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let file = openat(AT_FDCWD, &path, flags, PRIVATE)?;
        Ok(StateFile::new(id, path, file))
    }

    fn new(id: &str, path: PathBuf, file: OwnedFd) -> Self {
        StateFile { id: id.to_owned(), path, file: Arc::new(file.into()) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where `start` knocks, if this waits for it.
    pub(super) fn start_dir(&self) -> PathBuf {
        start_dir(&self.path)
    }

    /// `None` when the container has been removed, whoever has its id now.
    ///
    /// # Errors
    /// `EWOULDBLOCK` when somebody has the lock and `how` is not to wait.
    pub(super) fn lock(self, how: i32) -> Result<Option<Locked>> {
        let failed = |errno| Error::system(format!("lock container {}", self.id), errno);
        while let Err(errno) = sys::file::flock(self.file.as_fd(), how) {
            if errno != Errno::EINTR {
                return Err(failed(errno));
            }
        }
        let _lock = Lock(self.file.clone());
        let links = self.stat().map_err(failed)?.st_nlink;
        Ok((links > 0).then_some(Locked { file: self, _lock }))
    }

    fn stat(&self) -> sys::Result<FileStat> {
        fstat(&self.file)
    }

    /// Whether somebody changes this container now.
    pub(crate) fn is_locked(&self) -> bool {
        // A descriptor of its own: a lock belongs to the open file.
        let again = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let probe = sys::file::open(again.as_str(), OFlag::O_RDONLY);
        let how = libc::LOCK_SH | libc::LOCK_NB;
        probe.is_ok_and(|fd| sys::file::flock(fd.as_fd(), how) == Err(Errno::EWOULDBLOCK))
    }

    /// Tells whoever has the container locked to come to an end.
    pub(crate) fn ask_to_delete(&self) {
        // Where nothing can be changed, the wait has its limit nevertheless.
        let _ = fchmod(&self.file, DELETING);
    }

    /// Whether [`ask_to_delete`](Self::ask_to_delete) was called.
    pub(crate) fn is_to_be_deleted(&self) -> bool {
        self.stat().is_ok_and(|found| Mode::from_bits_truncate(found.st_mode).contains(DELETING))
    }

    /// Whether there is a socket at which `start` can knock.
    pub(crate) fn waits_for_start(&self) -> bool {
        self.start_dir().join(hand_over::SOCKET).symlink_metadata().is_ok()
    }

    /// Adds the cgroups to a record that the container has come into since.
    pub(crate) fn notice_later_cgroup(&self, record: &mut Record) {
        if !record.later_cgroup.is_empty() && self.is_in_later_cgroup() {
            record.notice_later_cgroup();
        }
    }

    fn is_in_later_cgroup(&self) -> bool {
        let mut end = [0; IN_LATER_CGROUP.len()];
        let size = self.stat().map_or(0, |found| found.st_size as u64);
        let at = size.saturating_sub(end.len() as u64);
        self.file.read_exact_at(&mut end, at).is_ok() && end == IN_LATER_CGROUP
    }

    /// Who owns the container.
    pub(crate) fn owner(&self) -> String {
        let uid = self.stat().map_or(0, |found| found.st_uid);
        let user = nix::unistd::User::from_uid(uid.into()).ok().flatten();
        user.map_or_else(|| format!("#{uid}"), |user| user.name)
    }

    /// What is known of the container.
    ///
    /// # Errors
    /// "container does not exist" when its creator hasn't begun.
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

    /// Whether there is no record in it: its creator hasn't begun, or was killed.
    ///
    /// # Errors
    /// When it can't be read.
    pub(super) fn is_vacant(&self) -> Result<bool> {
        self.read().map(|text| Record::parse(&text).is_none())
    }

    fn parse<'a>(&self, text: &'a [u8]) -> Result<(Record, &'a [u8])> {
        let parsed = Record::parse(text).ok_or_else(|| no_such_container(&self.id))?;
        let (mut record, config) = parsed.map_err(|error| {
            Error::said(format!("read {}", self.path.display()), error.to_string())
        })?;
        self.notice_later_cgroup(&mut record);
        Ok((record, config))
    }

    fn read(&self) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        let mut file = &*self.file;
        file.rewind()
            .and_then(|()| file.read_to_end(&mut text))
            .map_err(|error| Error::io(format!("read {}", self.path.display()), &error))?;
        Ok(text)
    }
}

impl Locked {
    /// Lets others change the container.
    pub(crate) fn unlock(self) -> StateFile {
        self.file
    }

    /// Writes down what has become known; for who has made the container.
    ///
    /// # Errors
    /// Those of write(2).
    pub(crate) fn append(&self, text: &[u8]) -> Result<()> {
        (&*self.file.file).write_all(text).map_err(|error| self.not_written(&error))
    }

    /// Says that the container comes into cgroups which its record has for later: before they
    /// are made, so that whoever deletes it knows.
    ///
    /// # Errors
    /// Those of open(2) and write(2).
    pub(crate) fn note_later_cgroup(&self) -> Result<()> {
        if self.is_in_later_cgroup() {
            return Ok(());
        }
        let flags = libc::O_NOFOLLOW;
        let opened = OpenOptions::new().append(true).custom_flags(flags).open(&self.path);
        opened
            .and_then(|mut file| file.write_all(IN_LATER_CGROUP))
            .map_err(|error| self.not_written(&error))
    }

    fn not_written(&self, error: &io::Error) -> Error {
        Error::io(format!("write {}", self.path.display()), error)
    }

    /// Removes the file, and first what lies beside it: who is killed in between leaves a
    /// container that can be deleted.
    ///
    /// # Errors
    /// Those of unlink(2) and rmdir(2).
    pub(crate) fn remove(self) -> Result<()> {
        let removed = match fs::remove_dir(self.start_dir()) {
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {
                fs::remove_dir_all(self.start_dir())
            }
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        removed
            .and_then(|()| match fs::remove_file(&self.path) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            })
            .map_err(|error| Error::io(format!("remove {}", self.path.display()), &error))
    }
}
