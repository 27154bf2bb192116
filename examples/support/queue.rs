//! A System V message queue, which the C library alone knows how to make.

#![allow(unsafe_code, reason = "neither std nor nix has msgget(2)")]

use std::io;

use super::Result;

/// Lives as long as this value: nothing else ties a queue's life to a process.
pub struct Queue {
    id: libc::c_int,
    /// What others would find it by. Ids are small numbers in every namespace.
    pub key: libc::key_t,
}

impl Queue {
    /// Makes a queue in this process's IPC namespace, with a key that no other there has.
    ///
    /// # Errors
    /// Those of msgget(2).
    pub fn make() -> Result<Queue> {
        // A pid is nobody else's in its pid namespace; the letters are to be recognised.
        let start = 0x6d00_0000 + libc::key_t::try_from(std::process::id())?;
        for key in start.. {
            // SAFETY: It takes numbers alone.
            let id = unsafe { libc::msgget(key, libc::IPC_CREAT | libc::IPC_EXCL | 0o600) };
            match io::Error::last_os_error() {
                _ if id >= 0 => return Ok(Queue { id, key }),
                error if error.raw_os_error() == Some(libc::EEXIST) => (),
                error => return Err(format!("make a message queue: {error}").into()),
            }
        }
        Err("expected a free key for a message queue; saw none".into())
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: IPC_RMID takes no structure. The queue is this value's own.
        unsafe { libc::msgctl(self.id, libc::IPC_RMID, std::ptr::null_mut()) };
    }
}
