//! Runs of order numbers: the tasks of a lane that were never touched, in a few bytes for many.

use std::collections::VecDeque;

use taskslot_edges::rare;

use crate::numbers::Order;
use crate::store::page::PAGE_SLOTS;
use crate::varint;

/// The order numbers from `start` up to, but not including, `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub start: Order,
    pub end: Order,
}

/// A queue of runs in ascending order.
///
/// The first and the last run are stored as numbers, those between as varints: the gap before it, with a lowest bit that
/// says whether its length follows. Without a length it is one number, as for most tasks of a queue with many groups.
/// Appending and advancing are O(1) amortised.
#[derive(Debug, Clone, Default)]
pub(crate) struct Runs {
    pub head: Option<Run>,
    middle: VecDeque<u8>,
    /// The end of the last run in `middle`.
    middle_end: Order,
    tail: Option<Run>,
}

impl Runs {
    /// Appends a number. `extend` says that the last run can also cover all numbers before it.
    pub fn append(&mut self, order: Order, extend: bool) {
        let last = self.tail.as_mut().or(self.head.as_mut());
        match last {
            // A run over a long gap would be slow to scan.
            Some(run) if extend && order.0 - run.end.0 <= PAGE_SLOTS => run.end = order.next(),
            Some(_) => {
                if extend {
                    rare!("a run is not extended over a long gap");
                }
                if let Some(run) = self.tail {
                    self.code(run);
                }
                self.tail = Some(Run { start: order, end: order.next() });
            }
            None => self.head = Some(Run { start: order, end: order.next() }),
        }
    }

    /// Encodes a run at the end of the middle.
    fn code(&mut self, run: Run) {
        let base = if self.middle.is_empty() {
            self.head.map_or(Order(0), |head| head.end)
        } else {
            self.middle_end
        };
        let (gap, length) = (run.start.0.saturating_sub(base.0), run.end.0 - run.start.0);
        varint::put(&mut self.middle, gap << 1 | u64::from(length > 1));
        if length > 1 {
            rare!("a run in the middle has several numbers");
            varint::put(&mut self.middle, length);
        }
        self.middle_end = run.end;
    }

    /// Drops all numbers below `start`.
    pub fn advance(&mut self, start: Order) {
        while let Some(head) = self.head.as_mut() {
            if start < head.end {
                head.start = head.start.max(start);
                return;
            }
            let mut bytes = self.middle.iter();
            let next = decode(&mut bytes, head.end);
            let left = bytes.len();
            self.middle.drain(..self.middle.len() - left);
            self.head = next.or_else(|| {
                rare!("the last run becomes the first");
                self.tail.take()
            });
        }
    }

    /// Bytes taken from the allocator.
    pub fn memory(&self) -> usize {
        self.middle.capacity()
    }

    /// The end of the last run; `None` if there is none.
    pub fn end(&self) -> Option<Order> {
        let middle = if self.middle.is_empty() { None } else { Some(self.middle_end) };
        self.tail.map(|run| run.end).or(middle).or(self.head.map(|run| run.end))
    }

    /// The runs in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = Run> + '_ {
        let mut bytes = self.middle.iter();
        let mut base = self.head.map_or(Order(0), |head| head.end);
        let middle = std::iter::from_fn(move || {
            let run = decode(&mut bytes, base)?;
            base = run.end;
            Some(run)
        });
        self.head.into_iter().chain(middle).chain(self.tail)
    }
}

fn decode<'a>(bytes: &mut impl Iterator<Item = &'a u8>, base: Order) -> Option<Run> {
    let coded = varint::get_from(bytes)?;
    let length = if coded & 1 == 0 { 1 } else { varint::get_from(bytes)? };
    let start = Order(base.0 + (coded >> 1));
    Some(Run { start, end: Order(start.0 + length) })
}
