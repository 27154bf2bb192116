//! Memory from mmap(2), in pages that a demo touches one by one and may share with those it
//! forks.

#![allow(unsafe_code, reason = "Rust's allocator hides pages, and doesn't share any")]

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

use super::Result;

/// Zeroed pages, or those of a file, until it is dropped.
pub struct Mapping {
    start: NonNull<AtomicU64>,
    bytes: NonZeroUsize,
}

impl Mapping {
    /// Pages that a forked child has a copy of. They come one by one, never as a huge page.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn private(pages: usize) -> Result<Mapping> {
        Mapping::new(pages, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, None)
    }

    /// Pages that a forked child has in common with its parent.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn shared(pages: usize) -> Result<Mapping> {
        Mapping::new(pages, libc::MAP_SHARED | libc::MAP_ANONYMOUS, None)
    }

    /// The first pages of a file, which nobody else may write to or shorten; what is written
    /// to them doesn't reach it.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn of(file: &File, pages: usize) -> Result<Mapping> {
        Mapping::new(pages, libc::MAP_PRIVATE, Some(file))
    }

    fn new(pages: usize, flags: libc::c_int, file: Option<&File>) -> Result<Mapping> {
        let bytes = NonZeroUsize::new(pages * page_size()).ok_or("expected pages to map")?;
        let fd = file.map_or(-1, AsRawFd::as_raw_fd);
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: The kernel chooses the place, so nothing that exists is replaced.
        let start = unsafe { libc::mmap(ptr::null_mut(), bytes.get(), access, flags, fd, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error().into());
        }
        let start: NonNull<AtomicU64> =
            NonNull::new(start.cast()).ok_or("expected memory; saw a null pointer")?;
        // A kernel without huge pages doesn't know this advice, and needs none.
        // SAFETY: The range is the one that was just mapped; the advice changes no byte of it.
        let _ = unsafe { libc::madvise(start.as_ptr().cast(), bytes.get(), libc::MADV_NOHUGEPAGE) };
        Ok(Mapping { start, bytes })
    }

    /// All of it, as atomics: other processes may change what is shared at any time.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: Mapped as long as self is, aligned to a page, readable and writable, and any
        // bytes are a number. Everybody in this program reaches it by these atomics alone.
        unsafe {
            std::slice::from_raw_parts(self.start.as_ptr(), self.bytes.get() / size_of::<u64>())
        }
    }

    /// The first word of each page.
    pub fn pages(&self) -> impl Iterator<Item = &AtomicU64> {
        self.words().iter().step_by(page_size() / size_of::<u64>())
    }

    /// Reads something of every page.
    pub fn read(&self) {
        for page in self.pages() {
            std::hint::black_box(page.load(Ordering::Relaxed));
        }
    }

    /// Writes something to every page.
    pub fn write(&self) {
        for page in self.pages() {
            page.store(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: Mapped by `new`, and no reference into it outlives self.
        let _ = unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes.get()) };
    }
}

/// Moves the end of the heap up, past what the allocator knows of, and gives where it was.
///
/// # Errors
/// When the kernel leaves it where it is.
pub fn grow_heap(bytes: usize) -> Result<usize> {
    // The C library's sbrk isn't it: musl has none.
    // SAFETY: With 0 nothing is moved.
    let end = unsafe { libc::syscall(libc::SYS_brk, 0) };
    let wanted = end + libc::c_long::try_from(bytes)?;
    // SAFETY: The heap only becomes longer. An allocator that moves its end afterwards does so
    // from where it had left it, and nobody uses what lies beyond.
    match unsafe { libc::syscall(libc::SYS_brk, wanted) } {
        moved if moved == wanted => Ok(usize::try_from(end)?),
        _ => Err("expected brk(2) to move the end of the heap; saw it stay".into()),
    }
}

/// The size of a page in bytes.
pub fn page_size() -> usize {
    // SAFETY: It takes a number and gives one.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}
