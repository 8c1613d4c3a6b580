//! The connections that hold TIED leases.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use taskslot_engine::Holder;

use crate::queue_key::QueueKey;

/// Which connections hold TIED leases in which queues, so that the leases can end when the connection closes. Each
/// queue itself knows which of its leases are tied to which connection.
///
/// Most servers report that a connection has closed. On other servers, a timer polls the connections that are noted
/// here, as long as there are any.
#[derive(Debug, Default)]
pub struct Connections {
    queues: BTreeMap<Holder, BTreeSet<QueueKey>>,
    polling: Polling,
}

/// Whether connections are polled to find out which have closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Polling {
    /// No: the server reports closed connections.
    #[default]
    NotNeeded,
    /// Yes, but no connection holds a lease.
    Idle,
    /// Yes, and the timer is running.
    TimerSet,
}

impl Connections {
    /// No connections, on a server that reports closed ones.
    pub const fn new() -> Connections {
        Connections { queues: BTreeMap::new(), polling: Polling::NotNeeded }
    }

    /// Polls connections from now on, because the server doesn't report closed ones.
    pub fn poll(&mut self) {
        self.polling = Polling::Idle;
    }

    /// The connections to check, if they are polled.
    pub fn polled(&self) -> Vec<Holder> {
        match self.polling {
            Polling::NotNeeded => Vec::new(),
            Polling::Idle | Polling::TimerSet => self.queues.keys().copied().collect(),
        }
    }

    /// Notes that a connection holds a lease in a queue. Returns whether the caller has to start the timer.
    #[must_use]
    pub fn tie(&mut self, connection: Holder, queue: QueueKey) -> bool {
        self.queues.entry(connection).or_default().insert(queue);
        let is_idle = self.polling == Polling::Idle;
        if is_idle {
            self.polling = Polling::TimerSet;
        }
        is_idle
    }

    /// The timer has fired, and closed connections were removed. Returns whether the caller has to start the timer
    /// again.
    #[must_use]
    pub fn poll_again(&mut self) -> bool {
        let is_any_left = !self.queues.is_empty();
        self.polling = if is_any_left { Polling::TimerSet } else { Polling::Idle };
        is_any_left
    }

    /// Whether a connection holds leases.
    pub fn contains(&self, connection: Holder) -> bool {
        self.queues.contains_key(&connection)
    }

    /// Removes a closed connection, and returns the queues in which it may hold leases.
    pub fn remove(&mut self, connection: Holder) -> BTreeSet<QueueKey> {
        self.queues.remove(&connection).unwrap_or_default()
    }

    /// Two databases were swapped, and their queues with them.
    pub fn swap_databases(&mut self, a: i32, b: i32) {
        for queues in self.queues.values_mut() {
            let swapped = mem::take(queues).into_iter().map(|mut queue| {
                queue.swap_databases(a, b);
                queue
            });
            *queues = swapped.collect();
        }
    }
}
