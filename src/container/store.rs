//! Where containers are written down: a root directory with one directory a container.
//!
//! Verbs that change a container hold an exclusive lock (flock(2)) on its directory;
//! those that only look, signal or execute read without one, since `state.json` is
//! replaced whole. The lock is on the directory itself, not on a file in it: a directory
//! that was removed while somebody waited is noticed by its inode.

use std::fs::{self, DirBuilder, File};
use std::io::{ErrorKind, Read, Write};
use std::ops::Deref;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, readlinkat, renameat};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat, stat};
use nix::unistd::{UnlinkatFlags, symlinkat, unlinkat};

use super::record::Record;
use crate::error::{Error, Result};
use crate::{host, similar, sys};

/// The record of a container.
const RECORD: &str = "state.json";
/// A symlink to "PID STARTTIME" of the container's first process: known before the
/// record can tell, and made in one system call.
const INIT: &str = "init";
/// A file that is there when everything has been made. To write the record again would cost
/// more, most of all where the filesystem then waits for the disk.
const CREATED: &str = "created";
/// config.json as it was when the container was created.
const CONFIG: &str = "config.json";
/// A file that is there when somebody waits to delete the container by force.
const DELETING: &str = "deleting";
/// Where root keeps containers.
const ROOT: &str = "/run/minirun";

/// The directory in which all containers of a user, or of an engine, are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// The store at `root`, or the user's own: /run/minirun for root, else minirun in
    /// $XDG_RUNTIME_DIR (for root of a user namespace too). It is made when something is
    /// put into it.
    ///
    /// # Errors
    /// When there is no such variable, or the working directory is gone.
    pub fn new(root: Option<&Path>) -> Result<Store> {
        let step = "choose the directory of containers";
        let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
        let root = match (root, runtime_dir) {
            (Some(root), _) if root.as_os_str().is_empty() => {
                return Err(Error::said(step, "its path is empty").at("--root"));
            }
            (Some(root), _) => std::path::absolute(root)
                .map_err(|error| Error::io("find the working directory", &error))?,
            (None, _) if host::is_real_root() => ROOT.into(),
            (None, Some(dir)) => Path::new(&dir).join("minirun"),
            (None, None) if nix::unistd::geteuid().is_root() => ROOT.into(),
            (None, None) => {
                return Err(Error::said(step, "XDG_RUNTIME_DIR is not set")
                    .hint("set it, or name a directory with --root"));
            }
        };
        Ok(Store { root })
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Every container, in the order of their ids.
    ///
    /// # Errors
    /// When the directory can't be read; one that isn't there holds none.
    pub fn ids(&self) -> Result<Vec<String>> {
        let failed = |error: &std::io::Error| {
            Error::io(format!("read the directory {}", self.root.display()), error)
        };
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|error| failed(&error))?,
        };
        let mut ids = Vec::new();
        for entry in entries {
            let name = entry.map_err(|error| failed(&error))?.file_name();
            ids.extend(name.into_string().ok().filter(|name| check_id(name).is_ok()));
        }
        ids.sort();
        Ok(ids)
    }

    /// A container's directory, without a lock.
    ///
    /// # Errors
    /// "container does not exist", or the id isn't one.
    pub(crate) fn find(&self, id: &str) -> Result<StateDir> {
        check_id(id)?;
        let path = self.root.join(id);
        match open(&path, DIRECTORY, Mode::empty()) {
            Ok(fd) => Ok(StateDir { id: id.to_owned(), path, fd }),
            Err(Errno::ENOENT | Errno::ENOTDIR) => {
                let ids = self.ids().unwrap_or_default();
                let error = no_such_container(id);
                Err(match similar::to(id, ids.iter().map(String::as_str)) {
                    Some(meant) => error.hint(format!("a similar id exists: {meant}")),
                    None => error,
                })
            }
            Err(errno) => Err(Error::system(format!("open container {id}"), errno)),
        }
    }

    /// A container's directory, which nobody else changes until this is dropped. Waits
    /// for whoever has it now.
    ///
    /// # Errors
    /// As [`find`](Self::find), also when it was removed in the meantime.
    pub(crate) fn lock(&self, id: &str) -> Result<Locked> {
        loop {
            let dir = self.find(id)?;
            if let Some(locked) = dir.lock(libc::LOCK_EX)? {
                return Ok(locked);
            }
        }
    }

    /// The same without waiting; `None` when somebody has it.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub(crate) fn try_lock(&self, id: &str) -> Result<Option<Locked>> {
        let dir = self.find(id)?;
        let busy = format!("lock container {id}");
        match dir.lock(libc::LOCK_EX | libc::LOCK_NB) {
            Ok(Some(locked)) => Ok(Some(locked)),
            Ok(None) => self.try_lock(id),
            Err(error) if error == Error::system(busy, Errno::EWOULDBLOCK) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a new container's directory. What a creator left that was killed before it
    /// wrote anything down is taken over.
    ///
    /// # Errors
    /// When there is a container of this id.
    pub(crate) fn create(&self, id: &str) -> Result<Locked> {
        check_id(id)?;
        let step = format!("create container {id}");
        let failed = |dir: &Path, error: std::io::Error| {
            let made = Error::io(format!("{step}: make directory {}", dir.display()), &error);
            made.at("--root").hint(match error.kind() {
                ErrorKind::InvalidFilename => "the names of its directory and cgroup have a limit",
                _ => "--root names a directory that can be written, or where one can be made",
            })
        };
        let make_root = DirBuilder::new().recursive(true).mode(0o700).create(&self.root);
        make_root.map_err(|error| failed(&self.root, error))?;
        let path = self.root.join(id);
        loop {
            let is_made = match DirBuilder::new().mode(0o711).create(&path) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(failed(&path, error));
                }
                made => made.is_ok(),
            };
            let locked = match self.take(id) {
                Ok(Some(locked)) => locked,
                // Removed while this waited, so it can be made now.
                Ok(None) => continue,
                Err(error) => {
                    if is_made {
                        // Does nothing when somebody else has begun in it.
                        let _ = fs::remove_dir(&path);
                    }
                    return Err(error);
                }
            };
            // Meant for the creator that was killed.
            let _ = unlinkat(&locked.fd, DELETING, UnlinkatFlags::NoRemoveDir);
            return Ok(locked);
        }
    }

    /// The directory of a container that nobody has made yet; `None` when it was removed in
    /// the meantime.
    fn take(&self, id: &str) -> Result<Option<Locked>> {
        let Some(locked) = self.find(id)?.lock(libc::LOCK_EX)? else { return Ok(None) };
        if locked.has_record()? {
            let reason = "container with given ID already exists";
            return Err(Error::said(format!("create container {id}"), reason));
        }
        Ok(Some(locked))
    }
}

const DIRECTORY: OFlag =
    OFlag::O_DIRECTORY.union(OFlag::O_RDONLY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

pub(super) fn no_such_container(id: &str) -> Error {
    Error::said(format!("open container {id}"), "container does not exist")
}

/// Ids become names of directories and cgroups; the rules are runc's.
pub(crate) fn check_id(id: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
    if (1..=1024).contains(&id.len()) && id.chars().all(good) && id != "." && id != ".." {
        return Ok(());
    }
    let reason = format!("invalid id format: {id:?} isn't made of A-Za-z0-9_+-. alone");
    Err(Error::said("name the container", reason).at("ID"))
}

/// A container's directory. Its files are read by descriptor, so that all of them are
/// of the same container even if it is removed and made anew meanwhile.
#[derive(Debug)]
pub(crate) struct StateDir {
    id: String,
    path: PathBuf,
    fd: OwnedFd,
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
struct Lock(OwnedFd);

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
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// `None` when the directory at this path isn't this one any more.
    fn lock(self, how: i32) -> Result<Option<Locked>> {
        let failed = |errno| Error::system(format!("lock container {}", self.id), errno);
        let lock = Lock(self.fd.try_clone().map_err(|error| {
            failed(Errno::from_raw(error.raw_os_error().unwrap_or(libc::EMFILE)))
        })?);
        while let Err(errno) = sys::file::flock(lock.0.as_fd(), how) {
            if errno != Errno::EINTR {
                return Err(failed(errno));
            }
        }
        let identity = |found: FileStat| (found.st_dev, found.st_ino);
        let own = fstat(&self.fd).map(identity).map_err(failed)?;
        match stat(&self.path).map(identity) {
            Ok(found) if found == own => Ok(Some(Locked { dir: self, _lock: lock })),
            Ok(_) | Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(failed(errno)),
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
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_CLOEXEC;
        // Where nothing can be written, the wait has its limit nevertheless.
        let _ = openat(&self.fd, DELETING, flags, Mode::from_bits_truncate(0o600));
    }

    /// Whether [`ask_to_delete`](Self::ask_to_delete) was called.
    pub(crate) fn is_to_be_deleted(&self) -> bool {
        self.has(DELETING)
    }

    fn has(&self, name: &str) -> bool {
        fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok()
    }

    /// Who owns the container.
    pub(crate) fn owner(&self) -> String {
        let uid = fstat(&self.fd).map_or(0, |found| found.st_uid);
        let user = nix::unistd::User::from_uid(uid.into()).ok().flatten();
        user.map_or_else(|| format!("#{uid}"), |user| user.name)
    }

    fn has_record(&self) -> Result<bool> {
        Ok(self.read_file(RECORD)?.is_some())
    }

    /// What is known of the container.
    ///
    /// # Errors
    /// "container does not exist" when it was removed, or its creator hasn't begun.
    pub(crate) fn record(&self) -> Result<Record> {
        let text = self.read_file(RECORD)?.ok_or_else(|| no_such_container(&self.id))?;
        let mut record = Record::parse(&text).map_err(|error| {
            Error::said(format!("read {}", self.path.join(RECORD).display()), error.to_string())
        })?;
        if record.init.is_none() {
            record.init = match readlinkat(&self.fd, INIT) {
                Ok(target) => target.to_str().and_then(|target| target.parse().ok()),
                Err(Errno::ENOENT) => None,
                Err(errno) => {
                    let step = format!("read {}", self.path.join(INIT).display());
                    return Err(Error::system(step, errno));
                }
            };
        }
        record.is_created |= self.has(CREATED);
        Ok(record)
    }

    /// The same for verbs that act on whoever is in the container's cgroup. A later container
    /// with the same linux.cgroupsPath got it when nobody was in it any more: then there is
    /// nothing of this one in it, and it isn't this one's to remove.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    pub(crate) fn record_with_own_cgroup(&self) -> Result<Record> {
        let mut record = self.record()?;
        let store = Store { root: self.path.with_file_name("") };
        let is_later_owner = |id: &String| {
            let other = store.find(id).and_then(|dir| dir.record());
            other.is_ok_and(|other| {
                other.created > record.created
                    && other.init.is_some()
                    && other.cgroup.iter().any(|dir| record.cgroup.contains(dir))
            })
        };
        if !record.has_own_pid_namespace && store.ids()?.iter().any(is_later_owner) {
            record.cgroup.clear();
            record.unit = None;
        }
        Ok(record)
    }

    /// The container's config.json.
    ///
    /// # Errors
    /// "container does not exist" when it was removed.
    pub(crate) fn config(&self) -> Result<Vec<u8>> {
        self.read_file(CONFIG)?.ok_or_else(|| no_such_container(&self.id))
    }

    /// `None` when there is no such file.
    fn read_file(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let failed = |error: &std::io::Error| {
            Error::io(format!("read {}", self.path.join(name).display()), error)
        };
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let fd = match openat(&self.fd, name, flags, Mode::empty()) {
            Err(Errno::ENOENT) => return Ok(None),
            fd => fd.map_err(|errno| failed(&errno.into()))?,
        };
        let mut bytes = Vec::new();
        File::from(fd).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
        Ok(Some(bytes))
    }
}

impl Locked {
    /// Replaces the record; a reader sees the old one or the new one, whole.
    pub(crate) fn save(&self, record: &Record) -> Result<()> {
        self.replace(RECORD, record.to_json().as_bytes())
    }

    /// Keeps config.json for the verbs that need it later.
    pub(crate) fn save_config(&self, bytes: &[u8]) -> Result<()> {
        // Nobody looks for it before there is a record.
        self.write(CONFIG, bytes)
    }

    /// Notes the container's first process; a symlink is there whole or not at all.
    pub(crate) fn save_init(&self, init: super::process::InitProcess) -> Result<()> {
        symlinkat(init.to_string().as_str(), self.fd.as_fd(), INIT)
            .map_err(|errno| Error::system(format!("note the pid of container {}", self.id), errno))
    }

    /// Notes that everything has been made.
    pub(crate) fn save_created(&self) -> Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_CLOEXEC;
        openat(&self.fd, CREATED, flags, Mode::from_bits_truncate(0o600))
            .map(drop)
            .map_err(|errno| Error::system(format!("note that {} is created", self.id), errno))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let temporary = format!("{name}.new");
        self.write(&temporary, bytes)?;
        renameat(&self.fd, temporary.as_str(), &self.fd, name)
            .map_err(|errno| self.not_written(name, &errno.into()))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_CLOEXEC;
        let fd = openat(&self.fd, name, flags, Mode::from_bits_truncate(0o600))
            .map_err(|errno| self.not_written(name, &errno.into()))?;
        File::from(fd).write_all(bytes).map_err(|error| self.not_written(name, &error))
    }

    fn not_written(&self, name: &str, error: &std::io::Error) -> Error {
        Error::io(format!("write {}", self.path.join(name).display()), error)
    }

    /// Removes the directory with all that is in it, the record last: until then the
    /// container can be found, and its removal be tried again.
    pub(crate) fn remove(self) -> Result<()> {
        loop {
            self.remove_content()?;
            match fs::remove_dir(&self.path) {
                // Somebody has just asked for what is happening here.
                Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
                removed => {
                    return removed.map_err(|error| {
                        Error::io(format!("remove {}", self.path.display()), &error)
                    });
                }
            }
        }
    }

    fn remove_content(&self) -> Result<()> {
        let failed =
            |error: &std::io::Error| Error::io(format!("remove {}", self.path.display()), error);
        for entry in fs::read_dir(&self.path).map_err(|error| failed(&error))? {
            let entry = entry.map_err(|error| failed(&error))?;
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let removed = match entry.file_name() {
                name if name == RECORD || name == CREATED => continue,
                _ if is_dir => fs::remove_dir_all(entry.path()),
                _ => fs::remove_file(entry.path()),
            };
            match removed {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(&error)),
                _ => {}
            }
        }
        // The next container of this name must not find itself created.
        for name in [CREATED, RECORD] {
            match unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(failed(&errno.into())),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A store of this test's own, removed at the end.
    struct Temporary(Store);

    impl Temporary {
        fn new() -> Self {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("minirun-store-{}-{number}", std::process::id());
            let root = std::env::temp_dir().join(name);
            Temporary(Store::new(Some(&root)).unwrap())
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(self.0.root());
        }
    }

    #[test]
    fn a_root_that_is_none_is_named() {
        let store = Store::new(Some(Path::new("/dev/null"))).unwrap();
        let error = store.create("one").unwrap_err();
        assert_eq!(error.place(), Some("--root"));
        let error = error.to_string();
        assert!(error.contains("make directory /dev/null") && error.contains("EEXIST"), "{error}");
    }

    #[test]
    fn a_deletion_is_asked_for_until_somebody_makes_the_container_anew() {
        let temporary = Temporary::new();
        let store = &temporary.0;
        let left = store.create("one").unwrap();
        assert!(!left.is_to_be_deleted());
        store.find("one").unwrap().ask_to_delete();
        assert!(left.is_to_be_deleted());
        drop(left);
        assert!(!store.create("one").unwrap().is_to_be_deleted());
    }

    #[test]
    fn ids_are_checked_before_they_become_paths() {
        for good in ["a", "web-1.test_2+x", "-x", "...", &"a".repeat(1024)] {
            assert!(check_id(good).is_ok(), "{good:?}");
        }
        for bad in ["", ".", "..", "a/b", "../x", "a b", "ä", "a\0", &"a".repeat(1025)] {
            assert!(check_id(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_unknown_container_does_not_exist() {
        let store = Temporary::new();
        let error = store.0.find("nobody").unwrap_err().to_string();
        assert_eq!(error, "open container nobody: container does not exist");
        assert_eq!(store.0.ids().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn an_id_is_given_once() {
        let store = Temporary::new();
        let first = store.0.create("one").unwrap();
        first.save(&Record::example("one")).unwrap();
        drop(first);
        let error = store.0.create("one").unwrap_err().to_string();
        assert!(error.contains("container with given ID already exists"), "{error}");
        assert_eq!(store.0.ids().unwrap(), ["one"]);
        store.0.lock("one").unwrap().remove().unwrap();
        assert!(store.0.find("one").is_err());
        store.0.create("one").unwrap();
    }

    #[test]
    fn what_a_killed_creator_left_is_taken_over() {
        let store = Temporary::new();
        drop(store.0.create("one").unwrap());
        assert!(store.0.find("one").unwrap().record().is_err());
        store.0.create("one").unwrap();
    }

    #[test]
    fn a_record_comes_back_as_it_was_and_files_are_private() {
        use std::os::unix::fs::PermissionsExt;
        let store = Temporary::new();
        let dir = store.0.create("one").unwrap();
        let record = Record::example("one");
        dir.save(&record).unwrap();
        dir.save_config(b"{}").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(store.0.root()), 0o700);
        assert_eq!(mode(&dir.path().join(RECORD)), 0o600);
        let read = store.0.find("one").unwrap();
        assert_eq!(read.record().unwrap(), record);
        assert_eq!(read.read_file(CONFIG).unwrap().unwrap(), b"{}");
    }

    #[test]
    fn what_is_noted_beside_the_record_belongs_to_it() {
        let store = Temporary::new();
        let dir = store.0.create("one").unwrap();
        dir.save(&Record::example("one")).unwrap();
        assert!(!dir.record().unwrap().is_created);
        dir.save_created().unwrap();
        assert!(dir.record().unwrap().is_created);
        let init = super::super::process::InitProcess { pid: 123, start_time: 456 };
        dir.save_init(init).unwrap();
        assert_eq!(dir.record().unwrap().init, Some(init));
    }

    #[test]
    fn a_lock_excludes_others_and_is_seen() {
        let store = Temporary::new();
        let dir = store.0.create("one").unwrap();
        assert!(store.0.try_lock("one").unwrap().is_none());
        assert!(store.0.find("one").unwrap().is_locked());
        drop(dir);
        assert!(!store.0.find("one").unwrap().is_locked());
        assert!(store.0.try_lock("one").unwrap().is_some());
    }

    #[test]
    fn who_waited_for_a_removed_container_finds_none() {
        let store = Temporary::new();
        let dir = store.0.create("one").unwrap();
        dir.save(&Record::example("one")).unwrap();
        std::thread::scope(|scope| {
            let waiters: Vec<_> = (0..4).map(|_| scope.spawn(|| store.0.lock("one"))).collect();
            dir.remove().unwrap();
            for waiter in waiters {
                assert!(waiter.join().unwrap().is_err());
            }
        });
    }

    #[test]
    fn creators_at_once_make_one_container() {
        let store = Temporary::new();
        for _ in 0..20 {
            let made = std::thread::scope(|scope| {
                let create = || {
                    let dir = store.0.create("one")?;
                    dir.save(&Record::example("one"))
                };
                let all: Vec<_> = (0..8).map(|_| scope.spawn(create)).collect();
                all.into_iter().filter_map(|one| one.join().unwrap().ok()).count()
            });
            assert_eq!(made, 1);
            store.0.lock("one").unwrap().remove().unwrap();
        }
    }
}
