//! Tasks that wait for others: how they are pushed, and told that one has ended.

use crate::apply::push::{Held, Start};
use crate::apply::transition::Detached;
use crate::bounds::BATCH_MAX;
use crate::event::Release;
use crate::invalid::{Applied, Invalid, ensure};
use crate::numbers::Order;
use crate::state::State;
use crate::store::batches::Ended;
use crate::store::entry::Phase;
use crate::task::{OnDead, Options, Parent, TaskId};
use crate::time::Millis;

impl State {
    pub(crate) fn apply_pushed_after(
        &mut self,
        first: TaskId,
        held: Held,
        (parents, on_dead): (&[Parent], OnDead),
        options: &Options,
        payloads: &[&[u8]],
    ) -> Applied {
        for parent in parents {
            let phase = self.find(parent.id).map(|found| found.entry().phase);
            let is_open = phase.is_some_and(|phase| !matches!(phase, Phase::Done { .. }));
            ensure(parent.id <= self.last_id && parent.is_open == is_open, "tasks to wait for")?;
        }
        let start = match parents.iter().any(|parent| parent.is_open) {
            true => Start::Held(held),
            false => held.when.due_from(held.at).map_or(Start::Ready, Start::Delayed),
        };
        ensure((1..=BATCH_MAX).contains(&parents.len()), "1 to 1000 tasks to wait for")?;
        ensure(parents.is_sorted_by(|a, b| a.id < b.id), "tasks to wait for in order")?;
        let order = self.next_order;
        self.add_tasks(first, start, options, payloads)?;
        for order in (order.0..self.next_order.0).map(Order) {
            self.dependents.add(order, parents, on_dead)?;
        }
        // Those that are dead already have nobody else to tell them.
        for parent in parents.iter().filter(|parent| parent.is_open) {
            let phase = self.find(parent.id).map(|found| found.entry().phase);
            if matches!(phase, Some(Phase::Dead { .. })) {
                self.dependents.end(parent.id, false);
            }
        }
        Ok(())
    }

    pub(crate) fn apply_told(
        &mut self,
        parent: Option<TaskId>,
        at: Millis,
        tasks: &[(TaskId, Release)],
    ) -> Applied {
        ensure(at <= Millis::MAX, "an instant")?;
        let due = |release: &Release| match release {
            Release::Delayed(due) => due.instant(),
            Release::Held | Release::Ready | Release::Cancelled => at,
        };
        ensure(tasks.iter().all(|(_, release)| due(release) <= Millis::MAX), "an instant")?;
        tasks.iter().try_for_each(|(id, release)| {
            if matches!(release, Release::Ready) {
                self.can_draw()?;
            }
            let found = self.find(*id).ok_or(Invalid("a held task"))?;
            let (order, phase) = (found.order, found.entry().phase);
            let open = match parent {
                Some(parent) => self.dependents.told(parent, order)?,
                None => {
                    let batch = self.batches.of_callback(order).ok_or(Invalid("the callback of a batch"))?;
                    ensure(batch.is_complete(), "a batch that is complete")?;
                    Some(0)
                }
            };
            let fits = match release {
                Release::Held => open > Some(0),
                Release::Ready | Release::Delayed(_) => open == Some(0),
                Release::Cancelled => open.is_none(),
            };
            ensure(fits && matches!(phase, Phase::Held { .. }), "its release")?;
            match parent {
                Some(parent) => _ = self.dependents.tell(parent, order)?,
                None => self.batches.end_wait(order),
            }
            self.apply_release(*id, at, *release)
        })
    }

    /// Lets a held task go, or not.
    fn apply_release(&mut self, id: TaskId, at: Millis, release: Release) -> Applied {
        let is_held = |phase: &Phase| matches!(phase, Phase::Held { .. });
        let mut task = match release {
            Release::Held => return Ok(()),
            _ => self.detach(id, is_held)?,
        };
        match release {
            Release::Cancelled => {
                self.totals.cancelled += 1;
                self.ends(&task, Ended::Cancelled);
                self.remove(&task)
            }
            Release::Delayed(due) => {
                task.entry.phase = Phase::Delayed { due };
                self.attach(&task)
            }
            Release::Held | Release::Ready => self.attach_at_back(task, at),
        }
    }

    /// Lets a held task that is retried wait for nothing any more.
    pub(crate) fn release(&mut self, task: &Detached) {
        self.dependents.release(task.order);
        self.batches.end_wait(task.order);
    }
}
