//! The module's allocator is the server's, so that `used_memory` and `maxmemory` include the memory of queues.
//!
//! Invariant: a block is freed by the allocator that it came from. Which allocator that is depends only on the block's
//! alignment, and on what `install` decided before the first allocation. It never changes afterwards:
//! - Nothing may be allocated before `install`. If something is, the module keeps the system's allocator permanently, and
//!   `install` returns an error.
//! - Blocks with a stricter alignment than the server's allocator guarantees always come from the system's allocator. The
//!   server guarantees 16 bytes, or 8 if it stores the size of a block in front of it; `install` finds out which.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use super::raw::api;

/// The strictest alignment of blocks that come from the server's allocator. 0 before [`install`], and permanently if
/// [`PINNED`]. It never changes once it isn't 0.
static SERVED: AtomicUsize = AtomicUsize::new(0);
/// Whether something was allocated before [`install`].
static PINNED: AtomicBool = AtomicBool::new(false);

/// Sizes that are tried to find out how the server's allocator aligns. From 16 bytes on, all sizes are aligned alike.
const PROBES: [usize; 4] = [16, 24, 100, 1000];

/// The server's allocator, as Rust's global allocator.
pub struct ServerAlloc;

#[global_allocator]
static ALLOCATOR: ServerAlloc = ServerAlloc;

/// Something was allocated before [`install`], so that the server's allocator can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLate;

/// Switches to the server's allocator. Must be called before the first allocation and after the server's functions are
/// loaded. It allocates nothing by Rust's allocator itself.
pub(super) fn install() -> Result<(), TooLate> {
    if SERVED.load(Relaxed) != 0 {
        // The library has stayed in memory after a load that failed.
        return Ok(());
    }
    if PINNED.load(Relaxed) {
        return Err(TooLate);
    }
    let is_aligned = PROBES.iter().all(|size| {
        // SAFETY: an ordinary block of the server's allocator, which is freed by it, unused.
        unsafe {
            let block = api!(RedisModule_Alloc)(*size);
            api!(RedisModule_Free)(block);
            block.addr() % 16 == 0
        }
    });
    SERVED.store(if is_aligned { 16 } else { 8 }, Relaxed);
    Ok(())
}

/// Whether blocks of this alignment come from the server's allocator, not from the system's. Other threads get their first
/// block from the server's thread through a lock, so they see what it wrote before.
#[inline]
fn is_served(align: usize) -> bool {
    align <= SERVED.load(Relaxed)
}

/// Notes that the system's allocator gave a block before [`install`]: a later switch would free it by the wrong allocator.
#[cold]
fn pin() {
    if SERVED.load(Relaxed) == 0 {
        PINNED.store(true, Relaxed);
    }
}

/// The size to request: at least the alignment, because allocators align a block only as strictly as its size requires.
#[inline]
fn size(bytes: usize, align: usize) -> usize {
    bytes.max(align)
}

// SAFETY: both allocators give blocks of at least the size, aligned as asked (see the invariant of this file), and the
// choice between them is the same whenever a block of one layout is given, grown or freed.
unsafe impl GlobalAlloc for ServerAlloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_served(layout.align()) {
            // SAFETY: the server returns a block of any size, or aborts.
            return unsafe { api!(RedisModule_Alloc)(size(layout.size(), layout.align())) }.cast();
        }
        pin();
        // SAFETY: the caller promises a size that isn't 0, which the system's allocator requires.
        unsafe { System.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_served(layout.align()) {
            // SAFETY: the server returns a zeroed block of any size, or aborts.
            return unsafe { api!(RedisModule_Calloc)(1, size(layout.size(), layout.align())) }.cast();
        }
        pin();
        // SAFETY: the caller promises a size that isn't 0, which the system's allocator requires.
        unsafe { System.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if is_served(layout.align()) {
            // SAFETY: a block of this alignment came from the server's allocator, and the caller frees it.
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
