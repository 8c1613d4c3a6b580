//! How a client is made to wait: on a name of its queue's slot, and no longer than it asked for.
//!
//! The server itself ends a wait whose time is up, but looks for them only when its loop turns, and an idle one turns
//! ten times a second: a wait of 30 ms would last up to 130. So a timer turns the loop when a short wait is over. It
//! does nothing else, so who waits no longer by then leaves nothing that is to be undone. The server's timers and its
//! ends of waits run on one clock, the wall's: where it is set back, both come later.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;

use taskslot_engine::Millis;
use taskslot_node::slots;

use crate::clock;
use taskslot_api::blocked::{Waiter, Waiting, block_on_key};
use taskslot_api::timer::Timer;
use taskslot_api::{Arg, Context, OwnedString};

/// Waits that end on time, in ms. A tenth of a second is nothing to a longer one, and 0 is for ever.
const SHORT_MS: Range<u64> = 1..1000;
/// How long after the end of a wait the loop turns: the server ends one when the next whole millisecond has begun.
const AFTER_MS: u64 = 1;

thread_local! {
    /// When the loop is to turn, on the wall clock, as the server counts waits and timers: one instant for each timer
    /// that is set. So there are no more timers than milliseconds in a short wait, however many wait.
    static TURNS: RefCell<BTreeSet<Millis>> = const { RefCell::new(BTreeSet::new()) };
}

/// Blocks the client of the running command for at most so many ms (0: for ever), to wait for something of this queue.
/// Gives `state` back where it can't be blocked.
pub fn block<T: Waiting>(ctx: Context<'_>, key: Arg<'_>, timeout_ms: u64, state: T) -> Result<Waiter<T>, T> {
    let name = OwnedString::new(&name(ctx, key.as_bytes()));
    let waiter = block_on_key(ctx, name.as_arg(), timeout_ms, state)?;
    if SHORT_MS.contains(&timeout_ms) {
        turn_after(ctx, timeout_ms);
    }
    Ok(waiter)
}

/// The name to block on: no client makes a key of it, and it lies in the queue's slot.
fn name(ctx: Context<'_>, key: &[u8]) -> Vec<u8> {
    let tag = if ctx.is_cluster() { slots::tag(slots::of_key(key)) } else { b"" };
    [b"\0taskslot:{", tag, b"}"].concat()
}

/// Lets the server's loop turn when a wait that begins now is over.
fn turn_after(ctx: Context<'_>, wait_ms: u64) {
    let end = clock::now(ctx).wall.plus(wait_ms);
    if TURNS.with_borrow_mut(|turns| turns.insert(end)) {
        Timer::start(ctx, wait_ms + AFTER_MS, turned);
    }
}

/// Timers fire in their order, so this is the first one's.
fn turned(_ctx: Context<'_>) {
    TURNS.with_borrow_mut(BTreeSet::pop_first);
}
