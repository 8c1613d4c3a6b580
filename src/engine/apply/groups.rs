//! Keeping groups up to date as their tasks come and go and as limits change.

use serde_bytes::ByteBuf;
use taskslot_edges::{edge, rare};

use crate::bounds::{NAME_MAX_BYTES, PLAIN_WEIGHT};
use crate::invalid::{Applied, Invalid, ensure};
use crate::limits::GroupLimits;
use crate::numbers::GroupNumber;
use crate::pause::Pause;
use crate::settings::{Setting, Settings};
use crate::state::State;
use crate::store::entry::Phase;
use crate::store::groups::Group;
use crate::store::lanes::LaneKey;
use crate::time::Millis;

/// Up to this many groups follow a change of the settings at once. In a queue with more, the tick updates them step by
/// step.
pub const GROUPS_AT_ONCE: usize = edge(1000, 2);

impl State {
    /// Changes a group's counters and then, unless it is behind the settings, whether it is in the rotations.
    fn change_group(&mut self, number: GroupNumber, change: impl FnOnce(&mut Group)) {
        let Some(group) = self.groups.get_mut(number) else { return };
        change(group);
        let Some(group) = self.groups.get(number).filter(|group| !self.groups.is_behind(group)) else {
            return;
        };
        let runs = self.groups.held_by(group, &self.settings).is_none();
        if runs != group.runs {
            // A group that stays keeps its turn; one that comes in joins at the end.
            self.lanes.set_running(number, runs.then(|| group.weight()));
            self.groups.get_mut(number).into_iter().for_each(|group| group.runs = runs);
        }
    }

    /// Visits a group if it is behind. From now on it follows the queue's settings.
    fn catch_up(&mut self, number: GroupNumber) {
        if self.groups.catch_up(number, &self.settings) {
            self.change_group(number, |_| {});
        }
    }

    /// Counts a task of a group into a phase (`by` is 1) or out of it (−1).
    pub(crate) fn count_in_group(&mut self, number: GroupNumber, phase: &Phase, deliveries: u32, by: i64) {
        if number.is_none() {
            return;
        }
        self.change_group(number, |group| {
            let count = match phase {
                Phase::Ready { .. } => &mut group.ready,
                Phase::Leased { .. } => &mut group.leased,
                Phase::Delayed { .. } if deliveries > 0 => &mut group.returning,
                _ => return,
            };
            *count = count.saturating_add_signed(by);
        });
    }

    /// Counts a task into a group (`by` is 1) or out of it (−1).
    pub(crate) fn count_task_in_group(&mut self, number: GroupNumber, by: i64) {
        if let Some(group) = self.groups.get_mut(number) {
            group.tasks = group.tasks.saturating_add_signed(by);
            self.groups.settle(number, &self.settings, None);
        }
    }

    /// Charges a claim at `at` to the queue's rate, to the group's rate and to the group's turn.
    pub(crate) fn spend(&mut self, key: LaneKey, at: Millis) {
        if let Some(rate) = self.settings.rate() {
            self.spent.spend(at, rate);
        }
        if self.groups.len() == 0 {
            return;
        }
        self.catch_up(key.group);
        let group = self.groups.get(key.group);
        let weight = group.map_or(PLAIN_WEIGHT, Group::weight);
        self.lanes.charge(key, weight);
        let Some(rate) = group.and_then(|group| group.rate(&self.settings)) else { return };
        self.change_group(key.group, |group| {
            group.used.spent.spend(at, rate);
            group.used.rests = group.used.spent.left(at, rate) == 0;
        });
        self.groups.settle(key.group, &self.settings, None);
    }

    pub(crate) fn apply_grouped(&mut self, name: &[u8], limits: Option<GroupLimits>) -> Applied {
        ensure((1..=NAME_MAX_BYTES).contains(&name.len()), "a group's name")?;
        ensure(limits.is_none_or(|limits| limits.are_valid()), "a group's limits")?;
        let number = self.groups.known(name, &self.settings);
        self.catch_up(number);
        let settings = self.settings.clone();
        let before = self.groups.get(number).map_or(PLAIN_WEIGHT, Group::weight);
        let weight = limits.and_then(|limits| limits.weight).unwrap_or(PLAIN_WEIGHT);
        // The weight comes first, so that a group that can run from now on starts with its new weight.
        self.lanes.reweigh(number, before, weight);
        let rate = self.groups.get(number).and_then(|group| group.rate(&settings));
        self.groups.set_limits(number, limits);
        self.change_group(number, |group| {
            if group.rate(&settings) != rate {
                group.begin_rate(&settings);
            }
        });
        self.groups.settle(number, &self.settings, None);
        Ok(())
    }

    /// Pauses a group, until an instant or until it is resumed.
    pub(crate) fn apply_group_paused(&mut self, name: &[u8], until: Option<Millis>) -> Applied {
        ensure((1..=NAME_MAX_BYTES).contains(&name.len()), "a group's name")?;
        ensure(until.is_none_or(|until| (Millis(1)..=Millis::MAX).contains(&until)), "an instant")?;
        let number = self.groups.known(name, &self.settings);
        self.set_group_pause(number, Pause::of(until));
        self.groups.settle(number, &self.settings, None);
        Ok(())
    }

    pub(crate) fn apply_group_resumed(&mut self, name: &[u8]) -> Applied {
        let number = self.groups.find(name).ok_or(Invalid("a group that is paused"))?;
        self.set_group_pause(number, Pause::Open);
        self.groups.settle(number, &self.settings, None);
        Ok(())
    }

    fn set_group_pause(&mut self, number: GroupNumber, pause: Pause) {
        self.catch_up(number);
        self.groups.set_pause(number, pause);
        self.change_group(number, |_| {});
    }

    pub(crate) fn apply_rested(&mut self, names: &[ByteBuf], at: Millis) -> Applied {
        ensure(at <= Millis::MAX, "an instant")?;
        for name in names {
            let number = self.groups.find(name).ok_or(Invalid("a group that rests"))?;
            self.catch_up(number);
            let rate = self.groups.get(number).and_then(|group| group.rate(&self.settings));
            if self.groups.pause(number).end().is_some_and(|until| until <= at) {
                self.groups.set_pause(number, Pause::Open);
            }
            self.change_group(number, |group| {
                let used = &mut group.used;
                used.rests = used.rests && rate.is_some_and(|rate| used.spent.left(at, rate) == 0);
            });
            self.groups.settle(number, &self.settings, Some(at));
        }
        Ok(())
    }

    /// Changes the queue's settings through `set` and updates the groups: all at once, or, if there are many, step by
    /// step by the tick, so that the server is not blocked.
    pub(crate) fn apply_settings(&mut self, set: impl FnOnce(&mut State) -> Applied) -> Applied {
        let before = self.settings.clone();
        if let Err(why) = set(self) {
            self.settings = before;
            return Err(why);
        }
        if self.settings.rate() != before.rate() {
            self.spent = Default::default();
        }
        let has_new_rate = self.settings.group_rate() != before.group_rate();
        let concurrency = |settings: &Settings| settings.limit(Setting::GroupConcurrency);
        if !has_new_rate && concurrency(&self.settings) == concurrency(&before) {
            return Ok(());
        }
        self.groups.begin_epoch(has_new_rate);
        if self.groups.len() > GROUPS_AT_ONCE {
            rare!("many groups follow a setting later");
            return Ok(());
        }
        let numbers: Vec<GroupNumber> = self.groups.iter().map(|(number, _)| number).collect();
        for number in numbers {
            self.catch_up(number);
            self.groups.settle(number, &self.settings, None);
        }
        Ok(())
    }
}
