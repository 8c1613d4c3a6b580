//! The connections that hold TIED leases.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::ops::Bound;

use taskslot_engine::Holder;

use crate::queue_key::QueueKey;

/// Which connections hold TIED leases in which queues, so that the leases can end when the connection closes. Each
/// queue itself knows which of its leases are tied to which connection.
///
/// Most servers report that a connection has closed. On other servers, a timer polls the connections that are noted
/// here, as long as there are any.
#[derive(Debug, Default)]
pub struct Connections {
    held: BTreeMap<Holder, HeldQueues>,
    polling: Polling,
}

/// The queues that are noted for a connection: all in which it holds leases, and some in which it did.
#[derive(Debug, Default)]
struct HeldQueues {
    queues: BTreeSet<QueueKey>,
    /// The one that was checked last. The next check goes on behind it.
    checked: Option<QueueKey>,
}

impl HeldQueues {
    /// The next queue to check; each has its turn.
    fn next(&mut self) -> Option<QueueKey> {
        let behind = self
            .checked
            .as_ref()
            .and_then(|checked| self.queues.range((Bound::Excluded(checked), Bound::Unbounded)).next());
        self.checked = behind.or_else(|| self.queues.first()).cloned();
        self.checked.clone()
    }
}

/// What [`Connections::tie`] asks of its caller.
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Tied {
    /// Start the timer that polls connections.
    pub starts_timer: bool,
    /// See whether the connection still holds leases in these queues, and [`Connections::untie`] it from the others.
    pub to_check: Vec<QueueKey>,
}

/// How many queues are checked when another one is noted. With more than one, those in which a connection holds no more
/// leases are removed faster than others come. So not many more are noted than twice those in which it holds some.
const CHECKED: usize = 2;

/// Whether connections are polled to find out which have closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Polling {
    /// No: the server reports closed connections.
    #[default]
    NotNeeded,
    /// Yes, but no connection is noted.
    Idle,
    /// Yes, and the timer is running.
    TimerSet,
}

impl Connections {
    /// No connections, on a server that reports closed ones.
    pub const fn new() -> Connections {
        Connections { held: BTreeMap::new(), polling: Polling::NotNeeded }
    }

    /// Polls connections from now on, because the server doesn't report closed ones.
    pub fn poll(&mut self) {
        self.polling = Polling::Idle;
    }

    /// The connections to check, if they are polled.
    pub fn polled(&self) -> Vec<Holder> {
        match self.polling {
            Polling::NotNeeded => Vec::new(),
            Polling::Idle | Polling::TimerSet => self.held.keys().copied().collect(),
        }
    }

    /// Notes that a connection holds a lease in a queue.
    pub fn tie(&mut self, connection: Holder, queue: QueueKey) -> Tied {
        let held = self.held.entry(connection).or_default();
        let checks = if held.queues.contains(&queue) { 0 } else { CHECKED.min(held.queues.len()) };
        let to_check = (0..checks).filter_map(|_| held.next()).collect();
        held.queues.insert(queue);
        let starts_timer = self.polling == Polling::Idle;
        if starts_timer {
            self.polling = Polling::TimerSet;
        }
        Tied { starts_timer, to_check }
    }

    /// A connection holds no leases in a queue any more. It stays noted itself: it has not closed.
    pub fn untie(&mut self, connection: Holder, queue: &QueueKey) {
        if let Some(held) = self.held.get_mut(&connection) {
            held.queues.remove(queue);
        }
    }

    /// The timer has fired, and closed connections were removed. Returns whether the caller has to start the timer
    /// again.
    #[must_use]
    pub fn poll_again(&mut self) -> bool {
        let is_any_left = !self.held.is_empty();
        self.polling = if is_any_left { Polling::TimerSet } else { Polling::Idle };
        is_any_left
    }

    /// Whether a connection is open that holds leases, or did.
    pub fn contains(&self, connection: Holder) -> bool {
        self.held.contains_key(&connection)
    }

    /// Removes a closed connection, and returns the queues in which it may hold leases.
    pub fn remove(&mut self, connection: Holder) -> BTreeSet<QueueKey> {
        self.held.remove(&connection).unwrap_or_default().queues
    }

    /// Two databases were swapped, and their queues with them.
    pub fn swap_databases(&mut self, a: i32, b: i32) {
        for HeldQueues { queues, .. } in self.held.values_mut() {
            let swapped = mem::take(queues).into_iter().map(|mut queue| {
                queue.swap_databases(a, b);
                queue
            });
            *queues = swapped.collect();
        }
    }
}
