//! Memory that stays shared with the child over clone3.

use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use super::{Errno, Result};

/// A zeroed anonymous mapping of 64-bit words that parent and child both see.
#[derive(Debug)]
pub struct SharedWords {
    start: NonNull<AtomicU64>,
    len: usize,
}

// SAFETY: the mapping has no owner thread, and every access to it is atomic.
unsafe impl Send for SharedWords {}
// SAFETY: as above; only `&[AtomicU64]` is ever handed out.
unsafe impl Sync for SharedWords {}

impl SharedWords {
    /// Maps room for `len` words (mmap(2), MAP_SHARED | MAP_ANONYMOUS).
    ///
    /// # Errors
    /// `ENOMEM` when there is no room, `EINVAL` for `len` 0.
    pub fn new(len: usize) -> Result<Self> {
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len * size_of::<AtomicU64>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let start = NonNull::new(start.cast()).ok_or(Errno::ENOMEM)?;
        Ok(SharedWords { start, len })
    }

    /// The words. The other process may change them at any moment.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping holds `len` aligned words, lives as long as `self`,
        // and AtomicU64 allows for changes from elsewhere.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping made in `new`; no reference outlives `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len * size_of::<AtomicU64>()) };
    }
}
