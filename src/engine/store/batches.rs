//! The table of batches.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeBounds;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::bounds::{NAME_MAX_BYTES, NUMBER_MAX};
use crate::invalid::{Invalid, ensure};
use crate::numbers::{BatchNumber, Order};
use crate::time::Millis;

/// The most batches of a queue.
pub const BATCHES_MAX: usize = 1_000_000;

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Done,
    Dead,
    Cancelled,
    Expired,
    Purged,
}

/// How many tasks of a batch ended in each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BatchCounts {
    /// Acked. Those delivered with NOACK count too.
    pub done: u64,
    /// Dead. One that is retried counts as open again; one that is removed while it is dead stays counted.
    pub dead: u64,
    /// Cancelled.
    pub cancelled: u64,
    /// Expired.
    pub expired: u64,
    /// Purged while they waited.
    pub purged: u64,
}

impl BatchCounts {
    fn of(&mut self, how: Ended) -> &mut u64 {
        match how {
            Ended::Done => &mut self.done,
            Ended::Dead => &mut self.dead,
            Ended::Cancelled => &mut self.cancelled,
            Ended::Expired => &mut self.expired,
            Ended::Purged => &mut self.purged,
        }
    }

    /// How many ended.
    pub fn ended(&self) -> u64 {
        let BatchCounts { done, dead, cancelled, expired, purged } = *self;
        [done, dead, cancelled, expired, purged].into_iter().fold(0, u64::saturating_add)
    }
}

/// A batch: a number of tasks, and the task that becomes ready when all of them have ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    pub name: Box<[u8]>,
    /// The callback.
    pub callback: Order,
    pub opened_at: Millis,
    pub closed_at: Option<Millis>,
    /// Whether the callback waits for the batch no more. From then on the batch accepts no tasks.
    pub is_over: bool,
    /// Its tasks that have not ended.
    pub open: u64,
    pub counts: BatchCounts,
}

impl Batch {
    /// Whether nothing keeps the callback from becoming ready.
    pub fn is_complete(&self) -> bool {
        !self.is_over && self.closed_at.is_some() && self.open == 0
    }

    /// Whether it waits for its CLOSE.
    pub fn is_open(&self) -> bool {
        !self.is_over && self.closed_at.is_none()
    }

    /// Whether a task can be pushed into it. After it was closed, its own tasks can still add to it.
    pub fn accepts(&self) -> bool {
        !self.is_over && !self.is_complete()
    }
}

/// A batch in its stored form. How many of its tasks are open follows from the tasks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredBatch {
    pub number: BatchNumber,
    pub name: ByteBuf,
    pub callback: u64,
    pub opened_at: Millis,
    pub closed_at: Option<Millis>,
    pub is_over: bool,
    pub counts: BatchCounts,
}

/// The batches of a queue.
///
/// A batch lives as long as its callback. Its tasks name it by its number in their records, so a batch costs the same
/// however many tasks it has. They may outlive it: then they count nowhere.
///
/// Invariants: each batch has a callback, which is held as long as the batch is not over; `open` is the number of its
/// tasks that have not ended; `complete` names the batches whose callback must become ready.
#[derive(Debug, Clone, Default)]
pub(crate) struct Batches {
    by_number: BTreeMap<BatchNumber, Batch>,
    numbers: BTreeMap<Box<[u8]>, BatchNumber>,
    callbacks: BTreeMap<Order, BatchNumber>,
    complete: BTreeSet<BatchNumber>,
    /// How many wait for their CLOSE.
    unclosed: usize,
    /// The last number given.
    pub last: BatchNumber,
    name_bytes: usize,
}

impl Batches {
    /// A table without batches, whose next number comes after this one.
    pub fn after(last: BatchNumber) -> Batches {
        Batches { last, ..Batches::default() }
    }

    pub fn len(&self) -> usize {
        self.by_number.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    /// How many wait for their CLOSE.
    pub fn unclosed(&self) -> usize {
        self.unclosed
    }

    pub fn find(&self, name: &[u8]) -> Option<BatchNumber> {
        self.numbers.get(name).copied()
    }

    pub fn get(&self, number: BatchNumber) -> Option<&Batch> {
        self.by_number.get(&number)
    }

    pub fn named(&self, name: &[u8]) -> Option<&Batch> {
        self.get(self.find(name)?)
    }

    /// The batch whose callback is this task.
    pub fn of_callback(&self, callback: Order) -> Option<&Batch> {
        self.get(*self.callbacks.get(&callback)?)
    }

    /// The batches with names in this range, ordered by name.
    pub fn by_name<'a>(&'a self, range: impl RangeBounds<[u8]> + 'a) -> impl Iterator<Item = &'a Batch> {
        self.numbers.range::<[u8], _>(range).filter_map(|(_, number)| self.get(*number))
    }

    /// All batches, ordered by number.
    pub fn iter(&self) -> impl Iterator<Item = (BatchNumber, &Batch)> {
        self.by_number.iter().map(|(number, batch)| (*number, batch))
    }

    /// The batches whose callback must become ready.
    pub fn complete(&self) -> impl Iterator<Item = &Batch> {
        self.complete.iter().filter_map(|number| self.get(*number))
    }

    pub fn has_complete(&self) -> bool {
        !self.complete.is_empty()
    }

    /// Whether a batch of this name can be opened. Errors: as [`Batches::open`].
    pub fn can_open(&self, name: &[u8]) -> Result<(), Invalid> {
        ensure(self.last < BatchNumber::MAX, "a number for a batch")?;
        ensure((1..=NAME_MAX_BYTES).contains(&name.len()), "the name of a batch")?;
        ensure(self.len() < BATCHES_MAX, "at most 1,000,000 batches")?;
        ensure(!self.numbers.contains_key(name), "a name for one batch only")
    }

    /// Opens a batch, with the next number. Errors: the name is taken, or there are too many.
    pub fn open(&mut self, name: &[u8], callback: Order, at: Millis) -> Result<(), Invalid> {
        self.can_open(name)?;
        self.last = BatchNumber(self.last.0 + 1);
        let (opened_at, closed_at, counts) = (at, None, BatchCounts::default());
        self.insert(
            self.last,
            Batch { name: name.into(), callback, opened_at, closed_at, is_over: false, open: 0, counts },
        )
    }

    fn insert(&mut self, number: BatchNumber, batch: Batch) -> Result<(), Invalid> {
        ensure((1..=NAME_MAX_BYTES).contains(&batch.name.len()), "the name of a batch")?;
        ensure(self.len() < BATCHES_MAX, "at most 1,000,000 batches")?;
        ensure(!self.numbers.contains_key(&batch.name), "a name for one batch only")?;
        ensure(!self.callbacks.contains_key(&batch.callback), "a callback for one batch only")?;
        self.numbers.insert(batch.name.clone(), number);
        self.callbacks.insert(batch.callback, number);
        self.name_bytes += batch.name.len();
        self.unclosed += usize::from(batch.is_open());
        self.by_number.insert(number, batch);
        Ok(())
    }

    /// Changes a batch, and notes whether it is complete. Does nothing if it is forgotten.
    fn change(&mut self, number: BatchNumber, change: impl FnOnce(&mut Batch)) {
        let Some(batch) = self.by_number.get_mut(&number) else { return };
        let (was_complete, was_open) = (batch.is_complete(), batch.is_open());
        change(batch);
        self.unclosed -= usize::from(was_open && !batch.is_open());
        match (was_complete, batch.is_complete()) {
            (false, true) => _ = self.complete.insert(number),
            (true, false) => _ = self.complete.remove(&number),
            _ => {}
        }
    }

    /// Closes a batch. Errors: there is none, or it is closed.
    pub fn close(&mut self, name: &[u8], at: Millis) -> Result<(), Invalid> {
        let number = self.find(name).ok_or(Invalid("a batch"))?;
        ensure(
            self.get(number).is_some_and(|batch| batch.closed_at.is_none()),
            "a batch that is not closed",
        )?;
        self.change(number, |batch| batch.closed_at = Some(at));
        Ok(())
    }

    /// Counts new tasks.
    pub fn add(&mut self, number: BatchNumber, count: u64) {
        self.change(number, |batch| batch.open = batch.open.saturating_add(count));
    }

    /// Counts a task that ended.
    pub fn end(&mut self, number: BatchNumber, how: Ended) {
        self.change(number, |batch| {
            batch.open = batch.open.saturating_sub(1);
            let count = batch.counts.of(how);
            *count = count.saturating_add(1);
        });
    }

    /// Takes back that a task ended as dead: it lives again, or ends otherwise.
    pub fn revive(&mut self, number: BatchNumber) {
        self.change(number, |batch| {
            batch.open = batch.open.saturating_add(1);
            batch.counts.dead = batch.counts.dead.saturating_sub(1);
        });
    }

    /// Notes that a callback waits for its batch no more: the batch is complete, or the callback was retried.
    pub fn end_wait(&mut self, callback: Order) {
        if let Some(&number) = self.callbacks.get(&callback) {
            self.change(number, |batch| batch.is_over = true);
        }
    }

    /// Forgets the batch of a callback that is removed.
    pub fn forget(&mut self, callback: Order) {
        let Some(number) = self.callbacks.remove(&callback) else { return };
        self.complete.remove(&number);
        if let Some(batch) = self.by_number.remove(&number) {
            self.numbers.remove(&batch.name);
            self.name_bytes -= batch.name.len();
            self.unclosed -= usize::from(batch.is_open());
        }
    }

    pub fn stored(&self) -> impl Iterator<Item = StoredBatch> + '_ {
        self.iter().map(|(number, batch)| StoredBatch {
            number,
            name: ByteBuf::from(&*batch.name),
            callback: batch.callback.0,
            opened_at: batch.opened_at,
            closed_at: batch.closed_at,
            is_over: batch.is_over,
            counts: batch.counts,
        })
    }

    /// Adds a stored batch.
    pub fn load(&mut self, stored: StoredBatch) -> Result<(), Invalid> {
        let StoredBatch { number, name, callback, opened_at, closed_at, is_over, counts } = stored;
        let is_next = self.by_number.last_key_value().is_none_or(|(last, _)| *last < number);
        ensure(is_next && !number.is_none() && number <= self.last, "the numbers of batches in order")?;
        let instants = [Some(opened_at), closed_at].into_iter().flatten();
        ensure(instants.into_iter().all(|at| at <= Millis::MAX), "instants")?;
        ensure(counts.ended() <= NUMBER_MAX as u64, "counts in bounds")?;
        let name = name.into_vec().into_boxed_slice();
        let batch = Batch { name, callback: Order(callback), opened_at, closed_at, is_over, open: 0, counts };
        // A batch without tasks is complete now. Others are not complete any more once their tasks are counted.
        if batch.is_complete() {
            self.complete.insert(number);
        }
        self.insert(number, batch)
    }

    /// Whether the table agrees with the tasks. `counts` has the open, done and dead tasks of each batch that are in
    /// the queue. O(batches).
    pub fn validate(&self, counts: &BTreeMap<BatchNumber, [u64; 3]>) -> Result<(), Invalid> {
        for (number, batch) in self.iter() {
            let [open, done, dead] = counts.get(&number).copied().unwrap_or_default();
            ensure(batch.open == open, "a correct count of the open tasks of a batch")?;
            let counted = batch.counts.done >= done && batch.counts.dead >= dead;
            ensure(counted, "a count of the tasks of a batch that ended")?;
        }
        let complete = self.iter().filter(|(_, batch)| batch.is_complete()).map(|(number, _)| number);
        ensure(complete.eq(self.complete.iter().copied()), "an index of all complete batches")?;
        let unclosed = self.iter().filter(|(_, batch)| batch.is_open()).count();
        ensure(unclosed == self.unclosed, "a correct count of batches that wait for their CLOSE")?;
        let bytes = self.iter().map(|(_, batch)| batch.name.len()).sum::<usize>();
        ensure(bytes == self.name_bytes, "a correct count of the bytes of batches' names")
    }

    /// Bytes taken from the allocator, approximately.
    pub fn memory(&self) -> usize {
        // The name twice; a batch, its number three times, and their shares of nodes that are two thirds full.
        2 * self.name_bytes + self.len() * 330 + self.complete.len() * 12
    }
}

impl StoredBatch {
    /// Bytes of the stored form, approximately.
    pub fn stored_bytes(&self) -> usize {
        self.name.len() + 140
    }
}
