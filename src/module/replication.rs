//! The commands by which replicas and the AOF hear of changes: their names and words. Each has its file in `commands`.

use std::ffi::CStr;

/// Carries an effect: `TASK._APPLY key effect [payload …]`.
pub const APPLY: &CStr = c"TASK._APPLY";
/// Carries a part of a stored queue: `TASK._LOAD key HEAD|MORE|END chunk`.
pub const LOAD: &CStr = c"TASK._LOAD";
/// Carries what this node's clock shows: `TASK._CLOCK stamp`.
pub const CLOCK: &CStr = c"TASK._CLOCK";
/// The part is the head: it makes the queue, in place of any other.
pub const LOAD_HEAD: &[u8] = b"HEAD";
/// The part is one of the chunks after the head.
pub const LOAD_MORE: &[u8] = b"MORE";
/// There is no more: the queue is checked. The part says why the queue was given up, or is empty.
pub const LOAD_END: &[u8] = b"END";
