//! `TASK.INFO key TIMES`: all wait and run times since this node began to watch the queue, as histograms.

use taskslot_engine::{Durations, Now};

use crate::datatype::TaskQueue;
use taskslot_api::Reply;

/// The name of the bucket that has no bound.
const NO_BOUND: &str = "inf";

pub fn reply(reply: Reply<'_>, value: &TaskQueue, now: Now) {
    let times = value.queue.times();
    let mut map = reply.map(3);
    map.number_or_none("watched-ms", times.map(|times| now.at.since(times.began)));
    let none = Durations::default();
    reply_durations(map.field("wait"), times.map_or(&none, |times| &times.wait));
    reply_durations(map.field("run"), times.map_or(&none, |times| &times.run));
}

fn reply_durations(reply: Reply<'_>, durations: &Durations) {
    let mut map = reply.map(3);
    map.number("count", durations.total());
    map.number("sum-ms", durations.sum_ms());
    let mut below = map.field("below-ms").open_map();
    for (bound, count) in durations.buckets() {
        below.number(bound.map_or(NO_BOUND.to_owned(), |ms| ms.to_string()), count);
    }
}
