//! The table of schedules, and when each runs next.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::discriminant;

use serde::{Deserialize, Serialize};

use crate::bounds::{NAME_MAX_BYTES, NUMBER_MAX};
use crate::invalid::{Invalid, ensure};
use crate::pack::encode_named;
use crate::schedule::{Catchup, Recurrence, ScheduleSpec, Trigger};
use crate::task::TaskId;
use crate::time::{Due, Millis, Now, earlier};
use crate::zones::Zones;

/// The most schedules of a queue. A change of one scans all of them.
pub const SCHEDULES_MAX: usize = 1000;
/// The memory that a schedule takes besides its name and its spec, approximately.
pub(crate) const SCHEDULE_BYTES: usize = 300;
/// A run later than this is missed. With CATCHUP none it is not made.
const MISSED_MS: u64 = 10_000;
/// If the queue's clock is behind the clock that planned an interval by more than this, it is another node's clock, and
/// the interval starts again. With less, the planned instant is near enough to wait for.
const ASTRAY_MS: u64 = 60_000;
/// If the wall clock was set back by more than this, its instants are repeated. Cron daemons use the same limit.
const CORRECTED_MS: u64 = 3 * 3_600_000;

/// Counters of one schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleTotals {
    /// Runs that pushed a task.
    pub made: u64,
    /// Runs that could not push a task: queue full, paused IN, or server out of memory.
    pub skipped: u64,
    /// How often runs were missed and not made up for. One outage counts once.
    pub missed: u64,
    /// The last task that was pushed, and the wall clock at that time.
    pub last: Option<(TaskId, Millis)>,
}

/// One schedule in memory.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    /// The encoded [`ScheduleSpec`]: MessagePack with field names, so that future options are preserved.
    pub plan: Box<[u8]>,
    pub rule: Recurrence,
    pub catchup: Catchup,
    pub next: Due,
    /// The wall clock when `next` was decided.
    pub seen: Millis,
    /// Whether `next` was decided by other time zone rules than this node has.
    is_outdated: bool,
    pub runs: ScheduleTotals,
}

/// One schedule in its stored form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredSchedule<'a> {
    #[serde(borrow, with = "serde_bytes")]
    pub name: &'a [u8],
    #[serde(borrow)]
    pub plan: ScheduleSpec<'a>,
    pub next: Due,
    pub seen: Millis,
    pub runs: ScheduleTotals,
}

impl Schedule {
    pub fn new(
        plan: &ScheduleSpec<'_>,
        next: Due,
        seen: Millis,
        runs: ScheduleTotals,
        zones: Zones,
    ) -> Schedule {
        let mut schedule = Schedule {
            plan: encode_named(plan).into(),
            rule: Recurrence::read(plan.timing, zones).unwrap_or(Recurrence::Unknown),
            catchup: plan.catchup,
            next,
            seen,
            is_outdated: false,
            runs,
        };
        schedule.compare();
        schedule
    }

    /// Compares `next` with what this node's time zone rules give.
    fn compare(&mut self) {
        self.is_outdated = self.next_by_rule().is_some_and(|next| next != self.next);
    }

    /// What this node's rules give for the instant after `seen`; `None` for intervals and unknown zones.
    fn next_by_rule(&self) -> Option<Due> {
        match &self.rule {
            Recurrence::Cron(calendar) => {
                Some(next_or_never(calendar.next_after(self.seen).map(Due::Wall), self.next))
            }
            Recurrence::Every(_) | Recurrence::Unknown => None,
        }
    }

    pub fn plan(&self) -> Option<ScheduleSpec<'_>> {
        rmp_serde::from_slice(&self.plan).ok()
    }

    /// Whether this build knows when it runs, and there is a next run.
    fn runs_again(&self) -> bool {
        self.rule != Recurrence::Unknown && self.next.instant() < Millis::MAX
    }

    pub fn is_due(&self, now: &Now) -> bool {
        self.runs_again() && self.next.on_clock(now) <= now.at
    }

    /// Whether `next` was decided by a clock that was far ahead.
    fn is_astray(&self, now: &Now) -> bool {
        match (&self.rule, self.next) {
            (Recurrence::Every(ms), Due::Clock(next)) => next.since(now.at.plus(*ms)) > ASTRAY_MS,
            (Recurrence::Cron(_), _) => self.seen.since(now.wall) > CORRECTED_MS,
            _ => false,
        }
    }

    /// The new plan of a schedule that is astray or outdated: the next run, and when it counts as decided. New time
    /// zone rules apply from when the old ones were consulted, so a run that should have happened since is due.
    pub fn replanned(&self, now: &Now) -> Option<(Due, Millis)> {
        if self.is_astray(now) {
            return Some((next_or_never(self.rule.next(now, None), self.next), now.wall));
        }
        self.next_by_rule().filter(|_| self.is_outdated).map(|next| (next, self.seen))
    }

    /// Whether a run made now would be too late to count as the planned one.
    pub fn is_missed(&self, now: &Now) -> bool {
        let late_ms = now.at.since(self.next.on_clock(now));
        let is_next_due = match &self.rule {
            Recurrence::Every(ms) => late_ms >= *ms,
            Recurrence::Cron(calendar) => {
                calendar.next_after(self.next.instant()).is_some_and(|next| next <= now.wall)
            }
            Recurrence::Unknown => false,
        };
        late_ms > MISSED_MS || is_next_due
    }
}

/// The schedules of a queue, by name. A schedule pushes a task at intervals (EVERY) or at calendar instants (CRON).
///
/// A schedule stores its next instant. When it has come, the primary decides one event that both pushes the task and
/// sets the next instant, so a replica that takes over never has one without the other. The next instant is always in
/// the future: after an outage there is one run (CATCHUP one) or none, however many instants have passed. A run that
/// can't push its task (queue full or paused IN, server out of memory) is skipped and counted.
///
/// EVERY runs on the queue's clock from instant to instant, so it never drifts. CRON follows the wall clock.
///
/// A clock that was far ahead has planned runs far in the future. Without a correction, the schedule would not run
/// again until that time is reached. Such schedules are planned again ([`Schedules::is_astray`]). The same happens when
/// this node has other rules for a time zone than the node that planned the run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Schedules {
    by_name: BTreeMap<Box<[u8]>, Schedule>,
    /// What is known of all schedules together, because every write asks for it.
    bounds: Bounds,
    /// Where this node finds time zones.
    zones: Zones,
}

/// Bounds over all schedules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Bounds {
    /// The first instant on each clock.
    clock: Option<Millis>,
    wall: Option<Millis>,
    /// The latest time, by each clock, at which a run was planned.
    clock_seen: Millis,
    wall_seen: Millis,
    /// Whether a run was planned by other time zone rules than this node has.
    is_outdated: bool,
    /// Bytes taken from the allocator, approximately.
    bytes: usize,
}

impl Bounds {
    fn of(schedules: &BTreeMap<Box<[u8]>, Schedule>) -> Bounds {
        let mut bounds = Bounds::default();
        for (name, schedule) in schedules {
            bounds.bytes += name.len() + schedule.plan.len() + SCHEDULE_BYTES;
            bounds.is_outdated |= schedule.is_outdated;
            let (first, seen, when) = match (&schedule.rule, schedule.next) {
                (Recurrence::Unknown, _) => continue,
                (Recurrence::Every(ms), next) => {
                    let seen = Millis(next.instant().0.saturating_sub(*ms));
                    (&mut bounds.clock, &mut bounds.clock_seen, seen)
                }
                (Recurrence::Cron(_), _) => (&mut bounds.wall, &mut bounds.wall_seen, schedule.seen),
            };
            let next = schedule.next.instant();
            if schedule.runs_again() {
                *first = Some(first.map_or(next, |first| first.min(next)));
            }
            *seen = when.max(*seen);
        }
        bounds
    }
}

impl Schedules {
    /// An empty table that finds time zones in `zones`.
    pub fn of(zones: Zones) -> Schedules {
        Schedules { zones, ..Schedules::default() }
    }

    pub fn zones(&self) -> Zones {
        self.zones
    }

    pub fn memory(&self) -> usize {
        self.bounds.bytes
    }

    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn get(&self, name: &[u8]) -> Option<&Schedule> {
        self.by_name.get(name)
    }

    /// All schedules, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Schedule)> {
        self.by_name.iter().map(|(name, schedule)| (&**name, schedule))
    }

    pub fn use_zones(&mut self, zones: Zones) {
        self.zones = zones;
    }

    /// When there is something to do next, on the queue's clock.
    pub fn next_due(&self, now: &Now) -> Option<Millis> {
        let wall = self.bounds.wall.map(|at| now.wall_on_clock(at));
        if self.is_astray(now) { Some(now.at) } else { earlier(self.bounds.clock, wall) }
    }

    /// Whether something may need a new plan: a clock is behind the time at which a run was planned (it was set back,
    /// or it is another node's clock), or time zone rules differ.
    pub fn is_astray(&self, now: &Now) -> bool {
        self.bounds.is_outdated
            || self.bounds.clock_seen.since(now.at) > ASTRAY_MS
            || self.bounds.wall_seen.since(now.wall) > CORRECTED_MS
    }

    /// Changes the table and updates the bounds. O(schedules).
    pub fn change(&mut self, change: impl FnOnce(&mut BTreeMap<Box<[u8]>, Schedule>)) {
        change(&mut self.by_name);
        self.bounds = Bounds::of(&self.by_name);
    }

    /// Whether the next run of a schedule can be set. Errors: as [`Schedules::update`].
    pub fn can_update(&self, name: &[u8], next: Due, seen: Millis) -> Result<(), Invalid> {
        ensure(next.instant() <= Millis::MAX && seen <= Millis::MAX, "an instant")?;
        let old = self.by_name.get(name).ok_or(Invalid("a schedule"))?;
        ensure(discriminant(&old.next) == discriminant(&next), "an instant on the schedule's clock")
    }

    /// Sets the next run of a schedule. Errors: there is no such schedule, or `next` is out of bounds or on another
    /// clock.
    pub fn update(
        &mut self,
        name: &[u8],
        next: Due,
        seen: Millis,
        count: impl FnOnce(&mut ScheduleTotals),
    ) -> Result<(), Invalid> {
        self.can_update(name, next, seen)?;
        self.change(|by_name| {
            if let Some(schedule) = by_name.get_mut(name) {
                (schedule.next, schedule.seen) = (next, seen);
                schedule.compare();
                count(&mut schedule.runs);
            }
        });
        Ok(())
    }

    pub fn stored(&self) -> impl Iterator<Item = StoredSchedule<'_>> {
        self.by_name.iter().filter_map(|(name, schedule)| {
            let &Schedule { next, seen, runs, .. } = schedule;
            Some(StoredSchedule { name, plan: schedule.plan()?, next, seen, runs })
        })
    }

    /// Adds schedules from their stored form. Errors: too many, one is out of bounds, or a name occurs twice.
    pub fn load(&mut self, stored: Vec<StoredSchedule<'_>>) -> Result<(), Invalid> {
        let (count, zones) = (self.len() + stored.len(), self.zones);
        ensure(count <= SCHEDULES_MAX && stored.iter().all(StoredSchedule::is_valid), "a schedule's bounds")?;
        let known = self.by_name.keys().map(|name| &**name);
        let names: BTreeSet<&[u8]> = known.chain(stored.iter().map(|stored| stored.name)).collect();
        ensure(names.len() == count, "each schedule once")?;
        self.change(|by_name| {
            by_name.extend(stored.into_iter().map(|StoredSchedule { name, plan, next, seen, runs }| {
                (name.into(), Schedule::new(&plan, next, seen, runs, zones))
            }));
        });
        Ok(())
    }

    pub fn validate(&self) -> Result<(), Invalid> {
        ensure(self.len() <= SCHEDULES_MAX, "at most 1000 schedules")?;
        ensure(self.stored().count() == self.len(), "specs that can be read")?;
        ensure(self.stored().all(|stored| stored.is_valid()), "a schedule's bounds")?;
        ensure(self.bounds == Bounds::of(&self.by_name), "correct bounds over all schedules")
    }
}

impl StoredSchedule<'_> {
    /// Bytes of the stored form, approximately.
    pub fn size(&self) -> usize {
        self.name.len() + self.plan.payload.len() + self.plan.options.headers.len() + 1024
    }

    /// Whether all fields are within bounds. For what a file or a peer sent.
    pub fn is_valid(&self) -> bool {
        let ScheduleTotals { made, skipped, missed, last } = self.runs;
        let is_of_its_clock = match self.plan.timing {
            Trigger::Every(_) => matches!(self.next, Due::Clock(_)),
            Trigger::Cron(..) => matches!(self.next, Due::Wall(_)),
        };
        let instants = [self.next.instant(), self.seen, last.map_or(Millis(0), |(_, at)| at)];
        (1..=NAME_MAX_BYTES).contains(&self.name.len())
            && self.plan.are_sizes_valid()
            && is_of_its_clock
            && instants.into_iter().all(|at| at <= Millis::MAX)
            && [made, skipped, missed].into_iter().all(|total| total <= NUMBER_MAX.unsigned_abs())
    }
}

/// The next instant. If there is none, the end of time on the same clock as `before`.
pub(crate) fn next_or_never(next: Option<Due>, before: Due) -> Due {
    match (next, before) {
        (Some(next), _) => next.bounded(),
        (None, Due::Clock(_)) => Due::Clock(Millis::MAX),
        (None, Due::Wall(_)) => Due::Wall(Millis::MAX),
    }
}
