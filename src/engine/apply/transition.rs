//! Moving tasks between states.
//!
//! A task is in the structures of its state and in no others. Every change of state takes it out of one
//! ([`State::detach`]) and puts it into another ([`State::attach`]) or removes it ([`State::remove`]). These three keep
//! all counters and indexes: lanes, groups, delayed, held, dead and done tasks, worker names, tokens,
//! expiry, and the counts of batches.

use crate::event::Then;
use crate::invalid::{Applied, Invalid, ensure};
use crate::numbers::Order;
use crate::state::State;
use crate::store::batches::Ended;
use crate::store::entry::{Entry, Phase};
use crate::store::lanes::LaneKey;
use crate::store::log::Position;
use crate::task::TaskId;
use crate::time::Millis;

/// A task between two states. It must be attached to another state, or removed.
#[must_use]
pub(crate) struct Detached {
    pub position: Position,
    pub order: Order,
    pub key: LaneKey,
    pub entry: Entry,
}

impl State {
    /// Checks that an order number is left, before anything is changed. Errors: they are used up.
    pub(crate) fn can_draw(&self) -> Applied {
        ensure(self.next_order < Order::MAX, "an order number")
    }

    /// Draws the next order number. Errors: they are used up.
    pub(crate) fn draw(&mut self) -> Result<Order, Invalid> {
        self.can_draw()?;
        let drawn = self.next_order;
        self.next_order = drawn.next();
        Ok(drawn)
    }

    /// Takes a task out of the structures of its state. Errors: there is no such task, or `is_expected` refuses its
    /// phase.
    pub(crate) fn detach(
        &mut self,
        id: TaskId,
        is_expected: impl Fn(&Phase) -> bool,
    ) -> Result<Detached, Invalid> {
        self.detach_if(id, |entry| is_expected(&entry.phase))
    }

    /// The same, if its entry is as expected.
    pub(crate) fn detach_if(
        &mut self,
        id: TaskId,
        is_expected: impl Fn(&Entry) -> bool,
    ) -> Result<Detached, Invalid> {
        let found = self.find(id).ok_or(Invalid("a living task"))?;
        let (position, order, key) = (found.position, found.order, found.key());
        let (entry, touched) = (found.entry(), found.entry);
        ensure(is_expected(&entry), "a task in another state")?;
        match entry.phase {
            Phase::Ready { .. } => {
                self.forget_expiry(position, order, touched.as_ref());
                match touched {
                    None => self.lanes.take_fresh(key, order, position, &self.log),
                    Some(_) => self.lanes.take_returned(key, entry.rank, entry.is_suspect()),
                }
                if self.lanes.suspects() == 0 {
                    (self.passed_over, self.awaited) = (None, None);
                }
            }
            Phase::Delayed { due } => self.delayed.remove(due, order),
            Phase::Held { .. } => {
                let is_held = self.held.remove(&order);
                debug_assert!(is_held, "a held task is indexed");
            }
            Phase::Leased { worker, tied, .. } => {
                debug_assert!(self.leased > 0, "leased tasks are counted");
                self.leased -= 1;
                if self.workers.release(worker, entry.is_suspect()) && self.awaited == Some(worker) {
                    self.awaited = None;
                }
                if tied {
                    self.local.ties.untie(id);
                }
            }
            Phase::Dead { at } => {
                let is_dead = self.dead.remove(&(at, order));
                debug_assert!(is_dead, "a dead task is indexed");
                self.revives(position);
            }
            Phase::Done { at, until } => self.done.remove(at, until, order, self.task_bytes(position, order)),
        }
        self.count_in_group(key.group, &entry.phase, entry.deliveries, -1);
        Ok(Detached { position, order, key, entry })
    }

    /// Puts a task into the structures of the state in its entry. Errors: an instant is out of bounds, or its rank is
    /// taken.
    pub(crate) fn attach(&mut self, task: &Detached) -> Applied {
        let mut deadline = None;
        match task.entry.phase {
            Phase::Ready { since } => {
                ensure(since <= Millis::MAX, "an instant")?;
                let (key, rank, weight) = (task.key, task.entry.rank, self.running(task.key.group));
                let is_free = self.lanes.put_returned(key, weight, rank, task.order, task.entry.is_suspect());
                ensure(is_free, "a rank that no other task has")?;
                self.index_expiry(task.position, task.order, Some(&task.entry));
            }
            Phase::Delayed { due } => {
                ensure(due.instant() <= Millis::MAX, "an instant")?;
                self.delayed.insert(due, task.order);
            }
            Phase::Held { since, when } => {
                ensure(since <= Millis::MAX && when.is_valid(), "an instant")?;
                self.held.insert(task.order);
            }
            Phase::Leased { deadline: until, .. } => {
                self.leased += 1;
                deadline = Some(until);
            }
            Phase::Dead { at } => {
                ensure(at <= Millis::MAX, "an instant")?;
                self.totals.dead += 1;
                self.dead.insert((at, task.order));
                self.let_go(task.position);
            }
            Phase::Done { at, until } => {
                ensure(at <= Millis::MAX, "an instant")?;
                self.done.insert(at, until, task.order, self.task_bytes(task.position, task.order));
            }
        }
        self.count_in_group(task.key.group, &task.entry.phase, task.entry.deliveries, 1);
        self.log.set_entry(task.position, &task.entry, deadline);
        Ok(())
    }

    /// Attaches a task whose lease ended in the state that the event says.
    pub(crate) fn attach_as(&mut self, mut task: Detached, then: &Then) -> Applied {
        task.entry.phase = match *then {
            Then::Ready(since) => Phase::Ready { since },
            Then::Delayed(due) => Phase::Delayed { due },
            Then::Dead(at) => Phase::Dead { at },
        };
        if let Then::Dead(_) = then {
            self.ends(&task, Ended::Dead);
        }
        self.attach(&task)
    }

    /// Attaches a task as ready, at the back of its lane. A task that comes back to an ordered group keeps its
    /// position.
    pub(crate) fn attach_at_back(&mut self, mut task: Detached, at: Millis) -> Applied {
        let is_back = matches!(task.entry.phase, Phase::Delayed { .. }) && task.entry.deliveries > 0;
        if !is_back || !self.keeps_position(task.key.group) {
            task.entry.rank = self.draw()?.rank();
        }
        task.entry.phase = Phase::Ready { since: at };
        self.attach(&task)
    }

    /// Removes a detached task from the log, with everything that is stored about it.
    pub(crate) fn remove(&mut self, task: &Detached) -> Applied {
        self.errors.forget(task.order);
        self.attempts.forget(task.order);
        self.results.forget(task.order);
        self.progress.forget(task.order);
        self.let_go(task.position);
        self.edits.remove(task.order);
        self.forget_waits(task.order);
        self.log.remove(task.position);
        self.count_task_in_group(task.key.group, -1);
        Ok(())
    }
}

pub(crate) fn is_leased(phase: &Phase) -> bool {
    matches!(phase, Phase::Leased { .. })
}
