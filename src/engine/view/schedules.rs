//! Schedules as they are shown.

use crate::schedule::{Recurrence, ScheduleSpec};
use crate::state::State;
use crate::store::schedules::ScheduleTotals;
use crate::time::{Due, Millis, Now};

/// A schedule as it is shown.
#[derive(Debug, Clone, Copy)]
pub struct ScheduleView<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// What was set.
    pub plan: ScheduleSpec<'a>,
    /// The next run: ms from now, and by the wall clock. `None` where this build can't tell: it makes no runs here.
    pub next: Option<(u64, Millis)>,
    /// How it did so far.
    pub runs: ScheduleTotals,
}

impl State {
    /// The schedules, by name.
    pub fn schedules(&self, now: &Now) -> Vec<ScheduleView<'_>> {
        let mut views = Vec::with_capacity(self.schedules.len());
        for (name, schedule) in self.schedules.iter() {
            let (at, wall) = match schedule.next {
                Due::Clock(at) => (at, now.clock_on_wall(at)),
                Due::Wall(wall) => (now.wall_on_clock(wall), wall),
            };
            let next = (schedule.rule != Recurrence::Unknown).then_some((at.since(now.at), wall));
            let plan = schedule.plan();
            views.extend(plan.map(|plan| ScheduleView { name, plan, next, runs: schedule.runs }));
        }
        views
    }
}
