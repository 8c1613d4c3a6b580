//! What is shown of groups.

use crate::limits::{GroupLimits, HeldBy};
use crate::pause::Pause;
use crate::rate::Rate;
use crate::state::State;
use crate::task::TaskId;
use crate::time::Millis;

/// A group, as TASK.INFO GROUPS shows it.
#[derive(Debug, Clone, Copy)]
pub struct GroupView<'a> {
    /// The group's name.
    pub name: &'a [u8],
    /// Its tasks in any state.
    pub tasks: u64,
    /// Its ready tasks.
    pub ready: u64,
    /// Its leased tasks.
    pub leased: u64,
    /// The limits that were set for this group alone.
    pub limits: GroupLimits,
    /// Its share of the claims relative to other groups; 1 unless one was set.
    pub weight: u32,
    /// The most tasks leased at a time, by its own limits or the queue's settings; `None` for no limit.
    pub concurrency: Option<u64>,
    /// The most claims in a span, by its own limits or the queue's settings; `None` for no limit.
    pub rate: Option<Rate>,
    /// What keeps the group from running; `None` if it can run.
    pub held_by: Option<HeldBy>,
    /// Its pause.
    pub pause: Pause,
    /// When its rate allows the next claim; `None` if it does now.
    pub rests_until: Option<Millis>,
}

impl State {
    /// How many groups are known.
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// How many groups are paused.
    pub fn groups_paused(&self) -> usize {
        self.groups.paused()
    }

    /// How many groups limits of their own stop: a concurrency or a rate of 0.
    pub fn groups_stopped(&self) -> usize {
        self.groups.stopped()
    }

    /// The groups whose names sort after `after`, ordered by name; empty for all.
    pub fn group_views<'a>(&'a self, after: &'a [u8]) -> impl Iterator<Item = GroupView<'a>> + 'a {
        self.groups.after(after).map(|(number, group)| GroupView {
            name: &group.name,
            tasks: group.tasks,
            ready: group.ready,
            leased: group.leased,
            limits: group.limits.as_deref().copied().unwrap_or_default(),
            weight: group.weight(),
            concurrency: group.concurrency(&self.settings),
            rate: group.rate(&self.settings),
            held_by: self.groups.held_by(group, &self.settings),
            pause: self.groups.pause(number),
            rests_until: self.groups.rests_until(group, &self.settings),
        })
    }

    /// The groups with ready tasks that can run, in turn: level by level, the highest priority first.
    pub fn groups_in_turn(&self) -> impl Iterator<Item = &[u8]> {
        let turns = self.lanes.turns().filter(|(key, _)| !key.group.is_none());
        turns.map(|(key, _)| self.groups.name(key.group))
    }

    /// The name of a task's group; empty if it has none, or if there is no such task.
    pub fn group_of(&self, id: TaskId) -> &[u8] {
        self.find(id).map_or(&[], |found| self.groups.name(found.record.group()))
    }

    /// How many groups do not follow the latest settings yet in their position in the rotations. The tick updates
    /// them step by step. Their limits already follow the settings.
    pub fn groups_behind(&self) -> usize {
        self.groups.behind()
    }
}
