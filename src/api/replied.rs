//! Whether the running command has begun its reply: what decides how a panic in it ends ([`super::guard`]).

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Commands run on one thread; a nested one keeps its own ([`restore`]).
static REPLIED: AtomicBool = AtomicBool::new(false);

/// Notes that the running command has begun its reply.
#[inline]
pub(super) fn note() {
    REPLIED.store(true, Relaxed);
}

/// The running command has begun its reply.
pub(super) fn is_noted() -> bool {
    REPLIED.load(Relaxed)
}

/// Begins a command; the answer is what [`restore`] wants when it ends.
pub(super) fn begin() -> bool {
    REPLIED.swap(false, Relaxed)
}

/// Ends a command: an outer one goes on.
pub(super) fn restore(outer: bool) {
    REPLIED.store(outer, Relaxed);
}
