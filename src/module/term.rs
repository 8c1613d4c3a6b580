//! The term of this node as a primary: a random id, drawn when the module is loaded and at each promotion.

use std::cell::Cell;

use crate::api::context::random;

thread_local! {
    static TERM: Cell<u64> = const { Cell::new(0) };
}

/// Begins a new term.
pub fn begin() {
    // 0 stands for "no term yet" in a new queue.
    TERM.set(u64::from_le_bytes(random()).max(1));
}

/// The present term.
pub fn current() -> u64 {
    TERM.get()
}
