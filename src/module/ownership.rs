//! Which keys this node owns, and so can change on its own.

use std::cell::RefCell;

use taskslot_node::slots;

use taskslot_api::Context;
use taskslot_api::events::{Direction, MovePhase, SlotRange};

thread_local! {
    /// Slots that are being imported (Valkey 9): their keys are only copies until the move completes.
    static IMPORTS: RefCell<Vec<SlotRange>> = const { RefCell::new(Vec::new()) };
}

/// Whether this node owns the key, so that timed work on it is allowed.
pub fn is_owned(ctx: Context<'_>, key: &[u8]) -> bool {
    if !ctx.is_cluster() {
        return true;
    }
    let slot = slots::of_key(key);
    let is_copy = IMPORTS.with_borrow(|imports| imports.iter().any(|range| range.contains(&slot)));
    !is_copy && ctx.can_access_slot(slot)
}

/// The import or export of slots has started, failed or completed.
pub fn on_slots_move(direction: Direction, phase: MovePhase, ranges: Vec<SlotRange>) {
    if direction != Direction::Import {
        return;
    }
    IMPORTS.with_borrow_mut(|imports| match phase {
        MovePhase::Started => imports.extend(ranges),
        MovePhase::Failed | MovePhase::Completed => imports.retain(|range| !ranges.contains(range)),
    });
}
