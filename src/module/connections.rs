//! The connections that hold TIED leases: their ends are noticed here, and end the leases.

use std::cell::RefCell;

use taskslot_engine::{Holder, Queue};
use taskslot_node::{Connections, Job, QueueKey};

use crate::agenda;
use taskslot_api::context::is_connected;
use taskslot_api::timer::Timer;
use taskslot_api::{Arg, Context};

/// How often connections are polled, where the server doesn't tell that one has closed.
const POLL_MS: u64 = 10;

thread_local! {
    static CONNECTIONS: RefCell<Connections> = const { RefCell::new(Connections::new()) };
}

/// Notes that a connection holds a lease in a queue.
pub fn tie(connection: Holder, db: i32, key: Arg<'_>) {
    let queue = QueueKey::new(db, key.as_bytes());
    if CONNECTIONS.with_borrow_mut(|connections| connections.tie(connection, queue)) {
        Timer::start_detached(POLL_MS, on_timer);
    }
}

/// The server doesn't tell when a connection has closed: those that hold leases are polled.
pub fn poll() {
    CONNECTIONS.with_borrow_mut(Connections::poll);
}

fn on_timer(_: Context<'_>) {
    on_cron();
    if CONNECTIONS.with_borrow_mut(Connections::poll_again) {
        Timer::start_detached(POLL_MS, on_timer);
    }
}

/// The server's regular work: it polls too, since a wall clock that was set back freezes the timer.
pub fn on_cron() {
    let polled = CONNECTIONS.with_borrow(Connections::polled);
    polled.into_iter().filter(|&connection| !is_connected(connection)).for_each(on_disconnected);
}

/// A queue has come to a key: connections hold its leases there now. A connection that holds leases and isn't known has
/// closed just now, and what is to end them looks for the queue at its old name.
pub fn on_key_arrived(db: i32, key: Arg<'_>, queue: &Queue) {
    for holder in queue.holders() {
        if CONNECTIONS.with_borrow(|connections| connections.contains(holder)) {
            tie(holder, db, key);
        } else {
            agenda::later(Job::Abandon { client: holder, queue: QueueKey::new(db, key.as_bytes()) });
        }
    }
}

/// Two databases have changed places, and their queues with them.
pub fn swap_databases(a: i32, b: i32) {
    CONNECTIONS.with_borrow_mut(|connections| connections.swap_databases(a, b));
}

/// A connection has closed: its leases end, soon.
pub fn on_disconnected(client: Holder) {
    let queues = CONNECTIONS.with_borrow_mut(|connections| connections.remove(client));
    for queue in queues {
        agenda::later(Job::Abandon { client, queue });
    }
}
