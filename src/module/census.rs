//! How many queues this node holds, how large they are, and how many of them are broken: kept as they change, so that
//! INFO walks none of them.
//!
//! Each value carries a [`Place`] that counts it until it is freed, which may be on another thread of the server.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::api::{Level, log};

/// A queue that moves by DUMP, MIGRATE or RESTORE goes as one string, which the server bounds at 512 MB.
const MOVABLE_BYTES: usize = 512 << 20;
/// From here on it is warned of.
const BIG_BYTES: usize = MOVABLE_BYTES / 2;

static QUEUES: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);
static BROKEN: AtomicUsize = AtomicUsize::new(0);
static BIG: AtomicUsize = AtomicUsize::new(0);

/// What is told of all queues.
pub struct Census {
    /// How many there are, those included that are being freed.
    pub queues: usize,
    /// The memory they take, as MEMORY USAGE tells it.
    pub bytes: usize,
    /// How many of them were given up.
    pub broken: usize,
    /// How many are near the size beyond which they can't be moved.
    pub big: usize,
}

/// The present state.
pub fn take() -> Census {
    let [queues, bytes, broken, big] = [&QUEUES, &BYTES, &BROKEN, &BIG].map(|count| count.load(Relaxed));
    Census { queues, bytes, broken, big }
}

/// One queue's part in it; a new one has none.
#[derive(Default)]
pub struct Place {
    is_counted: bool,
    bytes: usize,
    is_broken: bool,
    is_big: bool,
}

impl Place {
    /// The queue has changed.
    #[inline]
    pub fn tell(&mut self, bytes: usize, is_broken: bool) {
        if bytes != self.bytes {
            // Around zero, where it shrank: unsigned numbers of the same size add up all the same.
            BYTES.fetch_add(bytes.wrapping_sub(self.bytes), Relaxed);
            self.bytes = bytes;
        }
        if (true, is_broken, bytes >= BIG_BYTES) != (self.is_counted, self.is_broken, self.is_big) {
            self.turn(is_broken, bytes >= BIG_BYTES);
        }
    }

    #[cold]
    fn turn(&mut self, is_broken: bool, is_big: bool) {
        if is_big && !self.is_big {
            log(
                Level::Warning,
                "a queue takes more than 256 MB: above 512 MB it can't be moved to another node",
            );
        }
        change(&QUEUES, &mut self.is_counted, true);
        change(&BROKEN, &mut self.is_broken, is_broken);
        change(&BIG, &mut self.is_big, is_big);
    }
}

fn change(count: &AtomicUsize, was: &mut bool, is: bool) {
    match (std::mem::replace(was, is), is) {
        (false, true) => {
            count.fetch_add(1, Relaxed);
        }
        (true, false) => {
            count.fetch_sub(1, Relaxed);
        }
        _ => {}
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        BYTES.fetch_sub(self.bytes, Relaxed);
        change(&QUEUES, &mut self.is_counted, false);
        change(&BROKEN, &mut self.is_broken, false);
        change(&BIG, &mut self.is_big, false);
    }
}
