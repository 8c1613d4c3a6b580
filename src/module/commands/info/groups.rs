//! `TASK.INFO key GROUPS`: the groups of a queue, what holds for each, and whether it may run.

use taskslot_engine::{GroupView, Held, Now};

use crate::api::Reply;
use crate::datatype::TaskQueue;

/// Groups that one reply tells of: a queue may have a million.
const TOLD: usize = 1000;

/// Writes how many groups are known, and an array of those whose names come after `after`, by name.
pub fn reply(reply: Reply<'_>, value: &TaskQueue, now: Now, after: &[u8]) {
    let groups: Vec<_> = value.queue.group_views(after).take(TOLD).collect();
    reply.map(2);
    reply.bulk(b"known");
    reply.integer(i64::try_from(value.queue.groups()).unwrap_or(i64::MAX));
    reply.bulk(b"groups");
    reply.array(groups.len());
    groups.iter().for_each(|group| reply_group(reply, group, now));
}

fn reply_group(reply: Reply<'_>, group: &GroupView<'_>, now: Now) {
    let held = group.held.map_or("", Held::name);
    let texts = [("name", group.name), ("held-by", held.as_bytes())];
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let rate = group.rate.map(|rate| (u64::from(rate.claims), rate.per_ms));
    // A span from now, as INFO tells all instants: 0 where its rate isn't used up, −1 where it lets nothing run.
    let is_shut = group.rate.is_some_and(|rate| rate.claims == 0);
    let rests_ms = group.rests_until.map_or(0, |until| signed(until.since(now.at)));
    let numbers = [
        ("tasks", signed(group.tasks)),
        ("ready", signed(group.ready)),
        ("leased", signed(group.leased)),
        ("weight", i64::from(group.weight)),
        ("concurrency", group.concurrency.map_or(-1, signed)),
        ("rate", rate.map_or(-1, |(claims, _)| signed(claims))),
        ("rate-per", rate.map_or(-1, |(_, per_ms)| signed(per_ms))),
        ("ordered", i64::from(group.limits.ordered)),
        ("rests-ms", if is_shut { -1 } else { rests_ms }),
    ];
    reply.map(texts.len() + numbers.len());
    for (name, text) in texts {
        reply.bulk(name.as_bytes());
        reply.bulk(text);
    }
    for (name, number) in numbers {
        reply.bulk(name.as_bytes());
        reply.integer(number);
    }
}
