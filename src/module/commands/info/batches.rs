//! `TASK.INFO key BATCHES`: the batches of a queue, with their counts.

use taskslot_edges::edge;
use taskslot_engine::BatchView;

use crate::datatype::TaskQueue;
use taskslot_api::Reply;

/// The most batches in one reply, because a queue can have a million.
const SHOWN: usize = edge(1000, 4);

/// Writes the number of batches, and an array of those whose names come after `after`, in the order of names.
pub fn reply(reply: Reply<'_>, value: &TaskQueue, after: &[u8]) {
    let batches: Vec<_> = value.queue.batch_views(after).take(SHOWN).collect();
    let (open, closed) = value.queue.batches();
    let mut map = reply.map(2);
    map.number("known", (open + closed) as u64);
    let reply = map.field("batches");
    reply.array(batches.len());
    batches.iter().for_each(|batch| reply_batch(reply, batch));
}

/// Writes a batch as a map. The instants are on the queue's clock, as those of a task.
pub fn reply_batch(reply: Reply<'_>, batch: &BatchView<'_>) {
    let mut map = reply.map(12);
    map.text("name", batch.name);
    map.text("state", batch.state());
    map.text("callback", &*batch.callback.text());
    map.number("tasks", batch.tasks());
    map.number("open", batch.open);
    map.number("done", batch.counts.done);
    map.number("dead", batch.counts.dead);
    map.number("cancelled", batch.counts.cancelled);
    map.number("expired", batch.counts.expired);
    map.number("purged", batch.counts.purged);
    map.number("opened", batch.opened_at.0);
    map.number_or_none("closed", batch.closed_at.map(|at| at.0));
}
