//! A node's files: a snapshot of its queues, and a log of the messages since. A power cut takes what was not synced.

use std::rc::Rc;

use super::message::{Dump, Message, Name};

/// How often a log is synced that is not synced by each write.
const SYNC_US: u64 = 1_000_000;

/// All queues of a node, as one instant saved them.
#[derive(Default, Clone)]
pub struct Snapshot(pub Vec<(Name, Rc<Dump>)>);

/// A rewrite in progress: its snapshot, where the log goes on from there, and when it is done.
struct Rewrite {
    snapshot: Snapshot,
    from: usize,
    done_at: u64,
}

#[derive(Default)]
pub struct Disk {
    /// Whether each message is synced at once (`appendfsync always`).
    pub is_always_synced: bool,
    base: Snapshot,
    log: Vec<Rc<Message>>,
    synced: usize,
    synced_at: u64,
    rewrite: Option<Rewrite>,
}

impl Disk {
    pub fn append(&mut self, message: Rc<Message>) {
        self.log.push(message);
        if self.is_always_synced {
            self.synced = self.log.len();
        }
    }

    /// Syncs the log every second, and ends a rewrite that is done.
    pub fn beat(&mut self, t: u64) {
        if t >= self.synced_at + SYNC_US {
            (self.synced, self.synced_at) = (self.log.len(), t);
        }
        if let Some(rewrite) = self.rewrite.take_if(|rewrite| rewrite.done_at <= t) {
            self.base = rewrite.snapshot;
            self.log.drain(..rewrite.from);
            self.synced = self.synced.saturating_sub(rewrite.from);
        }
    }

    pub fn rewrite(&mut self, snapshot: Snapshot, done_at: u64) {
        self.rewrite = Some(Rewrite { snapshot, from: self.log.len(), done_at });
    }

    /// Begins anew with the data that came from a primary.
    pub fn replace(&mut self, snapshot: Snapshot) {
        (self.base, self.synced, self.rewrite) = (snapshot, 0, None);
        self.log.clear();
    }

    /// The process was killed. What it wrote is in the kernel's hands.
    pub fn is_left(&mut self) {
        self.rewrite = None;
    }

    /// The power was cut: the messages are gone that were not synced, but for the first `spared`. Returns them.
    pub fn loses_power(&mut self, spared: usize) -> Vec<Rc<Message>> {
        self.is_left();
        let kept = (self.synced + spared).min(self.log.len());
        self.synced = kept;
        self.log.split_off(kept)
    }

    pub fn base(&self) -> Snapshot {
        self.base.clone()
    }

    pub fn log(&self) -> Vec<Rc<Message>> {
        self.log.clone()
    }
}
