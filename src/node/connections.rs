//! The connections that hold TIED leases.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use taskslot_engine::Holder;

use crate::queue_key::QueueKey;

/// Which connection holds TIED leases in which queues, so that its end can be told to them. A queue itself knows which
/// leases they are.
///
/// Most servers tell when a connection has closed. Where one doesn't, a timer polls the connections in here, as long as there
/// are any.
#[derive(Debug, Default)]
pub struct Connections {
    queues: BTreeMap<Holder, BTreeSet<QueueKey>>,
    polling: Polling,
}

/// Whether connections are polled for their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Polling {
    /// No: the server tells.
    #[default]
    NotNeeded,
    /// Yes, but none holds a lease.
    Idle,
    /// Yes, and the timer is set.
    TimerSet,
}

impl Connections {
    /// No connections, on a server that tells when one closes.
    pub const fn new() -> Connections {
        Connections { queues: BTreeMap::new(), polling: Polling::NotNeeded }
    }

    /// The server doesn't tell when a connection closes.
    pub fn poll(&mut self) {
        self.polling = Polling::Idle;
    }

    /// The connections to look at now, if they are polled.
    pub fn polled(&self) -> Vec<Holder> {
        match self.polling {
            Polling::NotNeeded => Vec::new(),
            Polling::Idle | Polling::TimerSet => self.queues.keys().copied().collect(),
        }
    }

    /// A connection holds a lease in a queue. True if the timer is to be set.
    #[must_use]
    pub fn tie(&mut self, connection: Holder, queue: QueueKey) -> bool {
        self.queues.entry(connection).or_default().insert(queue);
        let is_idle = self.polling == Polling::Idle;
        if is_idle {
            self.polling = Polling::TimerSet;
        }
        is_idle
    }

    /// The timer has fired, and the connections that have closed were removed. True if the timer is to be set again.
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

    /// A connection has closed: the queues in which it may hold leases.
    pub fn remove(&mut self, connection: Holder) -> BTreeSet<QueueKey> {
        self.queues.remove(&connection).unwrap_or_default()
    }

    /// Two databases have changed places, and their queues with them.
    pub fn swap_databases(&mut self, a: i32, b: i32) {
        for queues in self.queues.values_mut() {
            *queues = mem::take(queues).into_iter().map(|queue| queue.swapped(a, b)).collect();
        }
    }
}
