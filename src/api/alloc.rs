//! The crate's allocator: the server's own, so that `used_memory` and `maxmemory` count what queues hold.
//!
//! Invariant: a block goes back to the allocator it came from. Which one that is hangs only on the block's alignment
//! and on what [`install`] settled before the first allocation, and never changes after it:
//! - nothing may be allocated before [`install`]; if something is, the crate stays with the system's allocator for
//!   ever, and [`install`] says so by refusing;
//! - blocks aligned more strictly than the server's allocator assures (16 bytes; 8 where it keeps its sizes in a
//!   prefix, which [`install`] finds out by looking) always come from the system's.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use super::raw::api;

/// The strictest alignment of blocks that come from the server's allocator; 0 before [`install`], and for ever if
/// [`PINNED`]. Never changed once it isn't 0.
static SERVED: AtomicUsize = AtomicUsize::new(0);
/// Something was allocated before [`install`].
static PINNED: AtomicBool = AtomicBool::new(false);

/// Sizes tried to see how the server's allocator aligns; from 16 bytes on all are aligned alike.
const PROBES: [usize; 4] = [16, 24, 100, 1000];

/// The server's allocator as Rust's.
pub struct ServerAlloc;

#[global_allocator]
static ALLOCATOR: ServerAlloc = ServerAlloc;

/// Something was allocated before [`install`], so that the server's allocator can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLate;

/// Makes the server's allocator that of the crate. Must come before the first allocation and after the server's
/// functions are there; allocates nothing of Rust's itself.
pub(super) fn install() -> Result<(), TooLate> {
    if SERVED.load(Relaxed) != 0 {
        // The library stayed in memory after a load that failed.
        return Ok(());
    }
    if PINNED.load(Relaxed) {
        return Err(TooLate);
    }
    let is_aligned = PROBES.iter().all(|size| {
        // SAFETY: an ordinary allocation of the server's, which goes back to it unused.
        unsafe {
            let block = api!(RedisModule_Alloc)(*size);
            api!(RedisModule_Free)(block);
            block.addr() % 16 == 0
        }
    });
    SERVED.store(if is_aligned { 16 } else { 8 }, Relaxed);
    Ok(())
}

/// Whether blocks of this alignment come from the server's allocator, not from the system's. Other threads got their
/// first block from the server's thread by a lock, so they see what it wrote before.
#[inline]
fn is_served(align: usize) -> bool {
    align <= SERVED.load(Relaxed)
}

/// Notes that the system's allocator gave a block that a later [`install`] could make us free wrongly.
#[cold]
fn pin() {
    if SERVED.load(Relaxed) == 0 {
        PINNED.store(true, Relaxed);
    }
}

/// The size to ask for: allocators align a block only as its size calls for.
#[inline]
fn size(bytes: usize, align: usize) -> usize {
    bytes.max(align)
}

// SAFETY: both allocators give blocks of at least the size, aligned as asked (see the head of this file), and the
// choice between them is the same whenever a block of one layout is given, grown or freed.
unsafe impl GlobalAlloc for ServerAlloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_served(layout.align()) {
            // SAFETY: the server gives a block of any size, or ends itself.
            return unsafe { api!(RedisModule_Alloc)(size(layout.size(), layout.align())) }.cast();
        }
        pin();
        // SAFETY: the caller's promise, a size that isn't 0, is what the system's allocator wants.
        unsafe { System.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_served(layout.align()) {
            // SAFETY: the server gives a zeroed block of any size, or ends itself.
            return unsafe { api!(RedisModule_Calloc)(1, size(layout.size(), layout.align())) }.cast();
        }
        pin();
        // SAFETY: the caller's promise, a size that isn't 0, is what the system's allocator wants.
        unsafe { System.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if is_served(layout.align()) {
            // SAFETY: a block of this alignment came from the server's allocator, and the caller lets go of it.
            return unsafe { api!(RedisModule_Free)(block.cast()) };
        }
        // SAFETY: a block of this alignment came from the system's allocator, with this layout.
        unsafe { System.dealloc(block, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if is_served(layout.align()) {
            // SAFETY: a block of this alignment came from the server's allocator, and so does the new one.
            return unsafe { api!(RedisModule_Realloc)(block.cast(), size(new_size, layout.align())) }.cast();
        }
        // SAFETY: a block of this alignment came from the system's allocator, with this layout; the caller promises a size
        // that isn't 0.
        unsafe { System.realloc(block, layout, new_size) }
    }
}
