//! The server's events that the module reacts to: a promotion, loaded data, a closed connection, cron, and keys and
//! slots that move.

use std::ffi::CStr;

use taskslot_engine::Beginning;

use crate::datatype::QUEUES;
use crate::{
    agenda, append_only, clock, clock_notice, connections, ownership, results, runner, term, waiters,
    warnings,
};
use taskslot_api::events::{
    Kind, LoadPhase, NOTIFY_GENERIC, NOTIFY_LOADED, ServerEvent, subscribe, subscribe_to_keys,
};
use taskslot_api::key::{KeyRead, KeyWrite};
use taskslot_api::load::LoadError;
use taskslot_api::{Arg, Context, Level};

/// Subscribes to the events.
pub fn register(ctx: Context<'_>) -> Result<(), LoadError> {
    let kinds =
        [Kind::Role, Kind::Loading, Kind::Replica, Kind::SwapDb, Kind::Cron, Kind::Client, Kind::Slots];
    let unknown = subscribe(ctx, &kinds, on_event);
    if unknown.contains(&Kind::Client) {
        connections::poll();
    }
    if unknown.iter().any(|kind| !matches!(kind, Kind::Slots | Kind::Client)) {
        ctx.log(Level::Warning, &format!("this server doesn't report these events: {unknown:?}"));
    }
    subscribe_to_keys(ctx, NOTIFY_GENERIC | NOTIFY_LOADED, on_key)
}

fn on_event(ctx: Context<'_>, event: ServerEvent) {
    match event {
        ServerEvent::RoleChanged { primary: true } => {
            term::begin(Beginning::Promotion);
            clock::on_term(term::current());
            clock::on_takeover(ctx);
            clock_notice::send_soon();
            agenda::soon();
        }
        ServerEvent::Loading(LoadPhase::Started) => append_only::on_load(ctx),
        ServerEvent::Loading(LoadPhase::Ended) => {
            append_only::on_loaded(ctx);
            // A replica's own claims aren't in its file, so none of them can be missing there. (In a cluster, a replica
            // passes for a primary here. Then its numbers are a little higher when it is promoted.)
            if term::is_first_load() && ctx.flags().is_primary() {
                clock::on_term(term::current());
            }
            clock::on_takeover(ctx);
            clock_notice::send_soon();
        }
        ServerEvent::ReplicaOnline => clock_notice::send_soon(),
        ServerEvent::SwapDb { a, b } => on_swapdb(a, b),
        ServerEvent::Cron { hz } => {
            clock::on_cron(hz);
            connections::on_cron();
            results::on_cron(ctx);
            runner::on_cron(ctx);
            warnings::on_cron(ctx, clock::now(ctx).at);
            clock_notice::on_cron(ctx);
        }
        ServerEvent::ClientDisconnected { client_id } => connections::on_disconnected(client_id),
        ServerEvent::SlotsMove { direction, phase, ranges } => {
            ownership::on_slots_move(direction, phase, ranges);
        }
        _ => {}
    }
}

/// Two databases were swapped: the hints, jobs and tied leases of their keys are swapped too.
fn on_swapdb(a: i32, b: i32) {
    agenda::with(|agenda| agenda.swap_databases(a, b));
    connections::swap_databases(a, b);
    waiters::on_swapdb(a, b);
}

/// A key was created or renamed. If it is a queue, its hints, waiters and tied leases are updated.
fn on_key(ctx: Context<'_>, event: &CStr, key: Arg<'_>) {
    let arrivals = [&b"rename_to"[..], b"move_to", b"copy_to", b"restore", b"loaded"];
    if !arrivals.contains(&event.to_bytes()) {
        return;
    }
    if event == c"restore"
        && ctx.flags().is_loading()
        && let Some(mut open) = KeyWrite::open(ctx, key)
        && let Ok(Some(value)) = open.value_mut(&QUEUES)
    {
        value.keep_numbers();
        // A write keeps the clock, too, once the data is loaded: before the queue is saved with this node's clock.
        // (Redis 6.2 doesn't tell the name of a key that is loaded, so there is no hint yet.)
        agenda::visit_soon(ctx, key, &value.noted);
    }
    let Some(open) = KeyRead::peek(ctx, key) else { return };
    let ctx = open.context(ctx);
    if let Ok(Some(value)) = open.value(&QUEUES) {
        if event == c"loaded" {
            value.carry_clock_on();
        }
        let now = clock::now(ctx);
        waiters::on_key_arrived(ctx, key, value, &now);
        if value.must_replicate_clock {
            // Each node that restores the queue computes another offset of its clock. A write, even an empty one, sends
            // the primary's to the replicas at once.
            agenda::visit_soon(ctx, key, &value.noted);
        }
        connections::on_key_arrived(ctx.selected_db(), key, &value.queue);
    }
}
