//! Defects of the present build that the judge does not report again. Each is one function, so that it is removed
//! easily when the defect is.

use super::node::{Copy, Node};

/// Lease numbers of a queue can be as low as earlier ones if it moves to another shard before the new primary of its
/// old shard has written to it; and if a power cut takes the beginning of a promotion or of a restart.
pub fn is_loose(node: &Node, copy: &Copy) -> bool {
    node.has_forgotten || copy.ledger.was_moved_unwritten
}

/// Two replicas that are both promoted can give the same lease numbers, if the last number of the queue was above their
/// clocks' numbers.
pub fn twins_share_numbers() -> bool {
    true
}

/// A queue that is restored on a node which sent no stamp of its clock yet is in the file without one. If the machine
/// boots before the first stamp, spans are off by what the wall clock is. The simulation sends a stamp before.
pub fn a_restored_queue_lacks_a_stamp() -> bool {
    true
}
