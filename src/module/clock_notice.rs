//! Sends what this node's clock shows as `TASK._CLOCK stamp`: to replicas, which follow the clock, and to the AOF. From
//! the AOF a restarted server continues the clock, and learns when clients were last served.

use std::cell::Cell;

use taskslot_engine::Stamp;
use taskslot_node::is_stamp_current;

use crate::replication::CLOCK;
use crate::{clock, metrics};
use taskslot_api::timer::Timer;
use taskslot_api::{Context, Level};

/// The last stamp, and whether another one must be sent.
#[derive(Clone, Copy)]
struct Sent {
    last: Option<Stamp>,
    /// There is a replica, or a new AOF, that has not got a stamp.
    is_due: bool,
}

thread_local! {
    static SENT: Cell<Sent> = const { Cell::new(Sent { last: None, is_due: false }) };
    /// Whether queues have changed since the last stamp. It has a cell of its own because every change sets it.
    static HAS_CHANGED: Cell<bool> = const { Cell::new(false) };
}

/// Sends a stamp in this round of the server's event loop. Called when a replica has connected, data was loaded, or
/// this node has become a primary.
pub fn send_soon() {
    if !SENT.get().is_due {
        SENT.set(Sent { is_due: true, ..SENT.get() });
        Timer::start_detached(0, on_cron);
    }
}

/// Notes that a queue has changed.
pub fn on_change() {
    HAS_CHANGED.set(true);
}

/// Called by the server's cron: sends a stamp if one is due and this node can write.
pub fn on_cron(ctx: Context<'_>) {
    if !ctx.may_change_data() || metrics::gauges().queues == 0 {
        return;
    }
    let (sent, stamp) = (SENT.get(), clock::stamp());
    if !sent.is_due && sent.last.is_some_and(|last| is_stamp_current(&last, &stamp, HAS_CHANGED.get())) {
        return;
    }
    replicate(ctx, stamp);
}

/// Sends a stamp now. Only in a command.
pub fn send(ctx: Context<'_>) {
    replicate(ctx, clock::stamp());
}

fn replicate(ctx: Context<'_>, stamp: Stamp) {
    match ctx.replicate_keyless(CLOCK, &stamp.seal()) {
        Ok(()) => {
            SENT.set(Sent { last: Some(stamp), is_due: false });
            HAS_CHANGED.set(false);
        }
        Err(_) => ctx.log(Level::Warning, "the time of this node's clock could not be replicated"),
    }
}
