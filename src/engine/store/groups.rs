//! The table of groups.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::bounds::{NAME_MAX_BYTES, NAMES_MAX, PLAIN_WEIGHT};
use crate::invalid::{Invalid, ensure};
use crate::limits::{GroupLimits, GroupRate, Held};
use crate::numbers::GroupNumber;
use crate::rate::{Rate, Spent};
use crate::settings::{Setting, Settings};
use crate::store::name::Name;
use crate::time::Millis;

/// What is used of a group's rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Used {
    pub spent: Spent,
    /// Whether all of it is, until an event says otherwise.
    pub rests: bool,
}

impl Used {
    /// All of a rate is there: one that was set begins anew.
    fn nothing_of(rate: Option<Rate>) -> Used {
        Used { spent: Spent::default(), rests: rate.is_some_and(|rate| rate.claims == 0) }
    }
}

/// One group.
#[derive(Debug, Clone, Default)]
pub(crate) struct Group {
    pub name: Name,
    /// Tasks in any state.
    pub tasks: u64,
    pub ready: u64,
    pub leased: u64,
    /// Delayed tasks that had been claimed: while there are any, an ordered group waits for them.
    pub returning: u64,
    pub limits: Option<Box<GroupLimits>>,
    pub used: Used,
    /// Whether it stands in the rotations of the levels where it has tasks.
    pub runs: bool,
    /// Of the settings that it was visited under last; see [`Groups`].
    epoch: u32,
    /// When the passing of time changes something here.
    wakes_at: Option<Millis>,
}

impl Group {
    fn said(&self) -> GroupLimits {
        self.limits.as_deref().copied().unwrap_or_default()
    }

    pub fn weight(&self) -> u32 {
        self.said().weight.unwrap_or(PLAIN_WEIGHT)
    }

    pub fn is_ordered(&self) -> bool {
        self.said().ordered
    }

    pub fn rate(&self, settings: &Settings) -> Option<Rate> {
        self.said().rate.or(settings.group_rate())
    }

    pub fn concurrency(&self, settings: &Settings) -> Option<u64> {
        let said = self.said();
        let limit = match said.concurrency {
            Some(limit) => u64::try_from(limit).ok(),
            None => settings.limit(Setting::GroupConcurrency),
        };
        if said.ordered { Some(limit.unwrap_or(1).min(1)) } else { limit }
    }

    /// How many of its tasks may be claimed at `at`, this being used of its rate.
    fn allows(&self, used: Used, at: Millis, settings: &Settings) -> u64 {
        if used.rests || (self.is_ordered() && self.returning > 0) {
            return 0;
        }
        let free = self.concurrency(settings).map_or(u64::MAX, |limit| limit.saturating_sub(self.leased));
        let left = self.rate(settings).map_or(u64::MAX, |rate| used.spent.left(at, rate));
        free.min(left)
    }

    /// Why it may not run, and so stands in no rotation, this being used of its rate.
    fn held(&self, used: Used, settings: &Settings) -> Option<Held> {
        match () {
            () if self.is_ordered() && self.returning > 0 => Some(Held::Order),
            () if self.concurrency(settings).is_some_and(|limit| self.leased >= limit) => {
                Some(Held::Concurrency)
            }
            () if used.rests => Some(Held::Rate),
            () => None,
        }
    }

    /// All of its rate is there: a rate that was set begins anew.
    pub fn begin_rate(&mut self, settings: &Settings) {
        self.used = Used::nothing_of(self.rate(settings));
    }

    /// When its rate allows the next claim, if it is used up, this being used of it.
    fn rests_until(&self, used: Used, settings: &Settings) -> Option<Millis> {
        self.rate(settings).filter(|_| used.rests).and_then(|rate| used.spent.next_at(rate))
    }

    /// When the passing of time changes something.
    fn next_wake(&self, settings: &Settings) -> Option<Millis> {
        if self.is_idle() {
            Some(self.used.spent.is_over_at())
        } else {
            self.rests_until(self.used, settings)
        }
    }

    /// Whether nothing is lost when it is forgotten.
    fn is_idle(&self) -> bool {
        self.tasks == 0 && self.limits.is_none()
    }
}

/// A group as it is stored, by its number; nothing for a number that is free.
pub(crate) type StoredGroup = Option<StoredFields>;

/// See [`StoredGroup`].
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredFields {
    name: ByteBuf,
    limits: Option<GroupLimits>,
    spent: Spent,
    rests: bool,
    /// Of a group behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    behind: Option<Behind>,
}

/// What a group that was not visited since the settings changed doesn't follow yet.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Behind {
    /// Whether it stands in the rotations.
    runs: bool,
    /// Whether the rate of all groups has changed since.
    rate: bool,
}

/// Groups: the named lines of one queue that share its workers fairly, and what each may do at a time.
///
/// A group is in the table while it has a task in any state, limits of its own, or something of a rate that is used
/// up. Whether it may run follows from what is counted here. What changes that with time is known by one instant for
/// each group: when its rate allows the next claim, or when an empty group can be forgotten.
///
/// The queue's settings hold for each group that has none of its own, so a new setting may change a million groups. It
/// visits none of them: it counts up `epoch`, and a group whose own is another is *behind*. What a group behind may do
/// is read by the new settings at once; only its place in the rotations, and what was used of an old rate, stay as they
/// were until it is visited. The tick visits them step by step, and a claim the one that it takes from.
///
/// Epochs count up with each change of a limit of all groups, and only their differences mean something.
#[derive(Debug, Clone, Default)]
pub(crate) struct Groups {
    numbers: BTreeMap<Name, GroupNumber>,
    /// By number − 1; a free place has no name.
    places: Vec<Option<Box<Group>>>,
    free: Vec<GroupNumber>,
    wakes: BTreeSet<(Millis, GroupNumber)>,
    name_bytes: usize,
    epoch: u32,
    /// That of the last change of their rate.
    rate_epoch: u32,
    /// How many are behind.
    behind: usize,
    /// From which place on the tick looks for them next: this node's own knowledge.
    next_place: usize,
}

/// Places that one step looks at for groups behind.
const STEP_PLACES: usize = 4096;

impl Groups {
    /// How many groups are known.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// The number of a name, if it is known.
    pub fn find(&self, name: &[u8]) -> Option<GroupNumber> {
        self.numbers.get(name).copied()
    }

    /// The group of a number; `None` for none.
    pub fn get(&self, number: GroupNumber) -> Option<&Group> {
        let place = (number.0 as usize).checked_sub(1)?;
        self.places.get(place)?.as_deref()
    }

    pub fn get_mut(&mut self, number: GroupNumber) -> Option<&mut Group> {
        let place = (number.0 as usize).checked_sub(1)?;
        self.places.get_mut(place)?.as_deref_mut()
    }

    /// The name; empty for none.
    pub fn name(&self, number: GroupNumber) -> &[u8] {
        self.get(number).map_or(&[], |group| &group.name)
    }

    /// The weight of a group that stands in the rotations; `None` for one that doesn't.
    pub fn runs(&self, number: GroupNumber) -> Option<u32> {
        if number.is_none() {
            return Some(PLAIN_WEIGHT);
        }
        self.get(number).filter(|group| group.runs).map(Group::weight)
    }

    /// How many of a group's tasks may be claimed at `at`.
    pub fn allows(&self, number: GroupNumber, at: Millis, settings: &Settings) -> u64 {
        let group = self.get(number);
        group.map_or(u64::MAX, |group| group.allows(self.used(group, settings), at, settings))
    }

    /// Why a group may not run.
    pub fn held(&self, group: &Group, settings: &Settings) -> Option<Held> {
        group.held(self.used(group, settings), settings)
    }

    /// When a group's rate allows the next claim, if it is used up.
    pub fn rests_until(&self, group: &Group, settings: &Settings) -> Option<Millis> {
        group.rests_until(self.used(group, settings), settings)
    }

    /// What is used of a group's rate: nothing of a rate that it wasn't visited under.
    fn used(&self, group: &Group, settings: &Settings) -> Used {
        let is_new = self.has_new_rate(group) && group.said().rate == GroupRate::OfAllGroups;
        if is_new { Used::nothing_of(settings.group_rate()) } else { group.used }
    }

    /// Whether a group was not visited since the settings changed.
    pub fn is_behind(&self, group: &Group) -> bool {
        group.epoch != self.epoch
    }

    /// Whether a group was not visited since the rate of all groups changed.
    fn has_new_rate(&self, group: &Group) -> bool {
        self.is_behind(group)
            && self.epoch.wrapping_sub(group.epoch) > self.epoch.wrapping_sub(self.rate_epoch)
    }

    /// How many were not visited since the settings changed.
    pub fn behind(&self) -> usize {
        self.behind
    }

    /// A limit of all groups is another, their rate perhaps. All are behind: none is visited.
    pub fn begin_epoch(&mut self, has_new_rate: bool) {
        self.epoch = self.epoch.wrapping_add(1);
        if has_new_rate {
            self.rate_epoch = self.epoch;
        }
        (self.behind, self.next_place) = (self.len(), 0);
    }

    /// Visits a group behind: it follows the settings in all but its place in the rotations, which the caller sees to.
    /// False for one that isn't behind.
    pub fn catch_up(&mut self, number: GroupNumber, settings: &Settings) -> bool {
        let behind = self.get(number).filter(|group| self.is_behind(group));
        let Some(used) = behind.map(|group| self.used(group, settings)) else { return false };
        let epoch = self.epoch;
        self.get_mut(number).into_iter().for_each(|group| (group.used, group.epoch) = (used, epoch));
        self.behind -= 1;
        true
    }

    /// Interner of groups behind, at most `limit`: the next ones, of a bounded number that is looked at. And from where to
    /// look on, for [`Groups::look_on_from`].
    pub fn next_behind(&self, limit: usize) -> (Vec<ByteBuf>, usize) {
        let (mut names, mut at) = (Vec::new(), self.next_place);
        for _ in 0..self.places.len().min(STEP_PLACES) {
            if names.len() == limit.min(self.behind) {
                break;
            }
            let group = self.places.get(at).and_then(|place| place.as_deref());
            names
                .extend(group.filter(|group| self.is_behind(group)).map(|group| ByteBuf::from(&*group.name)));
            at = (at + 1) % self.places.len();
        }
        (names, at)
    }

    /// Groups behind are looked for from here on.
    pub fn look_on_from(&mut self, place: usize) {
        self.next_place = place;
    }

    /// The group of a name, made if there is none; no group for an empty name.
    pub fn known(&mut self, name: &[u8], settings: &Settings) -> GroupNumber {
        if name.is_empty() {
            return GroupNumber::NONE;
        }
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            GroupNumber(self.places.len() as u32)
        });
        if let Some(place) = self.places.get_mut(number.0 as usize - 1) {
            let mut group = Group { name: name.into(), epoch: self.epoch, ..Group::default() };
            group.begin_rate(settings);
            group.runs = group.held(group.used, settings).is_none();
            *place = Some(Box::new(group));
        }
        let name = Name::from(name);
        self.name_bytes += 2 * name.memory();
        self.numbers.insert(name, number);
        number
    }

    /// All groups, by name.
    pub fn iter(&self) -> impl Iterator<Item = (GroupNumber, &Group)> {
        self.numbers.values().filter_map(|&number| Some((number, self.get(number)?)))
    }

    /// The groups whose names come after `name`, by name.
    pub fn after<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = (GroupNumber, &'a Group)> {
        let behind = (std::ops::Bound::Excluded(name), std::ops::Bound::Unbounded);
        let numbers = self.numbers.range::<[u8], _>(behind).map(|(_, number)| *number);
        numbers.filter_map(|number| Some((number, self.get(number)?)))
    }

    /// When the passing of time changes something in the first of them. One that is behind has been due for ever.
    pub fn first_wake(&self) -> Option<Millis> {
        if self.behind > 0 { Some(Millis(0)) } else { self.wakes.first().map(|&(at, _)| at) }
    }

    /// The names of those in which the passing of time has changed something by `at`, at most `limit`.
    pub fn awake(&self, at: Millis, limit: usize) -> Vec<ByteBuf> {
        let due = self.wakes.iter().take_while(|(wakes_at, _)| *wakes_at <= at).take(limit);
        due.map(|&(_, number)| ByteBuf::from(self.name(number))).collect()
    }

    /// Something of a group has changed: notes when the passing of time changes more, and forgets a group that has
    /// neither tasks nor limits when all of its rate is there again, which `at` tells if it is known.
    pub fn settle(&mut self, number: GroupNumber, settings: &Settings, at: Option<Millis>) {
        let Some(group) = self.get(number) else { return };
        if group.is_idle() && self.used(group, settings).spent.is_over_at() <= at.unwrap_or_default() {
            return self.forget(number);
        }
        self.note_wake(number, settings);
    }

    /// Notes when the passing of time changes something in a group.
    fn note_wake(&mut self, number: GroupNumber, settings: &Settings) {
        let Some(group) = self.get(number) else { return };
        let wakes_at = group.next_wake(settings);
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
        let place = (number.0 as usize).checked_sub(1).and_then(|place| self.places.get_mut(place));
        let Some(group) = place.and_then(Option::take) else { return };
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

    /// Bytes taken from the allocator, about.
    pub fn memory(&self) -> usize {
        self.places.capacity() * 8
            + self.numbers.len() * (size_of::<Group>() + 40)
            + self.name_bytes
            + self.free.capacity() * 4
            + self.wakes.len() * 24
    }

    /// The table as it is stored, by number.
    pub fn stored(&self) -> impl Iterator<Item = StoredGroup> + '_ {
        self.places.iter().map(|group| group.as_deref().map(|group| self.stored_of(group)))
    }

    /// The groups as they are stored, by name.
    pub fn by_name(&self) -> impl Iterator<Item = StoredFields> + '_ {
        self.iter().map(|(_, group)| self.stored_of(group))
    }

    fn stored_of(&self, group: &Group) -> StoredFields {
        let Used { spent, rests } = group.used;
        let behind = Behind { runs: group.runs, rate: self.has_new_rate(group) };
        StoredFields {
            name: ByteBuf::from(&*group.name),
            limits: group.limits.as_deref().copied(),
            spent,
            rests,
            behind: self.is_behind(group).then_some(behind),
        }
    }

    /// Adds the next number's group, as a file holds it; its tasks are counted when they are loaded.
    pub fn load(&mut self, stored: StoredGroup, settings: &Settings) -> Result<(), Invalid> {
        ensure(self.places.len() < NAMES_MAX as usize, "not too many groups")?;
        let number = GroupNumber(self.places.len() as u32 + 1);
        let Some(StoredFields { name, limits, spent, rests, behind }) = stored else {
            self.places.push(None);
            self.free.push(number);
            return Ok(());
        };
        ensure((1..=NAME_MAX_BYTES).contains(&name.len()), "a group's name")?;
        ensure(limits.is_none_or(|limits| limits.are_valid()), "a group's limits")?;
        ensure(spent.is_over_at() < Millis::MAX, "what is used of a group's rate")?;
        let (name, limits) = (Name::from(name.as_slice()), limits.map(Box::new));
        ensure(!self.numbers.contains_key(&name), "a group's own name")?;
        self.numbers.insert(name.clone(), number);
        self.name_bytes += 2 * name.memory();
        let mut group = Group { name, limits, used: Used { spent, rests }, ..Group::default() };
        // A setting changed before the queue was stored, and its rate with it or one before.
        self.rate_epoch = self.epoch.wrapping_sub(1);
        group.epoch = self.epoch.wrapping_sub(behind.map_or(0, |behind| 1 + u32::from(behind.rate)));
        self.behind += usize::from(behind.is_some());
        group.runs = behind.map_or_else(|| group.held(group.used, settings).is_none(), |behind| behind.runs);
        self.places.push(Some(Box::new(group)));
        // It has no tasks yet: whoever loads them notes it again.
        self.note_wake(number, settings);
        Ok(())
    }

    /// Whether the table says what is true of the tasks: how many each group has, ready, leased and returning.
    pub fn validate(
        &self,
        counts: &BTreeMap<GroupNumber, [u64; 4]>,
        settings: &Settings,
    ) -> Result<(), Invalid> {
        let (mut counted, mut behind) = (0, 0);
        for (number, group) in self.iter() {
            let stored = [group.tasks, group.ready, group.leased, group.returning];
            let [tasks, ..] = stored;
            ensure(
                counts.get(&number).copied().unwrap_or_default() == stored,
                "a group's tasks are counted",
            )?;
            counted += usize::from(tasks > 0);
            let used = self.used(group, settings);
            let is_rate = group.rate(settings).is_some();
            ensure(is_rate || !used.rests, "only a rate makes a group rest")?;
            ensure(used.spent.is_valid(group.rate(settings)), "what is used of a group's rate")?;
            if self.is_behind(group) {
                behind += 1;
                continue;
            }
            ensure(
                group.runs == self.held(group, settings).is_none(),
                "who may run stands in the rotations",
            )?;
            ensure(group.wakes_at == group.next_wake(settings), "when time changes a group is known")?;
        }
        ensure(behind == self.behind, "groups behind are counted")?;
        ensure(counted == counts.len(), "every task's group is known")?;
        let wakes = self.iter().filter_map(|(number, group)| Some((group.wakes_at?, number)));
        ensure(wakes.collect::<BTreeSet<_>>() == self.wakes, "what time changes is indexed")?;
        let free = self.places.iter().filter(|group| group.is_none()).count();
        ensure(free == self.free.len(), "free numbers are known")
    }
}
