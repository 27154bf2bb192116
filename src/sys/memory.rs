//! Memory that a process which only waits doesn't need.

use std::ffi::{c_int, c_void};

use nix::poll::{PollFd, PollTimeout};

use super::{Errno, Result};

/// Pages of code and constants: of the program and its libraries, three pieces each.
type Pieces = [(usize, usize); 24];

/// How far below what is in use a stack may have been touched; what is mapped below the main
/// thread's is further away (the kernel keeps a gap of 1 MiB, and most of 128 MiB).
const STACK: usize = 256 << 10;

/// Sleeps as poll(2) does, but gives back memory before: the pages of this process's code and
/// constants, which are mapped from their files again when they are touched next, and those
/// of the main thread's stack that were only in use before.
///
/// # Errors
/// As those of poll(2).
pub fn poll_without(fds: &mut [PollFd], timeout: PollTimeout) -> Result<c_int> {
    let mut pieces: Pieces = [(0, 0); 24];
    // SAFETY: the callback is of the type asked for, and the pieces are what it expects.
    unsafe { libc::dl_iterate_phdr(Some(find), (&raw mut pieces).cast()) };
    // SAFETY: an integer only. The kernel puts what it tells on top of that stack.
    let top = unsafe { libc::getauxval(libc::AT_RANDOM) } as usize;
    let page = page_size();
    let here = (&raw const pieces) as usize;
    if here < top && top - here < STACK {
        let end = here - here % page - 4 * page;
        pieces[pieces.len() - 1] = (end - STACK, STACK);
    }
    for (start, length) in pieces.into_iter().filter(|(_, length)| *length > 0) {
        // SAFETY: what is never written to reads the same from its file, and nothing is in
        // use below the frame of this function but those of what it calls, for which pages
        // are left.
        unsafe { libc::madvise(start as *mut c_void, length, libc::MADV_DONTNEED) };
    }
    let (fds, count) = (fds.as_mut_ptr().cast(), fds.len() as libc::nfds_t);
    // SAFETY: `PollFd` is a transparent pollfd, and there are so many.
    Errno::result(unsafe { libc::poll(fds, count, timeout.into()) })
}

/// Adds a loaded object's pieces, for dl_iterate_phdr(3).
///
/// # Safety
/// `object` describes what is loaded, and `pieces` points to `Pieces` that nobody else uses.
unsafe extern "C" fn find(object: *mut libc::dl_phdr_info, _: usize, pieces: *mut c_void) -> c_int {
    // SAFETY: the caller vouches for both; there are so many headers, which stay as they are.
    let (pieces, base, headers) = unsafe {
        let headers = ((*object).dlpi_phdr, usize::from((*object).dlpi_phnum));
        let headers = std::slice::from_raw_parts(headers.0, headers.1);
        (&mut *pieces.cast::<Pieces>(), (*object).dlpi_addr as usize, headers)
    };
    let page = page_size();
    let is_constant = |header: &&libc::Elf64_Phdr| {
        header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0
    };
    let free = pieces.iter_mut().filter(|(_, length)| *length == 0);
    for (piece, header) in free.zip(headers.iter().filter(is_constant)) {
        let start = base + header.p_vaddr as usize;
        let first = start - start % page;
        *piece = (first, start + header.p_memsz as usize - first);
    }
    0
}

fn page_size() -> usize {
    // SAFETY: an integer only.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}
