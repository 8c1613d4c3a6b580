//! Schedules: setting one, and what a schedule does when it is due.

use crate::calendar::BadRule;
use crate::event::Event;
use crate::pack::encode_named;
use crate::request::{Push, Refusal};
use crate::schedule::{Catchup, Recurrence, ScheduleError, ScheduleSpec};
use crate::state::State;
use crate::store::schedules::{SCHEDULE_BYTES, SCHEDULES_MAX, Schedule, next_or_never};
use crate::time::Now;

impl State {
    /// Sets a schedule, new or instead of the one with this name. If the trigger is the same, the next run stays;
    /// otherwise it is planned again. The counters stay in both cases. Errors: `Bad`, `TooMany`.
    pub fn schedule<'a>(
        &self,
        now: Now,
        name: &'a [u8],
        plan: ScheduleSpec<'a>,
    ) -> Result<Event<'a>, ScheduleError> {
        let rule = Recurrence::read(plan.timing, self.schedules.zones()).map_err(ScheduleError::Bad)?;
        let old = self.schedules.get(name);
        if old.is_none() && self.schedules.len() >= SCHEDULES_MAX {
            return Err(ScheduleError::TooMany);
        }
        let is_same = |old: &&Schedule| old.plan().is_some_and(|old| old.timing == plan.timing);
        let (next, seen) = match old.filter(is_same) {
            Some(old) => (old.next, old.seen),
            None => (rule.next(&now, None).ok_or(ScheduleError::Bad(BadRule::Never))?, now.wall),
        };
        Ok(Event::Scheduled { name, plan: Box::new(plan), next, seen })
    }

    /// How many bytes a schedule takes, minus those of the one it replaces.
    pub(crate) fn schedule_growth(&self, name: &[u8], plan: &ScheduleSpec<'_>) -> i64 {
        let size = |plan: usize| i64::try_from(name.len() + plan + SCHEDULE_BYTES).unwrap_or(i64::MAX);
        let before = self.schedules.get(name).map_or(0, |old| size(old.plan.len()));
        size(encode_named(plan).len()) - before
    }

    /// Removes a schedule; `None` if there is none of this name. Tasks that it pushed stay.
    pub fn unschedule<'a>(&self, name: &'a [u8]) -> Option<Event<'a>> {
        self.schedules.get(name).is_some().then_some(Event::Unscheduled { name })
    }

    /// Whether there is a schedule of this name.
    pub fn has_schedule(&self, name: &[u8]) -> bool {
        self.schedules.get(name).is_some()
    }

    /// A run of a schedule that is made now, besides those that are planned; `None` if there is no schedule of this name.
    /// Errors: those of a push.
    pub fn run_schedule<'a>(&self, now: Now, name: &'a [u8]) -> Option<Result<Event<'a>, Refusal>> {
        let plan = self.schedules.get(name)?.plan()?;
        let push = Push { due: None, options: plan.options_at(now.at), payloads: &[plan.payload] };
        Some(match self.push(now, &push) {
            Ok(Event::Pushed { first, .. }) => Ok(Event::Ran { name, id: first, at: now.wall }),
            // A schedule has no REPLACE, so its push becomes no other event.
            Ok(_) => Err(Refusal::Gone),
            Err(refusal) => Err(refusal),
        })
    }

    /// How many bytes the task of a run takes.
    pub(crate) fn run_growth(&self, name: &[u8]) -> i64 {
        let plan = self.schedules.get(name).map_or(0, |schedule| schedule.plan.len());
        i64::try_from(plan).unwrap_or(i64::MAX)
    }

    /// What the first due schedule does; `None` if none is due.
    pub(crate) fn due_schedule(&self, now: Now) -> Option<Event<'static>> {
        if self.schedules.next_due(&now).is_none_or(|due| due > now.at) {
            return None;
        }
        let all = || self.schedules.iter();
        if self.schedules.is_astray(&now)
            && let Some((name, (next, at))) =
                all().find_map(|(name, schedule)| Some((name, schedule.replanned(&now)?)))
        {
            return Some(Event::Replanned { name: name.into(), next, at });
        }
        let due = all().filter(|(_, schedule)| schedule.is_due(&now));
        let (name, schedule) = due.min_by_key(|(_, schedule)| schedule.next.on_clock(&now))?;
        let plan = schedule.plan()?;
        let (name, at): (Box<[u8]>, _) = (name.into(), now.wall);
        let next = next_or_never(schedule.rule.next(&now, Some(schedule.next)), schedule.next);
        if schedule.catchup == Catchup::None && schedule.is_missed(&now) {
            return Some(Event::Skipped { name, next, at, missed: true });
        }
        let push = Push { due: None, options: plan.options_at(now.at), payloads: &[plan.payload] };
        Some(match self.push(now, &push) {
            Ok(Event::Pushed { first, .. }) if !now.is_full => Event::Fired { name, id: first, next, at },
            _ => Event::Skipped { name, next, at, missed: false },
        })
    }
}
