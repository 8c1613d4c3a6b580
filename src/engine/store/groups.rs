//! The table of groups: their limits, their counters, and when each can run again.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use taskslot_edges::{edge, rare};

use crate::bounds::{NAME_MAX_BYTES, NAMES_MAX, PLAIN_WEIGHT};
use crate::invalid::{Invalid, ensure};
use crate::limits::{GroupLimits, GroupRate, HeldBy};
use crate::numbers::GroupNumber;
use crate::pause::Pause;
use crate::rate::{Rate, Spent};
use crate::settings::{Setting, Settings};
use crate::store::name::Name;
use crate::time::{Millis, earlier};

/// How much of a group's rate limit is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Used {
    pub spent: Spent,
    /// Whether the rate is used up. It stays so until an event says otherwise.
    pub rests: bool,
}

impl Used {
    /// Nothing is used yet, as for a rate that was just set. A rate of 0 claims is always used up.
    fn nothing_of(rate: Option<Rate>) -> Used {
        Used { spent: Spent::default(), rests: rate.is_some_and(|rate| rate.claims == 0) }
    }
}

/// One group of a queue.
#[derive(Debug, Clone, Default)]
pub(crate) struct Group {
    pub name: Name,
    /// Its tasks in any state.
    pub tasks: u64,
    pub ready: u64,
    pub leased: u64,
    /// Delayed tasks that were claimed before. An ordered group waits for them.
    pub returning: u64,
    /// Set by [`Groups::set_limits`], which counts the groups that are stopped.
    pub limits: Option<Box<GroupLimits>>,
    pub used: Used,
    /// Whether it is in the rotations of the levels in which it has tasks.
    pub runs: bool,
    /// Whether it is paused. Until when is in [`Groups::pauses`], so that a group that is not paused pays nothing.
    is_paused: bool,
    /// The epoch of the settings it last caught up with; see [`Groups`].
    epoch: u32,
    /// When time alone will change something in this group.
    wakes_at: Option<Millis>,
}

impl Group {
    /// Whether limits of its own allow no claim at all.
    fn is_stopped(&self) -> bool {
        self.own_limits().stop()
    }

    fn own_limits(&self) -> GroupLimits {
        self.limits.as_deref().copied().unwrap_or_default()
    }

    pub fn weight(&self) -> u32 {
        self.own_limits().weight.unwrap_or(PLAIN_WEIGHT)
    }

    pub fn is_ordered(&self) -> bool {
        self.own_limits().ordered
    }

    pub fn rate(&self, settings: &Settings) -> Option<Rate> {
        self.own_limits().rate.or(settings.group_rate())
    }

    pub fn concurrency(&self, settings: &Settings) -> Option<u64> {
        let own = self.own_limits();
        let limit = match own.concurrency {
            Some(limit) => u64::try_from(limit).ok(),
            None => settings.limit(Setting::GroupConcurrency),
        };
        if own.ordered { Some(limit.unwrap_or(1).min(1)) } else { limit }
    }

    /// How many of its tasks can be claimed at `at`, given the use of its rate.
    fn allows(&self, used: Used, at: Millis, settings: &Settings) -> u64 {
        if self.is_paused || used.rests || (self.is_ordered() && self.returning > 0) {
            return 0;
        }
        let free = self.concurrency(settings).map_or(u64::MAX, |limit| limit.saturating_sub(self.leased));
        let left = self.rate(settings).map_or(u64::MAX, |rate| used.spent.left(at, rate));
        free.min(left)
    }

    /// What keeps the group out of the rotations, given the use of its rate; `None` if it can run.
    fn held_by(&self, used: Used, settings: &Settings) -> Option<HeldBy> {
        match () {
            () if self.is_paused => Some(HeldBy::Pause),
            () if self.is_ordered() && self.returning > 0 => Some(HeldBy::Order),
            () if self.concurrency(settings).is_some_and(|limit| self.leased >= limit) => {
                Some(HeldBy::Concurrency)
            }
            () if used.rests => Some(HeldBy::Rate),
            () => None,
        }
    }

    /// Resets the use of its rate, as for a rate that was just set.
    pub fn begin_rate(&mut self, settings: &Settings) {
        self.used = Used::nothing_of(self.rate(settings));
    }

    /// When its rate allows the next claim, given its use; `None` if it is not used up.
    fn rests_until(&self, used: Used, settings: &Settings) -> Option<Millis> {
        self.rate(settings).filter(|_| used.rests).and_then(|rate| used.spent.next_at(rate))
    }

    /// When its rate alone will change something in this group.
    fn next_wake(&self, settings: &Settings) -> Option<Millis> {
        if self.is_idle() {
            Some(self.used.spent.is_over_at())
        } else {
            self.rests_until(self.used, settings)
        }
    }

    /// Whether the group can be forgotten as soon as its rate has recovered.
    fn is_idle(&self) -> bool {
        self.tasks == 0 && self.limits.is_none() && !self.is_paused
    }
}

/// A group in its stored form, by its number; `None` for a free number.
pub(crate) type StoredGroup = Option<StoredFields>;

/// The fields of a [`StoredGroup`].
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredFields {
    name: ByteBuf,
    limits: Option<GroupLimits>,
    spent: Spent,
    rests: bool,
    /// Set for a group that is behind the settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    behind: Option<Behind>,
    /// Until when it is paused, 0 for "until RESUME"; `None` if it is not. Since version 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paused: Option<Millis>,
}

/// What a group that is behind does not follow yet, because it was not visited since the settings changed.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Behind {
    /// Whether it is in the rotations.
    runs: bool,
    /// Whether the rate for all groups (`group-rate`) has changed since its last visit.
    rate: bool,
}

/// The groups of one queue. They share its workers fairly, and each can have limits of its own.
///
/// A group is in the table while it has a task in any state, limits of its own, a pause, or a rate that has not recovered
/// yet. Whether it can run follows from the counters here. Time changes a group in three ways only: its rate allows the
/// next claim, its pause ends, or an empty group can be forgotten. One instant per group, in `wakes`, says when.
///
/// The queue's settings apply to each group without limits of its own, so a new setting can affect a million groups. It
/// visits none of them: it increments `epoch`, and a group with another epoch is *behind*. What such a group can do is
/// computed from the new settings at once. Only its membership in the rotations and the use of an old rate stay as they
/// were until it is visited. The tick visits groups step by step; a claim visits the group it takes from.
///
/// Epochs wrap around, so only the difference of two epochs has a meaning.
#[derive(Debug, Clone, Default)]
pub(crate) struct Groups {
    numbers: BTreeMap<Name, GroupNumber>,
    /// By number − 1; `None` for a free number.
    by_number: Vec<Option<Box<Group>>>,
    free: Vec<GroupNumber>,
    wakes: BTreeSet<(Millis, GroupNumber)>,
    /// The groups that are paused, and until when; `None` until RESUME.
    pauses: BTreeMap<GroupNumber, Option<Millis>>,
    /// How many groups the limits of their own stop.
    stopped: usize,
    name_bytes: usize,
    epoch: u32,
    /// The epoch of the last change of `group-rate`.
    rate_epoch: u32,
    /// How many groups are behind.
    behind: usize,
    /// Where the tick continues to look for groups behind. Only this node knows it: it is neither stored nor
    /// replicated.
    next_slot: usize,
}

/// How many numbers one step examines for groups behind, to bound its work.
const STEP_SLOTS: usize = edge(4096, 4);

impl Groups {
    /// How many groups are known.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// The number of a name; `None` if it is not known.
    pub fn find(&self, name: &[u8]) -> Option<GroupNumber> {
        self.numbers.get(name).copied()
    }

    /// The group with this number; `None` if the number is free or stands for "no group".
    pub fn get(&self, number: GroupNumber) -> Option<&Group> {
        let slot = (number.0 as usize).checked_sub(1)?;
        self.by_number.get(slot)?.as_deref()
    }

    pub fn get_mut(&mut self, number: GroupNumber) -> Option<&mut Group> {
        let slot = (number.0 as usize).checked_sub(1)?;
        self.by_number.get_mut(slot)?.as_deref_mut()
    }

    /// The group's name; empty for "no group".
    pub fn name(&self, number: GroupNumber) -> &[u8] {
        self.get(number).map_or(&[], |group| &group.name)
    }

    /// The weight of a group that is in the rotations; `None` for one that isn't.
    pub fn runs(&self, number: GroupNumber) -> Option<u32> {
        if number.is_none() {
            return Some(PLAIN_WEIGHT);
        }
        self.get(number).filter(|group| group.runs).map(Group::weight)
    }

    /// How many of a group's tasks can be claimed at `at`. Tasks without a group have no limit here.
    pub fn allows(&self, number: GroupNumber, at: Millis, settings: &Settings) -> u64 {
        let group = self.get(number);
        group.map_or(u64::MAX, |group| group.allows(self.used(group, settings), at, settings))
    }

    /// How many groups are paused.
    pub fn paused(&self) -> usize {
        self.pauses.len()
    }

    /// How many groups have a concurrency or a rate of 0 of their own.
    pub fn stopped(&self) -> usize {
        self.stopped
    }

    /// Sets or removes a group's own limits. The caller then updates its rate and its position in the rotations.
    pub fn set_limits(&mut self, number: GroupNumber, limits: Option<GroupLimits>) {
        let Some(group) = self.get_mut(number) else { return };
        let was_stopped = group.is_stopped();
        group.limits = limits.map(Box::new);
        let is_stopped = group.is_stopped();
        self.stopped = self.stopped + usize::from(is_stopped) - usize::from(was_stopped);
    }

    /// The pause of a group.
    pub fn pause(&self, number: GroupNumber) -> Pause {
        self.pauses.get(&number).map_or(Pause::Open, |&until| Pause::of(until))
    }

    /// Pauses a group, or ends its pause. The caller then updates its position in the rotations, and settles it.
    pub fn set_pause(&mut self, number: GroupNumber, pause: Pause) {
        let Some(group) = self.get_mut(number) else { return };
        group.is_paused = !pause.is_open();
        match pause {
            Pause::Open => self.pauses.remove(&number),
            pause => self.pauses.insert(number, pause.end()),
        };
    }

    /// Which limit keeps a group from running; `None` if it can run.
    pub fn held_by(&self, group: &Group, settings: &Settings) -> Option<HeldBy> {
        group.held_by(self.used(group, settings), settings)
    }

    /// When a group's rate allows the next claim; `None` if it is not used up.
    pub fn rests_until(&self, group: &Group, settings: &Settings) -> Option<Millis> {
        group.rests_until(self.used(group, settings), settings)
    }

    /// How much of a group's rate is used: nothing if `group-rate` changed since its last visit and applies to it.
    fn used(&self, group: &Group, settings: &Settings) -> Used {
        let is_new = self.has_new_rate(group) && group.own_limits().rate == GroupRate::OfAllGroups;
        if is_new { Used::nothing_of(settings.group_rate()) } else { group.used }
    }

    /// Whether the settings changed since the group's last visit.
    pub fn is_behind(&self, group: &Group) -> bool {
        group.epoch != self.epoch
    }

    /// Whether `group-rate` changed since the group's last visit.
    fn has_new_rate(&self, group: &Group) -> bool {
        self.is_behind(group)
            && self.epoch.wrapping_sub(group.epoch) > self.epoch.wrapping_sub(self.rate_epoch)
    }

    /// How many groups are behind.
    pub fn behind(&self) -> usize {
        self.behind
    }

    /// A setting for all groups changed, possibly `group-rate`. All groups are behind now; none is visited here.
    pub fn begin_epoch(&mut self, has_new_rate: bool) {
        self.epoch = self.epoch.wrapping_add(1);
        if has_new_rate {
            self.rate_epoch = self.epoch;
        }
        (self.behind, self.next_slot) = (self.len(), 0);
    }

    /// Visits a group that is behind. Afterwards it follows the settings, except for its position in the rotations,
    /// which the caller updates. Returns false if the group isn't behind.
    pub fn catch_up(&mut self, number: GroupNumber, settings: &Settings) -> bool {
        let behind = self.get(number).filter(|group| self.is_behind(group));
        let Some(used) = behind.map(|group| self.used(group, settings)) else { return false };
        let epoch = self.epoch;
        self.get_mut(number).into_iter().for_each(|group| (group.used, group.epoch) = (used, epoch));
        self.behind -= 1;
        true
    }

    /// The names of the next groups behind, at most `limit`. It examines a bounded number of groups. Also returns
    /// where to continue, for [`Groups::look_on_from`].
    pub fn next_behind(&self, limit: usize) -> (Vec<ByteBuf>, usize) {
        let (mut names, mut at) = (Vec::new(), self.next_slot);
        for _ in 0..self.by_number.len().min(STEP_SLOTS) {
            if names.len() == limit.min(self.behind) {
                break;
            }
            let group = self.by_number.get(at).and_then(|slot| slot.as_deref());
            names
                .extend(group.filter(|group| self.is_behind(group)).map(|group| ByteBuf::from(&*group.name)));
            at = (at + 1) % self.by_number.len();
        }
        if names.is_empty() && self.behind > 0 {
            rare!("a step meets no group behind");
        }
        (names, at)
    }

    /// Continues the search for groups behind at this index.
    pub fn look_on_from(&mut self, slot: usize) {
        self.next_slot = slot;
    }

    /// The number of a name, which is created if it is new. An empty name means no group.
    pub fn known(&mut self, name: &[u8], settings: &Settings) -> GroupNumber {
        if name.is_empty() {
            return GroupNumber::NONE;
        }
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.by_number.push(None);
            GroupNumber(self.by_number.len() as u32)
        });
        if let Some(slot) = self.by_number.get_mut(number.0 as usize - 1) {
            let mut group = Group { name: name.into(), epoch: self.epoch, ..Group::default() };
            group.begin_rate(settings);
            group.runs = group.held_by(group.used, settings).is_none();
            *slot = Some(Box::new(group));
        }
        let name = Name::from(name);
        self.name_bytes += 2 * name.memory();
        self.numbers.insert(name, number);
        number
    }

    /// All groups, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = (GroupNumber, &Group)> {
        self.numbers.values().filter_map(|&number| Some((number, self.get(number)?)))
    }

    /// The groups whose names sort after `name`, ordered by name.
    pub fn after<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = (GroupNumber, &'a Group)> {
        let behind = (std::ops::Bound::Excluded(name), std::ops::Bound::Unbounded);
        let numbers = self.numbers.range::<[u8], _>(behind).map(|(_, number)| *number);
        numbers.filter_map(|number| Some((number, self.get(number)?)))
    }

    /// When time first changes something in a group. While a group is behind, that is at once.
    pub fn first_wake(&self) -> Option<Millis> {
        if self.behind > 0 { Some(Millis(0)) } else { self.wakes.first().map(|&(at, _)| at) }
    }

    /// The names of at most `limit` groups in which time has changed something by `at`.
    pub fn awake(&self, at: Millis, limit: usize) -> Vec<ByteBuf> {
        let due = self.wakes.iter().take_while(|(wakes_at, _)| *wakes_at <= at).take(limit);
        due.map(|&(_, number)| ByteBuf::from(self.name(number))).collect()
    }

    /// Updates the table after a group changed. It notes when time will change the group next, and forgets the group if
    /// it has neither tasks nor limits and its rate has recovered by `at`. Without `at` only an unused rate counts as
    /// recovered.
    pub fn settle(&mut self, number: GroupNumber, settings: &Settings, at: Option<Millis>) {
        let Some(group) = self.get(number) else { return };
        if group.is_idle() && self.used(group, settings).spent.is_over_at() <= at.unwrap_or_default() {
            return self.forget(number);
        }
        self.note_wake(number, settings);
    }

    /// Whether a group is forgotten together with the one task that it has.
    pub fn goes_with_last(&self, number: GroupNumber, settings: &Settings) -> bool {
        self.get(number).is_some_and(|group| {
            let is_unused = self.used(group, settings).spent.is_over_at() == Millis::default();
            group.tasks == 1 && group.limits.is_none() && !group.is_paused && is_unused
        })
    }

    /// When time alone will change something in a group.
    fn wakes_at(&self, number: GroupNumber, group: &Group, settings: &Settings) -> Option<Millis> {
        let by_rate = group.next_wake(settings);
        if group.is_paused { earlier(by_rate, self.pause(number).end()) } else { by_rate }
    }

    /// Notes when time will next change something in a group.
    fn note_wake(&mut self, number: GroupNumber, settings: &Settings) {
        let Some(group) = self.get(number) else { return };
        let wakes_at = self.wakes_at(number, group, settings);
        let Some(group) = self.get_mut(number) else { return };
        let before = std::mem::replace(&mut group.wakes_at, wakes_at);
        if before != wakes_at {
            if let Some(before) = before {
                self.wakes.remove(&(before, number));
            }
            if let Some(wakes_at) = wakes_at {
                self.wakes.insert((wakes_at, number));
            }
        }
    }

    fn forget(&mut self, number: GroupNumber) {
        let slot = (number.0 as usize).checked_sub(1).and_then(|slot| self.by_number.get_mut(slot));
        let Some(group) = slot.and_then(Option::take) else { return };
        debug_assert!(!group.is_paused, "a paused group stays known");
        self.behind -= usize::from(self.is_behind(&group));
        if let Some(wakes_at) = group.wakes_at {
            self.wakes.remove(&(wakes_at, number));
        }
        self.numbers.remove(&group.name);
        self.name_bytes -= 2 * group.name.memory();
        self.free.push(number);
        if self.numbers.is_empty() {
            *self = Groups::default();
        }
    }

    /// Bytes taken from the allocator, approximately.
    pub fn memory(&self) -> usize {
        self.by_number.capacity() * 8
            + self.numbers.len() * (size_of::<Group>() + 40)
            + self.name_bytes
            + self.free.capacity() * 4
            + (self.wakes.len() + self.pauses.len()) * 24
    }

    /// The groups in their stored form, ordered by number.
    pub fn stored(&self) -> impl Iterator<Item = StoredGroup> + '_ {
        let numbered = self.by_number.iter().zip(1..);
        numbered.map(|(group, number)| Some(self.stored_of(GroupNumber(number), group.as_deref()?)))
    }

    /// The groups in their stored form, ordered by name.
    pub fn by_name(&self) -> impl Iterator<Item = StoredFields> + '_ {
        self.iter().map(|(number, group)| self.stored_of(number, group))
    }

    fn stored_of(&self, number: GroupNumber, group: &Group) -> StoredFields {
        let Used { spent, rests } = group.used;
        let behind = Behind { runs: group.runs, rate: self.has_new_rate(group) };
        StoredFields {
            name: ByteBuf::from(&*group.name),
            limits: group.limits.as_deref().copied(),
            spent,
            rests,
            behind: self.is_behind(group).then_some(behind),
            paused: group.is_paused.then(|| self.pause(number).end().unwrap_or_default()),
        }
    }

    /// Adds the group with the next number from its stored form. Its tasks are counted when they are loaded.
    pub fn load(&mut self, stored: StoredGroup, settings: &Settings) -> Result<(), Invalid> {
        ensure(self.by_number.len() < NAMES_MAX as usize, "at most 10,000,000 groups")?;
        let number = GroupNumber(self.by_number.len() as u32 + 1);
        let Some(StoredFields { name, limits, spent, rests, behind, paused }) = stored else {
            self.by_number.push(None);
            self.free.push(number);
            return Ok(());
        };
        ensure((1..=NAME_MAX_BYTES).contains(&name.len()), "a group's name")?;
        ensure(limits.is_none_or(|limits| limits.are_valid()), "a group's limits")?;
        ensure(spent.is_over_at() < Millis::MAX, "a valid use of a group's rate")?;
        ensure(paused.is_none_or(|until| until <= Millis::MAX), "an instant")?;
        let (name, limits) = (Name::from(name.as_slice()), limits.map(Box::new));
        ensure(!self.numbers.contains_key(&name), "a name for one group only")?;
        self.numbers.insert(name.clone(), number);
        self.name_bytes += 2 * name.memory();
        let mut group = Group { name, limits, used: Used { spent, rests }, ..Group::default() };
        self.stopped += usize::from(group.is_stopped());
        if let Some(until) = paused {
            group.is_paused = true;
            self.pauses.insert(number, (until > Millis(0)).then_some(until));
        }
        // The settings changed before the queue was stored: `group-rate` in the last epoch, or another setting after
        // it.
        self.rate_epoch = self.epoch.wrapping_sub(1);
        group.epoch = self.epoch.wrapping_sub(behind.map_or(0, |behind| 1 + u32::from(behind.rate)));
        self.behind += usize::from(behind.is_some());
        group.runs =
            behind.map_or_else(|| group.held_by(group.used, settings).is_none(), |behind| behind.runs);
        self.by_number.push(Some(Box::new(group)));
        // It has no tasks yet. Loading them notes it again.
        self.note_wake(number, settings);
        Ok(())
    }

    /// Whether the table agrees with the tasks. `counts` has each group's tasks in all states, ready, leased and
    /// returning.
    pub fn validate(
        &self,
        counts: &BTreeMap<GroupNumber, [u64; 4]>,
        settings: &Settings,
    ) -> Result<(), Invalid> {
        let (mut counted, mut behind, mut paused, mut stopped) = (0, 0, 0, 0);
        for (number, group) in self.iter() {
            let stored = [group.tasks, group.ready, group.leased, group.returning];
            let [tasks, ..] = stored;
            ensure(
                counts.get(&number).copied().unwrap_or_default() == stored,
                "a correct count of each group's tasks",
            )?;
            counted += usize::from(tasks > 0);
            let used = self.used(group, settings);
            let is_rate = group.rate(settings).is_some();
            ensure(is_rate || !used.rests, "a rate for each group that rests")?;
            ensure(used.spent.is_valid(group.rate(settings)), "a valid use of a group's rate")?;
            ensure(group.is_paused == self.pauses.contains_key(&number), "the end of each group's pause")?;
            paused += usize::from(group.is_paused);
            stopped += usize::from(group.is_stopped());
            if self.is_behind(group) {
                behind += 1;
                continue;
            }
            ensure(
                group.runs == self.held_by(group, settings).is_none(),
                "groups that can run in the rotations",
            )?;
            let wakes_at = self.wakes_at(number, group, settings);
            ensure(group.wakes_at == wakes_at, "the next wake-up of each group")?;
        }
        ensure(paused == self.pauses.len(), "no pause of a group that is not known")?;
        ensure(stopped == self.stopped, "a correct count of groups that are stopped")?;
        ensure(behind == self.behind, "a correct count of groups behind")?;
        ensure(counted == counts.len(), "a group for each task's group number")?;
        let wakes = self.iter().filter_map(|(number, group)| Some((group.wakes_at?, number)));
        ensure(wakes.collect::<BTreeSet<_>>() == self.wakes, "an index of all wake-ups of groups")?;
        let free = self.by_number.iter().filter(|group| group.is_none()).count();
        ensure(free == self.free.len(), "a list of all free numbers of groups")
    }
}
