//! This node's term as a primary. It begins when the module is loaded, and again at each promotion.

use std::cell::Cell;

use taskslot_engine::{Beginning, Term};

use taskslot_api::context::random;

thread_local! {
    static TERM: Cell<Term> = const { Cell::new(Term { id: 0, beginning: Beginning::Start }) };
    /// Whether data was loaded since the start.
    static HAS_LOADED: Cell<bool> = const { Cell::new(false) };
}

/// Begins a new term, with a random id.
pub fn begin(beginning: Beginning) {
    // 0 stands for "no term yet" in a new queue.
    TERM.set(Term { id: u64::from_le_bytes(random()).max(1), beginning });
}

/// Whether this call is the first one: of all loads of this process, the first one continues the data of an earlier
/// process.
pub fn is_first_load() -> bool {
    !HAS_LOADED.replace(true)
}

/// The present term.
pub fn current() -> Term {
    TERM.get()
}
