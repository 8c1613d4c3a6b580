//! What an operator should know of the server around the queues.

use taskslot_engine::Millis;

/// How often the server is looked at.
const LOOK_MS: u64 = 2000;

/// The warnings that hold, as of the last look at the server.
#[derive(Debug, Clone, Copy, Default)]
pub struct Warnings {
    evicts: bool,
    is_alone: bool,
    /// When to look again.
    next: Millis,
}

/// What a look at the server shows.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// `maxmemory-policy`, if it could be read.
    pub policy: Option<&'a str>,
    /// Whether the server is a primary.
    pub is_primary: bool,
    /// Whether it writes an AOF.
    pub has_aof: bool,
    /// How many replicas it has, as INFO writes it, if it could be read.
    pub replicas: Option<&'a str>,
}

/// A warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warning {
    /// `maxmemory-policy` is one that evicts keys without a time to live.
    Eviction,
    /// This is a primary without an AOF and without a replica.
    Durability,
    /// So many queues are near the size beyond which they can't be moved.
    QueueSize(usize),
}

impl Warnings {
    /// None, and nothing was looked at yet.
    pub const fn new() -> Warnings {
        Warnings { evicts: false, is_alone: false, next: Millis(0) }
    }

    /// Whether to look at the server now.
    pub fn is_due(&self, at: Millis) -> bool {
        // Before the first command the clock may have been set back.
        at >= self.next || self.next.since(at) > LOOK_MS
    }

    /// The server was looked at. True if it evicts queues and didn't before, which is to be logged: tasks are lost silently.
    pub fn look(&mut self, at: Millis, look: &Look<'_>) -> bool {
        let evicts = look.policy.map_or(self.evicts, |policy| policy.starts_with("allkeys-"));
        let is_alone = look.is_primary && !look.has_aof && look.replicas == Some("0");
        let is_new = evicts && !self.evicts;
        *self = Warnings { evicts, is_alone, next: at.plus(LOOK_MS) };
        is_new
    }

    /// Those that hold on a node with so many big queues.
    pub fn all(&self, big_queues: usize) -> impl Iterator<Item = Warning> {
        let eviction = self.evicts.then_some(Warning::Eviction);
        let durability = self.is_alone.then_some(Warning::Durability);
        let size = (big_queues > 0).then_some(Warning::QueueSize(big_queues));
        [eviction, durability, size].into_iter().flatten()
    }
}
