//! Tasks that wait for others: what they wait for when they are pushed, and what becomes of them when one has ended.

use std::collections::BTreeSet;

use taskslot_edges::{edge, rare};

use crate::bounds::{BATCH_MAX, STEP_TASKS, WAITS_MAX};
use crate::event::{Event, Release};
use crate::numbers::Order;
use crate::request::{After, Push, Refusal};
use crate::rules::step::Left;
use crate::state::State;
use crate::store::entry::Phase;
use crate::task::{OnDead, Parent, TaskId};
use crate::time::{Due, Now};

/// For how many tasks those that one event drops may wait together, unless it is one alone.
const STEP_PARENTS: usize = edge(BATCH_MAX, 3);

impl State {
    /// Accepts tasks that wait until all tasks of `after` have ended done. Errors: those of a push,
    /// `NeverPushed` and `Circular`.
    pub fn push_after<'a>(&self, now: Now, push: &Push<'a>, after: &After<'_>) -> Result<Event<'a>, Refusal> {
        self.push_after_beside(now, push, after, &Left::default())
    }

    /// Accepts tasks that wait for others, when another task ends in the same effect and leaves this.
    pub(crate) fn push_after_beside<'a>(
        &self,
        now: Now,
        push: &Push<'a>,
        after: &After<'_>,
        left: &Left,
    ) -> Result<Event<'a>, Refusal> {
        let parents = self.parents(after.parents, left.done)?;
        if self.may_be_circular(&parents, push.options.batch) {
            return Err(Refusal::Circular);
        }
        let Event::Pushed { first, count, options, payloads, .. } = self.push_beside(now, push, left)? else {
            return Err(Refusal::Exhausted);
        };
        let (at, when, on_dead) = (now.at, after.when.bounded(), after.on_dead);
        let options = Box::new(options);
        Ok(Event::PushedAfter { first, count, at, when, parents, on_dead, options, payloads })
    }

    /// The tasks to wait for by ascending id, each once, and which of them are not done. Task `done` is about to be.
    fn parents(&self, after: &[TaskId], done: Option<TaskId>) -> Result<Vec<Parent>, Refusal> {
        let mut ids = after.to_vec();
        ids.sort_unstable();
        ids.dedup();
        if ids.last().is_some_and(|last| *last > self.last_id) {
            return Err(Refusal::NeverPushed);
        }
        let is_open = |id| match self.find(id).map(|found| found.entry().phase) {
            None | Some(Phase::Done { .. }) => false,
            Some(
                Phase::Ready { .. }
                | Phase::Delayed { .. }
                | Phase::Held { .. }
                | Phase::Leased { .. }
                | Phase::Dead { .. },
            ) => done != Some(id),
        };
        Ok(ids.into_iter().map(|id| Parent { id, is_open: is_open(id) }).collect())
    }

    /// Whether a task of this batch would wait for a held task outside the batch. That one may wait for the batch's
    /// callback, and the callback for this task. Without such waits no circle is possible: a task waits for older tasks
    /// only, except that a callback waits for the tasks of its batch, and those wait inside the batch.
    fn may_be_circular(&self, parents: &[Parent], batch: &[u8]) -> bool {
        let Some(batch) = self.batches.find(batch) else { return false };
        parents.iter().filter_map(|parent| self.find(parent.id)).any(|found| {
            let is_held = found.entry.is_some_and(|entry| matches!(entry.phase, Phase::Held { .. }));
            is_held && found.record.batch != batch
        })
    }

    /// How many waits there are: one for each task that a held task still waits for.
    pub fn open_waits(&self) -> usize {
        self.dependents.waits()
    }

    /// How many waits end if these tasks are removed or retried.
    pub fn waits_of(&self, ids: &[TaskId]) -> usize {
        if self.dependents.waits() == 0 {
            return 0;
        }
        let unique: BTreeSet<TaskId> = ids.iter().copied().collect();
        let orders = unique.into_iter().filter_map(|id| Some(self.find(id)?.order));
        orders.map(|order| self.waits_at(order)).sum()
    }

    /// How many tasks this one was pushed to wait for.
    pub(crate) fn parents_of(&self, order: Order) -> usize {
        if self.dependents.is_empty() {
            return 0;
        }
        self.dependents.get(order).map_or(0, |dependent| dependent.parents.len())
    }

    fn waits_at(&self, order: Order) -> usize {
        self.dependents.get(order).map_or(0, |dependent| dependent.open)
    }

    /// The first of these orders, up to and with the one whose waits reach [`WAITS_MAX`] together.
    pub(crate) fn within_waits<'a>(
        &'a self,
        orders: impl Iterator<Item = Order> + 'a,
    ) -> impl Iterator<Item = Order> + 'a {
        let mut waits = 0;
        orders.take_while(move |&order| {
            let is_within = waits < WAITS_MAX;
            waits += self.waits_at(order);
            is_within
        })
    }

    /// Whether held tasks must be told that something they wait for has ended.
    pub fn has_news(&self) -> bool {
        self.dependents.has_news() || self.batches.has_complete()
    }

    /// Tells held tasks that a task has ended, or that their batch is complete; a bounded number.
    pub(crate) fn news(&self, now: Now) -> Option<Event<'static>> {
        self.complete_batches(now).or_else(|| self.ended_parent(now))
    }

    fn ended_parent(&self, now: Now) -> Option<Event<'static>> {
        let (parent, is_done, told) = self.dependents.news()?;
        // A task that is dropped no longer waits for any of its parents, up to a thousand.
        let mut dropped = 0;
        let is_light = |(on_dead, order): &(OnDead, Order)| {
            let is_dropped = *on_dead == OnDead::Drop && !is_done;
            let before = dropped;
            dropped += if is_dropped { self.waits_at(*order) } else { 0 };
            let is_light = before == 0 || dropped <= STEP_PARENTS;
            if !is_light {
                rare!("a step drops fewer tasks because they wait for many");
            }
            is_light
        };
        let release = |(on_dead, order)| {
            let open = self.dependents.get(order)?.open;
            let id = self.locate(order)?.record.id;
            match on_dead {
                OnDead::Drop if !is_done => Some((id, Release::Cancelled)),
                _ if open > 1 => Some((id, Release::Held)),
                _ => self.release_of(&now, order),
            }
        };
        let told = told.take(STEP_TASKS).take_while(is_light);
        let tasks: Vec<(TaskId, Release)> = told.filter_map(release).collect();
        if tasks.len() == STEP_TASKS {
            rare!("as many held tasks are told as one step tells");
        }
        (!tasks.is_empty()).then_some(Event::Told { parent: Some(parent), at: now.at, tasks })
    }

    /// About how much work an event is, in tasks: one that is dropped ends its wait for each of its parents.
    pub fn work(&self, event: &Event) -> usize {
        let Event::Told { tasks, .. } = event else { return event.changes().tasks.ids().count() };
        let work = |(id, release): &(TaskId, Release)| match release {
            Release::Cancelled => {
                let dependent = self.find(*id).and_then(|found| self.dependents.get(found.order));
                dependent.map_or(1, |dependent| dependent.open.max(1))
            }
            Release::Held | Release::Ready | Release::Delayed(_) => 1,
        };
        tasks.iter().map(work).sum()
    }

    /// What becomes of a held task that waits for nothing any more.
    pub(crate) fn release_of(&self, now: &Now, order: Order) -> Option<(TaskId, Release)> {
        let found = self.locate(order)?;
        let Phase::Held { when, .. } = found.entry?.phase else { return None };
        let due = when.due(now).map(Due::bounded);
        Some((found.record.id, due.map_or(Release::Ready, Release::Delayed)))
    }
}
