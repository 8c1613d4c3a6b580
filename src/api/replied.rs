//! Whether the running command has begun its reply. This decides what happens after a panic in it ([`super::guard`]).

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// One flag is enough, because commands run on one thread. A nested command saves and restores it.
static REPLIED: AtomicBool = AtomicBool::new(false);

/// Notes that the running command has begun its reply.
#[inline]
pub(super) fn note() {
    REPLIED.store(true, Relaxed);
}

/// Whether the running command has begun its reply.
pub(super) fn is_noted() -> bool {
    REPLIED.load(Relaxed)
}

/// Begins a command. Returns the flag of the outer command, for [`restore`].
pub(super) fn begin() -> bool {
    REPLIED.swap(false, Relaxed)
}

/// Ends a command, and restores the flag of the outer one.
pub(super) fn restore(outer: bool) {
    REPLIED.store(outer, Relaxed);
}
