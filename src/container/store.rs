//! Where containers are written down: a root directory with one file a container
//! (`state_file.rs`).

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::record::Record;
use super::state_file::{Locked, StateFile};
use crate::error::{Error, Result};
use crate::{host, similar};

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

    /// A container's file, without a lock.
    ///
    /// # Errors
    /// "container does not exist", or the id isn't one.
    pub(crate) fn find(&self, id: &str) -> Result<StateFile> {
        check_id(id)?;
        match StateFile::open(id, self.path(id)) {
            Ok(file) => Ok(file),
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

    /// Where a container's file is, or would be.
    pub(crate) fn path(&self, id: &str) -> PathBuf {
        self.root.join(id)
    }

    /// A container's file, which nobody else changes until this is dropped. Waits for whoever
    /// has it now.
    ///
    /// # Errors
    /// As [`find`](Self::find), also when it was removed in the meantime.
    pub(crate) fn lock(&self, id: &str) -> Result<Locked> {
        loop {
            let file = self.find(id)?;
            if let Some(locked) = file.lock(libc::LOCK_EX)? {
                return Ok(locked);
            }
        }
    }

    /// The same without waiting; `None` when somebody has it.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub(crate) fn try_lock(&self, id: &str) -> Result<Option<Locked>> {
        let file = self.find(id)?;
        let busy = format!("lock container {id}");
        match file.lock(libc::LOCK_EX | libc::LOCK_NB) {
            Ok(Some(locked)) => Ok(Some(locked)),
            Ok(None) => self.try_lock(id),
            Err(error) if error == Error::system(busy, Errno::EWOULDBLOCK) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a new container's file, to write it down in. What somebody left who was killed
    /// before there was a record is removed.
    ///
    /// # Errors
    /// When there is a container of this id.
    pub(crate) fn create(&self, id: &str) -> Result<Locked> {
        check_id(id)?;
        let path = self.path(id);
        loop {
            let found = match StateFile::make(id, path.clone()) {
                Ok(file) => match file.lock(libc::LOCK_EX) {
                    Ok(Some(locked)) => return Ok(locked),
                    // Somebody took it for a left one.
                    Ok(None) => continue,
                    Err(error) => {
                        // Else somebody has begun in one of their own.
                        if fs::metadata(&path).is_ok_and(|found| found.len() == 0) {
                            let _ = fs::remove_file(&path);
                        }
                        return Err(error);
                    }
                },
                Err(Errno::EEXIST) => StateFile::open(id, path.clone()),
                Err(Errno::ENOENT | Errno::ENOTDIR) => {
                    let root = DirBuilder::new().recursive(true).mode(0o700).create(&self.root);
                    root.map_err(|error| not_made(id, &self.root, &error))?;
                    continue;
                }
                Err(errno) => return Err(not_made(id, &path, &errno.into())),
            };
            let found = match found {
                Ok(file) => file.lock(libc::LOCK_EX)?,
                Err(Errno::ENOENT) => None,
                Err(errno) => return Err(Error::system(format!("open container {id}"), errno)),
            };
            match found {
                Some(left) if left.is_vacant()? => left.remove()?,
                Some(_) => {
                    let reason = "container with given ID already exists";
                    return Err(Error::said(format!("create container {id}"), reason));
                }
                // Removed in the meantime, so it can be made now.
                None => {}
            }
        }
    }

    /// A container's record for verbs that act on whoever is in its cgroup. A later container
    /// with the same linux.cgroupsPath got it when nobody was in it any more: then there is
    /// nothing of this one in it, and it isn't this one's to remove.
    ///
    /// # Errors
    /// As [`StateFile::record`].
    pub(crate) fn record_with_own_cgroup(&self, file: &StateFile) -> Result<Record> {
        let mut record = file.record()?;
        self.leave_to_later_owner(&mut record)?;
        Ok(record)
    }

    /// The same for who knows the record.
    ///
    /// # Errors
    /// When the other containers can't be listed.
    pub(crate) fn leave_to_later_owner(&self, record: &mut Record) -> Result<()> {
        let is_later_owner = |id: &String| {
            let other = self.find(id).and_then(|file| file.record());
            other.is_ok_and(|other| {
                other.created > record.created
                    && other.init.is_some()
                    && other.cgroup.iter().any(|dir| record.cgroup.contains(dir))
            })
        };
        if !record.has_own_pid_namespace && self.ids()?.iter().any(is_later_owner) {
            record.cgroup.clear();
            record.unit = None;
        }
        Ok(())
    }
}

fn not_made(id: &str, path: &Path, error: &std::io::Error) -> Error {
    let step = format!("create container {id}: make {}", path.display());
    Error::io(step, error).at("--root").hint(match error.kind() {
        ErrorKind::InvalidFilename => "the names of its file and cgroup have a limit",
        _ => "--root names a directory that can be written, or where one can be made",
    })
}

pub(super) fn no_such_container(id: &str) -> Error {
    Error::said(format!("open container {id}"), "container does not exist")
}

/// Ids become names of files and cgroups; the rules are runc's.
pub(crate) fn check_id(id: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
    if (1..=1024).contains(&id.len()) && id.chars().all(good) && id != "." && id != ".." {
        return Ok(());
    }
    let reason = format!("invalid id format: {id:?} isn't made of A-Za-z0-9_+-. alone");
    Err(Error::said("name the container", reason).at("ID"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::super::process::InitProcess;
    use super::super::record::{CREATED, IN_LATER_CGROUP};
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

    /// A container of which there is a record.
    fn made(store: &Store) -> Locked {
        let file = store.create("one").unwrap();
        file.append(&Record::example("one").to_line()).unwrap();
        file
    }

    fn names(store: &Store) -> Vec<std::ffi::OsString> {
        fs::read_dir(store.root()).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    }

    #[test]
    fn a_root_that_is_none_is_named() {
        let store = Store::new(Some(Path::new("/dev/null"))).unwrap();
        let error = store.create("one").unwrap_err();
        assert_eq!(error.place(), Some("--root"));
        let error = error.to_string();
        assert!(error.contains("make /dev/null") && error.contains("EEXIST"), "{error}");
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
        drop(made(&store.0));
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
        let line = Record::example("one").to_line();
        let file = store.0.create("one").unwrap();
        file.append(&line[..line.len() / 2]).unwrap();
        fs::create_dir(file.start_dir()).unwrap();
        fs::write(file.start_dir().join("start.sock"), "").unwrap();
        assert!(file.waits_for_start());
        drop(file);
        assert!(store.0.find("one").unwrap().record().is_err());
        let file = store.0.create("one").unwrap();
        assert_eq!((names(&store.0), file.is_vacant()), (vec!["one".into()], Ok(true)));
    }

    #[test]
    fn a_record_comes_back_as_it_was_and_files_are_private() {
        use std::os::unix::fs::PermissionsExt;
        let store = Temporary::new();
        let file = made(&store.0);
        file.append(b"123 456\n{}").unwrap();
        file.append(CREATED).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(store.0.root()), 0o700);
        assert_eq!(mode(file.path()), 0o600);
        let init = Some(InitProcess { pid: 123, start_time: 456 });
        let record = Record { init, is_created: true, ..Record::example("one") };
        let read = store.0.find("one").unwrap().record_and_config().unwrap();
        assert_eq!(read, (record, b"{}".to_vec()));
    }

    #[test]
    fn who_made_a_container_notices_that_it_was_deleted() {
        let store = Temporary::new();
        let own = made(&store.0).unlock();
        let own = own.lock(libc::LOCK_EX).unwrap().unwrap().unlock();
        store.0.lock("one").unwrap().remove().unwrap();
        drop(made(&store.0));
        assert!(own.lock(libc::LOCK_EX).unwrap().is_none());
        assert!(store.0.find("one").unwrap().record().is_ok());
    }

    #[test]
    fn a_container_is_removed_with_what_lies_beside_its_file() {
        let store = Temporary::new();
        let file = made(&store.0);
        fs::create_dir_all(file.start_dir().join("more")).unwrap();
        assert_eq!(store.0.ids().unwrap(), ["one"]);
        file.remove().unwrap();
        assert!(names(&store.0).is_empty());
    }

    #[test]
    fn that_there_are_more_cgroups_is_noted_once_behind_all_else() {
        let store = Temporary::new();
        let file = made(&store.0);
        file.append(b"123 456\n{}").unwrap();
        file.append(CREATED).unwrap();
        let before = fs::read(file.path()).unwrap();
        file.note_later_cgroup().unwrap();
        file.note_later_cgroup().unwrap();
        let after = fs::read(file.path()).unwrap();
        assert_eq!(after, [before.as_slice(), IN_LATER_CGROUP].concat());
        let dirs = || vec![crate::cgroup::Dir::new("memory", store.0.root())];
        let mut record = Record { later_cgroup: dirs(), ..file.record().unwrap() };
        store.0.find("one").unwrap().notice_later_cgroup(&mut record);
        assert_eq!(record.cgroup, dirs());
    }

    #[test]
    fn a_lock_excludes_others_and_is_seen() {
        let store = Temporary::new();
        let file = store.0.create("one").unwrap();
        assert!(store.0.try_lock("one").unwrap().is_none());
        assert!(store.0.find("one").unwrap().is_locked());
        drop(file);
        assert!(!store.0.find("one").unwrap().is_locked());
        assert!(store.0.try_lock("one").unwrap().is_some());
    }

    #[test]
    fn who_waited_for_a_removed_container_finds_none() {
        let store = Temporary::new();
        let file = made(&store.0);
        std::thread::scope(|scope| {
            let waiters: Vec<_> = (0..4).map(|_| scope.spawn(|| store.0.lock("one"))).collect();
            file.remove().unwrap();
            for waiter in waiters {
                assert!(waiter.join().unwrap().is_err());
            }
        });
    }

    #[test]
    fn a_creator_who_waited_for_a_removal_leaves_the_next_container_alone() {
        let store = Temporary::new();
        for _ in 0..20 {
            let file = made(&store.0);
            std::thread::scope(|scope| {
                let create = || {
                    let file = store.0.create("one")?;
                    file.append(&Record::example("one").to_line())
                };
                let all: Vec<_> = (0..8).map(|_| scope.spawn(create)).collect();
                std::thread::yield_now();
                file.remove().unwrap();
                for one in all {
                    if let Err(error) = one.join().unwrap() {
                        assert!(error.to_string().contains("already exists"), "{error}");
                    }
                }
            });
            if let Ok(file) = store.0.lock("one") {
                file.record().unwrap();
                file.remove().unwrap();
            }
        }
    }

    #[test]
    fn creators_at_once_make_one_container() {
        let store = Temporary::new();
        for _ in 0..20 {
            let made = std::thread::scope(|scope| {
                let create = || {
                    let file = store.0.create("one")?;
                    file.append(&Record::example("one").to_line())
                };
                let all: Vec<_> = (0..8).map(|_| scope.spawn(create)).collect();
                all.into_iter().filter_map(|one| one.join().unwrap().ok()).count()
            });
            assert_eq!(made, 1);
            store.0.lock("one").unwrap().remove().unwrap();
        }
    }
}
