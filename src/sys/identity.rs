//! Who a process is: user and group ids, supplementary groups, capabilities.
//!
//! These calls go to the kernel directly. The C library's versions tell every
//! thread it knows of to change too, and in the child of a multi-threaded
//! process it waits for ever for threads that don't exist there (nptl(7)).

use super::{Result, syscall};

/// Sets the real, effective and saved user id (setresuid(2)).
///
/// # Errors
/// `EPERM` without CAP_SETUID, `EINVAL` when the user namespace doesn't map `uid`.
pub fn setresuid(uid: u32) -> Result<()> {
    // SAFETY: integers only.
    unsafe { syscall(libc::SYS_setresuid, [uid as u64, uid as u64, uid as u64, 0, 0, 0]) }.map(drop)
}

/// Sets the NIS domain name of the UTS namespace (setdomainname(2)).
///
/// # Errors
/// `EPERM` without CAP_SYS_ADMIN, `EINVAL` when it is too long.
pub fn setdomainname(name: &str) -> Result<()> {
    // SAFETY: the pointer and the length are those of the string.
    unsafe {
        syscall(libc::SYS_setdomainname, [name.as_ptr() as u64, name.len() as u64, 0, 0, 0, 0])
    }
    .map(drop)
}

/// Sets the real, effective and saved group id (setresgid(2)).
///
/// # Errors
/// `EPERM` without CAP_SETGID, `EINVAL` when the user namespace doesn't map `gid`.
pub fn setresgid(gid: u32) -> Result<()> {
    // SAFETY: integers only.
    unsafe { syscall(libc::SYS_setresgid, [gid as u64, gid as u64, gid as u64, 0, 0, 0]) }.map(drop)
}

/// Replaces the supplementary groups (setgroups(2)).
///
/// # Errors
/// `EPERM` without CAP_SETGID or where the user namespace denies setgroups.
pub fn setgroups(gids: &[u32]) -> Result<()> {
    // SAFETY: the pointer and the count describe the slice.
    unsafe { syscall(libc::SYS_setgroups, [gids.len() as u64, gids.as_ptr() as u64, 0, 0, 0, 0]) }
        .map(drop)
}

/// Drops a capability, by its number, from the bounding set (capabilities(7)).
///
/// # Errors
/// `EINVAL` when the kernel doesn't know the capability, `EPERM` without CAP_SETPCAP.
pub fn drop_bounding(capability: u8) -> Result<()> {
    prctl(libc::PR_CAPBSET_DROP, capability as u64, 0)
}

/// Adds a capability, by its number, to the ambient set (capabilities(7)).
///
/// # Errors
/// `EPERM` when it is not both permitted and inheritable.
pub fn raise_ambient(capability: u8) -> Result<()> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as u64, capability as u64)
}

/// Keeps the permitted capabilities over the next change from uid 0 to another
/// (`SECBIT_KEEP_CAPS`); execve clears it.
///
/// # Errors
/// `EPERM` when the bit is locked.
pub fn keep_capabilities() -> Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, 1, 0)
}

/// What execve and changes of uid do to this thread's capabilities (`SECBIT_*`).
pub fn securebits() -> u32 {
    // SAFETY: PR_GET_SECUREBITS takes no pointers, and the bits are what it returns.
    let bits = unsafe { syscall(libc::SYS_prctl, [libc::PR_GET_SECUREBITS as u64, 0, 0, 0, 0, 0]) };
    bits.map_or(0, |bits| bits as u32)
}

/// Has capabilities treated as they are by default.
///
/// # Errors
/// `EPERM` without CAP_SETPCAP, or when a bit is locked.
pub fn clear_securebits() -> Result<()> {
    prctl(libc::PR_SET_SECUREBITS, 0, 0)
}

/// Forbids gaining privileges by execve, for this process and all that it starts.
pub fn set_no_new_privs() -> Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0)
}

/// Hides this process from ptrace and /proc of others with the same uid
/// (PR_SET_DUMPABLE 0); execve resets it.
pub fn set_undumpable() -> Result<()> {
    prctl(libc::PR_SET_DUMPABLE, 0, 0)
}

/// Asks the kernel to send `signal` to this process when its parent thread ends.
///
/// A change of uid or of capabilities clears it (prctl(2), PR_SET_PDEATHSIG).
pub fn set_parent_death_signal(signal: i32) -> Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, signal as u64, 0)
}

fn prctl(option: i32, a: u64, b: u64) -> Result<()> {
    // SAFETY: the options used in this file take integers only.
    unsafe { syscall(libc::SYS_prctl, [option as u64, a, b, 0, 0, 0]) }.map(drop)
}

/// How capabilities are laid out (version 3), and whose they are: the thread's own.
const CAPABILITIES: [u32; 2] = [0x2008_0522, 0];

/// The thread's permitted capabilities, a bit for each capability number (capget(2)).
pub fn permitted() -> Result<u64> {
    let header = CAPABILITIES;
    let mut data = [[0_u32; 3]; 2];
    // SAFETY: version 3 reads one header and writes two triples of 32-bit words.
    unsafe {
        let data = data.as_mut_ptr() as u64;
        syscall(libc::SYS_capget, [header.as_ptr() as u64, data, 0, 0, 0, 0])
    }?;
    let [[_, low, _], [_, high, _]] = data;
    Ok(u64::from(high) << 32 | u64::from(low))
}

/// Replaces the thread's effective, permitted and inheritable capabilities, a
/// bit for each capability number (capset(2)).
///
/// # Errors
/// `EPERM` when a set would grow beyond what is permitted.
pub fn capset(effective: u64, permitted: u64, inheritable: u64) -> Result<()> {
    let header = CAPABILITIES;
    let half = |shift: u32| [effective, permitted, inheritable].map(|set| (set >> shift) as u32);
    let data = [half(0), half(32)];
    // SAFETY: version 3 reads one header and two triples of 32-bit words.
    unsafe { syscall(libc::SYS_capset, [header.as_ptr() as u64, data.as_ptr() as u64, 0, 0, 0, 0]) }
        .map(drop)
}
