//! `TASK.INFO key GROUPS`: the groups of a queue, with their limits, and what keeps each from being claimed.

use taskslot_edges::edge;
use taskslot_engine::{GroupView, HeldBy, Now, Pause};

use crate::datatype::TaskQueue;
use taskslot_api::Reply;

/// The most groups in one reply, because a queue can have a million.
const SHOWN: usize = edge(1000, 16);

/// Writes the number of groups, and an array of those whose names come after `after`, in the order of names.
pub fn reply(reply: Reply<'_>, value: &TaskQueue, now: Now, after: &[u8]) {
    let groups: Vec<_> = value.queue.group_views(after).take(SHOWN).collect();
    let mut map = reply.map(2);
    map.number("known", value.queue.groups() as u64);
    let reply = map.field("groups");
    reply.array(groups.len());
    groups.iter().for_each(|group| reply_group(reply, group, now));
}

fn reply_group(reply: Reply<'_>, group: &GroupView<'_>, now: Now) {
    // A span from now, as INFO gives all times. 0 if the rate isn't used up, −1 if the rate is 0.
    let is_shut = group.rate.is_some_and(|rate| rate.claims == 0);
    let rests_ms = group.rests_until.map_or(0, |until| until.since(now.at));
    let mut map = reply.map(12);
    map.text("name", group.name);
    map.text("held-by", group.held_by.map_or("", HeldBy::name));
    map.number("tasks", group.tasks);
    map.number("ready", group.ready);
    map.number("leased", group.leased);
    map.integer("weight", group.weight);
    map.number_or_none("concurrency", group.concurrency);
    map.number_or_none("rate", group.rate.map(|rate| u64::from(rate.claims)));
    map.number_or_none("rate-per", group.rate.map(|rate| rate.per_ms));
    map.integer("ordered", group.limits.ordered);
    map.number_or_none("rests-ms", Some(rests_ms).filter(|_| !is_shut));
    // As the pauses of the queue: 0 if it is not paused, −1 until RESUME.
    match group.pause {
        Pause::Open => map.number("paused-ms", 0),
        pause => map.number_or_none("paused-ms", pause.end().map(|until| until.since(now.at))),
    }
}
