//! What a process does with a signal: a handler that counts, or the default.

#![allow(unsafe_code, reason = "a handler runs between any two instructions")]

use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

static CAUGHT: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: libc::c_int) {
    CAUGHT.fetch_add(1, Ordering::SeqCst);
}

/// Has a signal counted from now on; system calls that it interrupts say EINTR.
///
/// # Errors
/// EINVAL for a signal that can't be caught.
pub fn catch(signal: Signal) -> Result<(), Errno> {
    let action = SigAction::new(SigHandler::Handler(count), SaFlags::empty(), SigSet::empty());
    // SAFETY: The handler does nothing but count in an atomic, which is allowed at any moment.
    unsafe { sigaction(signal, &action) }.map(drop)
}

/// Has a signal do what it does by default, whatever this process was started with (Rust's own
/// start ignores SIGPIPE).
///
/// # Errors
/// EINVAL for a signal for which there is nothing else.
pub fn reset(signal: Signal) -> Result<(), Errno> {
    let action = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: No code of ours is called.
    unsafe { sigaction(signal, &action) }.map(drop)
}

/// How often a handler has run in this process.
pub fn caught() -> u32 {
    CAUGHT.load(Ordering::SeqCst)
}
