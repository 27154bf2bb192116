//! The only room with `unsafe` and raw system calls.
//!
//! Everything here is a thin wrapper: safe arguments in, a value or an
//! [`Errno`] out, no policy. Calls that `nix` already wraps safely are called
//! from there by the rooms above; this room holds what `nix` lacks and what
//! must bypass the C library. What takes or gives no owned strings, vectors or closures doesn't
//! allocate, so it may run between `clone3` and `execve` in the child of a multi-threaded process.
//!
//! This room imports nothing else of this crate.

pub mod arena;
pub mod bpf;
#[cfg(all(target_arch = "x86_64", any(target_env = "musl", test)))]
pub mod copy;
pub mod descriptors;
pub mod file;
pub mod identity;
pub mod keyring;
pub mod library;
pub mod memory;
pub mod message;
pub mod mount;
pub mod namespace;
pub mod network;
pub mod process;
pub mod schedule;
pub mod seccomp;
pub mod shared;
pub mod signal;
pub mod start;
pub mod terminal;
pub mod thread;

pub use nix::errno::Errno;

/// The result of a system call: a value, or the errno that the kernel gave.
pub type Result<T> = std::result::Result<T, Errno>;

/// Calls a system call by number and turns the kernel's answer into a result.
///
/// # Safety
/// The arguments must be what the system call `number` expects: every pointer
/// valid for the access that the call makes, for as long as the call lasts.
unsafe fn syscall(number: libc::c_long, args: [libc::c_ulong; 6]) -> Result<libc::c_long> {
    // SAFETY: the caller vouches for the arguments; libc::syscall only passes them on.
    let answer =
        unsafe { libc::syscall(number, args[0], args[1], args[2], args[3], args[4], args[5]) };
    Errno::result(answer)
}
