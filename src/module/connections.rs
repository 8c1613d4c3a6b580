//! The connections that hold TIED leases. When one closes, its leases end.

use std::cell::RefCell;

use taskslot_engine::{Holder, Queue};
use taskslot_node::{Connections, Job, QueueKey};

use crate::agenda;
use taskslot_api::context::is_connected;
use taskslot_api::timer::Timer;
use taskslot_api::{Arg, Context};

/// How often connections are polled, in ms, if the server doesn't report that one has closed.
const POLL_MS: u64 = 10;

thread_local! {
    static CONNECTIONS: RefCell<Connections> = const { RefCell::new(Connections::new()) };
}

/// Notes that a connection holds a lease in a queue.
pub fn tie(connection: Holder, db: i32, key: Arg<'_>) {
    let queue = QueueKey::new(db, key.as_bytes());
    let tied = CONNECTIONS.with_borrow_mut(|connections| connections.tie(connection, queue));
    if tied.starts_timer {
        Timer::start_detached(POLL_MS, on_timer);
    }
    for queue in tied.to_check {
        agenda::later(Job::CheckTie { client: connection, queue });
    }
}

/// A connection holds no leases in a queue any more.
pub fn untie(connection: Holder, queue: &QueueKey) {
    CONNECTIONS.with_borrow_mut(|connections| connections.untie(connection, queue));
}

/// Polls the connections that hold leases from now on, because this server doesn't report closed connections.
pub fn poll() {
    CONNECTIONS.with_borrow_mut(Connections::poll);
}

fn on_timer(_: Context<'_>) {
    on_cron();
    if CONNECTIONS.with_borrow_mut(Connections::poll_again) {
        Timer::start_detached(POLL_MS, on_timer);
    }
}

/// Called by the server's cron. It polls too, because the timer stops when the wall clock is set back.
pub fn on_cron() {
    let polled = CONNECTIONS.with_borrow(Connections::polled);
    polled.into_iter().filter(|&connection| !is_connected(connection)).for_each(on_disconnected);
}

/// A queue has appeared at a key, for example by RENAME. Its tied leases are noted under the new name.
///
/// A connection that holds leases but isn't noted has closed a moment ago. The job that ends its leases looks for the
/// queue under the old name, so another job is added for the new one.
pub fn on_key_arrived(db: i32, key: Arg<'_>, queue: &Queue) {
    for holder in queue.holders() {
        if CONNECTIONS.with_borrow(|connections| connections.contains(holder)) {
            tie(holder, db, key);
        } else {
            agenda::later(Job::Abandon { client: holder, queue: QueueKey::new(db, key.as_bytes()) });
        }
    }
}

/// Two databases were swapped, and their queues with them.
pub fn swap_databases(a: i32, b: i32) {
    CONNECTIONS.with_borrow_mut(|connections| connections.swap_databases(a, b));
}

/// A connection has closed. Its leases end with the next run of the agenda.
pub fn on_disconnected(client: Holder) {
    let queues = CONNECTIONS.with_borrow_mut(|connections| connections.remove(client));
    for queue in queues {
        agenda::later(Job::Abandon { client, queue });
    }
}
