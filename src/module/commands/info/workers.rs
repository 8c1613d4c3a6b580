//! `TASK.INFO key WORKERS`: who works on the queue's tasks and who waits for them, by name.

use std::collections::BTreeMap;

use taskslot_engine::{Millis, Now};
use taskslot_node::Demand;

use crate::datatype::TaskQueue;
use crate::waiters;
use taskslot_api::{Arg, Reply};

/// Workers that one reply tells of, the first by name.
const TOLD: usize = 1000;

#[derive(Default)]
struct Row {
    leases: u64,
    oldest: Option<Millis>,
    waits: Demand,
}

pub fn reply(reply: Reply<'_>, value: &TaskQueue, now: Now, db: i32, key: Arg<'_>) {
    let waiting = waiters::names(db, key.as_bytes(), TOLD);
    let mut rows: BTreeMap<&[u8], Row> = BTreeMap::new();
    for worker in value.queue.workers(TOLD) {
        rows.insert(
            worker.name,
            Row { leases: worker.leases, oldest: worker.oldest, waits: Demand::default() },
        );
    }
    waiting.iter().for_each(|(name, &demand)| rows.entry(name).or_default().waits = demand);
    let mut map = reply.map(3);
    map.number("holding", value.queue.workers_busy() as u64);
    map.number("blocked", waiters::demand(db, key.as_bytes()).claims);
    let reply = map.field("workers");
    reply.array(rows.len().min(TOLD));
    for (name, row) in rows.iter().take(TOLD) {
        let mut map = reply.map(5);
        map.text("name", name);
        map.number("leases", row.leases);
        map.number_or_none("oldest-lease-ms", row.oldest.map(|began| now.at.since(began)));
        map.number("blocked", row.waits.claims);
        map.number("places-free", row.waits.tasks);
    }
}
