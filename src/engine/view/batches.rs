//! What is shown of batches.

use std::ops::Bound;

use crate::numbers::{BatchNumber, Order};
use crate::state::State;
use crate::store::batches::{Batch, BatchCounts};
use crate::task::{OnDead, Parent, TaskId};
use crate::time::Millis;

/// A batch, as TASK.BATCH INFO shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchView<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// The id of its callback.
    pub callback: TaskId,
    /// When it was opened.
    pub opened_at: Millis,
    /// When it was closed; `None` if it is open.
    pub closed_at: Option<Millis>,
    /// Whether its callback waits no more: all tasks have ended, or the callback was retried.
    pub is_over: bool,
    /// Its tasks that have not ended.
    pub open: u64,
    /// How many of its tasks ended in each way.
    pub counts: BatchCounts,
}

impl BatchView<'_> {
    /// All tasks that were pushed into it.
    pub fn tasks(&self) -> u64 {
        self.open.saturating_add(self.counts.ended())
    }

    /// The word that users read: `open`, `closed`, or `complete` once the callback waits no more.
    pub fn state(&self) -> &'static str {
        match (self.is_over, self.closed_at) {
            (true, _) => "complete",
            (false, Some(_)) => "closed",
            (false, None) => "open",
        }
    }
}

/// What a task has to do with others: the batch it counts in, the tasks it was pushed to wait for, and the batch whose
/// callback it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Relations<'a> {
    /// The name of the batch that it counts in; empty for none, or if the batch is forgotten.
    pub batch: &'a [u8],
    /// The tasks that it was pushed to wait for, by ascending id.
    pub parents: &'a [Parent],
    /// What becomes of it if one of them ends otherwise than done.
    pub on_dead: OnDead,
    /// The batch whose callback it is.
    pub callback_of: Option<BatchView<'a>>,
}

impl State {
    /// The batch of this name.
    pub fn batch(&self, name: &[u8]) -> Option<BatchView<'_>> {
        self.batch_view(self.batches.named(name)?)
    }

    /// The batches whose names sort after `after`, ordered by name; empty for all.
    pub fn batch_views<'a>(&'a self, after: &'a [u8]) -> impl Iterator<Item = BatchView<'a>> + 'a {
        let range = (Bound::Excluded(after), Bound::Unbounded);
        self.batches.by_name(range).filter_map(|batch| self.batch_view(batch))
    }

    /// How many batches there are: open, and closed or complete.
    pub fn batches(&self) -> (usize, usize) {
        let open = self.batches.unclosed();
        (open, self.batches.len() - open)
    }

    /// What a task has to do with others.
    pub(crate) fn relations(&self, order: Order, batch: BatchNumber) -> Relations<'_> {
        if self.batches.is_empty() && self.dependents.is_empty() {
            return Relations::default();
        }
        let dependent = self.dependents.get(order);
        Relations {
            batch: self.batches.get(batch).map_or(&[], |batch| &batch.name),
            parents: dependent.map_or(&[], |dependent| &dependent.parents),
            on_dead: dependent.map(|dependent| dependent.on_dead).unwrap_or_default(),
            callback_of: self.batches.of_callback(order).and_then(|batch| self.batch_view(batch)),
        }
    }

    /// A task's relations, as its worker gets them; `None` if it has none.
    pub(crate) fn given_relations(&self, order: Order, batch: BatchNumber) -> Option<Box<Relations<'_>>> {
        if self.batches.is_empty() && self.dependents.is_empty() {
            return None;
        }
        let relations = self.relations(order, batch);
        (relations != Relations::default()).then(|| Box::new(relations))
    }

    fn batch_view<'a>(&'a self, batch: &'a Batch) -> Option<BatchView<'a>> {
        let Batch { name, callback, opened_at, closed_at, is_over, open, counts } = batch;
        let callback = self.locate(*callback)?.record.id;
        let (opened_at, closed_at) = (*opened_at, *closed_at);
        Some(BatchView {
            name,
            callback,
            opened_at,
            closed_at,
            is_over: *is_over,
            open: *open,
            counts: *counts,
        })
    }
}

impl Relations<'_> {
    /// Bytes that they take when shown, approximately.
    pub fn shown_bytes(&self) -> usize {
        let callback = self.callback_of.map_or(0, |batch| 200 + batch.name.len());
        self.batch.len() + self.parents.len() * 40 + callback
    }
}
