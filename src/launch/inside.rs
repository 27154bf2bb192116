//! Paths below the root filesystem, resolved so that nothing in it leads out.
//!
//! The root filesystem is not trusted: a symlink or a `..` in it may point at the
//! host. Every path goes through openat2(2) with RESOLVE_IN_ROOT, and what follows
//! works on the descriptor (CVE-2021-30465, CVE-2024-45310). Nothing allocates.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat};

use crate::sys::Result;

/// The longest path that open(2) takes, its NUL included, in bytes.
const PATH_MAX: usize = 4096;

/// Opens a path for reference (O_PATH), with further open flags.
pub(super) fn open(root: BorrowedFd<'_>, path: &CStr, flags: OFlag) -> Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    loop {
        match openat2(root, path, how) {
            // A rename elsewhere in the system got in the way; it says to try again.
            Err(Errno::EAGAIN) => continue,
            answer => return answer,
        }
    }
}

/// Opens a directory, made with its missing parents (mode 0755) when it isn't there.
pub(super) fn open_or_make_dir(root: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd> {
    match open(root, path, OFlag::O_PATH | OFlag::O_DIRECTORY) {
        Err(Errno::ENOENT) => make_dirs(root, path.to_bytes()),
        answer => answer,
    }
}

/// Opens a file to mount on, made empty when it isn't there.
pub(super) fn open_or_make_file(root: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd> {
    match open(root, path, OFlag::O_PATH) {
        Err(Errno::ENOENT) => {}
        answer => return answer,
    }
    let (parent, name) = open_parent(root, path)?;
    with_c_str(name, |name| {
        let how = OpenHow::new()
            .flags(OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC)
            .mode(Mode::from_bits_truncate(0o644))
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        openat2(parent.as_fd(), name, how)
    })
}

/// Opens the directory that holds the last component of a path; makes it if need be.
pub(super) fn open_parent<'a>(root: BorrowedFd<'_>, path: &'a CStr) -> Result<(OwnedFd, &'a [u8])> {
    let path = trim_slashes(path.to_bytes());
    let cut = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let (parent, name) = path.split_at(cut);
    if matches!(name, b"" | b"." | b"..") {
        return Err(Errno::EINVAL);
    }
    let parent = if parent.is_empty() { b"/" } else { parent };
    let dir = with_c_str(parent, |parent| open_or_make_dir(root, parent))?;
    Ok((dir, name))
}

/// Makes what is missing of a path, one component at a time on the descriptor of the
/// last, so that a symlink put there in between is met as EEXIST or ELOOP.
fn make_dirs(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd> {
    let path = trim_slashes(path);
    let mut end = path.len();
    let mut dir = loop {
        end = path[..end].iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        let prefix = if end == 0 { b"/" } else { &path[..end] };
        match with_c_str(prefix, |prefix| open(root, prefix, OFlag::O_PATH | OFlag::O_DIRECTORY)) {
            Err(Errno::ENOENT) if end > 0 => continue,
            answer => break answer?,
        }
    };
    for name in path[end..].split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        if matches!(name, b"." | b"..") {
            return Err(Errno::EINVAL);
        }
        dir = with_c_str(name, |name| {
            match mkdirat(dir.as_fd(), name, Mode::from_bits_truncate(0o755)) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno),
            }
            let how = OpenHow::new()
                .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
                .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
            openat2(dir.as_fd(), name, how)
        })?;
    }
    Ok(dir)
}

fn trim_slashes(mut path: &[u8]) -> &[u8] {
    while let [rest @ .., b'/'] = path {
        path = rest;
    }
    path
}

/// Calls `f` with a NUL-terminated copy on the stack.
pub(super) fn with_c_str<T>(bytes: &[u8], f: impl FnOnce(&CStr) -> Result<T>) -> Result<T> {
    let mut buffer = [0; PATH_MAX];
    buffer.get_mut(..bytes.len()).ok_or(Errno::ENAMETOOLONG)?.copy_from_slice(bytes);
    f(CStr::from_bytes_until_nul(&buffer).map_err(|_| Errno::ENAMETOOLONG)?)
}

/// Whether a descriptor is a directory.
pub(super) fn is_dir(fd: BorrowedFd<'_>) -> Result<bool> {
    Ok(file_type(fstat(fd)?.st_mode) == SFlag::S_IFDIR)
}

pub(super) fn file_type(mode: u32) -> SFlag {
    SFlag::from_bits_truncate(mode & SFlag::S_IFMT.bits())
}
