//! Warnings about the server's configuration and state. INFO shows them; those about a silent loss of tasks are logged
//! too.

use std::cell::Cell;
use std::ffi::CStr;

use taskslot_engine::Millis;
use taskslot_node::{Look, Warning, Warnings};

use crate::{append_only, metrics};
use taskslot_api::server::ServerInfo;
use taskslot_api::{Context, Level};

thread_local! {
    static WARNINGS: Cell<Warnings> = const { Cell::new(Warnings::new()) };
}

const EVICTION: &str =
    "maxmemory-policy allkeys-* evicts whole queues with their tasks when memory runs out: use noeviction";
const DURABILITY: &str =
    "appendonly is no and there is no replica: a crash loses all changes since the last save";
const AOF_CUT: &str = "the server cut the end off its AOF when it started, and Redis can lose data at the next start: run BGREWRITEAOF";

/// Called by the server's cron: checks the server from time to time.
pub fn on_cron(ctx: Context<'_>, at: Millis) {
    let mut warnings = WARNINGS.get();
    if !warnings.is_due(at) {
        return;
    }
    let memory = ServerInfo::section(ctx, c"memory");
    let replication = ServerInfo::section(ctx, c"replication");
    let flags = ctx.flags();
    let look = Look {
        policy: memory.as_ref().and_then(|memory| memory.field(c"maxmemory_policy")),
        is_primary: flags.is_primary(),
        has_aof: flags.has_aof(),
        is_aof_cut: append_only::is_cut(),
        replicas: replication.as_ref().and_then(|replication| replication.field(c"connected_slaves")),
    };
    if warnings.look(at, &look) {
        ctx.log(Level::Warning, &format!("WARNING {EVICTION}"));
    }
    WARNINGS.set(warnings);
}

/// The present warnings, each with the name of its field in INFO.
pub fn all() -> Vec<(&'static CStr, String)> {
    WARNINGS.get().all(metrics::gauges().big).map(text).collect()
}

fn text(warning: Warning) -> (&'static CStr, String) {
    match warning {
        Warning::Eviction => (c"warning_eviction", EVICTION.to_owned()),
        Warning::Durability => (c"warning_durability", DURABILITY.to_owned()),
        Warning::AofCut => (c"warning_aof_cut", AOF_CUT.to_owned()),
        Warning::QueueSize(big) => (
            c"warning_queue_size",
            format!("queues above 256 MB: {big}; one above 512 MB can't be moved to another node"),
        ),
    }
}
