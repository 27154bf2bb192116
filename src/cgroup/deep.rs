//! Cgroups at paths that are longer than the kernel takes: a container that may make some
//! chooses how deep they lie, and must not become undeletable by that.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

/// The longest path that a system call takes, its NUL included, in bytes.
const PATH_MAX: usize = 4096;

/// The text of a file.
pub(super) fn read(path: &Path) -> io::Result<String> {
    if is_short(path) {
        return fs::read_to_string(path);
    }
    let mut text = String::new();
    File::from(open(path, OFlag::O_RDONLY)?).read_to_string(&mut text)?;
    Ok(text)
}

/// The names of the directories in a directory.
pub(super) fn directories(path: &Path) -> io::Result<Vec<OsString>> {
    let mut dir = Dir::from_fd(open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?)?;
    let mut names = Vec::new();
    for entry in dir.iter() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if entry.file_type() == Some(Type::Directory) && !matches!(name, b"." | b"..") {
            names.push(OsString::from_vec(name.to_owned()));
        }
    }
    Ok(names)
}

/// Removes a directory.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if !is_short(path) => {
            let parent = open(parent, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
            Ok(unlinkat(&parent, name, UnlinkatFlags::RemoveDir)?)
        }
        _ => fs::remove_dir(path),
    }
}

fn is_short(path: &Path) -> bool {
    path.as_os_str().len() < PATH_MAX
}

/// Opens a path piece by piece, each of which the kernel takes.
fn open(path: &Path, flags: OFlag) -> io::Result<OwnedFd> {
    let mut rest = path.as_os_str().as_bytes();
    let mut dir: Option<OwnedFd> = None;
    let next = |dir: &Option<OwnedFd>, piece: &[u8], flags: OFlag| match dir {
        Some(dir) => openat(dir, piece, flags | OFlag::O_CLOEXEC, Mode::empty()),
        None => openat(AT_FDCWD, piece, flags | OFlag::O_CLOEXEC, Mode::empty()),
    };
    while rest.len() >= PATH_MAX {
        let slash = rest[..PATH_MAX - 1].iter().rposition(|byte| *byte == b'/');
        let (piece, more) = rest.split_at(slash.filter(|at| *at > 0).ok_or(Errno::ENAMETOOLONG)?);
        dir = Some(next(&dir, piece, OFlag::O_PATH | OFlag::O_DIRECTORY)?);
        rest = &more[1..];
    }
    Ok(next(&dir, rest, flags)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_any_length_is_read_and_removed() {
        let top = std::env::temp_dir().join(format!("minirun-deep-{}", std::process::id()));
        fs::create_dir(&top).unwrap();
        let name = "x".repeat(250);
        let mut paths = vec![top];
        for _ in 0..40 {
            let last = paths.last().unwrap();
            let dir = open(last, OFlag::O_PATH | OFlag::O_DIRECTORY).unwrap();
            nix::sys::stat::mkdirat(&dir, name.as_str(), Mode::S_IRWXU).unwrap();
            assert_eq!(directories(last).unwrap(), [name.as_str()]);
            let below = last.join(&name);
            paths.push(below);
        }
        let deepest = paths.last().unwrap();
        assert!(fs::read_dir(deepest).is_err(), "the kernel takes it as it is");
        assert_eq!(read(&deepest.join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
        for path in paths.iter().rev() {
            remove(path).unwrap();
        }
    }
}
