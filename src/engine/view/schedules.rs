//! What is shown of schedules.

use crate::schedule::{Recurrence, ScheduleSpec};
use crate::state::State;
use crate::store::schedules::ScheduleTotals;
use crate::time::{Due, Millis, Now};

/// A schedule, as TASK.INFO CRON shows it.
#[derive(Debug, Clone, Copy)]
pub struct ScheduleView<'a> {
    /// The schedule's name.
    pub name: &'a [u8],
    /// What was set: its trigger, CATCHUP, options and payload.
    pub plan: ScheduleSpec<'a>,
    /// The next run: in how many ms, and when by the wall clock. `None` if this build doesn't know its time zone: it
    /// makes no runs here.
    pub next: Option<(u64, Millis)>,
    /// Its counters.
    pub runs: ScheduleTotals,
}

impl State {
    /// All schedules, ordered by name.
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
