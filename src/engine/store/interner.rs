//! The names of workers with leases: each stored once, with a count of its leases.

use std::collections::BTreeMap;

use taskslot_edges::{edge, rare};

use crate::bounds::NAME_MAX_BYTES;
use crate::numbers::WorkerNumber;

/// How many free numbers the table keeps when no name is in use.
const FREE_KEPT: usize = edge(64, 1);

/// How many leases a worker holds, and how many of them are of suspects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Holds {
    pub leases: u64,
    pub suspects: u64,
}

impl Holds {
    /// Adds `by` leases; negative to subtract.
    pub fn change(&mut self, is_suspect: bool, by: i64) {
        self.leases = self.leases.saturating_add_signed(by);
        self.suspects = self.suspects.saturating_add_signed(if is_suspect { by } else { 0 });
    }
}

/// Worker names by number, so that a lease stores four bytes instead of a name.
///
/// A name is in the table while at least one lease uses it. Number 0 means "no name" and is never in the table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interner {
    numbers: BTreeMap<Box<[u8]>, WorkerNumber>,
    /// By number − 1: the name and its leases. The name is empty for a free number.
    by_number: Vec<(Box<[u8]>, Holds)>,
    free: Vec<WorkerNumber>,
    /// The name that was held last.
    last: WorkerNumber,
    /// The leases of all named workers together.
    total: Holds,
    /// Bytes of the names in use, each counted once.
    bytes: usize,
}

impl Interner {
    /// Counts one more lease for a name and returns the name's number. A new name is added.
    pub fn hold(&mut self, name: &[u8], is_suspect: bool) -> WorkerNumber {
        if name.is_empty() {
            return WorkerNumber(0);
        }
        // Mostly it is the same worker, or a few that take turns.
        let is_last = self.name(self.last) == name;
        let known = if is_last { Some(self.last) } else { self.numbers.get(name).copied() };
        if let Some(number) = known {
            self.count(number, is_suspect, 1);
            self.last = number;
            return number;
        }
        let number = match self.free.pop() {
            Some(number) => {
                rare!("a new worker gets a number that is free");
                number
            }
            None => {
                self.by_number.push((Box::default(), Holds::default()));
                WorkerNumber(self.by_number.len() as u32)
            }
        };
        if let Some(slot) = self.by_number.get_mut(number.0 as usize - 1) {
            slot.0 = name.into();
        }
        self.count(number, is_suspect, 1);
        self.bytes += name.len();
        self.numbers.insert(name.into(), number);
        number
    }

    /// Counts one more lease for a number that a stored task names; false if no name has this number.
    pub fn hold_number(&mut self, number: WorkerNumber, is_suspect: bool) -> bool {
        number.0 == 0 || (!self.name(number).is_empty() && self.count(number, is_suspect, 1).is_some())
    }

    /// Builds the table from its stored form: names by number, empty for a free number. No leases are counted yet.
    /// `None` if a name occurs twice or is too long.
    pub fn load(stored: Vec<Vec<u8>>) -> Option<Interner> {
        let mut names = Interner::default();
        for name in stored {
            let number = WorkerNumber(names.by_number.len() as u32 + 1);
            if name.len() > NAME_MAX_BYTES {
                return None;
            }
            if name.is_empty() {
                names.free.push(number);
            } else if names.numbers.insert(name.as_slice().into(), number).is_some() {
                return None;
            }
            names.bytes += name.len();
            names.by_number.push((name.into(), Holds::default()));
        }
        Some(names)
    }

    /// The table in the form that [`Interner::load`] reads.
    pub fn stored(&self) -> Vec<Vec<u8>> {
        self.by_number.iter().map(|(name, _)| name.to_vec()).collect()
    }

    /// Counts one lease fewer for a name. The last one removes the name; returns true in that case.
    pub fn release(&mut self, number: WorkerNumber, is_suspect: bool) -> bool {
        let is_last = self.count(number, is_suspect, -1) == Some(0);
        if is_last {
            let slot = self.by_number.get_mut(number.0 as usize - 1).map(std::mem::take);
            if let Some((name, _)) = slot {
                self.numbers.remove(&name);
                self.bytes -= name.len();
            }
            self.free.push(number);
            if self.numbers.is_empty() && self.by_number.len() > FREE_KEPT {
                rare!("a large table of workers is empty");
                *self = Interner::default();
            }
        }
        is_last
    }

    fn count(&mut self, number: WorkerNumber, is_suspect: bool, by: i64) -> Option<u64> {
        let (_, holds) = self.by_number.get_mut((number.0 as usize).checked_sub(1)?)?;
        holds.change(is_suspect, by);
        self.total.change(is_suspect, by);
        Some(holds.leases)
    }

    /// The number and the leases of a name in use.
    pub fn find(&self, name: &[u8]) -> Option<(WorkerNumber, Holds)> {
        let number = *self.numbers.get(name)?;
        Some((number, self.holds(number)))
    }

    fn holds(&self, number: WorkerNumber) -> Holds {
        let slot = (number.0 as usize).checked_sub(1).and_then(|at| self.by_number.get(at));
        slot.map_or(Holds::default(), |(_, holds)| *holds)
    }

    /// The name with this number; empty for number 0.
    pub fn name(&self, number: WorkerNumber) -> &[u8] {
        let slot = (number.0 as usize).checked_sub(1).and_then(|at| self.by_number.get(at));
        slot.map_or(&[], |(name, _)| name)
    }

    /// The names in use with their leases.
    pub fn all(&self) -> impl Iterator<Item = (&[u8], Holds)> {
        self.by_number.iter().filter(|(name, _)| !name.is_empty()).map(|(name, holds)| (&**name, *holds))
    }

    /// Whether a name is in use.
    pub fn knows(&self, name: &[u8]) -> bool {
        self.numbers.contains_key(name)
    }

    /// How many names are in use.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// The leases of all named workers together.
    pub fn total(&self) -> Holds {
        self.total
    }

    /// The names in use in sorted order, each with its number and its number of leases.
    pub fn by_name(&self) -> impl Iterator<Item = (&[u8], WorkerNumber, u64)> {
        self.numbers.iter().map(|(name, &number)| (&**name, number, self.holds(number).leases))
    }

    /// Bytes taken from the allocator, approximately.
    pub fn memory(&self) -> usize {
        2 * self.bytes + self.numbers.len() * 56 + self.by_number.capacity() * 32 + self.free.capacity() * 4
    }
}
