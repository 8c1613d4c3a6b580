//! Groups as they are shown.

use crate::limits::{GroupLimits, Held};
use crate::rate::Rate;
use crate::state::State;
use crate::task::TaskId;
use crate::time::Millis;

/// What is shown of a group.
#[derive(Debug, Clone, Copy)]
pub struct GroupView<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Tasks in any state.
    pub tasks: u64,
    /// Ready tasks.
    pub ready: u64,
    /// Leased tasks.
    pub leased: u64,
    /// What was said of it.
    pub limits: GroupLimits,
    /// Its share beside the others.
    pub weight: u32,
    /// Most leases at a time, as was said of it or of all groups.
    pub concurrency: Option<u64>,
    /// Its rate, as was said of it or of all groups.
    pub rate: Option<Rate>,
    /// Why it may not run; nothing where it may.
    pub held: Option<Held>,
    /// When its rate allows the next claim, if it is used up.
    pub rests_until: Option<Millis>,
}

impl State {
    /// How many groups are known.
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// What is known of the groups after the name `after`, by name.
    pub fn group_views<'a>(&'a self, after: &'a [u8]) -> impl Iterator<Item = GroupView<'a>> + 'a {
        self.groups.after(after).map(|(_, group)| GroupView {
            name: &group.name,
            tasks: group.tasks,
            ready: group.ready,
            leased: group.leased,
            limits: group.limits.as_deref().copied().unwrap_or_default(),
            weight: group.weight(),
            concurrency: group.concurrency(&self.settings),
            rate: group.rate(&self.settings),
            held: self.groups.held(group, &self.settings),
            rests_until: self.groups.rests_until(group, &self.settings),
        })
    }

    /// The groups that have ready tasks and may run, level by level, in turn.
    pub fn groups_in_turn(&self) -> impl Iterator<Item = &[u8]> {
        let turns = self.lanes.turns().filter(|(key, _)| !key.group.is_none());
        turns.map(|(key, _)| self.groups.name(key.group))
    }

    /// The name of a task's group; empty for none, and where there is no such task.
    pub fn group_of(&self, id: TaskId) -> &[u8] {
        self.find(id).map_or(&[], |found| self.groups.name(found.record.group))
    }

    /// How many groups don't follow the queue's settings yet in their place in the rotations: the tick sees to them. What
    /// they may do follows at once.
    pub fn groups_behind(&self) -> usize {
        self.groups.behind()
    }
}
