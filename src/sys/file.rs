//! Calls on files that the C library wraps with an allocation, with another call, or not at all.

use std::ffi::CStr;
use std::mem::offset_of;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::NixPath;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::Mode;

use super::{Errno, Result, syscall};

/// Opens what is there at a path, to be closed on exec (open(2)). By openat(2): musl's open
/// lets a call of fcntl(2) follow.
///
/// # Errors
/// Those of open(2).
pub fn open<P: NixPath + ?Sized>(path: &P, flags: OFlag) -> Result<OwnedFd> {
    openat(AT_FDCWD, path, flags | OFlag::O_CLOEXEC, Mode::empty())
}

/// The beginning of a file, as much as one read(2) gives: of what the kernel writes in one
/// piece, as it does /proc/PID/stat, all that there is room for.
///
/// # Errors
/// Those of open(2) and read(2).
pub fn read_start<'a, P: NixPath + ?Sized>(path: &P, buffer: &'a mut [u8]) -> Result<&'a [u8]> {
    let length = nix::unistd::read(open(path, OFlag::O_RDONLY)?, buffer)?;
    Ok(buffer.get(..length).unwrap_or_default())
}

/// What a symlink points to, into `buffer` (readlinkat(2)).
///
/// # Errors
/// `EINVAL` when it is no symlink, `ENOENT`, and `ENAMETOOLONG` when the target doesn't
/// fit with a byte to spare.
pub fn read_link<'a>(dir: BorrowedFd<'_>, name: &CStr, buffer: &'a mut [u8]) -> Result<&'a [u8]> {
    // SAFETY: the name is a C string; the kernel writes at most the buffer's length.
    let length = unsafe {
        syscall(
            libc::SYS_readlinkat,
            [
                dir.as_raw_fd() as u64,
                name.as_ptr() as u64,
                buffer.as_mut_ptr() as u64,
                buffer.len() as u64,
                0,
                0,
            ],
        )
    }?;
    // A target that fills the buffer may have been cut.
    match buffer.get(..length as usize) {
        Some(target) if target.len() < buffer.len() => Ok(target),
        _ => Err(Errno::ENAMETOOLONG),
    }
}

/// Takes or drops a lock on an open file (flock(2)); `operation` is a `LOCK_*`.
///
/// # Errors
/// `EWOULDBLOCK` when somebody has it and `LOCK_NB` is asked for.
pub fn flock(file: BorrowedFd<'_>, operation: i32) -> Result<()> {
    // SAFETY: flock takes integers.
    let answer = unsafe { libc::flock(file.as_raw_fd(), operation) };
    Errno::result(answer).map(drop)
}

/// Reads directory entries into `buffer` (getdents64(2)); gives the names of the whole
/// entries in it, `.` and `..` among them. `None` at the end of the directory.
///
/// # Errors
/// `ENOTDIR`, and `EINVAL` when the buffer is too small for one entry.
pub fn read_dir<'a>(dir: BorrowedFd<'_>, buffer: &'a mut [u8]) -> Result<Option<Names<'a>>> {
    // SAFETY: the kernel writes at most the buffer's length.
    let length = unsafe {
        syscall(
            libc::SYS_getdents64,
            [dir.as_raw_fd() as u64, buffer.as_mut_ptr() as u64, buffer.len() as u64, 0, 0, 0],
        )
    }?;
    let entries = buffer.get(..length as usize).ok_or(Errno::EIO)?;
    Ok((!entries.is_empty()).then_some(Names { entries }))
}

/// The names in a buffer of `struct linux_dirent64`.
pub struct Names<'a> {
    entries: &'a [u8],
}

impl<'a> Iterator for Names<'a> {
    type Item = &'a CStr;

    fn next(&mut self) -> Option<&'a CStr> {
        let at = offset_of!(libc::dirent64, d_reclen);
        let length = self.entries.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)?;
        let entry = self.entries.get(..length.into())?;
        self.entries = self.entries.get(length.into()..)?;
        CStr::from_bytes_until_nul(entry.get(offset_of!(libc::dirent64, d_name)..)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_directory_is_read_to_its_end() {
        let dir = std::env::temp_dir().join(format!("minirun-read-dir-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let mut expected = vec![".".to_owned(), "..".to_owned()];
        for number in 0..50 {
            let name = format!("{number:03}{}", "x".repeat(number));
            std::fs::write(dir.join(&name), "").unwrap();
            expected.push(name);
        }
        let opened = std::fs::File::open(&dir).unwrap();
        let (mut found, mut buffer) = (Vec::new(), [0; 512]);
        while let Some(names) = read_dir(opened.as_fd(), &mut buffer).unwrap() {
            found.extend(names.map(|name| name.to_str().unwrap().to_owned()));
        }
        std::fs::remove_dir_all(&dir).unwrap();
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
    }
}
