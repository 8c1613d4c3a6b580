//! Who may be served next.

use std::collections::BTreeMap;

use crate::ready_groups::Groups;
use crate::wait_queue::Offer;
use crate::wait_queues::WaitQueues;

/// The first of each group that may run, by arrival: looked up once for a write, however many it serves.
///
/// While workers are served nobody joins a wait queue and nothing becomes claimable (unless a worker is awaited no longer,
/// when this is looked up anew), so groups are only dropped from here. Ten thousand workers that wait for as many groups
/// would otherwise be scanned once per group.
pub struct Candidates {
    groups: BTreeMap<u64, Box<[u8]>>,
}

impl Candidates {
    /// Those for whom there may be tasks in a queue.
    pub fn of<T: Clone>(
        queues: &mut WaitQueues<T>,
        db: i32,
        name: &[u8],
        offer: &impl Offer,
        ready: &Groups,
    ) -> Candidates {
        let waited_for = queues.groups(db, name);
        let mut head = |group: &[u8]| {
            let is_claimable = offer.is_claimable(Some(group));
            let (number, _) = queues.first(db, name, Some(group), offer).filter(|_| is_claimable)?;
            Some((number, group.into()))
        };
        let groups = match ready {
            _ if waited_for == 0 => BTreeMap::new(),
            Groups::Some(ready) => ready.iter().filter_map(|group| head(group)).collect(),
            // Whichever are fewer: the groups that are waited for, or those that may run.
            Groups::All if waited_for <= offer.groups().take(waited_for).count() => {
                queues.heads(db, name, offer)
            }
            Groups::All => offer.groups().filter_map(head).collect(),
        };
        Candidates { groups }
    }

    /// The one who came first, and is still the first of its group.
    pub fn peek<T: Clone>(
        &mut self,
        queues: &mut WaitQueues<T>,
        db: i32,
        name: &[u8],
        offer: &impl Offer,
    ) -> Option<(u64, T)> {
        while let Some((number, group)) = self.groups.pop_first() {
            if !offer.is_claimable(Some(&group)) {
                continue;
            }
            let Some((first, waiter)) = queues.first(db, name, Some(&group), offer) else { continue };
            self.groups.insert(first, group);
            if first == number {
                return Some((number, waiter));
            }
        }
        None
    }
}
