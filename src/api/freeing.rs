//! Frees large values on a thread of the module, so that a plain DEL of a million tasks doesn't block the server. The
//! server itself does this for UNLINK, and for DEL if `lazyfree-lazy-user-del` is set.
//!
//! Near `maxmemory`, values are freed at once. The server then evicts keys until enough memory is free, and would evict
//! all of them if none gave its memory back at once.

use std::cell::{Cell, OnceCell};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use taskslot_edges::{edge, rare};

use super::flags::Flags;
use super::raw::optional;

/// Up to this many blocks are freed at once, which takes less than a millisecond.
const FEW_BLOCKS: usize = edge(4096, 4);
/// The part of `maxmemory` above which all values are freed at once.
const FULL: f32 = 0.8;
/// The name of the thread, which `top -H` shows.
const NAME: &str = "taskslot-free";

thread_local! {
    /// Whether this is the server's main thread. Other threads may take their time to free a value.
    static IS_MAIN: Cell<bool> = const { Cell::new(false) };
    /// The way to the thread that frees values. It starts with the first large value; `None` if it could not be
    /// started.
    static FREER: OnceCell<Option<Sender<Box<dyn Send>>>> = const { OnceCell::new() };
}

/// Notes that this is the server's main thread.
pub(super) fn note_main_thread() {
    IS_MAIN.set(true);
}

/// Whether a value of this many blocks should be freed on the other thread.
pub(super) fn blocks_the_server(blocks: usize) -> bool {
    // A forked child doesn't have the thread.
    blocks > FEW_BLOCKS && IS_MAIN.get() && !Flags::of_server().is_child() && !is_nearly_full()
}

/// Drops a value on the other thread.
pub(super) fn free_elsewhere(value: Box<dyn Send>) {
    FREER.with(|freer| match freer.get_or_init(begin) {
        // If the thread has ended, the value comes back and is dropped here.
        Some(freer) => {
            rare!("a value is freed on another thread");
            drop(freer.send(value));
        }
        None => drop(value),
    });
}

fn begin() -> Option<Sender<Box<dyn Send>>> {
    let (to, values) = channel::<Box<dyn Send>>();
    let thread = thread::Builder::new().name(NAME.into());
    thread.spawn(move || values.into_iter().for_each(drop)).ok().map(|_| to)
}

/// Whether the server may be evicting keys to get memory back.
fn is_nearly_full() -> bool {
    // SAFETY: the function takes nothing and divides two numbers of the server; 0 if there is no limit. This is the
    // main thread, as `blocks_the_server` has checked.
    optional!(RedisModule_GetUsedMemoryRatio).is_none_or(|ratio| unsafe { ratio() } > FULL)
}
