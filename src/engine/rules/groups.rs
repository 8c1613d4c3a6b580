//! Limits: how many tasks may be worked on, and how fast, in a queue and in each of its groups.

use crate::event::Event;
use crate::limits::{GroupLimits, Held};
use crate::numbers::GroupNumber;
use crate::request::Refusal;
use crate::rules::due::Seen;
use crate::settings::Setting;
use crate::state::State;
use crate::store::groups::Group;
use crate::time::{Millis, Now};

/// Groups that one event wakes.
const STEP_GROUPS: usize = 128;

impl State {
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

    /// Groups whose rate allows a claim again by now, that can be forgotten, or that are behind.
    pub(crate) fn awake_groups(&self, now: Now, seen: &mut Seen) -> Option<Event<'static>> {
        let mut names = self.groups.awake(now.at, STEP_GROUPS);
        if names.is_empty() {
            let (behind, looked_to) = self.groups.next_behind(STEP_GROUPS);
            (names, seen.groups) = (behind, Some(looked_to));
        }
        (!names.is_empty()).then_some(Event::Rested { names, at: now.at })
    }

    /// A group's weight, if it stands in the rotations.
    pub(crate) fn running(&self, group: GroupNumber) -> Option<u32> {
        self.groups.runs(group)
    }

    /// Whether a task that comes back keeps its place, because its group's order is strict.
    pub(crate) fn keeps_place(&self, group: GroupNumber) -> bool {
        self.groups.get(group).is_some_and(Group::is_ordered)
    }
}
