//! The block that a key points to: a value, and the count of its borrows.
//!
//! The count prevents a second borrow of a value while it is being changed, for example if a client names a key twice. A value
//! that the server frees while it is borrowed is not freed: its memory is lost, with a line in the log.

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

/// A value with its count of borrows. The server keeps a pointer to it in the key.
#[repr(C)]
pub(super) struct Slot<T> {
    /// 0 for none, n for n readers, -1 for a writer. Only the main thread borrows; the thread that frees a value reads the count.
    borrowed: AtomicI32,
    value: UnsafeCell<T>,
}

impl<T> Slot<T> {
    pub(super) fn boxed(value: T) -> *mut c_void {
        Box::into_raw(Box::new(Slot { borrowed: AtomicI32::new(0), value: UnsafeCell::new(value) })).cast()
    }

    /// Takes back what `boxed` made.
    ///
    /// # Safety
    /// The pointer is from [`Slot::boxed`] of this `T`, and there is no other pointer to it.
    pub(super) unsafe fn unbox(slot: *mut c_void) -> T {
        // SAFETY: the caller's promise: this is what `Box::into_raw` returned, and it is taken back once.
        unsafe { Box::from_raw(slot.cast::<Slot<T>>()) }.value.into_inner()
    }

    /// Takes back a value that the server frees. `None` if the value is borrowed: then its memory is never freed.
    ///
    /// # Safety
    /// The pointer is from [`Slot::boxed`] of this `T`, and it can't be borrowed any more.
    pub(super) unsafe fn unbox_unused(slot: *mut c_void) -> Option<T> {
        // SAFETY: the caller's promise: a slot that was not freed.
        let is_used = unsafe { Slot::<T>::is_used(slot) };
        // SAFETY: it isn't borrowed and can't be any more, so there is no other user.
        (!is_used).then(|| unsafe { Slot::<T>::unbox(slot) })
    }

    /// Whether the value is borrowed.
    ///
    /// # Safety
    /// The pointer is from [`Slot::boxed`] of this `T`, and the value lives through the call.
    pub(super) unsafe fn is_used(slot: *mut c_void) -> bool {
        // SAFETY: the caller's promise. Only the count is read, which is never borrowed exclusively.
        unsafe { &(*slot.cast::<Slot<T>>()).borrowed }.load(Relaxed) != 0
    }

    pub(super) fn value(&self) -> *mut T {
        self.value.get()
    }

    pub(super) fn borrowed(&self) -> NonNull<AtomicI32> {
        NonNull::from(&self.borrowed)
    }
}

/// Adds a reader, unless there is a writer. Returns whether it did.
pub(super) fn borrow_shared(count: &AtomicI32) -> bool {
    let now = count.load(Relaxed);
    let free = now >= 0;
    if free {
        count.store(now + 1, Relaxed);
    }
    free
}

/// Adds a writer, if there is no other borrow. Returns whether it did.
pub(super) fn borrow_exclusive(count: &AtomicI32) -> bool {
    let free = count.load(Relaxed) == 0;
    if free {
        count.store(-1, Relaxed);
    }
    free
}

/// Ends a borrow of either kind.
pub(super) fn release(count: &AtomicI32) {
    let now = count.load(Relaxed);
    count.store(if now > 0 { now - 1 } else { 0 }, Relaxed);
}

/// Runs `look` on a value that the server passes to a callback. `None` if the value is being changed.
///
/// # Safety
/// The pointer is from [`Slot::boxed`] of this `T`, and the value lives through the call.
pub(super) unsafe fn look<T, R>(slot: *const c_void, look: impl FnOnce(&T) -> R) -> Option<R> {
    // SAFETY: the caller's promise. There is never a `&mut` to a whole slot.
    let slot = unsafe { &*slot.cast::<Slot<T>>() };
    if !borrow_shared(&slot.borrowed) {
        return None;
    }
    let borrow = Borrowed(&slot.borrowed);
    // SAFETY: no writer has it, and none gets it before `borrow` is dropped.
    let result = look(unsafe { &*slot.value.get() });
    drop(borrow);
    Some(result)
}

/// Ends the borrow when it is dropped, even in a panic.
struct Borrowed<'a>(&'a AtomicI32);

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        release(self.0);
    }
}
