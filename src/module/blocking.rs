//! Blocks clients: on a name in the slot of their queue, and no longer than they asked for.
//!
//! The server ends a wait whose time is up, but it looks for such waits only when its event loop turns. An idle loop turns
//! ten times a second, so a wait of 30 ms would last up to 130 ms. A timer therefore wakes the loop when a short wait ends.
//! The timer does nothing else, so nothing has to be undone if the client has stopped waiting by then. The server uses the
//! wall clock both for timers and for the end of waits: if that clock is set back, both come later.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;

use taskslot_engine::Millis;
use taskslot_node::slots;

use crate::clock;
use taskslot_api::blocked::{Waiter, Waiting, block_on_key};
use taskslot_api::timer::Timer;
use taskslot_api::{Arg, Context, OwnedString};

/// The waits that a timer ends, in ms. A longer one can end a tenth of a second late, and 0 has no end.
const SHORT_MS: Range<u64> = 1..1000;
/// How long after its end the timer of a wait fires, in ms. The server ends a wait when the next whole millisecond has begun.
const AFTER_MS: u64 = 1;

thread_local! {
    /// The times of the timers that are running, on the wall clock, which the server uses for timers and waits. Waits that
    /// end in the same millisecond share a timer, so there are at most a thousand.
    static TURNS: RefCell<BTreeSet<Millis>> = const { RefCell::new(BTreeSet::new()) };
}

/// Blocks the client of the running command for at most `timeout_ms` (0: without a limit), until something happens in this
/// queue. Returns `state` if the client can't be blocked.
pub fn block<T: Waiting>(ctx: Context<'_>, key: Arg<'_>, timeout_ms: u64, state: T) -> Result<Waiter<T>, T> {
    let name = OwnedString::new(&name(ctx, key.as_bytes()));
    let waiter = block_on_key(ctx, name.as_arg(), timeout_ms, state)?;
    if SHORT_MS.contains(&timeout_ms) {
        turn_after(ctx, timeout_ms);
    }
    Ok(waiter)
}

/// The name to block on. It is in the slot of the queue, and no client creates a key of this name.
fn name(ctx: Context<'_>, key: &[u8]) -> Vec<u8> {
    let tag = if ctx.is_cluster() { slots::tag(slots::of_key(key)) } else { b"" };
    [b"\0taskslot:{", tag, b"}"].concat()
}

/// Wakes the server's event loop when a wait that begins now ends.
fn turn_after(ctx: Context<'_>, wait_ms: u64) {
    let end = clock::now(ctx).wall.plus(wait_ms);
    if TURNS.with_borrow_mut(|turns| turns.insert(end)) {
        Timer::start(ctx, wait_ms + AFTER_MS, turned);
    }
}

/// Timers fire in the order of their times, so the first one has fired.
fn turned(_ctx: Context<'_>) {
    TURNS.with_borrow_mut(BTreeSet::pop_first);
}
