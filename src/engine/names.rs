//! The names of workers that hold leases, each stored once and counted.

use std::collections::BTreeMap;

use crate::entry::WorkerNumber;
use crate::task::NAME_MAX_BYTES;

/// Free places that a table keeps when no name is in use.
const FREE_KEPT: usize = 64;

/// A table of names. Number 0 stands for "no name" and is never in the table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    numbers: BTreeMap<Box<[u8]>, WorkerNumber>,
    /// By number − 1: the name and how many leases carry it; a free place has none.
    places: Vec<(Box<[u8]>, u64)>,
    free: Vec<WorkerNumber>,
    /// Leases that carry a name.
    total: u64,
    /// Bytes of the names in use.
    bytes: usize,
}

impl Names {
    /// The number of a name for one more lease.
    pub fn hold(&mut self, name: &[u8]) -> WorkerNumber {
        if name.is_empty() {
            return WorkerNumber(0);
        }
        if let Some(&number) = self.numbers.get(name) {
            self.count(number, 1);
            return number;
        }
        let number = match self.free.pop() {
            Some(number) => number,
            None => {
                self.places.push((Box::default(), 0));
                WorkerNumber(self.places.len() as u32)
            }
        };
        if let Some(place) = self.places.get_mut(number.0 as usize - 1) {
            *place = (name.into(), 1);
        }
        self.total += 1;
        self.bytes += name.len();
        self.numbers.insert(name.into(), number);
        number
    }

    /// Whether a lease carries the name.
    pub fn has(&self, name: &[u8]) -> bool {
        self.numbers.contains_key(name)
    }

    /// Counts one more lease for a number that a file named; false where no name has it.
    pub fn hold_number(&mut self, number: WorkerNumber) -> bool {
        number.0 == 0 || (!self.name(number).is_empty() && self.count(number, 1).is_some())
    }

    /// The table that a file holds: names by number, an empty one for a free number. Nobody holds any yet.
    /// `None` where a name is there twice or too long.
    pub fn load(stored: Vec<Vec<u8>>) -> Option<Names> {
        let mut names = Names::default();
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
            names.places.push((name.into(), 0));
        }
        Some(names)
    }

    /// The table as [`Names::load`] takes it.
    pub fn stored(&self) -> Vec<Vec<u8>> {
        self.places.iter().map(|(name, _)| name.to_vec()).collect()
    }

    /// One lease fewer carries the name; the last one's end forgets it.
    pub fn release(&mut self, number: WorkerNumber) {
        if self.count(number, -1) == Some(0) {
            let place = self.places.get_mut(number.0 as usize - 1).map(std::mem::take);
            if let Some((name, _)) = place {
                self.numbers.remove(&name);
                self.bytes -= name.len();
            }
            self.free.push(number);
            if self.numbers.is_empty() && self.places.len() > FREE_KEPT {
                *self = Names::default();
            }
        }
    }

    fn count(&mut self, number: WorkerNumber, by: i64) -> Option<u64> {
        let (_, leases) = self.places.get_mut((number.0 as usize).checked_sub(1)?)?;
        *leases = leases.saturating_add_signed(by);
        self.total = self.total.saturating_add_signed(by);
        Some(*leases)
    }

    /// The name; empty for none.
    pub fn name(&self, number: WorkerNumber) -> &[u8] {
        let place = (number.0 as usize).checked_sub(1).and_then(|at| self.places.get(at));
        place.map_or(&[], |(name, _)| name)
    }

    /// How many leases carry each name in use.
    pub fn leases(&self) -> impl Iterator<Item = (&[u8], u64)> {
        self.places.iter().filter(|(name, _)| !name.is_empty()).map(|(name, leases)| (&**name, *leases))
    }

    /// How many names are in use.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// How many leases carry a name.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The names in use in their order, each with its number and how many leases carry it.
    pub fn by_name(&self) -> impl Iterator<Item = (&[u8], WorkerNumber, u64)> {
        self.numbers.iter().map(|(name, &number)| {
            let place = (number.0 as usize).checked_sub(1).and_then(|at| self.places.get(at));
            (&**name, number, place.map_or(0, |(_, leases)| *leases))
        })
    }

    /// Bytes taken from the allocator, about.
    pub fn memory(&self) -> usize {
        2 * self.bytes + self.numbers.len() * 56 + self.places.capacity() * 24 + self.free.capacity() * 4
    }
}
