//! What must hold over all nodes and all of their histories, also those that a fault undid: lease numbers, and copies
//! that have had the same changes.

use std::collections::{BTreeMap, BTreeSet};

use taskslot_engine::Queue;

use super::message::Name;

/// The time in which one primary has a queue: from its promotion, or from when the queue was moved to it, or was created.
struct Reign {
    /// The reign whose data it took over, whether anything was changed in that or not.
    parent: Option<usize>,
    /// Its numbers need not be above those of reigns before it.
    is_loose: bool,
    /// The lowest and the highest lease number that it has given.
    numbers: Option<(u64, u64)>,
}

#[derive(Default)]
pub struct Judge {
    reigns: Vec<Reign>,
    /// Each lease number of a task, by the task's number.
    given: BTreeSet<(u64, u64)>,
    /// The fingerprints of queues after a change.
    fingerprints: BTreeMap<(Name, u64), [u8; 16]>,
    pub counts: BTreeMap<&'static str, u64>,
}

impl Judge {
    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub fn reign(&mut self, parent: Option<usize>, is_loose: bool) -> usize {
        self.reigns.push(Reign { parent, is_loose, numbers: None });
        self.reigns.len() - 1
    }

    /// The reigns before this one whose numbers must be lower.
    fn before(&self, reign: usize) -> impl Iterator<Item = usize> {
        let parent = |at: usize| self.reigns[at].parent.filter(|_| !self.reigns[at].is_loose);
        std::iter::successors(parent(reign), move |&at| parent(at))
    }

    fn is_before(&self, one: usize, reign: usize) -> bool {
        self.before(reign).any(|before| before == one)
    }

    /// A lease number was given for a task. It must be new for the task; above all numbers of this reign and of those
    /// that it follows; and below all numbers of those that follow it, since an old primary can live on.
    pub fn gives(&mut self, reign: usize, uid: u64, number: u64) {
        self.count("leases");
        assert!(self.given.insert((uid, number)), "lease number {number} is given twice for a task");
        if let Some((_, highest)) = self.reigns[reign].numbers {
            assert!(number > highest, "lease number {number} after {highest}");
        }
        for before in self.before(reign) {
            let Some((_, highest)) = self.reigns[before].numbers else { continue };
            assert!(number > highest, "lease number {number}, though a primary before gave {highest}");
        }
        for after in reign + 1..self.reigns.len() {
            let Some((lowest, _)) = self.reigns[after].numbers else { continue };
            let follows = self.is_before(reign, after);
            assert!(!follows || number < lowest, "an old primary gives {number}, a new one gave {lowest}");
        }
        let numbers = &mut self.reigns[reign].numbers;
        *numbers = Some((numbers.map_or(number, |(lowest, _)| lowest), number));
    }

    /// Copies that have had the same changes must be equal.
    pub fn compares(&mut self, name: Name, head: u64, queue: &Queue) {
        self.count("comparisons");
        let seen = queue.fingerprint();
        let known = *self.fingerprints.entry((name, head)).or_insert(seen);
        assert_eq!(known, seen, "copies differ that have had the same changes");
    }

    /// Compares only if a copy with these changes was seen before.
    pub fn compares_if_known(&mut self, name: Name, head: u64, queue: &Queue) {
        if self.fingerprints.contains_key(&(name, head)) {
            self.compares(name, head, queue);
        }
    }
}
