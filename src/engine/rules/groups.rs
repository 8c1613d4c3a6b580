//! Limits: how many tasks can be leased at a time and how fast they can be claimed, per queue and per group.

use taskslot_edges::{edge, rare};

use crate::event::Event;
use crate::limits::{GroupLimits, HeldBy};
use crate::numbers::GroupNumber;
use crate::request::Refusal;
use crate::rules::due::Seen;
use crate::settings::Setting;
use crate::state::State;
use crate::store::groups::Group;
use crate::time::{Millis, Now};

/// How many groups one event wakes.
pub const STEP_GROUPS: usize = edge(128, 2);

impl State {
    /// How many tasks can be claimed at `at` under the queue's own limits.
    pub(crate) fn allowance(&self, at: Millis) -> u64 {
        let limit = self.settings.limit(Setting::Concurrency);
        let free = limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.leased));
        free.min(self.settings.rate().map_or(u64::MAX, |rate| self.spent.left(at, rate)))
    }

    /// What prevents claims at `at`: one of the queue's own limits, or the groups of all ready tasks; `None` if nothing
    /// does.
    pub fn held_by(&self, at: Millis) -> Option<HeldBy> {
        let is_full = self.settings.limit(Setting::Concurrency).is_some_and(|limit| self.leased >= limit);
        match () {
            () if is_full => Some(HeldBy::Concurrency),
            () if self.allowance(at) == 0 => Some(HeldBy::Rate),
            () if self.lanes.are_held() => Some(HeldBy::Groups),
            () => None,
        }
    }

    /// How many tasks of a group can be claimed at `at` under its limits.
    pub(crate) fn group_allowance(&self, at: Millis, group: GroupNumber) -> u64 {
        self.groups.allows(group, at, &self.settings)
    }

    /// When the queue's rate allows the next claim; `None` if it does now, or if something else prevents claims anyway.
    pub(crate) fn rate_due(&self, now: &Now) -> Option<Millis> {
        let rate = self.settings.rate().filter(|_| self.lanes.ready() > 0)?;
        let is_free = self.settings.limit(Setting::Concurrency).is_none_or(|limit| self.leased < limit);
        self.spent.next_at(rate).filter(|&at| is_free && at > now.at)
    }

    /// Whether a push into this group is allowed: the group is known, or one more fits below `groups-max`. Of the known
    /// groups, `left` are forgotten in the same effect.
    pub(crate) fn has_room_for_group(&self, name: &[u8], left: u64) -> bool {
        let max = self.settings.limit(Setting::GroupsMax).unwrap_or(u64::MAX);
        let known = (self.groups.len() as u64).saturating_sub(left);
        name.is_empty() || known < max || self.groups.find(name).is_some()
    }

    /// The limits set for a group; the default if none were set.
    pub fn group_limits(&self, name: &[u8]) -> GroupLimits {
        let group = self.groups.find(name).and_then(|number| self.groups.get(number));
        group.and_then(|group| group.limits.as_deref().copied()).unwrap_or_default()
    }

    /// Sets the limits of a group. Errors: `FullGroups`.
    pub fn set_group<'a>(&self, name: &'a [u8], limits: GroupLimits) -> Result<Event<'a>, Refusal> {
        match self.has_room_for_group(name, 0) {
            true => Ok(Event::Grouped { name, limits: Some(limits) }),
            false => Err(Refusal::FullGroups),
        }
    }

    /// Removes the limits of a group; `None` if it has none.
    pub fn forget_group<'a>(&self, name: &'a [u8]) -> Option<Event<'a>> {
        let group = self.groups.get(self.groups.find(name)?)?;
        group.limits.is_some().then_some(Event::Grouped { name, limits: None })
    }

    /// Pauses a group, until an instant or until it is resumed. A later pause replaces an earlier one. Errors:
    /// `FullGroups`.
    pub fn pause_group<'a>(&self, name: &'a [u8], until: Option<Millis>) -> Result<Event<'a>, Refusal> {
        match self.has_room_for_group(name, 0) {
            true => Ok(Event::GroupPaused { name, until }),
            false => Err(Refusal::FullGroups),
        }
    }

    /// Ends the pause of a group; `None` if it is not paused.
    pub fn resume_group<'a>(&self, name: &'a [u8]) -> Option<Event<'a>> {
        let is_open = self.groups.pause(self.groups.find(name)?).is_open();
        (!is_open).then_some(Event::GroupResumed { name })
    }

    /// Groups that time has changed: their rate allows claims again, their pause has ended, they can be forgotten, or
    /// they are behind the settings.
    pub(crate) fn awake_groups(&self, now: Now, seen: &mut Seen) -> Option<Event<'static>> {
        let mut names = self.groups.awake(now.at, STEP_GROUPS);
        if names.len() == STEP_GROUPS {
            rare!("as many groups wake as one step visits");
        }
        if names.is_empty() {
            let (behind, looked_until) = self.groups.next_behind(STEP_GROUPS);
            (names, seen.groups) = (behind, Some(looked_until));
        }
        (!names.is_empty()).then_some(Event::Rested { names, at: now.at })
    }

    /// A group's weight if it is in the rotations; `None` if it can't run.
    pub(crate) fn running(&self, group: GroupNumber) -> Option<u32> {
        self.groups.runs(group)
    }

    /// Whether a task that comes back keeps its position in this group, because the group is ordered.
    pub(crate) fn keeps_position(&self, group: GroupNumber) -> bool {
        self.groups.get(group).is_some_and(Group::is_ordered)
    }
}
