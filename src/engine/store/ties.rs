//! The TIED leases of each connection.

use std::collections::{BTreeMap, BTreeSet};

use crate::task::TaskId;

/// A connection, by the number that the server gave it. Numbers are not reused.
pub type Holder = u64;

/// The TIED leases of each connection, in both directions.
///
/// Only this node knows them: they are neither stored nor replicated. No connection outlives its server, and a queue
/// that moves to another node leaves its connections behind. There such leases end only by their deadlines.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ties {
    holders: BTreeMap<TaskId, Holder>,
    tasks: BTreeSet<(Holder, TaskId)>,
}

impl Ties {
    /// Ties a task's lease to a connection, instead of any other.
    pub fn tie(&mut self, holder: Holder, id: TaskId) {
        self.untie(id);
        self.holders.insert(id, holder);
        self.tasks.insert((holder, id));
    }

    /// Removes the tie of a task, if it has one.
    pub fn untie(&mut self, id: TaskId) {
        if let Some(holder) = self.holders.remove(&id) {
            self.tasks.remove(&(holder, id));
        }
    }

    /// Tasks whose leases are tied to a connection, at most `limit`.
    pub fn of(&self, holder: Holder, limit: usize) -> Vec<TaskId> {
        let all = (holder, TaskId::default())..=(holder, TaskId { ms: u64::MAX, seq: u64::MAX });
        self.tasks.range(all).take(limit).map(|&(_, id)| id).collect()
    }

    /// The connections that hold TIED leases.
    pub fn holders(&self) -> impl Iterator<Item = Holder> + '_ {
        self.tasks.iter().map(|&(holder, _)| holder).collect::<BTreeSet<_>>().into_iter()
    }

    pub fn memory(&self) -> usize {
        self.holders.len() * 110
    }
}
