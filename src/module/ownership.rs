//! Which keys this node owns.

use std::cell::RefCell;

use taskslot_node::slots;

use taskslot_api::Context;
use taskslot_api::events::{Direction, MovePhase, SlotRange};

thread_local! {
    /// Slots whose keys are here as copies, until their move is completed (Valkey 9).
    static IMPORTS: RefCell<Vec<SlotRange>> = const { RefCell::new(Vec::new()) };
}

/// Whether this node owns the key, so that its clock may act on it.
pub fn is_owned(ctx: Context<'_>, key: &[u8]) -> bool {
    if !ctx.is_cluster() {
        return true;
    }
    let slot = slots::of_key(key);
    let is_copy = IMPORTS.with_borrow(|imports| imports.iter().any(|range| range.contains(&slot)));
    !is_copy && ctx.can_access_slot(slot)
}

/// Slots are on their way to this node, or from it.
pub fn on_slots_move(direction: Direction, phase: MovePhase, ranges: Vec<SlotRange>) {
    if direction != Direction::Import {
        return;
    }
    IMPORTS.with_borrow_mut(|imports| match phase {
        MovePhase::Started => imports.extend(ranges),
        MovePhase::Failed | MovePhase::Completed => imports.retain(|range| !ranges.contains(range)),
    });
}
