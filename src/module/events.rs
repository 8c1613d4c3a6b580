//! What the server tells us: that we became a primary, loaded data, lost a client, and where queues have moved.

use std::cell::RefCell;
use std::ffi::CStr;

use taskslot_engine::Beginning;
use taskslot_node::slots;

use crate::api::events::{
    Direction, Kind, LoadPhase, MovePhase, NOTIFY_GENERIC, NOTIFY_LOADED, ServerEvent, SlotRange, subscribe,
    subscribe_to_keys,
};
use crate::api::key::KeyRead;
use crate::api::load::LoadError;
use crate::api::{Arg, Context, Level};
use crate::datatype::QUEUES;
use crate::{clock, clock_notice, connections, results, term, wakeups, warnings};

thread_local! {
    /// Slots whose keys are here as copies, until their move is completed (Valkey 9).
    static IMPORTS: RefCell<Vec<SlotRange>> = const { RefCell::new(Vec::new()) };
}

/// Asks to be told.
pub fn register(ctx: Context<'_>) -> Result<(), LoadError> {
    let kinds =
        [Kind::Role, Kind::Loading, Kind::Replica, Kind::SwapDb, Kind::Cron, Kind::Client, Kind::Slots];
    let unknown = subscribe(ctx, &kinds, on_event);
    if unknown.contains(&Kind::Client) {
        connections::poll();
    }
    if unknown.iter().any(|kind| !matches!(kind, Kind::Slots | Kind::Client)) {
        ctx.log(Level::Warning, &format!("this server doesn't tell of {unknown:?}"));
    }
    subscribe_to_keys(ctx, NOTIFY_GENERIC | NOTIFY_LOADED, on_key)
}

fn on_event(ctx: Context<'_>, event: ServerEvent) {
    match event {
        ServerEvent::RoleChanged { primary: true } => {
            term::begin(Beginning::Promotion);
            clock::on_promoted(term::current().id);
            clock::on_takeover(ctx);
            clock_notice::due();
            wakeups::soon();
        }
        ServerEvent::Loading(LoadPhase::Ended) => {
            clock::on_takeover(ctx);
            clock_notice::due();
        }
        ServerEvent::ReplicaOnline => clock_notice::due(),
        ServerEvent::SwapDb { a, b } => wakeups::swapped(a, b),
        ServerEvent::Cron { hz } => {
            clock::on_cron(hz);
            connections::on_cron();
            results::beat(ctx);
            wakeups::beat(ctx);
            warnings::on_cron(ctx, clock::now(ctx).at);
            clock_notice::beat(ctx);
        }
        ServerEvent::ClientDisconnected { client_id } => connections::on_disconnected(client_id),
        ServerEvent::SlotsMove { direction: Direction::Import, phase, ranges } => {
            IMPORTS.with_borrow_mut(|imports| match phase {
                MovePhase::Started => imports.extend(ranges),
                MovePhase::Failed | MovePhase::Completed => imports.retain(|range| !ranges.contains(range)),
            });
        }
        _ => {}
    }
}

/// Whether this node owns the key, so that its clock may act on it.
pub fn is_ours(ctx: Context<'_>, key: &[u8]) -> bool {
    if !ctx.is_cluster() {
        return true;
    }
    let slot = slots::of_key(key);
    let is_copy = IMPORTS.with_borrow(|imports| imports.iter().any(|range| range.contains(&slot)));
    !is_copy && ctx.can_access_slot(slot)
}

/// A key has come into being or got another name: if it is a queue, its hints and waiters are to know.
fn on_key(ctx: Context<'_>, event: &CStr, key: Arg<'_>) {
    let comes = [&b"rename_to"[..], b"move_to", b"copy_to", b"restore", b"loaded"];
    if !comes.contains(&event.to_bytes()) {
        return;
    }
    let Some(open) = KeyRead::peek(ctx, key) else { return };
    if let Ok(Some(value)) = open.value(&QUEUES) {
        if event == c"loaded" {
            value.carry_clock_on();
        }
        if value.clock_untold {
            // Each node that restores it finds another clock: replicas are to hear of the primary's at once.
            wakeups::serve_soon(ctx, key);
        }
        let now = clock::now(ctx);
        wakeups::arrived(ctx, key, value, &now);
        connections::on_key_arrived(ctx.selected_db(), key, &value.queue);
    }
}
