//! The workers of one wait queue that gather: they wait for more tasks (GATHER).
//!
//! A worker gathers until some instant. Before it, the worker gets its tasks only if they are all that it can take;
//! other workers may get tasks meanwhile. From that instant on it is a worker like any other, at the position at which
//! it came, and takes what is there. So it neither holds tasks back from others nor is passed over for ever.
//!
//! Workers that gather for the same group, or for any, do so one after the other: the first to come gathers, and those
//! behind it begin when it has its tasks or leaves. That also bounds the work: a task that comes is a matter for one of
//! them.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use taskslot_edges::edge;
use taskslot_engine::Millis;

/// How many workers at most are looked for one that can get any of the tasks. Only suspects make a difference.
pub(crate) const HEADS_LOOKED_AT: usize = edge(16, 2);

/// How a worker gathers.
#[derive(Debug)]
pub struct Gather {
    /// How long after its first task was ready, in ms.
    ms: u64,
    /// The most bytes of payload that it takes.
    pub bytes: Option<u64>,
    /// When it stops gathering, on the node's clock. Only `WaitQueues` changes it.
    until: Cell<Millis>,
    /// Whether `until` follows from the first task. That is settled once.
    is_settled: Cell<bool>,
}

impl Gather {
    /// A worker that gathers for `ms` after its first task was ready, but not longer than until `at_most`.
    pub fn new(ms: u64, bytes: Option<u64>, at_most: Millis) -> Gather {
        Gather { ms, bytes, until: Cell::new(at_most), is_settled: Cell::new(false) }
    }

    /// When it stops gathering.
    pub fn until(&self) -> Millis {
        self.until.get()
    }

    /// Whether its end follows from the first task.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_settled.get()
    }

    /// The first task has been ready for `age_ms`. Returns the end before, if it was changed.
    pub(crate) fn settle(&self, at: Millis, age_ms: u64) -> Option<Millis> {
        if self.is_settled.replace(true) {
            return None;
        }
        let before = self.until.get();
        let until = at.plus(self.ms.saturating_sub(age_ms)).min(before);
        self.until.set(until);
        (until != before).then_some(before)
    }
}

/// The workers that gather, by the group that they wait for (`None` for any) and by the end of their gathering.
#[derive(Debug, Default)]
pub(crate) struct Gatherers {
    groups: BTreeMap<Option<Box<[u8]>>, BTreeSet<u64>>,
    ends: BTreeSet<(Millis, u64)>,
}

impl Gatherers {
    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(crate) fn insert(&mut self, number: u64, group: &Option<Box<[u8]>>, until: Millis) {
        self.groups.entry(group.clone()).or_default().insert(number);
        self.ends.insert((until, number));
    }

    /// Removes a worker. Returns whether it gathered.
    pub(crate) fn remove(&mut self, number: u64, group: &Option<Box<[u8]>>, until: Millis) -> bool {
        if !self.ends.remove(&(until, number)) {
            return false;
        }
        if let Some(numbers) = self.groups.get_mut(group) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.groups.remove(group);
            }
        }
        true
    }

    /// The end of a worker's gathering has changed.
    pub(crate) fn change_end(&mut self, number: u64, before: Millis, until: Millis) {
        if self.ends.remove(&(before, number)) {
            self.ends.insert((until, number));
        }
    }

    /// The first end.
    pub(crate) fn first_end(&self) -> Option<Millis> {
        self.ends.first().map(|(until, _)| *until)
    }

    /// The first worker whose gathering is over at `at`.
    pub(crate) fn over(&self, at: Millis) -> Option<u64> {
        self.ends.first().filter(|(until, _)| *until <= at).map(|(_, number)| *number)
    }

    /// The workers that gather for this group, in the order in which they came.
    pub(crate) fn of_group(&self, group: &Option<Box<[u8]>>) -> impl Iterator<Item = u64> + '_ {
        self.groups.get(group).into_iter().flatten().copied()
    }

    /// The first worker of each group for which workers gather, by number.
    pub(crate) fn heads(&self) -> impl Iterator<Item = (u64, &Option<Box<[u8]>>)> {
        self.groups.iter().filter_map(|(group, numbers)| Some((*numbers.first()?, group)))
    }
}
