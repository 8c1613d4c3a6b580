//! Which connection holds TIED leases in which queues, so that its end can be told to them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use taskslot_engine::{Holder, Queue};
use taskslot_node::QueueKey;

use crate::agenda::{self, Job};
use crate::api::context::is_connected;
use crate::api::timer::Timer;
use crate::api::{Arg, Context};

/// How often connections are looked at, where the server doesn't tell that one has closed.
const LOOK_MS: u64 = 10;

thread_local! {
    /// The server doesn't tell.
    static LOOKS: Cell<bool> = const { Cell::new(false) };
    /// The timer is out.
    static LOOKING: Cell<bool> = const { Cell::new(false) };
    static TIES: RefCell<BTreeMap<Holder, BTreeSet<QueueKey>>> = const { RefCell::new(BTreeMap::new()) };
}

/// Notes that a connection holds a lease in a queue.
pub fn tie(client: Holder, db: i32, key: Arg<'_>) {
    TIES.with_borrow_mut(|ties| {
        ties.entry(client).or_default().insert(QueueKey::new(db, key.as_bytes()));
    });
    if LOOKS.get() && !LOOKING.replace(true) {
        Timer::start_detached(LOOK_MS, look);
    }
}

/// The server doesn't tell when a connection has closed: those that hold leases are looked at, while there are any.
pub fn look_for_the_gone() {
    LOOKS.set(true);
}

fn look(_: Context<'_>) {
    beat();
    LOOKING.set(TIES.with_borrow(|ties| !ties.is_empty()));
    if LOOKING.get() {
        Timer::start_detached(LOOK_MS, look);
    }
}

/// The server's regular work: it looks too, since a wall clock that was set back freezes the timer.
pub fn beat() {
    if LOOKS.get() {
        let holders: Vec<Holder> = TIES.with_borrow(|ties| ties.keys().copied().collect());
        holders.into_iter().filter(|&holder| !is_connected(holder)).for_each(closed);
    }
}

/// A queue has come to a key: what hangs on connections in it does so there now. A connection that holds leases and
/// isn't known has closed just now, and what is to end them looks for the queue at its old name.
pub fn arrived(db: i32, key: Arg<'_>, queue: &Queue) {
    for holder in queue.holders() {
        if TIES.with_borrow(|ties| ties.contains_key(&holder)) {
            tie(holder, db, key);
        } else {
            agenda::later(Job::Abandon { client: holder, queue: QueueKey::new(db, key.as_bytes()) });
        }
    }
}

/// Queues have changed places, as `now_at` says.
pub fn moved(now_at: impl Fn(QueueKey) -> QueueKey) {
    TIES.with_borrow_mut(|ties| {
        for places in ties.values_mut() {
            *places = std::mem::take(places).into_iter().map(&now_at).collect();
        }
    });
}

/// A connection has closed: its leases end, soon.
pub fn closed(client: Holder) {
    let places = TIES.with_borrow_mut(|ties| ties.remove(&client)).unwrap_or_default();
    for place in places {
        agenda::later(Job::Abandon { client, queue: place });
    }
}
