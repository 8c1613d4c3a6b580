//! The blocked workers that may be served next, of those that wait for single groups.

use std::collections::BTreeMap;

use taskslot_edges::rare;
use taskslot_engine::Millis;

use crate::ready_groups::Groups;
use crate::wait_queue::Offer;
use crate::wait_queues::{Gathered, WaitQueues};

/// The first worker of each group that has tasks to claim, in the order in which they came. A write looks them up once,
/// however many workers it serves.
///
/// While a write serves workers, no worker joins a wait queue, and no task becomes claimable. (One exception: the queue
/// stops waiting for a certain worker. Then the candidates are looked up again.) So groups are only ever removed from
/// here. Without this, ten thousand workers that wait for as many groups would be scanned once per group.
#[derive(Default)]
pub struct Candidates {
    groups: BTreeMap<u64, Box<[u8]>>,
    /// The groups for which workers gather (`None` for any), by the number of their first worker.
    gathering: BTreeMap<u64, Option<Box<[u8]>>>,
}

impl Candidates {
    /// The candidates of a queue. Only the groups in `ready` are considered.
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
            // Goes through whichever are fewer: the groups that workers wait for, or those with tasks to claim.
            Groups::All if waited_for <= offer.groups().take(waited_for).count() => {
                rare!("no more groups are waited for than have tasks");
                queues.heads(db, name, offer)
            }
            Groups::All => {
                rare!("fewer groups have tasks than are waited for");
                offer.groups().filter_map(head).collect()
            }
        };
        Candidates { groups, gathering: gathering(queues, db, name, offer, ready) }
    }

    /// The first worker that gathers and can get all that it takes, with its number, if it came before the worker with
    /// the number `before`. It stays until it leaves its wait queue. `at` is the time on the node's clock.
    pub fn peek_full<T: Clone>(
        &mut self,
        queues: &mut WaitQueues<T>,
        db: i32,
        name: &[u8],
        offer: &impl Offer,
        (before, at): (Option<u64>, Millis),
    ) -> Option<(u64, T)> {
        loop {
            let (number, _) = self.gathering.first_key_value()?;
            if before.is_some_and(|before| before < *number) {
                rare!("a worker that gathers came after one that does not");
                return None;
            }
            let (number, group) = self.gathering.pop_first()?;
            // While a write serves workers no task comes, so a worker that waits for more is not looked at again.
            let Gathered::Full(first, waiter) = queues.gathered(db, name, &group, offer, at) else {
                continue;
            };
            self.gathering.insert(first, group);
            if first == number {
                return Some((number, waiter));
            }
        }
    }

    /// The candidate that came first, with its number. It stays until it leaves its wait queue.
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
            rare!("another worker is the first of its group now");
        }
        None
    }
}

/// The groups in `ready` for which workers gather, and those that gather for any group.
fn gathering<T: Clone>(
    queues: &WaitQueues<T>,
    db: i32,
    name: &[u8],
    offer: &impl Offer,
    ready: &Groups,
) -> BTreeMap<u64, Option<Box<[u8]>>> {
    if !queues.some_gather() {
        return BTreeMap::new();
    }
    let head = |group: Option<Box<[u8]>>| Some((queues.first_gathering(db, name, &group)?, group));
    match ready {
        Groups::Some(ready) => {
            let groups = ready.iter().map(|group| Some(group.clone()));
            groups.chain([None]).filter_map(head).collect()
        }
        Groups::All => {
            let is_wanted = |group: &[u8]| offer.is_claimable(Some(group));
            let heads = queues.gathering(db, name);
            let wanted = heads.filter(|(_, group)| group.as_deref().is_none_or(is_wanted));
            wanted.map(|(number, group)| (number, group.clone())).collect()
        }
    }
}
