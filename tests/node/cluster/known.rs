//! Defects of the present build that the judge does not report again. Each is one function, so that it is removed
//! easily when the defect is.

use super::node::{Copy, Node};

/// Lease numbers of a queue can be as low as earlier ones if a power cut takes the beginning of a promotion or of a
/// restart, and the next start comes within a second. And if it takes the last stamp of the clock, and the machine boots
/// with a wall clock that was set back.
pub fn is_loose(node: &Node, copy: &Copy) -> bool {
    node.has_forgotten || copy.ledger.has_forgotten
}

/// A queue that is restored on a node which sent no stamp of its clock yet is in the file without one. If the machine
/// boots before the first stamp, spans are off by what the wall clock is. The simulation sends a stamp before.
pub fn a_restored_queue_lacks_a_stamp() -> bool {
    true
}
