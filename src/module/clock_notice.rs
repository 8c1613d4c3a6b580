//! Word of this node's clock: `TASK._CLOCK stamp`, to replicas, which go by it, and to the AOF, from which a restart
//! carries the clock on and learns when somebody last served.

use std::cell::Cell;

use taskslot_engine::Stamp;

use crate::api::timer::Timer;
use crate::api::{Context, Level};
use crate::replication::CLOCK;
use crate::{clock, metrics};

/// While queues change, word is given this often.
const EVERY_US: u64 = 60_000_000;
/// A clock that is further from where the last word puts it is told anew.
const OFF_MS: u64 = 250;

/// What was told, and whether there is reason to tell more.
#[derive(Clone, Copy)]
struct Told {
    last: Option<Stamp>,
    /// Somebody is there who was told nothing.
    is_due: bool,
}

thread_local! {
    static TOLD: Cell<Told> = const { Cell::new(Told { last: None, is_due: false }) };
    /// Queues have changed since. It is set with each change, so it stands alone.
    static HAS_CHANGED: Cell<bool> = const { Cell::new(false) };
}

/// Word is to be given in this round of the server's loop: there is a replica more, data were loaded, or this node has
/// become the primary.
pub fn due() {
    if !TOLD.get().is_due {
        TOLD.set(Told { is_due: true, ..TOLD.get() });
        Timer::start_detached(0, on_cron);
    }
}

/// A queue has changed.
pub fn changed() {
    HAS_CHANGED.set(true);
}

/// The server's regular work: gives word where that is due and this node may write.
pub fn on_cron(ctx: Context<'_>) {
    if !ctx.may_change_data() || metrics::gauges().queues == 0 {
        return;
    }
    let (told, stamp) = (TOLD.get(), clock::stamp());
    if !told.is_due && told.last.is_some_and(|last| is_known(&last, &stamp, HAS_CHANGED.get())) {
        return;
    }
    match rmp_serde::to_vec(&stamp) {
        Ok(bytes) if ctx.replicate_keyless(CLOCK, &bytes).is_ok() => {
            TOLD.set(Told { last: Some(stamp), is_due: false });
            HAS_CHANGED.set(false);
        }
        _ => ctx.log(Level::Warning, "word of this node's clock could not be replicated"),
    }
}

/// Whether who has heard the last word knows where the clock stands now.
fn is_known(last: &Stamp, now: &Stamp, has_changed: bool) -> bool {
    let is_old = now.up_us.saturating_sub(last.up_us) >= EVERY_US;
    let off_ms = last.skew_ms().abs_diff(now.skew_ms());
    let off_ms = off_ms.max(last.ahead_of_start_ms().abs_diff(now.ahead_of_start_ms()));
    off_ms <= OFF_MS && !(is_old && has_changed)
}
