//! What an operator should know of the server around the queues: told in INFO, and what loses tasks silently in the
//! log, too.

use std::cell::Cell;
use std::ffi::CStr;

use taskslot_engine::Millis;

use crate::api::server::ServerInfo;
use crate::api::{Context, Level};
use crate::metrics;

/// How often the server is looked at.
const LOOK_MS: u64 = 2000;

/// What was seen at the last look.
#[derive(Clone, Copy, Default)]
struct Seen {
    /// `maxmemory-policy` is one that evicts keys without a time to live.
    evicts: bool,
    /// This is a primary without an AOF and without a replica.
    is_alone: bool,
    /// When to look again.
    next: Millis,
}

thread_local! {
    static SEEN: Cell<Seen> = Cell::new(Seen::default());
}

/// Looks at the server now and then.
pub fn on_cron(ctx: Context<'_>, at: Millis) {
    let seen = SEEN.get();
    // Before the first command the clock may have been set back.
    if at < seen.next && seen.next.since(at) <= LOOK_MS {
        return;
    }
    let memory = ServerInfo::section(ctx, c"memory");
    let policy = memory.as_ref().and_then(|memory| memory.field(c"maxmemory_policy"));
    let evicts = policy.map_or(seen.evicts, |policy| policy.starts_with("allkeys-"));
    if evicts && !seen.evicts {
        ctx.log(Level::Warning, &format!("WARNING {EVICTION}"));
    }
    let flags = ctx.flags();
    let is_alone = flags.is_primary() && !flags.has_aof() && {
        let replication = ServerInfo::section(ctx, c"replication");
        replication.as_ref().and_then(|section| section.field(c"connected_slaves")) == Some("0")
    };
    SEEN.set(Seen { evicts, is_alone, next: at.plus(LOOK_MS) });
}

const EVICTION: &str =
    "maxmemory-policy allkeys-* evicts whole queues with their tasks when memory runs out: use noeviction";

/// The warnings that hold, each with the name of its field.
pub fn all() -> Vec<(&'static CStr, String)> {
    let seen = SEEN.get();
    let mut all = Vec::new();
    if seen.evicts {
        all.push((c"warning_eviction", EVICTION.to_owned()));
    }
    if seen.is_alone {
        let text = "appendonly is no and there is no replica: a crash loses all since the last save";
        all.push((c"warning_durability", text.to_owned()));
    }
    let big = metrics::gauges().big;
    if big > 0 {
        let text = format!("queues above 256 MB: {big}; one above 512 MB can't be moved to another node");
        all.push((c"warning_queue_size", text));
    }
    all
}
