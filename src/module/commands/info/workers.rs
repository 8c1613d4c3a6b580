//! `TASK.INFO key WORKERS`: who works on the queue's tasks and who waits for them, by name.

use std::collections::BTreeMap;

use taskslot_engine::{Millis, Now};

use crate::api::{Arg, Reply};
use crate::datatype::TaskQueue;
use crate::waiters;

/// Workers that one reply tells of, the first by name.
const TOLD: usize = 1000;
/// Workers that wait are looked through so far.
const LOOKED_AT: usize = 10_000;

#[derive(Default)]
struct Row {
    leases: u64,
    oldest: Option<Millis>,
    blocked: u64,
}

pub fn reply(reply: Reply<'_>, value: &TaskQueue, now: Now, db: i32, key: Arg<'_>) {
    let waiting = waiters::names(db, key.as_bytes(), LOOKED_AT);
    let mut rows: BTreeMap<&[u8], Row> = BTreeMap::new();
    for worker in value.queue.workers(TOLD) {
        rows.insert(worker.name, Row { leases: worker.leases, oldest: worker.oldest, blocked: 0 });
    }
    waiting.iter().for_each(|(name, &blocked)| rows.entry(name).or_default().blocked = blocked);
    let number = |name: &str, number: u64| {
        reply.bulk(name.as_bytes());
        reply.integer(i64::try_from(number).unwrap_or(i64::MAX));
    };
    reply.map(3);
    number("holding", value.queue.workers_busy() as u64);
    number("blocked", waiters::waiting(db, key.as_bytes()) as u64);
    reply.bulk(b"workers");
    reply.array(rows.len().min(TOLD));
    for (name, row) in rows.iter().take(TOLD) {
        reply.map(4);
        reply.bulk(b"name");
        reply.bulk(name);
        number("leases", row.leases);
        reply.bulk(b"oldest-lease-ms");
        let span = row.oldest.map(|began| now.at.since(began));
        reply.integer(span.map_or(-1, |ms| i64::try_from(ms).unwrap_or(i64::MAX)));
        number("blocked", row.blocked);
    }
}
