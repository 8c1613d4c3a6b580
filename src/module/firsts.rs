//! Who may be served next, of those who wait for one group: looked up once for a write, however many it serves.
//!
//! While workers are served nobody joins a line and nothing becomes claimable (unless a worker is awaited no longer, when
//! this is looked up anew), so groups are only dropped from here.
//! Ten thousand workers that wait for as many groups would else be looked through for each of them.

use std::collections::BTreeMap;

use taskslot_engine::{Millis, Queue};

use crate::api::blocked::Waiter;
use crate::lines;
use crate::stirred::Groups;
use crate::waiters::Worker;

/// The first of each group that may run, by arrival.
pub struct Firsts {
    groups: BTreeMap<u64, Box<[u8]>>,
}

impl Firsts {
    /// Those for whom there may be tasks in a queue.
    pub fn of(db: i32, key: &[u8], queue: &Queue, now: Millis, stirred: &Groups) -> Firsts {
        let waited_for = lines::groups(db, key);
        let first = |group: &[u8]| {
            let is_claimable = queue.is_claimable_by(now, Some(group));
            let (number, _) = lines::first(db, key, Some(group), queue, now).filter(|_| is_claimable)?;
            Some((number, group.into()))
        };
        let groups = match stirred {
            _ if waited_for == 0 => BTreeMap::new(),
            Groups::Some(stirred) => stirred.iter().filter_map(|group| first(group)).collect(),
            // Whichever are fewer: the groups that are waited for, or those that may run.
            Groups::All if waited_for <= queue.groups_in_turn().take(waited_for).count() => {
                lines::firsts(db, key, queue, now)
            }
            Groups::All => queue.groups_in_turn().filter_map(first).collect(),
        };
        Firsts { groups }
    }

    /// The one who came first, and is still the first of its group.
    pub fn peek(&mut self, db: i32, key: &[u8], queue: &Queue, now: Millis) -> Option<(u64, Waiter<Worker>)> {
        while let Some((number, group)) = self.groups.pop_first() {
            if !queue.is_claimable_by(now, Some(&group)) {
                continue;
            }
            let Some((first, waiter)) = lines::first(db, key, Some(&group), queue, now) else { continue };
            self.groups.insert(first, group);
            if first == number {
                return Some((number, waiter));
            }
        }
        None
    }
}
