//! Which connection holds TIED leases in which queues, so that its end can be told to them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use taskslot_engine::{Holder, Queue};

use crate::api::Arg;
use crate::wakeups::{self, Job, Place};

thread_local! {
    static TIES: RefCell<BTreeMap<Holder, BTreeSet<Place>>> = const { RefCell::new(BTreeMap::new()) };
}

/// Notes that a connection holds a lease in a queue.
pub fn tie(client: Holder, db: i32, key: Arg<'_>) {
    TIES.with_borrow_mut(|ties| {
        ties.entry(client).or_default().insert(Place::new(db, key.as_bytes()));
    });
}

/// A queue has come to a key: what hangs on connections in it does so there now. A connection that holds leases and
/// isn't known has closed just now, and what is to end them looks for the queue at its old name.
pub fn arrived(db: i32, key: Arg<'_>, queue: &Queue) {
    for holder in queue.holders() {
        if TIES.with_borrow(|ties| ties.contains_key(&holder)) {
            tie(holder, db, key);
        } else {
            wakeups::later(Job::Abandon { client: holder, place: Place::new(db, key.as_bytes()) });
        }
    }
}

/// Queues have changed places, as `now_at` says.
pub fn moved(now_at: impl Fn(Place) -> Place) {
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
        wakeups::later(Job::Abandon { client, place });
    }
}
