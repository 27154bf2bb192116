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

use crate::sys::{self, Result};

/// The longest path that open(2) takes, its NUL included, in bytes.
const PATH_MAX: usize = 4096;

/// How many dangling symlinks a path may lead through; the kernel's own limit (`MAXSYMLINKS`).
const SYMLINKS_MAX: usize = 40;

/// What is made where a path leads to nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Make {
    Dir,
    File,
}

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

/// The same below this process's own root, when that is the container's already.
pub(super) fn open_from_top(path: &CStr, flags: OFlag) -> Result<OwnedFd> {
    let top = sys::file::open(c"/", OFlag::O_PATH | OFlag::O_DIRECTORY)?;
    open(top.as_fd(), path, flags)
}

/// Opens one name in a directory, which must not be a symlink.
pub(super) fn open_child(dir: BorrowedFd<'_>, name: &CStr, how: OpenHow) -> Result<OwnedFd> {
    openat2(dir, name, how.resolve(BENEATH))
}

const BENEATH: ResolveFlag = ResolveFlag::RESOLVE_BENEATH.union(ResolveFlag::RESOLVE_NO_SYMLINKS);

/// A directory that a step has worked in, for the next one: what is put there needs no path.
///
/// What is mounted may cover it, so that its path leads elsewhere, unless on what was made
/// in it just before; everything else that may have mounted something drops it.
pub(super) struct Parent<'a> {
    path: &'a [u8],
    dir: OwnedFd,
}

impl AsFd for Parent<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// Opens a directory, made with its missing parents (mode 0755) when it isn't there.
pub(super) fn open_or_make_dir(root: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd> {
    open_or_make(root, path, Make::Dir, &mut None).map(|(dir, _)| dir)
}

/// Opens a path, and says whether it had to be made.
///
/// A symlink that leads to nothing is followed to where it leads *in the root*, and what
/// is missing is made there: images have an /etc/resolv.conf that points into /run.
///
/// `parent` stays, or becomes, the directory that it was made in, if it is new and lies on
/// the same mount: whatever is mounted on it covers nothing else.
pub(super) fn open_or_make<'a>(
    root: BorrowedFd<'_>,
    path: &'a CStr,
    make: Make,
    parent: &mut Option<Parent<'a>>,
) -> Result<(OwnedFd, bool)> {
    let split = split(path);
    if let (Some(before), Some((dir, name))) = (parent.take(), split)
        && before.path == dir
        && let Ok(made) = make_new(before.as_fd(), name, make)
    {
        *parent = Some(before);
        return Ok((made, true));
    }
    let flags = match make {
        Make::Dir => OFlag::O_PATH | OFlag::O_DIRECTORY,
        Make::File => OFlag::O_PATH,
    };
    match open(root, path, flags) {
        Err(Errno::ENOENT) => {}
        answer => return answer.map(|found| (found, false)),
    }
    if let Some((path, name)) = split
        && let Ok(dir) = open_dir(root, path)
        && let Ok(made) = make_new(dir.as_fd(), name, make)
    {
        *parent = Some(Parent { path, dir });
        return Ok((made, true));
    }
    make_all(root, path, make).map(|made| (made, true))
}

/// Makes whatever is missing of a path. Apart, since its buffers take pages of stack.
#[inline(never)]
fn make_all(root: BorrowedFd<'_>, path: &CStr, make: Make) -> Result<OwnedFd> {
    let mut path = Path::new(path.to_bytes())?;
    for _ in 0..SYMLINKS_MAX {
        if let Some(made) = make_missing(root, &mut path, make)? {
            return Ok(made);
        }
    }
    Err(Errno::ELOOP)
}

/// Opens the directory that holds the last component of a path, unless it is the one of the
/// step before; makes it if need be.
pub(super) fn open_parent<'a>(
    root: BorrowedFd<'_>,
    path: &'a CStr,
    before: Option<Parent<'a>>,
) -> Result<(Parent<'a>, &'a [u8])> {
    let (path, name) = split(path).ok_or(Errno::EINVAL)?;
    if let Some(before) = before.filter(|before| before.path == path) {
        return Ok((before, name));
    }
    let dir = with_c_str(or_root(path), |path| open_or_make_dir(root, path))?;
    Ok((Parent { path, dir }, name))
}

/// A path's directory, without a slash at its end, and its last component; `None` when that
/// is no name.
fn split(path: &CStr) -> Option<(&[u8], &[u8])> {
    let path = trim_slashes(path.to_bytes());
    let cut = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let (parent, name) = path.split_at(cut);
    (!matches!(name, b"" | b"." | b"..")).then_some((trim_slashes(parent), name))
}

fn or_root(path: &[u8]) -> &[u8] {
    if path.is_empty() { b"/" } else { path }
}

fn open_dir(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd> {
    with_c_str(or_root(path), |path| open(root, path, OFlag::O_PATH | OFlag::O_DIRECTORY))
}

/// Makes what is missing of a path, one component at a time on the descriptor of the
/// last, so that a symlink put there in between is met as EEXIST or ELOOP.
///
/// Where a symlink is in the way, `None`: the path now says where it leads.
fn make_missing(root: BorrowedFd<'_>, whole: &mut Path, make: Make) -> Result<Option<OwnedFd>> {
    let path = trim_slashes(whole.bytes());
    let mut end = path.len();
    let mut dir = loop {
        end = path[..end].iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        match open_dir(root, &path[..end]) {
            Err(Errno::ENOENT) if end > 0 => continue,
            answer => break answer?,
        }
    };
    let (prefix, rest) = path.split_at(end);
    let first = rest.split(|byte| *byte == b'/').find(|name| !name.is_empty());
    if let Some(further) = symlink(dir.as_fd(), prefix, first.unwrap_or_default(), rest)? {
        *whole = further;
        return Ok(None);
    }
    let mut names = rest.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).peekable();
    while let Some(name) = names.next() {
        if matches!(name, b"." | b"..") {
            return Err(Errno::EINVAL);
        }
        let make = if names.peek().is_some() { Make::Dir } else { make };
        dir = match make_new(dir.as_fd(), name, make) {
            Err(Errno::EEXIST) if make == Make::Dir => {
                with_c_str(name, |name| open_child(dir.as_fd(), name, OpenHow::new().flags(DIR)))?
            }
            answer => answer?,
        };
    }
    Ok(Some(dir))
}

const DIR: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// Makes what isn't there yet, and opens it on the mount that it was made on: another
/// directory, moved into its place, may have one on it.
fn make_new(dir: BorrowedFd<'_>, name: &[u8], make: Make) -> Result<OwnedFd> {
    with_c_str(name, |name| match make {
        Make::File => {
            let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
            let mode = Mode::from_bits_truncate(0o644);
            open_child(dir, name, OpenHow::new().flags(flags).mode(mode))
        }
        Make::Dir => {
            mkdirat(dir, name, Mode::from_bits_truncate(0o755))?;
            let resolve = BENEATH | ResolveFlag::RESOLVE_NO_XDEV;
            openat2(dir, name, OpenHow::new().flags(DIR).resolve(resolve))
        }
    })
}

/// Where `rest` leads when its first component is a symlink in `dir`, which `prefix` names.
fn symlink(dir: BorrowedFd<'_>, prefix: &[u8], first: &[u8], rest: &[u8]) -> Result<Option<Path>> {
    let mut buffer = [0; PATH_MAX];
    let target = match with_c_str(first, |name| sys::file::read_link(dir, name, &mut buffer)) {
        Err(Errno::ENOENT | Errno::EINVAL) => return Ok(None),
        answer => answer?,
    };
    let mut further = Path::new(if target.starts_with(b"/") { b"" } else { prefix })?;
    further.push(b"/")?;
    further.push(target)?;
    let skipped = rest.iter().position(|byte| *byte != b'/').unwrap_or(0) + first.len();
    further.push(rest.get(skipped..).unwrap_or_default())?;
    Ok(Some(further))
}

/// A path on the stack.
struct Path {
    bytes: [u8; PATH_MAX],
    len: usize,
}

impl Path {
    fn new(bytes: &[u8]) -> Result<Self> {
        let mut path = Path { bytes: [0; PATH_MAX], len: 0 };
        path.push(bytes)?;
        Ok(path)
    }

    fn push(&mut self, more: &[u8]) -> Result<()> {
        let end = self.len + more.len();
        let room = self.bytes.get_mut(self.len..end).ok_or(Errno::ENAMETOOLONG)?;
        room.copy_from_slice(more);
        self.len = end;
        Ok(())
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

fn trim_slashes(mut path: &[u8]) -> &[u8] {
    while let [rest @ .., b'/'] = path {
        path = rest;
    }
    path
}

/// Calls `f` with a NUL-terminated copy on the stack.
pub(super) fn with_c_str<T>(bytes: &[u8], f: impl FnOnce(&CStr) -> Result<T>) -> Result<T> {
    match bytes.len() < SHORT {
        true => with_c_str_in::<SHORT, T>(bytes, f),
        false => with_c_str_in::<PATH_MAX, T>(bytes, f),
    }
}

/// What most paths fit in: a page of stack that is touched costs as much as a system call.
const SHORT: usize = 256;

#[inline(never)]
fn with_c_str_in<const SIZE: usize, T>(
    bytes: &[u8],
    f: impl FnOnce(&CStr) -> Result<T>,
) -> Result<T> {
    let mut buffer = [0; SIZE];
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    /// A root directory with a neighbour that nothing may reach.
    struct Root(PathBuf);

    impl Root {
        fn new(name: &str) -> Self {
            let top = std::env::temp_dir().join(format!("minirun-{name}-{}", std::process::id()));
            fs::create_dir_all(top.join("root/etc")).unwrap();
            Root(top)
        }

        fn link(&self, target: &str, path: &str) {
            symlink(target, self.0.join("root").join(path)).unwrap();
        }

        fn make(&self, path: &CStr, make: Make) -> Result<bool> {
            let root = fs::File::open(self.0.join("root")).unwrap();
            open_or_make(root.as_fd(), path, make, &mut None).map(|(_, made)| made)
        }

        fn has(&self, path: &str) -> bool {
            fs::symlink_metadata(self.0.join("root").join(path)).is_ok()
        }

        fn assert_untouched(&self) {
            let names: Vec<_> =
                fs::read_dir(&self.0).unwrap().map(|e| e.unwrap().file_name()).collect();
            assert_eq!(names, ["root"], "something was made outside of the root");
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_dangling_symlink_is_made_whole_inside_the_root() {
        let root = Root::new("dangling");
        root.link("../run/resolve/stub.conf", "etc/resolv.conf");
        assert_eq!(root.make(c"/etc/resolv.conf", Make::File), Ok(true));
        assert!(root.has("run/resolve/stub.conf"));
        assert_eq!(root.make(c"/etc/resolv.conf", Make::File), Ok(false));
        root.assert_untouched();
    }

    #[test]
    fn a_dangling_symlink_never_leads_out_of_the_root() {
        let root = Root::new("escape");
        root.link("../../../../outside", "up");
        root.link("/outside2", "absolute");
        root.link("up/further", "chain");
        assert_eq!(root.make(c"/up/x", Make::Dir), Ok(true));
        assert_eq!(root.make(c"absolute", Make::File), Ok(true));
        assert_eq!(root.make(c"/chain/y", Make::File), Ok(true));
        for made in ["outside/x", "outside2", "outside/further/y"] {
            assert!(root.has(made), "{made}");
        }
        root.assert_untouched();
    }

    #[test]
    fn what_is_new_is_made_in_the_directory_that_is_open() {
        let root = Root::new("parent");
        let top = fs::File::open(root.0.join("root")).unwrap();
        let mut parent = None;
        let mut make = |path, kind| {
            let made = open_or_make(top.as_fd(), path, kind, &mut parent).map(|(_, made)| made);
            (made, parent.is_some())
        };
        assert_eq!(make(c"/etc/one", Make::Dir), (Ok(true), true));
        fs::rename(root.0.join("root/etc"), root.0.join("root/moved")).unwrap();
        assert_eq!(make(c"etc//two/", Make::File), (Ok(true), false), "another path");
        assert!(root.has("etc/two"));
        assert_eq!(make(c"/etc/three", Make::Dir), (Ok(true), true));
        fs::rename(root.0.join("root/etc"), root.0.join("root/again")).unwrap();
        assert_eq!(make(c"/etc/four", Make::File), (Ok(true), true));
        assert!(root.has("again/four") && !root.has("etc"), "no path was looked up");
        root.link("/run/five", "again/five");
        fs::rename(root.0.join("root/again"), root.0.join("root/etc")).unwrap();
        assert_eq!(make(c"/etc/five", Make::Dir), (Ok(true), false), "it was made elsewhere");
        assert!(root.has("run/five"));
        assert_eq!(make(c"/etc/four", Make::File), (Ok(false), false), "it was there");
        root.assert_untouched();
    }

    #[test]
    fn symlinks_in_a_circle_are_an_error() {
        let root = Root::new("circle");
        root.link("b", "a");
        root.link("a", "b");
        root.link("x/../loop", "loop");
        assert_eq!(root.make(c"/a/c", Make::Dir), Err(Errno::ELOOP));
        assert!(root.make(c"/loop", Make::Dir).is_err());
        root.assert_untouched();
    }

    #[test]
    fn a_file_in_the_way_is_an_error() {
        let root = Root::new("in-the-way");
        fs::write(root.0.join("root/file"), "").unwrap();
        assert_eq!(root.make(c"/file/x", Make::File), Err(Errno::ENOTDIR));
        assert_eq!(root.make(c"/file", Make::Dir), Err(Errno::ENOTDIR));
        assert_eq!(root.make(c"/missing/../x", Make::Dir), Err(Errno::EINVAL));
    }
}
