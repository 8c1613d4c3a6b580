//! Which connection holds which TIED lease.

use std::collections::{BTreeMap, BTreeSet};

use crate::task::TaskId;

/// A connection, as a number that the server gives out once.
pub type Holder = u64;

/// Which connection holds which TIED lease. It is the node's own knowledge: neither stored nor replicated,
/// since no connection outlives its server, and a queue that moves leaves its connections behind. There such leases end
/// by their deadlines alone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ties {
    holders: BTreeMap<TaskId, Holder>,
    tasks: BTreeSet<(Holder, TaskId)>,
}

impl Ties {
    pub fn tie(&mut self, holder: Holder, id: TaskId) {
        self.untie(id);
        self.holders.insert(id, holder);
        self.tasks.insert((holder, id));
    }

    pub fn untie(&mut self, id: TaskId) {
        if let Some(holder) = self.holders.remove(&id) {
            self.tasks.remove(&(holder, id));
        }
    }

    /// The tasks that hang on a connection, at most `limit`.
    pub fn of(&self, holder: Holder, limit: usize) -> Vec<TaskId> {
        let all = (holder, TaskId::default())..=(holder, TaskId { ms: u64::MAX, seq: u64::MAX });
        self.tasks.range(all).take(limit).map(|&(_, id)| id).collect()
    }

    /// The connections that hold anything.
    pub fn holders(&self) -> impl Iterator<Item = Holder> + '_ {
        self.tasks.iter().map(|&(holder, _)| holder).collect::<BTreeSet<_>>().into_iter()
    }

    pub fn memory(&self) -> usize {
        self.holders.len() * 110
    }
}
