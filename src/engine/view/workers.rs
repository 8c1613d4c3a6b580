//! What is shown of the workers that hold leases.

use std::collections::BTreeMap;

use taskslot_edges::{edge, rare};

use crate::numbers::WorkerNumber;
use crate::state::State;
use crate::store::entry::Phase;
use crate::time::Millis;

/// How many leases one call examines, so that a queue with a million of them does not block the server.
const LOOKED_AT: usize = edge(10_000, 4);

/// A worker that holds leases, as TASK.INFO WORKERS shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerView<'a> {
    /// The worker's name; empty for all workers that gave none, together.
    pub name: &'a [u8],
    /// How many leases it holds.
    pub leases: u64,
    /// When the oldest of them began, among those that were examined.
    pub oldest: Option<Millis>,
}

impl State {
    /// How many workers hold leases, counted by name. All that gave no name count as one.
    pub fn workers_busy(&self) -> usize {
        self.workers.len() + usize::from(self.unnamed_leases() > 0)
    }

    /// Whether a worker of this name holds a lease.
    pub fn knows_worker(&self, name: &[u8]) -> bool {
        self.workers.knows(name)
    }

    /// Whether every lease has a worker's name.
    pub fn all_are_named(&self) -> bool {
        self.unnamed_leases() == 0
    }

    /// The workers that hold leases, ordered by name, at most `limit`. Those without a name come first, as one.
    /// `oldest` is the oldest among roughly the 10,000 leases of the queue that end first.
    pub fn workers(&self, limit: usize) -> Vec<WorkerView<'_>> {
        let oldest = self.oldest_leases();
        let unnamed = Some(self.unnamed_leases()).filter(|&leases| leases > 0);
        let unnamed = unnamed.map(|leases| (&b""[..], WorkerNumber(0), leases));
        let named = self.workers.by_name();
        let all = unnamed.into_iter().chain(named).take(limit);
        all.map(|(name, number, leases)| WorkerView { name, leases, oldest: oldest.get(&number.0).copied() })
            .collect()
    }

    fn unnamed_leases(&self) -> u64 {
        self.leased.saturating_sub(self.workers.total().leases)
    }

    fn oldest_leases(&self) -> BTreeMap<u32, Millis> {
        let mut oldest: BTreeMap<u32, Millis> = BTreeMap::new();
        let (mut page, mut left) = (None, LOOKED_AT);
        while let Some(next) = self.log.bound_after(page).filter(|_| left > 0) {
            for position in self.log.leases_in(next) {
                left = left.saturating_sub(1);
                let phase = self.log.entry(position).map(|entry| entry.phase);
                if let Some(Phase::Leased { claimed_at, worker, .. }) = phase {
                    let first = oldest.entry(worker.0).or_insert(claimed_at);
                    *first = claimed_at.min(*first);
                }
            }
            // A page that has no leases left also counts as examined work.
            left = left.saturating_sub(1);
            page = Some(next);
        }
        if left == 0 {
            rare!("not all leases are examined for the oldest");
        }
        oldest
    }
}
