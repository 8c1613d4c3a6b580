//! The crate's allocator: the server's own, so that `used_memory` and `maxmemory` count what queues hold.
//!
//! Invariant: a block goes back to the allocator it came from. Which one that is hangs only on the block's alignment
//! and on what [`install`] settled before the first allocation, and never changes after it:
//! - nothing may be allocated before [`install`]; if something is, the crate stays with the system's allocator for
//!   ever, and [`install`] says so by refusing;
//! - blocks aligned more strictly than the server's allocator assures (16 bytes; 8 where it keeps its sizes in a
//!   prefix, which [`install`] finds out by looking) always come from the system's.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::Relaxed};

use super::raw::{self, GetApi};

type AllocFn = unsafe extern "C" fn(usize) -> *mut c_void;
type CallocFn = unsafe extern "C" fn(usize, usize) -> *mut c_void;
type ReallocFn = unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void;
type FreeFn = unsafe extern "C" fn(*mut c_void);

/// The four functions; never changed once published.
struct Functions {
    alloc: AllocFn,
    calloc: CallocFn,
    realloc: ReallocFn,
    free: FreeFn,
}

/// The published functions; null before, and for ever if [`PINNED`].
static FUNCTIONS: AtomicPtr<Functions> = AtomicPtr::new(ptr::null_mut());
/// Something was allocated before the functions were there.
static PINNED: AtomicBool = AtomicBool::new(false);
/// The strictest alignment the server's allocator assures.
static ALIGNMENT: AtomicUsize = AtomicUsize::new(8);

/// Sizes tried to see how the server's allocator aligns; from 16 bytes on all are aligned alike.
const PROBES: [usize; 4] = [16, 24, 100, 1000];

/// The server's allocator as Rust's.
pub struct ServerAlloc;

#[global_allocator]
static ALLOCATOR: ServerAlloc = ServerAlloc;

/// Why the server's allocator can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The server has no such functions.
    Missing,
    /// Something was allocated before.
    TooLate,
}

/// Makes the server's allocator that of the crate. Must come before the first allocation, and allocates nothing of
/// Rust's itself.
///
/// # Safety
/// `get` is the server's `RM_GetApi`.
pub(super) unsafe fn install(get: GetApi) -> Result<(), Refused> {
    if !FUNCTIONS.load(Relaxed).is_null() {
        // The library stayed in memory from an earlier load; the functions are the same.
        return Ok(());
    }
    if PINNED.load(Relaxed) {
        return Err(Refused::TooLate);
    }
    // SAFETY: the caller vouches for `get`; the types are those of redismodule.h.
    let functions = unsafe {
        Functions {
            alloc: raw::find(get, c"RedisModule_Alloc").ok_or(Refused::Missing)?,
            calloc: raw::find(get, c"RedisModule_Calloc").ok_or(Refused::Missing)?,
            realloc: raw::find(get, c"RedisModule_Realloc").ok_or(Refused::Missing)?,
            free: raw::find(get, c"RedisModule_Free").ok_or(Refused::Missing)?,
        }
    };
    // SAFETY: blocks that the server's allocator just gave go back to it.
    let aligned = PROBES.iter().all(|size| unsafe {
        let block = (functions.alloc)(*size);
        (functions.free)(block);
        block.addr() % 16 == 0
    });
    // SAFETY: an ordinary allocation of the server's, big enough and aligned for `Functions`.
    let place = unsafe { (functions.alloc)(size_of::<Functions>()) }.cast::<Functions>();
    // SAFETY: `place` is fresh, never freed, and written before it is published.
    unsafe { place.write(functions) };
    ALIGNMENT.store(if aligned { 16 } else { 8 }, Relaxed);
    FUNCTIONS.store(place, Relaxed);
    Ok(())
}

/// The functions for blocks of this alignment; `None` is the system's allocator.
#[inline]
fn functions(align: usize) -> Option<&'static Functions> {
    if align > 8 && align > ALIGNMENT.load(Relaxed) {
        return None;
    }
    // SAFETY: null, or points to what `install` wrote and nothing frees or changes. Other threads got their first
    // block from the server's thread by a lock, so they see the writes before it.
    unsafe { FUNCTIONS.load(Relaxed).as_ref() }
}

/// Notes that the system's allocator gave a block that a later [`install`] could make us free wrongly.
#[cold]
fn pin() {
    if FUNCTIONS.load(Relaxed).is_null() {
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
        match functions(layout.align()) {
            // SAFETY: an ordinary allocation.
            Some(server) => unsafe { (server.alloc)(size(layout.size(), layout.align())) }.cast(),
            None => {
                pin();
                // SAFETY: the caller's promise is the same.
                unsafe { System.alloc(layout) }
            }
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match functions(layout.align()) {
            // SAFETY: an ordinary allocation.
            Some(server) => unsafe { (server.calloc)(1, size(layout.size(), layout.align())) }.cast(),
            None => {
                pin();
                // SAFETY: the caller's promise is the same.
                unsafe { System.alloc_zeroed(layout) }
            }
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match functions(layout.align()) {
            // SAFETY: a block of this alignment came from the server's allocator.
            Some(server) => unsafe { (server.free)(block.cast()) },
            // SAFETY: a block of this alignment came from the system's allocator.
            None => unsafe { System.dealloc(block, layout) },
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        match functions(layout.align()) {
            // SAFETY: a block of this alignment came from the server's allocator, and so does the new one.
            Some(server) => unsafe { (server.realloc)(block.cast(), size(new_size, layout.align())) }.cast(),
            // SAFETY: a block of this alignment came from the system's allocator.
            None => unsafe { System.realloc(block, layout, new_size) },
        }
    }
}
