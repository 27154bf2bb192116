//! An allocator for a program that lives for milliseconds.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Room of the arena, in bytes: several times what a run with an engine's configuration
/// asks for. Pages that are never used cost nothing.
const SIZE: usize = 1 << 20;

/// Blocks of at least this many bytes come from the C library, which gives them back.
const LARGE: usize = 64 << 10;

/// What malloc(3) aligns every block to; buffers of bytes are taken for more than that, such
/// as that of a control message by nix.
const ALIGNMENT: usize = 16;

/// Hands out memory from one static block, front to back, and takes back only what it
/// handed out last; what doesn't fit any more comes from the C library.
///
/// For `#[global_allocator]` of a short-lived program: starting a container allocates some
/// thousand times, and musl's allocator takes a tenth of the time until the container runs.
/// A program that lives long loses the arena's size at most.
pub struct Arena;

#[repr(C, align(4096))]
struct Block(UnsafeCell<[u8; SIZE]>);

// SAFETY: disjoint parts of the block are handed out, each to one owner.
unsafe impl Sync for Block {}

static BLOCK: Block = Block(UnsafeCell::new([0; SIZE]));
/// Where the free part of `BLOCK` begins.
static NEXT: AtomicUsize = AtomicUsize::new(0);

fn base() -> usize {
    BLOCK.0.get() as usize
}

/// The offset in the block of memory that came from it.
fn offset(memory: *mut u8) -> Option<usize> {
    (memory as usize).checked_sub(base()).filter(|offset| *offset < SIZE)
}

/// Moves the border of the free part, if it still is where the caller saw it.
fn moved(from: usize, to: usize) -> bool {
    // What one thread wrote to memory that it gives back comes before what the next writes.
    NEXT.compare_exchange_weak(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
}

// SAFETY: `alloc` gives each part of the block to one owner at a time: the border moves by
// compare-and-exchange over what is given, and back only over the block that ends at it,
// which its owner gives up. Large blocks are the system allocator's, told apart by address.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() < LARGE {
            loop {
                let next = NEXT.load(Ordering::Relaxed);
                let align = layout.align().max(ALIGNMENT);
                let start = (base() + next).next_multiple_of(align) - base();
                let end = start + layout.size();
                if end > SIZE {
                    break;
                }
                if moved(next, end) {
                    // SAFETY: `start` lies in the block.
                    return unsafe { BLOCK.0.get().cast::<u8>().add(start) };
                }
            }
        }
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        match offset(memory) {
            // Looking is cheaper than a compare-and-exchange that fails.
            Some(start) if NEXT.load(Ordering::Relaxed) == start + layout.size() => {
                moved(start + layout.size(), start);
            }
            Some(_) => {}
            // SAFETY: it isn't the arena's, so it came from the system allocator.
            None => unsafe { System.dealloc(memory, layout) },
        }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(start) = offset(memory) else {
            // SAFETY: it isn't the arena's, so it came from the system allocator.
            return unsafe { System.realloc(memory, layout, size) };
        };
        let fits = start + size <= SIZE && size < LARGE;
        if size <= layout.size() || fits && moved(start + layout.size(), start + size) {
            return memory;
        }
        // SAFETY: the caller promises a size above zero that doesn't overflow with this
        // alignment; the blocks are apart, and both hold `layout.size()` bytes.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                new.copy_from_nonoverlapping(memory, layout.size());
                self.dealloc(memory, layout);
            }
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_aligned_as_by_malloc() {
        let layout = Layout::array::<u8>(3).unwrap();
        for _ in 0..4 {
            // SAFETY: the layout isn't empty, and the block is given back with it.
            unsafe {
                let memory = Arena.alloc(layout);
                assert_eq!(memory as usize % ALIGNMENT, 0);
                Arena.dealloc(Arena.alloc(layout), layout);
            }
        }
    }

    /// Blocks of many sizes, grown, shrunk and given back by several threads in an order
    /// that looks random: nobody's content is ever touched by another.
    #[test]
    fn every_block_has_one_owner() {
        let work = |seed: u64| {
            let mut random = seed;
            let mut next = move |below: usize| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(seed | 1);
                (random >> 33) as usize % below
            };
            let mut held: Vec<(*mut u8, Layout, u8)> = Vec::new();
            for turn in 0..20_000u32 {
                let mark = turn as u8;
                let size = if next(50) == 0 { LARGE + next(LARGE) } else { 1 + next(600) };
                match next(4) {
                    0 | 1 if held.len() < 40 => {
                        let layout = Layout::from_size_align(size, 1 << next(7)).unwrap();
                        // SAFETY: the size isn't zero.
                        let memory = unsafe { Arena.alloc(layout) };
                        assert_eq!(memory as usize % layout.align(), 0);
                        // SAFETY: the block is this thread's, and so large.
                        unsafe { memory.write_bytes(mark, size) };
                        held.push((memory, layout, mark));
                    }
                    2 if !held.is_empty() => {
                        let at = if next(2) == 0 { held.len() - 1 } else { next(held.len()) };
                        let (memory, layout, old) = held[at];
                        // SAFETY: it was allocated with this layout.
                        let grown = unsafe { Arena.realloc(memory, layout, size) };
                        let kept = layout.size().min(size);
                        // SAFETY: the block is this thread's, and so large.
                        unsafe {
                            let content = std::slice::from_raw_parts(grown, kept);
                            assert!(content.iter().all(|byte| *byte == old));
                            grown.write_bytes(mark, size);
                        }
                        let layout = Layout::from_size_align(size, layout.align()).unwrap();
                        held[at] = (grown, layout, mark);
                    }
                    _ if !held.is_empty() => {
                        let at = if next(2) == 0 { held.len() - 1 } else { next(held.len()) };
                        let (memory, layout, mark) = held.swap_remove(at);
                        // SAFETY: it was allocated with this layout, and is used no more.
                        unsafe {
                            let content = std::slice::from_raw_parts(memory, layout.size());
                            assert!(content.iter().all(|byte| *byte == mark));
                            Arena.dealloc(memory, layout);
                        }
                    }
                    _ => {}
                }
            }
            for (memory, layout, _) in held {
                // SAFETY: as above.
                unsafe { Arena.dealloc(memory, layout) };
            }
        };
        std::thread::scope(|threads| {
            for seed in 1..5 {
                threads.spawn(move || work(seed));
            }
        });
    }
}
