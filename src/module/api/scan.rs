//! A walk over all keys of a database, a slice at a time.

use std::ffi::c_void;
use std::ptr::NonNull;

use super::context::Context;
use super::guard::guard;
use super::raw::{self, api};
use super::string::Arg;

/// Where the walk is. A key that is there all the time is seen at least once, whatever changes between the steps.
pub struct Scan {
    cursor: NonNull<raw::ScanCursor>,
}

impl Scan {
    /// From the beginning.
    pub fn new() -> Option<Scan> {
        // SAFETY: takes nothing.
        NonNull::new(unsafe { (api().scan_cursor_create)() }).map(|cursor| Scan { cursor })
    }

    /// The next few keys of the context's database, whatever their type. False when the walk is over. `seen` may
    /// change nothing but the key it was given.
    pub fn step(&mut self, ctx: Context<'_>, mut seen: impl FnMut(Context<'_>, Arg<'_>)) -> bool {
        let mut seen: &mut dyn FnMut(Context<'_>, Arg<'_>) = &mut seen;
        // SAFETY: the context lives, the cursor is ours; `each` gets back the pointer to `seen`, which lives
        // through the call.
        unsafe { (api().scan)(ctx.raw(), self.cursor.as_ptr(), each, (&raw mut seen).cast()) != 0 }
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        // SAFETY: made by `new`, destroyed once.
        unsafe { (api().scan_cursor_destroy)(self.cursor.as_ptr()) }
    }
}

unsafe extern "C" fn each(ctx: *mut raw::Ctx, name: *mut raw::Str, _: *mut raw::Key, seen: *mut c_void) {
    guard("a walk over the keys", (), || {
        // SAFETY: the server gives a context and a name that live through this call, on its main thread.
        let (Some(ctx), Some(name)) = (unsafe { Context::new(ctx) }, NonNull::new(name)) else { return };
        // SAFETY: as above; the pointer is the one that `step` gave.
        let (name, seen) =
            unsafe { (Arg::new(name), &mut *seen.cast::<&mut dyn FnMut(Context<'_>, Arg<'_>)>()) };
        seen(ctx, name);
    });
}
