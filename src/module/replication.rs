//! The commands that carry changes to replicas and the AOF: their names and arguments, and how a change is sent. Each
//! command has a file in `commands`.

use std::ffi::CStr;

use taskslot_api::{Arg, Context, Level};
use taskslot_node::QueueKey;

/// Carries the effect of a write: `TASK._APPLY key effect [payload ...]`.
pub const APPLY: &CStr = c"TASK._APPLY";
/// Carries a part of a stored queue: `TASK._LOAD key HEAD|MORE|END chunk`.
pub const LOAD: &CStr = c"TASK._LOAD";
/// Carries the time of this node's clock: `TASK._CLOCK stamp`.
pub const CLOCK: &CStr = c"TASK._CLOCK";
/// The part is the head. It creates the queue, and replaces an existing one.
pub const LOAD_HEAD: &[u8] = b"HEAD";
/// The part is one of the chunks after the head.
pub const LOAD_MORE: &[u8] = b"MORE";
/// No more parts follow, so the queue is validated. The part is the reason why the queue is broken, or empty.
pub const LOAD_END: &[u8] = b"END";

/// Sends `command key bytes [extra ...]` to replicas and the AOF. If the server doesn't take it, the log says so.
pub fn send(ctx: Context<'_>, command: &CStr, key: Arg<'_>, bytes: &[u8], extra: &[Arg<'_>]) {
    if ctx.replicate(command, key, bytes, extra).is_err() {
        let queue = QueueKey::new(ctx.selected_db(), key.as_bytes());
        ctx.log(Level::Warning, &format!("a change of {queue} could not be replicated"));
    }
}
