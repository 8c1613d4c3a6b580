//! What is shown of a task's relations: the batch it counts in, the tasks it was pushed to wait for, and the batch whose
//! callback it is.

use taskslot_engine::{BatchView, InlineStr, Parent, Relations};

use taskslot_api::Reply;
use taskslot_api::reply::Map;

/// Whom the fields are for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// The worker that got the task. All that the task waited for has ended.
    Worker,
    /// Someone who asks what is known of the task.
    Observer,
}

/// How many fields [`reply_relations`] writes for a worker.
pub fn count_for_worker(relations: &Relations<'_>) -> usize {
    let callback = if relations.callback_of.is_some() { 1 + COUNTS } else { 0 };
    usize::from(!relations.batch.is_empty()) + usize::from(!relations.parents.is_empty()) + callback
}

/// Writes the fields that apply to the task.
pub fn reply_relations(map: &mut Map<'_>, relations: &Relations<'_>, reader: Reader) {
    let Relations { batch, parents, on_dead, callback_of } = relations;
    if !batch.is_empty() {
        map.text("batch", batch);
    }
    if !parents.is_empty() {
        reply_ids(map.field("after"), parents.iter());
        if reader == Reader::Observer {
            reply_ids(map.field("waits-for"), parents.iter().filter(|parent| parent.is_open));
            map.text("on-dead", on_dead.name());
        }
    }
    if let Some(batch) = callback_of {
        map.text("callback-of", batch.name);
        if reader == Reader::Observer {
            map.text("batch-state", batch.state());
            map.number("batch-open", batch.open);
        }
        reply_counts(map, batch);
    }
}

fn reply_ids<'p>(reply: Reply<'_>, parents: impl Iterator<Item = &'p Parent>) {
    let ids: Vec<InlineStr> = parents.map(|parent| parent.id.text()).collect();
    reply.array(ids.len());
    ids.iter().for_each(|id| reply.bulk(id));
}

/// The number of fields that [`reply_counts`] writes.
const COUNTS: usize = 6;

fn reply_counts(map: &mut Map<'_>, batch: &BatchView<'_>) {
    map.number("batch-tasks", batch.tasks());
    map.number("batch-done", batch.counts.done);
    map.number("batch-dead", batch.counts.dead);
    map.number("batch-cancelled", batch.counts.cancelled);
    map.number("batch-expired", batch.counts.expired);
    map.number("batch-purged", batch.counts.purged);
}

/// A copy of a task's relations, for a worker that is blocked.
pub struct OwnedRelations {
    batch: Box<[u8]>,
    parents: Box<[Parent]>,
    callback_of: Option<OwnedBatch>,
}

struct OwnedBatch {
    name: Box<[u8]>,
    /// The batch without its name.
    batch: BatchView<'static>,
}

impl OwnedRelations {
    /// Copies the relations; `None` if the task has none, as most tasks.
    pub fn of(relations: &Relations<'_>) -> Option<Box<OwnedRelations>> {
        if count_for_worker(relations) == 0 {
            return None;
        }
        let callback_of = relations.callback_of.map(OwnedBatch::of);
        let (batch, parents) = (relations.batch.into(), relations.parents.into());
        Some(Box::new(OwnedRelations { batch, parents, callback_of }))
    }

    /// Borrows them.
    pub fn as_relations(&self) -> Relations<'_> {
        let callback_of = self.callback_of.as_ref().map(OwnedBatch::as_batch);
        Relations { batch: &self.batch, parents: &self.parents, callback_of, ..Relations::default() }
    }
}

impl OwnedBatch {
    fn of(batch: BatchView<'_>) -> OwnedBatch {
        let BatchView { name, callback, opened_at, closed_at, is_over, open, counts } = batch;
        let batch = BatchView { name: &[], callback, opened_at, closed_at, is_over, open, counts };
        OwnedBatch { name: name.into(), batch }
    }

    fn as_batch(&self) -> BatchView<'_> {
        BatchView { name: &self.name, ..self.batch }
    }
}
