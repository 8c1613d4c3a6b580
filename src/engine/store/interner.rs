//! The names of workers that hold leases, each stored once and counted, and what each of them holds.

use std::collections::BTreeMap;

use crate::bounds::NAME_MAX_BYTES;
use crate::numbers::WorkerNumber;

/// Free places that a table keeps when no name is in use.
const FREE_KEPT: usize = 64;

/// How many leases carry a name, and how many of them are of suspects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Holds {
    pub leases: u64,
    pub suspects: u64,
}

impl Holds {
    /// One lease more or fewer.
    pub fn change(&mut self, is_suspect: bool, by: i64) {
        self.leases = self.leases.saturating_add_signed(by);
        self.suspects = self.suspects.saturating_add_signed(if is_suspect { by } else { 0 });
    }
}

/// A table of names. Number 0 stands for "no name" and is never in the table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interner {
    numbers: BTreeMap<Box<[u8]>, WorkerNumber>,
    /// By number − 1: the name and what it holds; a free place has none.
    places: Vec<(Box<[u8]>, Holds)>,
    free: Vec<WorkerNumber>,
    /// What all names hold together.
    total: Holds,
    /// Bytes of the names in use.
    bytes: usize,
}

impl Interner {
    /// The number of a name for one more lease.
    pub fn hold(&mut self, name: &[u8], is_suspect: bool) -> WorkerNumber {
        if name.is_empty() {
            return WorkerNumber(0);
        }
        if let Some(&number) = self.numbers.get(name) {
            self.count(number, is_suspect, 1);
            return number;
        }
        let number = match self.free.pop() {
            Some(number) => number,
            None => {
                self.places.push((Box::default(), Holds::default()));
                WorkerNumber(self.places.len() as u32)
            }
        };
        if let Some(place) = self.places.get_mut(number.0 as usize - 1) {
            place.0 = name.into();
        }
        self.count(number, is_suspect, 1);
        self.bytes += name.len();
        self.numbers.insert(name.into(), number);
        number
    }

    /// Counts one more lease for a number that a file named; false where no name has it.
    pub fn hold_number(&mut self, number: WorkerNumber, is_suspect: bool) -> bool {
        number.0 == 0 || (!self.name(number).is_empty() && self.count(number, is_suspect, 1).is_some())
    }

    /// The table that a file holds: names by number, an empty one for a free number. Nobody holds any yet.
    /// `None` where a name is there twice or too long.
    pub fn load(stored: Vec<Vec<u8>>) -> Option<Interner> {
        let mut names = Interner::default();
        for name in stored {
            let number = WorkerNumber(names.places.len() as u32 + 1);
            if name.len() > NAME_MAX_BYTES {
                return None;
            }
            if name.is_empty() {
                names.free.push(number);
            } else if names.numbers.insert(name.as_slice().into(), number).is_some() {
                return None;
            }
            names.bytes += name.len();
            names.places.push((name.into(), Holds::default()));
        }
        Some(names)
    }

    /// The table as [`Interner::load`] takes it.
    pub fn stored(&self) -> Vec<Vec<u8>> {
        self.places.iter().map(|(name, _)| name.to_vec()).collect()
    }

    /// One lease fewer carries the name; the last one's end forgets it. True where it is forgotten.
    pub fn release(&mut self, number: WorkerNumber, is_suspect: bool) -> bool {
        let is_last = self.count(number, is_suspect, -1) == Some(0);
        if is_last {
            let place = self.places.get_mut(number.0 as usize - 1).map(std::mem::take);
            if let Some((name, _)) = place {
                self.numbers.remove(&name);
                self.bytes -= name.len();
            }
            self.free.push(number);
            if self.numbers.is_empty() && self.places.len() > FREE_KEPT {
                *self = Interner::default();
            }
        }
        is_last
    }

    fn count(&mut self, number: WorkerNumber, is_suspect: bool, by: i64) -> Option<u64> {
        let (_, holds) = self.places.get_mut((number.0 as usize).checked_sub(1)?)?;
        holds.change(is_suspect, by);
        self.total.change(is_suspect, by);
        Some(holds.leases)
    }

    /// The number of a name in use, and what it holds.
    pub fn find(&self, name: &[u8]) -> Option<(WorkerNumber, Holds)> {
        let number = *self.numbers.get(name)?;
        Some((number, self.holds(number)))
    }

    fn holds(&self, number: WorkerNumber) -> Holds {
        let place = (number.0 as usize).checked_sub(1).and_then(|at| self.places.get(at));
        place.map_or(Holds::default(), |(_, holds)| *holds)
    }

    /// The name; empty for none.
    pub fn name(&self, number: WorkerNumber) -> &[u8] {
        let place = (number.0 as usize).checked_sub(1).and_then(|at| self.places.get(at));
        place.map_or(&[], |(name, _)| name)
    }

    /// What each name in use holds.
    pub fn all(&self) -> impl Iterator<Item = (&[u8], Holds)> {
        self.places.iter().filter(|(name, _)| !name.is_empty()).map(|(name, holds)| (&**name, *holds))
    }

    /// Whether a name is in use.
    pub fn knows(&self, name: &[u8]) -> bool {
        self.numbers.contains_key(name)
    }

    /// How many names are in use.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// What all names hold together.
    pub fn total(&self) -> Holds {
        self.total
    }

    /// The names in use in their order, each with its number and how many leases carry it.
    pub fn by_name(&self) -> impl Iterator<Item = (&[u8], WorkerNumber, u64)> {
        self.numbers.iter().map(|(name, &number)| (&**name, number, self.holds(number).leases))
    }

    /// Bytes taken from the allocator, about.
    pub fn memory(&self) -> usize {
        2 * self.bytes + self.numbers.len() * 56 + self.places.capacity() * 32 + self.free.capacity() * 4
    }
}
