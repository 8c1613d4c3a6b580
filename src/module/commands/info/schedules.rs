//! `TASK.INFO key CRON`: the schedules of a queue, in the order of names.

use taskslot_engine::{Catchup, Now, ScheduleView, Trigger};

use crate::datatype::TaskQueue;
use taskslot_api::Reply;

/// Writes an array with a map for each schedule.
pub fn reply(reply: Reply<'_>, value: &TaskQueue, now: Now) {
    let schedules = value.queue.schedules(&now);
    reply.array(schedules.len());
    schedules.iter().for_each(|schedule| reply_schedule(reply, schedule));
}

fn reply_schedule(reply: Reply<'_>, schedule: &ScheduleView<'_>) {
    let ScheduleView { name, plan, next, runs } = schedule;
    let mut map = reply.open_map();
    map.text("name", name);
    if let Trigger::Cron(expression, zone) = plan.timing {
        map.text("cron", expression);
        map.text("tz", zone);
    }
    map.text("catchup", if plan.catchup == Catchup::None { "none" } else { "one" });
    if let Some((last, _)) = runs.last {
        map.text("last-id", &*last.text());
    }
    if let Trigger::Every(ms) = plan.timing {
        map.number("every", ms);
    }
    if let Some((in_ms, at)) = next {
        map.number("next-ms", *in_ms);
        map.number("next", at.0);
    }
    if let Some((_, at)) = runs.last {
        map.number("last", at.0);
    }
    map.number("made", runs.made);
    map.number("skipped", runs.skipped);
    map.number("missed", runs.missed);
    map.integer("disabled", next.is_none());
    map.number("payload-bytes", plan.payload.len() as u64);
}
