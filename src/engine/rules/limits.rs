//! Limits: how many tasks may be worked on, and how fast, in a queue and in each of its groups.

use serde_bytes::ByteBuf;

use crate::event::Event;
use crate::mismatch::{Applied, Mismatch, ensure};
use crate::queue::Queue;
use crate::rate::Rate;
use crate::rules::decide::Refusal;
use crate::settings::{Setting, Settings};
use crate::store::entry::Phase;
use crate::store::groups::{Group, GroupLimits, GroupNumber};
use crate::store::lanes::LaneKey;
use crate::store::level::PLAIN_WEIGHT;
use crate::task::{NAME_MAX_BYTES, TaskId};
use crate::time::{Millis, Now};

/// Groups that one event wakes.
const STEP_GROUPS: usize = 128;
/// Of a queue with more groups a change of the settings visits none: the tick does, step by step.
const GROUPS_AT_ONCE: usize = 1000;

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

/// What keeps a group from running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// A task that comes back is to go first.
    Order,
    /// As many are leased as may be.
    Concurrency,
    /// Its rate is used up.
    Rate,
}

impl Held {
    /// The word that users read.
    pub fn name(self) -> &'static str {
        match self {
            Held::Order => "order",
            Held::Concurrency => "concurrency",
            Held::Rate => "rate",
        }
    }
}

impl Queue {
    /// How many tasks may be claimed at `at`, as far as the queue's own limits say.
    pub(crate) fn allowance(&self, at: Millis) -> u64 {
        let limit = self.settings.limit(Setting::Concurrency);
        let free = limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.leased));
        free.min(self.settings.rate().map_or(u64::MAX, |rate| self.spent.left(at, rate)))
    }

    /// Which of the queue's own limits lets nobody claim at `at`; `None` where they let.
    pub fn held_by(&self, at: Millis) -> Option<Held> {
        let is_full = self.settings.limit(Setting::Concurrency).is_some_and(|limit| self.leased >= limit);
        match () {
            () if is_full => Some(Held::Concurrency),
            () if self.allowance(at) == 0 => Some(Held::Rate),
            () => None,
        }
    }

    /// How many tasks of a group may be claimed at `at`.
    pub(crate) fn group_allowance(&self, at: Millis, group: GroupNumber) -> u64 {
        self.groups.allows(group, at, &self.settings)
    }

    /// When the queue's rate allows the next claim, if somebody could claim but for that.
    pub(crate) fn rate_due(&self, now: &Now) -> Option<Millis> {
        let rate = self.settings.rate().filter(|_| self.lanes.ready() > 0)?;
        let is_free = self.settings.limit(Setting::Concurrency).is_none_or(|limit| self.leased < limit);
        self.spent.next_at(rate).filter(|&at| is_free && at > now.at)
    }

    /// Whether a push into this group may make it known.
    pub(crate) fn has_room_for_group(&self, name: &[u8]) -> bool {
        let max = self.settings.limit(Setting::GroupsMax).unwrap_or(u64::MAX);
        name.is_empty() || (self.groups.len() as u64) < max || self.groups.find(name).is_some()
    }

    /// What was said of a group; nothing for one that isn't known.
    pub fn group_limits(&self, name: &[u8]) -> GroupLimits {
        let group = self.groups.find(name).and_then(|number| self.groups.get(number));
        group.and_then(|group| group.limits.as_deref().copied()).unwrap_or_default()
    }

    /// Says what holds for a group. Errors: `FullGroups`.
    pub fn set_group<'a>(&self, name: &'a [u8], limits: GroupLimits) -> Result<Event<'a>, Refusal> {
        match self.has_room_for_group(name) {
            true => Ok(Event::Grouped { name, limits: Some(limits) }),
            false => Err(Refusal::FullGroups),
        }
    }

    /// Forgets what was said of a group; `None` where nothing was.
    pub fn forget_group<'a>(&self, name: &'a [u8]) -> Option<Event<'a>> {
        let group = self.groups.get(self.groups.find(name)?)?;
        group.limits.is_some().then_some(Event::Grouped { name, limits: None })
    }

    /// How many groups don't follow the queue's settings yet in their place in the rotations: the tick sees to them. What
    /// they may do follows at once.
    pub fn groups_behind(&self) -> usize {
        self.groups.behind()
    }

    /// Groups whose rate allows a claim again by now, that can be forgotten, or that are behind.
    pub(crate) fn awake_groups(&mut self, now: Now) -> Option<Event<'static>> {
        let mut names = self.groups.awake(now.at, STEP_GROUPS);
        if names.is_empty() {
            names = self.groups.next_behind(STEP_GROUPS);
        }
        (!names.is_empty()).then_some(Event::Rested { names, at: now.at })
    }

    /// The name of a task's group; empty for none, and where there is no such task.
    pub fn group_of(&self, id: TaskId) -> &[u8] {
        self.find(id).map_or(&[], |found| self.groups.name(found.record.group))
    }

    /// The groups that have ready tasks and may run, level by level, in turn.
    pub fn groups_in_turn(&self) -> impl Iterator<Item = &[u8]> {
        let turns = self.lanes.turns().filter(|(key, _)| !key.group.is_none());
        turns.map(|(key, _)| self.groups.name(key.group))
    }

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

    /// A group's weight, if it stands in the rotations.
    pub(crate) fn running(&self, group: GroupNumber) -> Option<u32> {
        self.groups.runs(group)
    }

    /// Changes what is counted of a group, and its place in the rotations with it; not that of a group behind.
    fn change_group(&mut self, number: GroupNumber, change: impl FnOnce(&mut Group)) {
        let Some(group) = self.groups.get_mut(number) else { return };
        change(group);
        let Some(group) = self.groups.get(number).filter(|group| !self.groups.is_behind(group)) else {
            return;
        };
        let runs = self.groups.held(group, &self.settings).is_none();
        if runs != group.runs {
            // Who may run stays where it stands; who comes in stands at the end.
            self.lanes.set_running(number, runs.then(|| group.weight()));
            self.groups.get_mut(number).into_iter().for_each(|group| group.runs = runs);
        }
    }

    /// Visits a group, which follows the queue's settings from now on, if it is behind.
    fn catch_up(&mut self, number: GroupNumber) {
        if self.groups.catch_up(number, &self.settings) {
            self.change_group(number, |_| {});
        }
    }

    /// A task of a group came into a phase, or left it.
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

    /// A group has one task more or less.
    pub(crate) fn count_task_in_group(&mut self, number: GroupNumber, by: i64) {
        if let Some(group) = self.groups.get_mut(number) {
            group.tasks = group.tasks.saturating_add_signed(by);
            self.groups.settle(number, &self.settings, None);
        }
    }

    /// A task was claimed at `at`: it costs one of the queue's rate, of its group's, and of the group's turn.
    pub(crate) fn spend(&mut self, key: LaneKey, at: Millis) {
        if let Some(rate) = self.settings.rate() {
            self.spent.spend(at, rate);
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

    /// Whether a task that comes back keeps its place, because its group's order is strict.
    pub(crate) fn keeps_place(&self, group: GroupNumber) -> bool {
        self.groups.get(group).is_some_and(Group::is_ordered)
    }

    pub(crate) fn apply_grouped(&mut self, name: &[u8], limits: Option<GroupLimits>) -> Applied {
        ensure((1..=NAME_MAX_BYTES).contains(&name.len()), "a group's name")?;
        ensure(limits.is_none_or(|limits| limits.are_valid()), "a group's limits")?;
        let number = self.groups.known(name, &self.settings);
        self.catch_up(number);
        let settings = self.settings.clone();
        let before = self.groups.get(number).map_or(PLAIN_WEIGHT, Group::weight);
        let weight = limits.and_then(|limits| limits.weight).unwrap_or(PLAIN_WEIGHT);
        // First, so that one which may run from now on begins with its new weight.
        self.lanes.reweigh(number, before, weight);
        self.change_group(number, |group| {
            let before = group.rate(&settings);
            group.limits = limits.map(Box::new);
            if group.rate(&settings) != before {
                group.begin_rate(&settings);
            }
        });
        self.groups.settle(number, &self.settings, None);
        Ok(())
    }

    pub(crate) fn apply_rested(&mut self, names: &[ByteBuf], at: Millis) -> Applied {
        ensure(at <= Millis::MAX, "an instant")?;
        for name in names {
            let number = self.groups.find(name).ok_or(Mismatch("a group that rests"))?;
            self.catch_up(number);
            let rate = self.groups.get(number).and_then(|group| group.rate(&self.settings));
            self.change_group(number, |group| {
                let used = &mut group.used;
                used.rests = used.rests && rate.is_some_and(|rate| used.spent.left(at, rate) == 0);
            });
            self.groups.settle(number, &self.settings, Some(at));
        }
        Ok(())
    }

    /// Gives the queue other settings by `set`, and to every group what follows from it: at once, or of many groups by and
    /// by, so that the server isn't held.
    pub(crate) fn apply_settings(&mut self, set: impl FnOnce(&mut Queue) -> Applied) -> Applied {
        let before = self.settings.clone();
        set(self)?;
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
