//! Keeping a container away from the runtime's own binary.
//!
//! The runtime's processes execute a file of the host's, and a container of root can come
//! to hold a descriptor of it: by `/proc/PID/exe`, or by executing `/proc/self/exe` itself.
//! While the file is being executed nobody can write to it, but a moment later the host's
//! binary could be overwritten (CVE-2019-5736).

use std::ffi::CString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;

use nix::errno::Errno;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::geteuid;

use crate::error::{Error, Result};
use crate::sys;

const OWN_BINARY: &std::ffi::CStr = c"/proc/self/exe";

/// Executes this program anew from a read-only mount of its own binary, with the same
/// arguments and environment; returns when that isn't needed.
///
/// It isn't when the binary lies on a read-only mount already (so it happens once), nor
/// for an ordinary user, whose containers live in a user namespace and can write to no
/// file that the user couldn't. For the first lines of a `main` with one thread.
///
/// The mount belongs to no mount namespace, so nobody can make it writable again.
///
/// # Errors
/// When the mount can't be made or executed.
pub fn shield_own_binary() -> Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let failed = |errno| Error::system("shield minirun's own binary by a read-only mount", errno);
    if statvfs(OWN_BINARY).map_err(failed)?.flags().contains(FsFlags::ST_RDONLY) {
        name_process();
        return Ok(());
    }
    let tree = match sys::mount::clone_tree(OWN_BINARY, false) {
        // Root of a user namespace, or without CAP_SYS_ADMIN, can't mount in the host's
        // namespace. The container then gets a user namespace of such a root's own making.
        Err(Errno::EPERM) => return Ok(()),
        tree => tree.map_err(failed)?,
    };
    sys::mount::mount_setattr(tree.as_fd(), libc::MOUNT_ATTR_RDONLY, 0, 0, false)
        .map_err(failed)?;
    let own = |string: std::ffi::OsString| CString::new(string.into_vec()).unwrap_or_default();
    let argv: Vec<CString> = std::env::args_os().map(own).collect();
    let envp: Vec<CString> = std::env::vars_os()
        .map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            own(name)
        })
        .collect();
    Err(failed(sys::process::execve_fd(
        tree.as_fd(),
        &sys::process::PointerArray::new(argv.iter().map(CString::as_c_str)),
        &sys::process::PointerArray::new(envp.iter().map(CString::as_c_str)),
    )))
}

/// A program that is executed by descriptor goes by that descriptor's number in `ps`.
fn name_process() {
    let program = std::env::args_os().next().unwrap_or_default();
    let name = std::path::Path::new(&program).file_name().unwrap_or_default().to_owned();
    if let Ok(name) = CString::new(name.into_vec()) {
        // Only for the eyes of people.
        let _ = nix::sys::prctl::set_name(&name);
    }
}
