//! Adding tasks that were pushed.

use crate::bounds::{BATCH_MAX, PAYLOAD_MAX_BYTES};
use crate::invalid::{Applied, Invalid, ensure};
use crate::numbers::Order;
use crate::state::State;
use crate::store::entry::{Entry, Phase};
use crate::store::lanes::LaneKey;
use crate::store::record::NewRecord;
use crate::task::{Options, TaskId};
use crate::time::{Due, Millis, When};

/// When tasks were pushed that are held, and when they become ready once they wait for nothing any more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub at: Millis,
    pub when: When,
}

/// The state of tasks that are pushed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Start {
    Ready,
    Delayed(Due),
    Held(Held),
}

impl Start {
    fn is_valid(self) -> bool {
        match self {
            Start::Ready => true,
            Start::Delayed(due) => due.instant() <= Millis::MAX,
            Start::Held(Held { at, when }) => at <= Millis::MAX && when.is_valid(),
        }
    }
}

impl State {
    pub(crate) fn apply_pushed(
        &mut self,
        first: TaskId,
        due: Option<Due>,
        options: &Options,
        payloads: &[&[u8]],
    ) -> Applied {
        self.add_tasks(first, due.map_or(Start::Ready, Start::Delayed), options, payloads)
    }

    /// Adds tasks with consecutive ids and order numbers. Errors: something about them does not fit the queue.
    pub(crate) fn add_tasks(
        &mut self,
        first: TaskId,
        start: Start,
        options: &Options,
        payloads: &[&[u8]],
    ) -> Applied {
        let count = payloads.len() as u64;
        let last = count.checked_sub(1).and_then(|n| first.nth(n)).ok_or(Invalid("a task to push"))?;
        ensure(count <= BATCH_MAX as u64, "a push's size")?;
        ensure(payloads.iter().all(|payload| payload.len() <= PAYLOAD_MAX_BYTES), "a payload's size")?;
        ensure(first > self.last_id && first.ms <= Millis::MAX.0 && last.seq < u64::MAX, "a new id")?;
        ensure(start.is_valid() && options.are_valid(), "a push's options")?;
        ensure(self.next_order.0.saturating_add(count) <= Order::MAX.0, "order numbers")?;
        ensure(options.unique.is_none() || count == 1, "one task for a token")?;
        let batch = self.can_enter_batch(options.batch)?;
        if let Some(unique) = &options.unique {
            self.take_token(Millis(first.ms), first, unique)?;
        }
        self.local.stats.pushed(payloads.len());
        let mut id = first;
        let group = self.groups.known(options.group, &self.settings);
        let key = LaneKey { priority: options.priority, group };
        if !batch.is_none() {
            self.batches.add(batch, count);
        }
        let mut record = NewRecord::new(first, options, group, batch);
        for payload in payloads {
            let order = self.draw()?;
            (record.id, record.payload) = (id, *payload);
            self.log.push(order, &record);
            self.count_task_in_group(group, 1);
            self.last_id = id;
            self.totals.pushed += 1;
            match start {
                Start::Ready => {
                    self.lanes.push_fresh(key, self.running(group), order);
                    self.count_in_group(group, &Phase::Ready { since: Millis(id.ms) }, 0, 1);
                    if let Some(position) = options.ttl_ms.and_then(|_| self.log.locate(order)) {
                        self.index_expiry(position, order, None);
                    }
                }
                Start::Delayed(due) => {
                    self.touch(order, Phase::Delayed { due })?;
                    self.delayed.insert(due, order);
                }
                Start::Held(Held { at, when }) => {
                    self.touch(order, Phase::Held { since: at, when })?;
                    self.held.insert(order);
                }
            }
            id.seq += 1;
        }
        Ok(())
    }

    /// Gives a task that was just pushed an entry.
    fn touch(&mut self, order: Order, phase: Phase) -> Applied {
        let position = self.log.locate(order).ok_or(Invalid("a task just pushed"))?;
        self.log.set_entry(position, &Entry::untouched(phase, order.rank()), None);
        Ok(())
    }
}
