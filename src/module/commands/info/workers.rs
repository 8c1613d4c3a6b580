//! `TASK.INFO key WORKERS`: the workers that hold tasks of the queue or wait for them, in the order of names.

use std::collections::BTreeMap;

use taskslot_edges::edge;
use taskslot_engine::{Millis, Now};
use taskslot_node::Demand;

use crate::datatype::TaskQueue;
use crate::waiters;
use taskslot_api::{Arg, Reply};

/// The most workers in one reply.
const SHOWN: usize = edge(1000, 4);

#[derive(Default)]
struct Row {
    leases: u64,
    oldest: Option<Millis>,
    waits: Demand,
}

pub fn reply(reply: Reply<'_>, value: &TaskQueue, now: Now, db: i32, key: Arg<'_>) {
    let waiting = waiters::names(db, key.as_bytes(), SHOWN);
    let mut rows: BTreeMap<&[u8], Row> = BTreeMap::new();
    for worker in value.queue.workers(SHOWN) {
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
    reply.array(rows.len().min(SHOWN));
    for (name, row) in rows.iter().take(SHOWN) {
        let mut map = reply.map(5);
        map.text("name", name);
        map.number("leases", row.leases);
        map.number_or_none("oldest-lease-ms", row.oldest.map(|began| now.at.since(began)));
        map.number("blocked", row.waits.claims);
        map.number("places-free", row.waits.tasks);
    }
}
