//! Warnings about the server's configuration and state.

use taskslot_engine::Millis;

/// How often the server is checked.
const LOOK_MS: u64 = 2000;

/// The present warnings, as of the last check of the server.
#[derive(Debug, Clone, Copy, Default)]
pub struct Warnings {
    evicts: bool,
    is_alone: bool,
    is_cut: bool,
    /// When to check again.
    next: Millis,
}

/// The state of the server that is checked.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// `maxmemory-policy`, if it could be read.
    pub policy: Option<&'a str>,
    /// Whether the server is a primary.
    pub is_primary: bool,
    /// Whether the server writes an AOF.
    pub has_aof: bool,
    /// Whether the server cut the end off its AOF when it loaded it, and uses it still.
    pub is_aof_cut: bool,
    /// The number of replicas, as INFO shows it, if it could be read.
    pub replicas: Option<&'a str>,
}

/// A warning for operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warning {
    /// `maxmemory-policy` evicts keys that have no time to live, so it can evict queues.
    Eviction,
    /// The server is a primary without an AOF and without a replica.
    Durability,
    /// The server cut the end off its AOF. On Redis the next start can be wrong then.
    AofCut,
    /// This many queues are near the size above which they can't be moved.
    QueueSize(usize),
}

impl Warnings {
    /// No warnings. The first check is due at once.
    pub const fn new() -> Warnings {
        Warnings { evicts: false, is_alone: false, is_cut: false, next: Millis(0) }
    }

    /// Whether the server has to be checked now.
    pub fn is_due(&self, at: Millis) -> bool {
        // The second condition covers a clock that was set back.
        at >= self.next || self.next.since(at) > LOOK_MS
    }

    /// Takes the state of the server. Returns whether it evicts queues and didn't before, which has to be logged,
    /// because tasks are lost silently.
    pub fn look(&mut self, at: Millis, look: &Look<'_>) -> bool {
        let evicts = look.policy.map_or(self.evicts, |policy| policy.starts_with("allkeys-"));
        let is_alone = look.is_primary && !look.has_aof && look.replicas == Some("0");
        let is_new = evicts && !self.evicts;
        *self = Warnings { evicts, is_alone, is_cut: look.is_aof_cut, next: at.plus(LOOK_MS) };
        is_new
    }

    /// The present warnings, on a node with this many big queues.
    pub fn all(&self, big_queues: usize) -> impl Iterator<Item = Warning> {
        let eviction = self.evicts.then_some(Warning::Eviction);
        let durability = self.is_alone.then_some(Warning::Durability);
        let cut = self.is_cut.then_some(Warning::AofCut);
        let size = (big_queues > 0).then_some(Warning::QueueSize(big_queues));
        [eviction, durability, cut, size].into_iter().flatten()
    }
}
