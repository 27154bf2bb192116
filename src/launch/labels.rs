//! The process's own side of AppArmor, SELinux, the key service and time namespaces:
//! what it writes about itself below /proc. Nothing here allocates.

use std::ffi::CStr;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::{setns, unshare};

use super::procfs;
use crate::plan::NEWTIME;
use crate::sys::{self, Result};

/// Runs what is executed next under an AppArmor profile (aa_change_onexec(2)).
pub(super) fn apparmor(proc: &procfs::Proc, profile: &CStr) -> Result<()> {
    let mut command = [0; 4096];
    let (verb, name) = (b"exec ", profile.to_bytes());
    let length = verb.len() + name.len();
    let place = command.get_mut(..length).ok_or(Errno::ENAMETOOLONG)?;
    place[..verb.len()].copy_from_slice(verb);
    place[verb.len()..].copy_from_slice(name);
    // Where several security modules share the machine, this one has a directory.
    match proc.write(c"thread-self/attr/apparmor/exec", &command[..length]) {
        Err(Errno::ENOENT) => proc.write(c"thread-self/attr/exec", &command[..length]),
        written => written,
    }
}

/// Runs what is executed next with an SELinux label (setexeccon(3)).
pub(super) fn selinux(proc: &procfs::Proc, label: &CStr) -> Result<()> {
    proc.write(c"thread-self/attr/exec", label.to_bytes())
}

/// Joins the container's session keyring.
pub(super) fn session_keyring(name: &CStr, permissions: u32) -> Result<()> {
    let key = sys::keyring::join_session_keyring(name)?;
    if permissions == 0 { Ok(()) } else { sys::keyring::add_permissions(key, permissions) }
}

/// Makes a time namespace, sets its clocks, and enters it, in this order: once a process
/// is in it the clocks stay (time_namespaces(7)).
pub(super) fn enter_time(offsets: &str) -> Result<()> {
    unshare(NEWTIME)?;
    procfs::write(c"self/timens_offsets", offsets.as_bytes())?;
    setns(sys::file::open(c"/proc/self/ns/time_for_children", OFlag::O_RDONLY)?, NEWTIME)
}
