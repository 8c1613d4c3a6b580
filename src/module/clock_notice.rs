//! What this node's clock shows is sent to replicas, which follow it, and to the AOF, from which a restart carries the
//! clock on and learns when somebody last served: `TASK._CLOCK stamp`.

use std::cell::Cell;

use taskslot_engine::Stamp;

use crate::replication::CLOCK;
use crate::{clock, metrics};
use taskslot_api::timer::Timer;
use taskslot_api::{Context, Level};

/// While queues change, it is sent this often.
const EVERY_US: u64 = 60_000_000;
/// A clock that is further from where the last stamp puts it is sent anew.
const OFF_MS: u64 = 250;

/// What was sent, and whether more is to be sent.
#[derive(Clone, Copy)]
struct Sent {
    last: Option<Stamp>,
    /// There is somebody to whom nothing was sent.
    is_due: bool,
}

thread_local! {
    static SENT: Cell<Sent> = const { Cell::new(Sent { last: None, is_due: false }) };
    /// Queues have changed since. It is set with each change, so it stands alone.
    static HAS_CHANGED: Cell<bool> = const { Cell::new(false) };
}

/// Sends a stamp in this round of the server's loop: there is one more replica, data were loaded, or this node has become
/// the primary.
pub fn send_soon() {
    if !SENT.get().is_due {
        SENT.set(Sent { is_due: true, ..SENT.get() });
        Timer::start_detached(0, on_cron);
    }
}

/// A queue has changed.
pub fn on_change() {
    HAS_CHANGED.set(true);
}

/// The server's regular work: sends a stamp where that is due and this node may write.
pub fn on_cron(ctx: Context<'_>) {
    if !ctx.may_change_data() || metrics::gauges().queues == 0 {
        return;
    }
    let (sent, stamp) = (SENT.get(), clock::stamp());
    if !sent.is_due && sent.last.is_some_and(|last| is_known(&last, &stamp, HAS_CHANGED.get())) {
        return;
    }
    match rmp_serde::to_vec(&stamp) {
        Ok(bytes) if ctx.replicate_keyless(CLOCK, &bytes).is_ok() => {
            SENT.set(Sent { last: Some(stamp), is_due: false });
            HAS_CHANGED.set(false);
        }
        _ => ctx.log(Level::Warning, "word of this node's clock could not be replicated"),
    }
}

/// Whether who has the last stamp knows where the clock stands now.
fn is_known(last: &Stamp, now: &Stamp, has_changed: bool) -> bool {
    let is_old = now.up_us.saturating_sub(last.up_us) >= EVERY_US;
    let off_ms = last.skew_ms().abs_diff(now.skew_ms());
    let off_ms = off_ms.max(last.ahead_of_start_ms().abs_diff(now.ahead_of_start_ms()));
    off_ms <= OFF_MS && !(is_old && has_changed)
}
