//! Large values are freed on a thread of our own, so that a plain DEL of a million tasks doesn't hold the server: what
//! UNLINK does, and DEL where `lazyfree-lazy-user-del` is set.
//!
//! Not where the server may be waiting for the memory: near `maxmemory` it removes keys until enough is free, and would
//! remove all of them if none gave anything back at once.

use std::cell::{Cell, OnceCell};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use super::flags::Flags;
use super::raw::optional;

/// Freeing fewer blocks takes less than a millisecond.
const FEW_BLOCKS: usize = 4096;
/// How much of `maxmemory` may be in use for memory to come back later.
const FULL: f32 = 0.8;
/// What `top -H` shows.
const NAME: &str = "taskslot-free";

thread_local! {
    /// Of the server's main thread only: others free in their own time.
    static IS_MAIN: Cell<bool> = const { Cell::new(false) };
    /// To the thread that frees, which begins with the first large value; nothing where it couldn't.
    static FREER: OnceCell<Option<Sender<Box<dyn Send>>>> = const { OnceCell::new() };
}

/// Notes that this is the server's main thread.
pub(super) fn note_main_thread() {
    IS_MAIN.set(true);
}

/// Whether a value of so many blocks is to be freed elsewhere.
pub(super) fn holds_the_server(blocks: usize) -> bool {
    // A child of the server has no such thread.
    blocks > FEW_BLOCKS && IS_MAIN.get() && !Flags::of_server().is_child() && !is_nearly_full()
}

/// Drops a value on the thread that frees.
pub(super) fn free_elsewhere(value: Box<dyn Send>) {
    FREER.with(|freer| match freer.get_or_init(begin) {
        // Where the thread is gone the value comes back, and is dropped here.
        Some(freer) => drop(freer.send(value)),
        None => drop(value),
    });
}

fn begin() -> Option<Sender<Box<dyn Send>>> {
    let (to, values) = channel::<Box<dyn Send>>();
    let thread = thread::Builder::new().name(NAME.into());
    thread.spawn(move || values.into_iter().for_each(drop)).ok().map(|_| to)
}

/// Whether the server may be removing keys to get memory back.
fn is_nearly_full() -> bool {
    // SAFETY: the function takes nothing and divides two numbers of the server's; 0 where there is no limit. This is the
    // server's thread: `holds_the_server` has asked.
    optional!(RedisModule_GetUsedMemoryRatio).is_none_or(|ratio| unsafe { ratio() } > FULL)
}
