//! Setting, removing, running and planning schedules.

use crate::bounds::NUMBER_MAX;
use crate::invalid::{Invalid, ensure};
use crate::schedule::ScheduleSpec;
use crate::state::State;
use crate::store::schedules::{SCHEDULES_MAX, Schedule, StoredSchedule};
use crate::task::TaskId;
use crate::time::{Due, Millis};

impl State {
    pub(crate) fn apply_scheduled(
        &mut self,
        name: &[u8],
        plan: &ScheduleSpec<'_>,
        next: Due,
        seen: Millis,
    ) -> Result<(), Invalid> {
        let old = self.schedules.get(name);
        let runs = old.map(|old| old.runs).unwrap_or_default();
        let zones = self.schedules.zones();
        ensure(old.is_some() || self.schedules.len() < SCHEDULES_MAX, "at most 1000 schedules")?;
        ensure(StoredSchedule { name, plan: *plan, next, seen, runs }.is_valid(), "a schedule's bounds")?;
        self.schedules.change(|by_name| {
            by_name.insert(name.into(), Schedule::new(plan, next, seen, runs, zones));
        });
        Ok(())
    }

    pub(crate) fn apply_unscheduled(&mut self, name: &[u8]) -> Result<(), Invalid> {
        let mut is_known = false;
        self.schedules.change(|by_name| is_known = by_name.remove(name).is_some());
        ensure(is_known, "a schedule")
    }

    pub(crate) fn apply_fired(
        &mut self,
        name: &[u8],
        id: TaskId,
        next: Due,
        at: Millis,
    ) -> Result<(), Invalid> {
        let packed = self.schedules.get(name).map(|schedule| schedule.plan.clone());
        let packed = packed.ok_or(Invalid("a schedule"))?;
        let plan: ScheduleSpec =
            rmp_serde::from_slice(&packed).map_err(|_| Invalid("a spec that can be read"))?;
        self.schedules.can_update(name, next, at)?;
        self.apply_pushed(id, None, &plan.options_at(Millis(id.ms)), &[plan.payload])?;
        self.schedules.update(name, next, at, |runs| {
            runs.made = count(runs.made);
            runs.last = Some((id, at));
        })
    }

    pub(crate) fn apply_ran(&mut self, name: &[u8], id: TaskId, at: Millis) -> Result<(), Invalid> {
        ensure(at <= Millis::MAX, "an instant")?;
        let schedule = self.schedules.get(name).ok_or(Invalid("a schedule"))?;
        let (next, seen) = (schedule.next, schedule.seen);
        self.apply_fired(name, id, next, seen)?;
        self.schedules.update(name, next, seen, |runs| runs.last = Some((id, at)))
    }

    pub(crate) fn apply_skipped(
        &mut self,
        name: &[u8],
        next: Due,
        at: Millis,
        missed: bool,
    ) -> Result<(), Invalid> {
        self.schedules.update(name, next, at, |runs| match missed {
            true => runs.missed = count(runs.missed),
            false => runs.skipped = count(runs.skipped),
        })
    }

    pub(crate) fn apply_replanned(&mut self, name: &[u8], next: Due, at: Millis) -> Result<(), Invalid> {
        self.schedules.update(name, next, at, |_| ())
    }
}

/// One more, up to the largest counter that can be stored.
fn count(total: u64) -> u64 {
    (total + 1).min(NUMBER_MAX.unsigned_abs())
}
