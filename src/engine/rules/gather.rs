//! What a claim would get now, for workers that wait for more tasks (GATHER).

use std::collections::BTreeMap;

use crate::numbers::{GroupNumber, Rank};
use crate::pause::Gate;
use crate::request::Claim;
use crate::rules::claim::{Allowed, BEHIND_LOOKED_AT};
use crate::state::State;
use crate::store::entry::Phase;
use crate::store::lane::{Lane, Which};
use crate::time::Millis;

/// The tasks that a claim would get now, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimable {
    /// Whether it would get no more if more tasks came: its COUNT or its BYTES are reached, or one of the tasks is a
    /// suspect, which is delivered alone.
    pub is_full: bool,
    /// Since when the oldest of the tasks has been ready.
    pub since: Millis,
}

/// The tasks that were counted so far.
struct Counted {
    tasks: usize,
    bytes: u64,
    batch: Option<Claimable>,
    /// How many tasks each group gives, if it has tasks of several priorities.
    of_groups: BTreeMap<GroupNumber, u64>,
}

impl State {
    /// What this claim would get now; `None` if nothing. It looks at no more tasks than the claim can get. In a queue
    /// with groups, the claim itself can take others of the ready tasks, but as many.
    pub fn claimable(&self, now: Millis, claim: &Claim) -> Option<Claimable> {
        let which = match self.allowed(claim.worker) {
            Allowed::All => Which::All,
            Allowed::Sound => Which::Sound,
            Allowed::Nothing => return None,
        };
        if self.is_behind(now) || !self.paused(now, Gate::Out).is_open() {
            return None;
        }
        let (tasks, bytes, batch, of_groups) = Default::default();
        let mut counted = Counted { tasks, bytes, batch, of_groups };
        let mut left = self.allowance(now);
        for (group, lane) in self.claimable_lanes(now, claim.group, which) {
            let given = counted.of_groups.get(&group).copied().unwrap_or(0);
            let allowed = left.min(self.group_allowance(now, group).saturating_sub(given));
            let before = counted.tasks;
            self.add_to(&mut counted, claim, lane, which, allowed);
            let taken = (counted.tasks - before) as u64;
            left -= taken;
            if !group.is_none() {
                *counted.of_groups.entry(group).or_default() += taken;
            }
            if left == 0 || counted.batch.is_some_and(|batch| batch.is_full) {
                break;
            }
        }
        counted.batch
    }

    /// Whether a claim may get all that it can; false if it surely would not. This takes no time, so a queue asks it
    /// first, for each task that comes.
    pub fn may_fill(&self, claim: &Claim) -> bool {
        let ready = match claim.group {
            None => self.lanes.ready(),
            Some(name) => {
                let group = self.groups.find(name).and_then(|number| self.groups.get(number));
                group.map_or(0, |group| group.ready)
            }
        };
        let has_bytes = claim.bytes.is_some_and(|max| self.bytes_of_ready(ready) > max);
        ready >= claim.count as u64 || has_bytes || self.has_suspects()
    }

    /// The payloads of this many ready tasks have no more bytes.
    fn bytes_of_ready(&self, ready: u64) -> u64 {
        let records = ready.saturating_mul(self.log.longest() as u64);
        records.saturating_add(self.edits.bytes()).min(self.record_bytes())
    }

    /// The lanes that a claim can take tasks from, in some order within a priority.
    fn claimable_lanes<'q>(
        &'q self,
        at: Millis,
        group: Option<&[u8]>,
        which: Which,
    ) -> impl Iterator<Item = (GroupNumber, &'q Lane)> {
        let only = group.map(|name| self.groups.find(name));
        self.lanes.levels().iter().flat_map(move |level| {
            let one = match only {
                Some(group) => group,
                None => (!level.has_groups()).then_some(GroupNumber::NONE),
            };
            let turns = (only.is_none() && level.has_groups()).then(|| level.turns_or_all(which));
            let turns = turns.into_iter().flatten().take(BEHIND_LOOKED_AT).map(|(group, _)| group);
            let can_run = move |group: &GroupNumber| self.group_allowance(at, *group) > 0;
            let groups = one.into_iter().chain(turns).filter(can_run);
            groups.filter_map(move |group| Some((group, level.lane(group).filter(|lane| lane.has(which))?)))
        })
    }

    /// Counts at most `allowed` tasks of a lane.
    fn add_to(&self, counted: &mut Counted, claim: &Claim, lane: &Lane, which: Which, allowed: u64) {
        let most = usize::try_from(allowed).unwrap_or(usize::MAX).min(claim.count - counted.tasks);
        for (_, position) in lane.in_order(&self.log, Rank::FIRST, which).take(most) {
            let Some(found) = self.at(position) else { break };
            let entry = found.entry();
            counted.bytes += found.record.payload.len() as u64;
            counted.tasks += 1;
            let is_over = claim.bytes.is_some_and(|max| counted.bytes > max);
            let is_full = counted.tasks >= claim.count || is_over || entry.is_suspect();
            let Phase::Ready { since } = entry.phase else { break };
            let batch = counted.batch.get_or_insert(Claimable { is_full, since });
            *batch = Claimable { is_full, since: batch.since.min(since) };
            if is_full {
                break;
            }
        }
    }
}
