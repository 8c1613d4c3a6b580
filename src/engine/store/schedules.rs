//! The table of schedules.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::discriminant;

use serde::{Deserialize, Serialize};

use crate::bounds::{NAME_MAX_BYTES, NUMBER_MAX};
use crate::invalid::{Invalid, ensure};
use crate::pack::encode_named;
use crate::schedule::{Catchup, Recurrence, ScheduleSpec, Trigger};
use crate::task::TaskId;
use crate::time::{Due, Millis, Now};
use crate::zones::Zones;

/// The most schedules of a queue: each is looked at when one of them changes.
pub const SCHEDULES_MAX: usize = 1000;
/// What a schedule takes beside its name and its plan, about.
pub(crate) const SCHEDULE_BYTES: usize = 300;
/// A run that is later than this is missed: with CATCHUP none it isn't made.
const MISSED_MS: u64 = 10_000;
/// A queue's clock that is further behind than this is another node's, and its intervals begin anew. One that is
/// behind by less comes to the next instant soon enough.
const ASTRAY_MS: u64 = 60_000;
/// A wall clock that is set back further than this is taken at its word: its instants come again. The same as in cron.
const CORRECTED_MS: u64 = 3 * 3_600_000;

/// How a schedule has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleTotals {
    /// Runs made.
    pub made: u64,
    /// Runs that couldn't come in.
    pub skipped: u64,
    /// Times that runs were missed and not made up for.
    pub missed: u64,
    /// The last task, and when it came in by the wall clock.
    pub last: Option<(TaskId, Millis)>,
}

/// One schedule as it is kept.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    /// MessagePack of [`ScheduleSpec`], named, so that what options come to hold comes along.
    pub plan: Box<[u8]>,
    pub rule: Recurrence,
    pub catchup: Catchup,
    pub next: Due,
    /// The wall clock when `next` was decided.
    pub seen: Millis,
    /// It was decided by other rules than those that are known here.
    is_outdated: bool,
    pub runs: ScheduleTotals,
}

/// One schedule as it is stored.
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

    /// Compares the next instant with what the rules that are known here say.
    fn compare(&mut self) {
        self.is_outdated = self.next_by_rule().is_some_and(|next| next != self.next);
    }

    /// What the next instant of a calendar should have been when it was decided.
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

    /// Whether this build can tell when it runs, and that comes before the end of time.
    fn runs_again(&self) -> bool {
        self.rule != Recurrence::Unknown && self.next.instant() < Millis::MAX
    }

    pub fn is_due(&self, now: &Now) -> bool {
        self.runs_again() && self.next.on_clock(now) <= now.at
    }

    /// Whether the next instant was decided by a clock that has been far ahead.
    fn is_astray(&self, now: &Now) -> bool {
        match (&self.rule, self.next) {
            (Recurrence::Every(ms), Due::Clock(next)) => next.since(now.at.plus(*ms)) > ASTRAY_MS,
            (Recurrence::Cron(_), _) => self.seen.since(now.wall) > CORRECTED_MS,
            _ => false,
        }
    }

    /// What is planned anew, of a schedule that is astray or outdated: the next run, and when that counts as decided. New
    /// rules of a time zone hold from when the old ones were asked: what should have run since is due.
    pub fn replanned(&self, now: &Now) -> Option<(Due, Millis)> {
        if self.is_astray(now) {
            return Some((next_or_never(self.rule.next(now, None), self.next), now.wall));
        }
        self.next_by_rule().filter(|_| self.is_outdated).map(|next| (next, self.seen))
    }

    /// Whether a run that is made now comes too late to be the one it should be.
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

/// Schedules: tasks that come in by themselves, at intervals (EVERY) or at instants of a calendar (CRON).
///
/// A schedule knows its next instant. When that has come, a primary says in one event that the task came in and when the
/// next is: a failover repeats neither. The next instant is always after now, so an outage makes one run (CATCHUP one)
/// or none, however many instants it took. A run that can't come in (queue full or paused IN, server out of memory)
/// is skipped and counted.
///
/// EVERY runs on the queue's clock, from instant to instant, and so never drifts. CRON follows the wall clock. A clock
/// that turns out to have been far ahead would keep its schedules silent until it comes there again: what
/// was planned by it is planned anew ([`Schedules::is_astray`]). So is what was planned by other rules of its time zone than
/// those that are known now: a country has changed its mind, and this node has heard.
///
/// The table holds them by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Schedules {
    by_name: BTreeMap<Box<[u8]>, Schedule>,
    /// What is known of all of them, since every write asks.
    bounds: Bounds,
    /// What the names of time zones mean here.
    zones: Zones,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Bounds {
    /// The first instant on each clock.
    clock: Option<Millis>,
    wall: Option<Millis>,
    /// What the clocks showed when an instant was decided, at the latest.
    clock_seen: Millis,
    wall_seen: Millis,
    /// Whether one was decided by other rules than those that are known here.
    is_outdated: bool,
    /// Bytes taken from the allocator, about.
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
    /// No schedules.
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

    /// When there is something to do next.
    pub fn next_due(&self, now: &Now) -> Option<Millis> {
        let wall = self.bounds.wall.map(|at| now.wall_on_clock(at));
        let first = [self.bounds.clock, wall].into_iter().flatten().min();
        if self.is_astray(now) { Some(now.at) } else { first }
    }

    /// Whether a clock is behind what it was when an instant was decided: it was set back, or it is another node's. Or the
    /// rules of a time zone are others.
    pub fn is_astray(&self, now: &Now) -> bool {
        self.bounds.is_outdated
            || self.bounds.clock_seen.since(now.at) > ASTRAY_MS
            || self.bounds.wall_seen.since(now.wall) > CORRECTED_MS
    }

    pub fn change(&mut self, change: impl FnOnce(&mut BTreeMap<Box<[u8]>, Schedule>)) {
        change(&mut self.by_name);
        self.bounds = Bounds::of(&self.by_name);
    }

    pub fn update(
        &mut self,
        name: &[u8],
        next: Due,
        seen: Millis,
        count: impl FnOnce(&mut ScheduleTotals),
    ) -> Result<(), Invalid> {
        ensure(next.instant() <= Millis::MAX && seen <= Millis::MAX, "an instant")?;
        let old = self.by_name.get(name).ok_or(Invalid("a schedule"))?;
        ensure(discriminant(&old.next) == discriminant(&next), "an instant of the schedule's clock")?;
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

    /// Adds what was stored.
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
        ensure(self.len() <= SCHEDULES_MAX, "not too many schedules")?;
        ensure(self.stored().count() == self.len(), "plans that can be read")?;
        ensure(self.stored().all(|stored| stored.is_valid()), "a schedule's bounds")?;
        ensure(self.bounds == Bounds::of(&self.by_name), "bounds of all schedules")
    }
}

impl StoredSchedule<'_> {
    /// About the bytes that it takes.
    pub fn size(&self) -> usize {
        self.name.len() + self.plan.payload.len() + self.plan.options.headers.len() + 1024
    }

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

/// The next instant; where there is none any more, the end of time on the same clock.
pub(crate) fn next_or_never(next: Option<Due>, before: Due) -> Due {
    match (next, before) {
        (Some(next), _) => next.bounded(),
        (None, Due::Clock(_)) => Due::Clock(Millis::MAX),
        (None, Due::Wall(_)) => Due::Wall(Millis::MAX),
    }
}
