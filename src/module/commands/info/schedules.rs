//! `TASK.INFO key CRON`: the schedules of a queue, in the order of names.

use std::num::NonZeroU64;

use taskslot_engine::{Catchup, Headers, Hold, Now, Options, ScheduleView, Trigger};

use crate::claims::reply_headers;
use crate::commands::task::REPLY_BYTES;
use crate::datatype::TaskQueue;
use taskslot_api::Reply;
use taskslot_api::reply::Map;

/// Writes an array with a map for each schedule. A thousand schedules can have a payload of a megabyte each, so the
/// payloads that would make the reply too long are left out.
pub fn reply(reply: Reply<'_>, value: &TaskQueue, now: Now) {
    let schedules = value.queue.schedules(&now);
    reply.array(schedules.len());
    let mut bytes = 0;
    for schedule in &schedules {
        bytes += schedule.plan.payload.len() as u64;
        reply_schedule(reply, schedule, bytes <= REPLY_BYTES);
    }
}

fn reply_schedule(reply: Reply<'_>, schedule: &ScheduleView<'_>, with_payload: bool) {
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
    reply_options(&mut map, &plan.options);
    if with_payload {
        map.text("payload", plan.payload);
    }
}

/// Replies the options of each task, as TASK.GET names them. Options that were not given are left out.
fn reply_options(map: &mut Map<'_>, options: &Options<'_>) {
    map.integer("priority", options.priority);
    if !options.group.is_empty() {
        map.text("group", options.group);
    }
    if let Some(attempts) = options.attempts {
        map.integer("attempts", attempts);
    }
    let mut span = |name, ms: Option<u64>| ms.into_iter().for_each(|ms| map.number(name, ms));
    span("lease-ms", options.lease_ms.map(u64::from));
    span("ttl-ms", options.ttl_ms.map(NonZeroU64::get));
    span("retain", options.retain_ms);
    if let Some(unique) = options.unique {
        map.text("unique", unique.token);
        let (hold, for_ms) = match unique.hold {
            Hold::End => ("end", None),
            Hold::Start => ("start", None),
            Hold::AtMost(span) => ("for", Some(span)),
            Hold::Exactly(span) => ("keep", Some(span)),
        };
        map.text("unique-hold", hold);
        for_ms.into_iter().for_each(|span| map.number("unique-for", span.0));
    }
    let headers = Headers(options.headers).pairs();
    if !headers.is_empty() {
        reply_headers(map.field("headers"), &headers);
    }
}
