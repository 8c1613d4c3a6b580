//! The table of tasks that were pushed to wait for other tasks (AFTER).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::bounds::BATCH_MAX;
use crate::invalid::{Invalid, ensure};
use crate::numbers::Order;
use crate::task::{OnDead, Parent, TaskId};

/// A task that was pushed to wait for others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dependent {
    /// The tasks it was pushed to wait for, by ascending id. They stay known until the dependent is removed, so that
    /// its worker can ask for their results.
    pub parents: Box<[Parent]>,
    pub on_dead: OnDead,
    /// How many of them it still waits for.
    pub open: usize,
}

/// A dependent in its stored form.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredDependent {
    pub order: u64,
    pub on_dead: OnDead,
    pub parents: Vec<Parent>,
}

/// An edge of the graph: a dependent waits for a parent. The edges of a parent are ordered by what becomes of the
/// dependents if it ends otherwise than done.
type Edge = (TaskId, OnDead, Order);

/// Why a dependent can't be told.
const TOLD: Invalid = Invalid("a task that waits for one that has ended");

/// Which task waits for which, and which has ended.
///
/// A parent that ends stays in `ended` until all of its dependents were told, a bounded number at a time. Those that
/// WAIT are not told of an end that isn't done.
///
/// Invariants: there is an edge for each open parent of each dependent, and no other; `open` counts them; each parent
/// in `ended` has an edge of which it must tell.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dependents {
    by_order: BTreeMap<Order, Dependent>,
    edges: BTreeSet<Edge>,
    /// The parents that ended, and whether they are done.
    ended: BTreeMap<TaskId, bool>,
    /// The number of all parents of all dependents.
    parents: usize,
}

impl Dependents {
    pub fn is_empty(&self) -> bool {
        self.by_order.is_empty()
    }

    /// How many tasks were pushed to wait for others and are still in the queue.
    pub fn len(&self) -> usize {
        self.by_order.len()
    }

    /// How many edges there are.
    pub fn waits(&self) -> usize {
        self.edges.len()
    }

    pub fn get(&self, order: Order) -> Option<&Dependent> {
        self.by_order.get(&order)
    }

    pub fn iter(&self) -> impl Iterator<Item = (Order, &Dependent)> {
        self.by_order.iter().map(|(order, dependent)| (*order, dependent))
    }

    /// Whether a parent has ended whose dependents were not told yet.
    pub fn has_news(&self) -> bool {
        !self.ended.is_empty()
    }

    /// The parents that ended, and whether they are done.
    pub fn ended(&self) -> impl Iterator<Item = (TaskId, bool)> {
        self.ended.iter().map(|(id, is_done)| (*id, *is_done))
    }

    /// The dependents that must be told next: the parent, whether it is done, and the dependents in order.
    pub fn news(&self) -> Option<(TaskId, bool, impl Iterator<Item = (OnDead, Order)>)> {
        let (&parent, &is_done) = self.ended.first_key_value()?;
        Some((parent, is_done, self.to_tell(parent, is_done)))
    }

    /// The dependents to tell of the end of a parent.
    fn to_tell(&self, parent: TaskId, is_done: bool) -> impl Iterator<Item = (OnDead, Order)> {
        let first = if is_done { OnDead::Wait } else { OnDead::Run };
        let edges = self.edges.range((parent, first, Order(0))..=(parent, OnDead::Drop, Order(u64::MAX)));
        edges.map(|(_, on_dead, order)| (*on_dead, *order))
    }

    /// Adds a dependent. Parents must ascend. Errors: they don't, there are too many, or it is there.
    pub fn add(&mut self, order: Order, parents: &[Parent], on_dead: OnDead) -> Result<(), Invalid> {
        ensure((1..=BATCH_MAX).contains(&parents.len()), "1 to 1000 tasks to wait for")?;
        ensure(parents.is_sorted_by(|a, b| a.id < b.id), "tasks to wait for in order")?;
        let open = parents.iter().filter(|parent| parent.is_open).count();
        let dependent = Dependent { parents: parents.into(), on_dead, open };
        ensure(self.by_order.insert(order, dependent).is_none(), "one list of tasks to wait for")?;
        self.parents += parents.len();
        let open = parents.iter().filter(|parent| parent.is_open);
        self.edges.extend(open.map(|parent| (parent.id, on_dead, order)));
        Ok(())
    }

    /// Removes a dependent, which is removed itself.
    pub fn remove(&mut self, order: Order) {
        self.release(order);
        if let Some(dependent) = self.by_order.remove(&order) {
            self.parents -= dependent.parents.len();
        }
    }

    /// Lets a dependent wait for nothing any more.
    pub fn release(&mut self, order: Order) {
        let Some(dependent) = self.by_order.get_mut(&order).filter(|dependent| dependent.open > 0) else {
            return;
        };
        dependent.open = 0;
        let mut told = Vec::new();
        for parent in dependent.parents.iter_mut().filter(|parent| parent.is_open) {
            parent.is_open = false;
            self.edges.remove(&(parent.id, dependent.on_dead, order));
            told.push(parent.id);
        }
        told.into_iter().for_each(|parent| self.forget_told(parent));
    }

    /// Notes that a task has ended, if others wait for it.
    pub fn end(&mut self, parent: TaskId, is_done: bool) {
        if self.to_tell(parent, is_done).next().is_some() {
            self.ended.insert(parent, is_done);
        }
    }

    /// Notes that a task lives again.
    pub fn revive(&mut self, parent: TaskId) {
        self.ended.remove(&parent);
    }

    /// Tells a dependent that a parent has ended. Returns how many others it still waits for; `None` if it is to be
    /// cancelled. Errors: it isn't to be told.
    pub fn tell(&mut self, parent: TaskId, order: Order) -> Result<Option<usize>, Invalid> {
        let open = self.told(parent, order)?;
        let dependent = self.by_order.get_mut(&order).ok_or(TOLD)?;
        let at = dependent.parents.binary_search_by_key(&parent, |parent| parent.id).map_err(|_| TOLD)?;
        dependent.parents.get_mut(at).ok_or(TOLD)?.is_open = false;
        dependent.open -= 1;
        self.edges.remove(&(parent, dependent.on_dead, order));
        self.forget_told(parent);
        Ok(open)
    }

    /// What [`Dependents::tell`] will return.
    pub fn told(&self, parent: TaskId, order: Order) -> Result<Option<usize>, Invalid> {
        let is_done = *self.ended.get(&parent).ok_or(TOLD)?;
        let dependent = self.by_order.get(&order).ok_or(TOLD)?;
        ensure(is_done || dependent.on_dead != OnDead::Wait, TOLD.0)?;
        ensure(self.edges.contains(&(parent, dependent.on_dead, order)), TOLD.0)?;
        let is_dropped = !is_done && dependent.on_dead == OnDead::Drop;
        Ok((!is_dropped).then_some(dependent.open.saturating_sub(1)))
    }

    /// Forgets a parent that ended, if there is nobody left to tell.
    fn forget_told(&mut self, parent: TaskId) {
        let Some(&is_done) = self.ended.get(&parent) else { return };
        if self.to_tell(parent, is_done).next().is_none() {
            self.ended.remove(&parent);
        }
    }

    pub fn stored(&self) -> impl Iterator<Item = StoredDependent> + '_ {
        self.iter().map(|(order, dependent)| StoredDependent {
            order: order.0,
            on_dead: dependent.on_dead,
            parents: dependent.parents.to_vec(),
        })
    }

    /// Adds a parent that ended, after all dependents. Errors: it has nobody to tell, or it is there.
    pub fn load_ended(&mut self, parent: TaskId, is_done: bool) -> Result<(), Invalid> {
        self.end(parent, is_done);
        ensure(self.ended.get(&parent) == Some(&is_done), "a task that waits for one that has ended")
    }

    /// Whether the graph agrees with itself. O(edges).
    pub fn validate(&self) -> Result<(), Invalid> {
        let edges = self.iter().flat_map(|(order, dependent)| {
            let open = dependent.parents.iter().filter(|parent| parent.is_open);
            open.map(move |parent| (parent.id, dependent.on_dead, order))
        });
        ensure(edges.collect::<BTreeSet<Edge>>() == self.edges, "an index of what tasks wait for")?;
        let open = |dependent: &Dependent| dependent.parents.iter().filter(|parent| parent.is_open).count();
        let all = || self.by_order.values();
        ensure(all().all(|one| one.open == open(one)), "a correct count of what each task waits for")?;
        let parents = all().map(|one| one.parents.len()).sum::<usize>();
        ensure(parents == self.parents, "a correct count of tasks that others wait for")?;
        let has_news = |(parent, is_done)| self.to_tell(parent, is_done).next().is_some();
        ensure(self.ended().all(has_news), "somebody to tell of each task that has ended")
    }

    /// The open edges: parent, what becomes of the dependent if it is not done, dependent.
    pub fn edges(&self) -> impl Iterator<Item = Edge> {
        self.edges.iter().copied()
    }

    /// Whether the parent has ended, and its dependents are not all told yet: whether it is done.
    pub fn has_ended(&self, parent: TaskId) -> Option<bool> {
        self.ended.get(&parent).copied()
    }

    /// Bytes taken from the allocator, approximately.
    pub fn memory(&self) -> usize {
        // Trees whose nodes are two thirds full.
        self.by_order.len() * 64
            + self.parents * size_of::<Parent>()
            + self.edges.len() * 48
            + self.ended.len() * 40
    }
}

impl StoredDependent {
    /// Bytes of the stored form, approximately.
    pub fn stored_bytes(&self) -> usize {
        self.parents.len() * 40 + 24
    }
}
