//! The clock of a queue that came to this node on its own: from another node, or from a tool. It goes on, as an offset to
//! this node's clock. `here` reads what this node's clocks show; that takes time, so it is only done if needed.

use taskslot_engine::{Arrival, CLOCK_OFFSET_MAX_MS, Queue, Stamp};

use crate::clock::arrived_ahead_ms;

/// Clocks that differ by less count as the same clock: readings are in whole milliseconds, and clocks are slewed.
const SAME_CLOCK_MS: u64 = 20;

/// Keeps the clock by which the queue was written. Returns whether it says by which: then replicas must be told of the
/// offset.
pub fn keep_clock(queue: &mut Queue, here: impl FnOnce() -> Stamp) -> bool {
    let Some(saved) = queue.take_saved() else { return false };
    let here = here();
    let offset_ms = offset_here_ms(queue.clock_offset_ms(), &saved, &here);
    // If `keep_numbers` was called before, the numbers are counted from this node's clock already. Then only the offset is
    // new.
    let written = if queue.has_arrived() { here } else { saved };
    queue.arrive(&written, &here, offset_ms);
    true
}

/// Keeps how high the lease numbers were where the queue was written, but not its clock yet: [`keep_clock`] does that
/// later.
pub fn keep_numbers(queue: &mut Queue, here: impl FnOnce() -> Stamp) {
    if let Some(saved) = queue.saved() {
        queue.arrive(&saved, &here(), queue.clock_offset_ms());
    }
}

/// What this node makes of a chunk that shows the clocks of the node which the queue comes from; `None` if it is another
/// chunk. `queue` is what was loaded before it.
pub fn arrival(queue: &Queue, chunk: &[u8], here: impl FnOnce() -> Stamp) -> Option<Arrival> {
    let (written, offset_ms) = Arrival::source(chunk, queue.clock_offset_ms())?;
    let here = here();
    Some(Arrival { written, here, offset_ms: offset_here_ms(offset_ms, &written, &here) })
}

/// Sets how far the queue's clock is ahead of this node's, in ms, if that is more than the inaccuracy of a clock. Returns
/// whether it did.
pub fn set_ahead(queue: &mut Queue, offset_ms: i64) -> bool {
    let is_other = offset_ms.abs_diff(queue.clock_offset_ms()) > SAME_CLOCK_MS;
    if is_other {
        queue.set_clock_offset(offset_ms);
    }
    is_other
}

/// How far the clock of a queue is ahead of this node's, in ms. It was `offset_ms` ahead of that of the node which it
/// comes from, whose clocks showed `written`; those of this node show `here`.
fn offset_here_ms(offset_ms: i64, written: &Stamp, here: &Stamp) -> i64 {
    let ahead_ms = offset_ms.saturating_add(arrived_ahead_ms(written, here));
    let is_same = ahead_ms.abs_diff(offset_ms) <= SAME_CLOCK_MS;
    if is_same { offset_ms } else { ahead_ms.clamp(-CLOCK_OFFSET_MAX_MS, CLOCK_OFFSET_MAX_MS) }
}
