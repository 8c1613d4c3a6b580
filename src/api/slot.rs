//! What a key of our type points to: the value, and the count of who is looking at it.
//!
//! The count makes two exclusive borrows of one value impossible, whatever keys a client names twice, and a value that the
//! server frees while it is borrowed is left alone (and lost, with a log line) instead of freed under our hands.

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

/// What the server keeps one pointer to per key.
#[repr(C)]
pub(super) struct Slot<T> {
    /// 0 free, > 0 that many readers, -1 one writer. Only the main thread borrows; the thread that frees looks.
    borrowed: AtomicI32,
    value: UnsafeCell<T>,
}

impl<T> Slot<T> {
    pub(super) fn boxed(value: T) -> *mut c_void {
        Box::into_raw(Box::new(Slot { borrowed: AtomicI32::new(0), value: UnsafeCell::new(value) })).cast()
    }

    /// Takes back what `boxed` made and the server didn't want.
    ///
    /// # Safety
    /// The pointer is from [`Slot::boxed`] of this `T`, and nobody else has it.
    pub(super) unsafe fn unbox(slot: *mut c_void) -> T {
        // SAFETY: the caller's promise: this is what `Box::into_raw` answered, and it is taken back once.
        unsafe { Box::from_raw(slot.cast::<Slot<T>>()) }.value.into_inner()
    }

    /// Takes back a value that the server frees; `None`, and it stays where it is for ever, if somebody borrows it.
    ///
    /// # Safety
    /// The pointer is from [`Slot::boxed`] of this `T`, and nobody can borrow it any more.
    pub(super) unsafe fn unbox_unused(slot: *mut c_void) -> Option<T> {
        // SAFETY: the caller's promise: a slot, which nobody has freed.
        let is_used = unsafe { Slot::<T>::is_used(slot) };
        // SAFETY: nobody borrows it, and nobody can any more, so nobody else has it.
        (!is_used).then(|| unsafe { Slot::<T>::unbox(slot) })
    }

    /// Somebody borrows the value.
    ///
    /// # Safety
    /// The pointer is from [`Slot::boxed`] of this `T`, and the value lives through the call.
    pub(super) unsafe fn is_used(slot: *mut c_void) -> bool {
        // SAFETY: the caller's promise. Only the count is looked at, which is never borrowed exclusively.
        unsafe { &(*slot.cast::<Slot<T>>()).borrowed }.load(Relaxed) != 0
    }

    pub(super) fn value(&self) -> *mut T {
        self.value.get()
    }

    pub(super) fn borrowed(&self) -> NonNull<AtomicI32> {
        NonNull::from(&self.borrowed)
    }
}

/// One more reader, unless there is a writer.
pub(super) fn borrow_shared(count: &AtomicI32) -> bool {
    let now = count.load(Relaxed);
    let free = now >= 0;
    if free {
        count.store(now + 1, Relaxed);
    }
    free
}

/// The one writer, unless there is anybody.
pub(super) fn borrow_exclusive(count: &AtomicI32) -> bool {
    let free = count.load(Relaxed) == 0;
    if free {
        count.store(-1, Relaxed);
    }
    free
}

/// Ends either borrow.
pub(super) fn release(count: &AtomicI32) {
    let now = count.load(Relaxed);
    count.store(if now > 0 { now - 1 } else { 0 }, Relaxed);
}

/// Runs `look` on a value that the server hands to a callback; `None` if somebody is changing it.
///
/// # Safety
/// The pointer is from [`Slot::boxed`] of this `T`, and the value lives through the call.
pub(super) unsafe fn look<T, R>(slot: *const c_void, look: impl FnOnce(&T) -> R) -> Option<R> {
    // SAFETY: the caller's promise. Nobody has a `&mut` to a whole slot.
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

/// Ends a borrow also when a panic passes.
struct Borrowed<'a>(&'a AtomicI32);

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        release(self.0);
    }
}
