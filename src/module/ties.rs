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

/// A queue has come to a key: what hangs on connections in it does so there now.
pub fn arrived(db: i32, key: Arg<'_>, queue: &Queue) {
    queue.holders().for_each(|holder| tie(holder, db, key));
}

/// A connection has closed: its leases end, soon.
pub fn closed(client: Holder) {
    let places = TIES.with_borrow_mut(|ties| ties.remove(&client)).unwrap_or_default();
    for place in places {
        wakeups::later(Job::Abandon { client, place });
    }
}
