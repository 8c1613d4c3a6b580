//! Defects of the present build that the judge does not report again. Each is one function, so that it is removed
//! easily when the defect is.

use super::node::{Copy, Node};

/// Lease numbers of a queue can be as low as earlier ones if a power cut takes the beginning of a promotion or of a
/// restart, and the next start comes within a second.
pub fn is_loose(node: &Node, copy: &Copy) -> bool {
    node.has_forgotten || copy.ledger.has_forgotten
}
