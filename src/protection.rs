//! Keeping a container away from the runtime's own binary.
//!
//! The runtime's processes execute a file of the host's, and a container of root can come
//! to hold a descriptor of it: by `/proc/PID/exe`, or by executing `/proc/self/exe` itself.
//! While the file is being executed nobody can write to it, but a moment later the host's
//! binary could be overwritten (CVE-2019-5736).

use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::atomic::AtomicI32;
use std::sync::atomic::Ordering::Relaxed;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, SealFlag, fcntl, open};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{Mode, fstat};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{AccessFlags, access, geteuid};

use crate::error::{Error, Result};
use crate::sys;
use crate::sys::start::Arguments;

/// The mount that this program was executed from, by the number of its descriptor.
static MOUNT: AtomicI32 = AtomicI32::new(CLOSED);
const CLOSED: RawFd = -1;

const OWN_BINARY: &CStr = c"/proc/self/exe";

/// Executes this program anew from a read-only mount of its own binary, with the same
/// arguments and environment; returns when that isn't needed. For the first lines of a `main`
/// with one thread.
///
/// It isn't when the binary lies on a read-only mount already (so it happens once). The mount
/// belongs to no mount namespace, so nobody can make it writable again. Who can't make one has
/// containers that can write to no file that the user couldn't; if the binary is such a file,
/// as in a home directory, it is executed from a sealed copy in memory.
///
/// # Errors
/// When the mount or the copy can't be made or executed.
pub fn shield_own_binary() -> Result<()> {
    let own = |string: OsString| CString::new(string.into_vec()).unwrap_or_default();
    let program = || own(std::env::args_os().next().unwrap_or_default());
    shield(program, |mount| {
        let argv: Vec<CString> = std::env::args_os().map(own).collect();
        let envp: Vec<CString> = std::env::vars_os()
            .map(|(mut name, value)| {
                name.push("=");
                name.push(value);
                own(name)
            })
            .collect();
        sys::process::execve_fd(
            mount,
            &sys::process::PointerArray::new(argv.iter().map(CString::as_c_str)),
            &sys::process::PointerArray::new(envp.iter().map(CString::as_c_str)),
        )
    })
}

/// The same, for a program that `program!` defines the `main` of.
///
/// # Errors
/// As [`shield_own_binary`].
pub fn shield_program(arguments: Arguments) -> Result<()> {
    let program = || arguments.words().next().unwrap_or_default().to_owned();
    shield(program, |mount| arguments.execute(mount))
}

/// `execute` returns only when it failed.
fn shield(
    program: impl Fn() -> CString,
    execute: impl FnOnce(BorrowedFd<'_>) -> Errno,
) -> Result<()> {
    let failed = |errno| Error::system("shield minirun's own binary", errno);
    if statvfs(OWN_BINARY).map_err(failed)?.flags().contains(FsFlags::ST_RDONLY) {
        name_process(&program());
        MOUNT.store(sys::descriptors::executed_descriptor().unwrap_or(CLOSED), Relaxed);
        return Ok(());
    }
    let tree = if geteuid().is_root() {
        sys::mount::clone_tree(OWN_BINARY, false)
    } else {
        Err(Errno::EPERM)
    };
    let shielded = match tree {
        // An ordinary user, root of a user namespace, or root without CAP_SYS_ADMIN.
        Err(Errno::EPERM) => match sealed_copy(program).map_err(|errno| {
            failed(errno).hint("install it where this user can't write, and it needs none")
        })? {
            Some(copy) => copy,
            None => return Ok(()),
        },
        tree => {
            let tree = tree.map_err(failed)?;
            sys::mount::mount_setattr(tree.as_fd(), libc::MOUNT_ATTR_RDONLY, 0, 0, false)
                .and_then(|()| fcntl(&tree, FcntlArg::F_SETFD(FdFlag::empty())))
                .map_err(failed)?;
            tree
        }
    };
    Err(failed(execute(shielded.as_fd())))
}

/// Closes the mount that [`shield_own_binary`] has made, in the process that calls this.
///
/// Whoever is the last to do so waits for all processors (the kernel's `dissolve_on_fput`), so
/// it isn't left to execve: the container's side closes it at once, the runtime's when nobody
/// waits for it.
pub(crate) fn close_mount() {
    match MOUNT.swap(CLOSED, Relaxed) {
        CLOSED => {}
        number => sys::descriptors::close_inherited(number),
    }
}

/// `None` when there is no need for one.
fn sealed_copy(program: impl Fn() -> CString) -> sys::Result<Option<OwnedFd>> {
    let io = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO));
    let seals = SealFlag::F_SEAL_SEAL
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_WRITE;
    let mut own =
        open(OWN_BINARY, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).map(File::from)?;
    // Only files in memory have seals at all.
    if fcntl(&own, FcntlArg::F_GET_SEALS).is_ok_and(|found| found & seals.bits() == seals.bits()) {
        name_process(&program());
        return Ok(None);
    }
    let is_owner = fstat(&own)?.st_uid == geteuid().as_raw();
    // Some kernels say that it is being executed, which it won't be for ever.
    let may_write = matches!(access(OWN_BINARY, AccessFlags::W_OK), Ok(()) | Err(Errno::ETXTBSY));
    if !is_owner && !may_write {
        return Ok(None);
    }
    /// `MFD_EXEC` of linux/memfd.h, since Linux 6.3: whatever vm.memfd_noexec says by default.
    const EXEC: MFdFlags = MFdFlags::from_bits_retain(0x10);
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let copy = match memfd_create(c"minirun", flags | EXEC) {
        Err(Errno::EINVAL) => memfd_create(c"minirun", flags),
        copy => copy,
    };
    let mut copy = File::from(copy?);
    std::io::copy(&mut own, &mut copy).map_err(io)?;
    fcntl(&copy, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(Some(copy.into()))
}

/// A program that is executed by descriptor goes by that descriptor's number in `ps`.
fn name_process(program: &CStr) {
    let path = Path::new(OsStr::from_bytes(program.to_bytes()));
    let name = path.file_name().unwrap_or_default();
    if let Ok(name) = CString::new(name.as_bytes()) {
        // Only for the eyes of people.
        let _ = nix::sys::prctl::set_name(&name);
    }
}
