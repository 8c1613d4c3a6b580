//! This node's term as a primary. It begins when the module is loaded, and again at each promotion.

use std::cell::Cell;

use taskslot_engine::{Beginning, Term};

use taskslot_api::context::random;

thread_local! {
    static TERM: Cell<Term> = const { Cell::new(Term { id: 0, beginning: Beginning::Start }) };
}

/// Begins a new term, with a random id.
pub fn begin(beginning: Beginning) {
    // 0 stands for "no term yet" in a new queue.
    TERM.set(Term { id: u64::from_le_bytes(random()).max(1), beginning });
}

/// The present term.
pub fn current() -> Term {
    TERM.get()
}
