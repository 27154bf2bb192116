//! Copying what a new tmpfs hides into it (`tmpcopyup`).
//!
//! Both sides are walked by descriptors, no symlink is followed, and nothing allocates:
//! this runs between clone3 and execve.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow};
use nix::sys::sendfile::sendfile;
use nix::sys::stat::{
    FileStat, Mode, SFlag, UtimensatFlags, fchmod, fstat, fstatat, futimens, mkdirat, mknodat,
    utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat, symlinkat};

use super::inside;
use crate::sys::{self, Result};

/// How deep directories may lie in each other: each one costs a few kilobytes of stack.
const DEPTH_MAX: usize = 128;

/// How much one call of sendfile(2) copies at most.
const CHUNK: usize = 1 << 30;

/// Copies everything in the directory `from` into the directory `to`, which gets its owner,
/// permissions and times too.
pub(super) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    copy_dir(from, to, 0)
}

fn copy_dir(from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: usize) -> Result<()> {
    if depth == DEPTH_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    let mut buffer = Aligned([0; 2048]);
    while let Some(names) = sys::file::read_dir(from, &mut buffer.0)? {
        for name in names.filter(|name| !matches!(name.to_bytes(), b"." | b"..")) {
            copy_entry(from, to, name, depth)?;
        }
    }
    // Last, since the new entries change the directory's time.
    take_over(to, &fstat(from)?)
}

/// The kernel lays the entries out for reading in place.
#[repr(align(8))]
struct Aligned([u8; 2048]);

fn copy_entry(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, depth: usize) -> Result<()> {
    let found = fstatat(from, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    match inside::file_type(found.st_mode) {
        SFlag::S_IFDIR => {
            mkdirat(to, name, Mode::S_IRWXU)?;
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
            let (from, to) = (open(from, name, flags)?, open(to, name, flags)?);
            copy_dir(from.as_fd(), to.as_fd(), depth + 1)
        }
        SFlag::S_IFREG => {
            // It may be another file by now, and a FIFO would have this wait for ever.
            let from = open(from, name, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)?;
            let found = fstat(&from)?;
            if inside::file_type(found.st_mode) != SFlag::S_IFREG {
                return Err(Errno::ESTALE);
            }
            let to = open(to, name, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL)?;
            while sendfile(&to, &from, None, CHUNK)? > 0 {}
            take_over(to.as_fd(), &found)
        }
        SFlag::S_IFLNK => {
            let mut buffer = [0; 4096];
            let target = sys::file::read_link(from, name, &mut buffer)?;
            inside::with_c_str(target, |target| symlinkat(target, to, name))?;
            take_over_name(to, name, &found)
        }
        // A device, a FIFO or a socket.
        other => {
            mknodat(to, name, other, permissions(&found), found.st_rdev)?;
            take_over_name(to, name, &found)
        }
    }
}

fn open(dir: BorrowedFd<'_>, name: &CStr, flags: OFlag) -> Result<OwnedFd> {
    let mut how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC);
    if flags.contains(OFlag::O_CREAT) {
        how = how.mode(Mode::S_IRUSR | Mode::S_IWUSR);
    }
    inside::open_child(dir, name, how)
}

fn take_over(to: BorrowedFd<'_>, found: &FileStat) -> Result<()> {
    fchown(to, Some(Uid::from_raw(found.st_uid)), Some(Gid::from_raw(found.st_gid)))?;
    // After the owner, whose change takes set-uid and set-gid away.
    fchmod(to, permissions(found))?;
    let (accessed, modified) = times(found);
    futimens(to, &accessed, &modified)
}

fn take_over_name(dir: BorrowedFd<'_>, name: &CStr, found: &FileStat) -> Result<()> {
    let (uid, gid) = (Uid::from_raw(found.st_uid), Gid::from_raw(found.st_gid));
    fchownat(dir, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
    let (accessed, modified) = times(found);
    utimensat(dir, name, &accessed, &modified, UtimensatFlags::NoFollowSymlink)
}

fn permissions(found: &FileStat) -> Mode {
    Mode::from_bits_truncate(found.st_mode)
}

fn times(found: &FileStat) -> (TimeSpec, TimeSpec) {
    (
        TimeSpec::new(found.st_atime, found.st_atime_nsec),
        TimeSpec::new(found.st_mtime, found.st_mtime_nsec),
    )
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    #[test]
    fn modes_times_symlinks_and_content_come_along() {
        let top = std::env::temp_dir().join(format!("minirun-copy-up-{}", std::process::id()));
        let (from, to) = (top.join("from"), top.join("to"));
        fs::create_dir_all(from.join("sub/deep")).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(from.join("sub/deep/file"), vec![7; 100_000]).unwrap();
        fs::set_permissions(from.join("sub/deep/file"), Permissions::from_mode(0o4751)).unwrap();
        fs::set_permissions(from.join("sub"), Permissions::from_mode(0o1770)).unwrap();
        fs::set_permissions(&from, Permissions::from_mode(0o710)).unwrap();
        symlink("/etc/passwd", from.join("link")).unwrap();
        nix::unistd::mkfifo(&from.join("fifo"), Mode::S_IRUSR).unwrap();

        let open = |path| File::open(path).unwrap();
        copy(open(&from).as_fd(), open(&to).as_fd()).unwrap();

        for path in ["", "sub", "sub/deep", "sub/deep/file", "link", "fifo"] {
            let seen = |top: &std::path::Path| {
                let found = fs::symlink_metadata(top.join(path)).unwrap();
                (found.mode(), found.uid(), found.mtime(), found.mtime_nsec())
            };
            assert_eq!(seen(&from), seen(&to), "{path:?}");
        }
        assert_eq!(fs::read(to.join("sub/deep/file")).unwrap(), vec![7; 100_000]);
        assert_eq!(fs::read_link(to.join("link")).unwrap().to_str(), Some("/etc/passwd"));
        fs::remove_dir_all(&top).unwrap();
    }
}
