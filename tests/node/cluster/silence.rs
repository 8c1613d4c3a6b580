//! Panics that are expected print nothing.

use std::cell::Cell;
use std::panic::{set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

static HOOK: Once = Once::new();

/// Runs `body`. Panics of this thread are not printed meanwhile.
pub fn quietly<R>(body: impl FnOnce() -> R) -> R {
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |info| {
            if !IS_QUIET.get() {
                usual(info);
            }
        }));
    });
    IS_QUIET.set(true);
    let result = body();
    IS_QUIET.set(false);
    result
}
