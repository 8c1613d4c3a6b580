//! The log of all tasks, as pages of records.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ops::{Bound, Range};

use taskslot_edges::rare;

use crate::invalid::{Invalid, ensure};
use crate::numbers::Order;
use crate::store::entry::Entry;
use crate::store::page::Page;
use crate::store::pages::{PageAt, Pages};
use crate::store::record::{NewRecord, Record, record_len};
use crate::task::TaskId;
use crate::time::Millis;

/// The position of a task in the log, valid until the next push or removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Position {
    page: PageAt,
    slot: u32,
}

impl Position {
    fn new(page: PageAt, slot: usize) -> Position {
        Position { page, slot: slot as u32 }
    }

    fn slot(self) -> usize {
        self.slot as usize
    }
}

/// A page, by its first order number, with a lower bound of its deadlines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageBound {
    pub bound: Millis,
    pub first: Order,
}

/// Every task's record, ordered by id, in pages, for the task's whole life.
///
/// A body never moves when its task changes state; what changes is in the page's entries. A task is found by its order
/// number or its id, both by binary search over the pages. Leases are found by deadline through a lower bound per page
/// (`bounds`), so a claim, an ACK or an EXTEND updates no index.
///
/// Invariants: order numbers and ids grow together; only the last page can be empty; the counters match the pages.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pages: Pages,
    bounds: BTreeSet<(Millis, Order)>,
    tasks: u64,
    record_bytes: u64,
    /// No record is longer.
    longest: usize,
    memory: usize,
    /// The position found last, tried first by the next search. It can be stale.
    last: Cell<Position>,
}

impl Clone for Log {
    /// A copy has no spare capacity, so its memory is counted anew.
    fn clone(&self) -> Log {
        let pages = self.pages.clone();
        let memory = pages.iter().map(Page::memory).sum();
        let (tasks, record_bytes, longest) = (self.tasks, self.record_bytes, self.longest);
        Log {
            pages,
            bounds: self.bounds.clone(),
            tasks,
            record_bytes,
            longest,
            memory,
            last: Cell::default(),
        }
    }
}

impl Log {
    /// How many tasks there are, in any state.
    pub fn tasks(&self) -> u64 {
        self.tasks
    }

    /// Bytes of all records: payloads, headers and a few bytes each.
    pub fn record_bytes(&self) -> u64 {
        self.record_bytes
    }

    /// No record is longer than this: the length of the longest that was in the log.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// Bytes taken from the allocator.
    pub fn memory(&self) -> usize {
        self.memory + self.pages.memory() + self.bounds.len() * 24
    }

    /// How many pages there are.
    pub fn pages(&self) -> usize {
        self.pages.len()
    }

    /// Appends a task. Its order number and its id must be larger than any before.
    pub fn push(&mut self, order: Order, record: &NewRecord) {
        debug_assert!(
            self.pages.back().is_none_or(|last| order.0 >= last.first().0 + last.slots() as u64),
            "numbers grow"
        );
        let length = self.make_room(order, record);
        if let Some(last) = self.pages.back_mut() {
            let before = last.memory();
            last.push(order, record);
            self.memory = self.memory + last.memory() - before;
        }
        self.tasks += 1;
        self.record_bytes += length as u64;
        self.longest = self.longest.max(length);
    }

    /// Makes sure that the last page has room for the record. Returns the record's length.
    fn make_room(&mut self, order: Order, record: &NewRecord) -> usize {
        let id = record.id;
        if let Some(last) = self.pages.back_mut() {
            if last.live() == 0 {
                // A queue that is emptied again and again reuses the same page and allocates nothing.
                let (bound, first) = (last.bound, last.first());
                rare!("the empty last page is reused");
                let length = record_len(id, record);
                last.reuse(order, id);
                if let Some(bound) = bound {
                    self.bounds.remove(&(bound, first));
                }
                return length;
            }
            let length = record_len(last.base(), record);
            if last.has_room(order, length) {
                return length;
            }
            rare!("a page is full");
            let before = last.memory();
            last.seal();
            self.memory = self.memory + last.memory() - before;
        }
        let length = record_len(id, record);
        let page = match self.pages.back() {
            Some(last) => last.next(order, id, length),
            None => Page::new(order, id, length),
        };
        self.memory += page.memory();
        self.pages.push_back(page);
        length
    }

    /// Appends a page that was loaded; false (and no change) if it does not follow the last page.
    pub fn append(&mut self, page: Page) -> bool {
        let follows = self.pages.back().is_none_or(|last| {
            let last_id = (0..last.slots()).rev().find_map(|slot| last.id(slot));
            page.first().0 >= last.first().0 + last.slots() as u64
                && last_id.is_none_or(|id| page.base() > id)
        });
        if !follows {
            return false;
        }
        if let Some(bound) = page.bound {
            self.bounds.insert((bound, page.first()));
        }
        self.tasks += u64::from(page.live());
        self.memory += page.memory();
        self.record_bytes += page.live_bytes() as u64;
        self.longest = (0..page.slots()).map(|slot| page.record_len(slot)).fold(self.longest, usize::max);
        self.pages.push_back(page);
        true
    }

    /// The position of the task with this id.
    pub fn find(&self, id: TaskId) -> Option<Position> {
        // Claims, answers and listings mostly visit tasks one after another, and twice: to decide and to apply.
        let (page, slot) = (self.last.get().page, self.last.get().slot());
        let near = self.pages.get(page).and_then(|at| {
            if at.id(slot) == Some(id) {
                return Some(slot);
            }
            (at.id(slot + 1) == Some(id)).then_some(slot + 1)
        });
        let position = match near {
            Some(slot) => Position::new(page, slot),
            None => {
                let page = self.pages.last_where(|page| page.base() <= id)?;
                Position::new(page, self.pages.get(page)?.find(id)?)
            }
        };
        self.last.set(position);
        Some(position)
    }

    /// The position of the task with this order number.
    pub fn locate(&self, order: Order) -> Option<Position> {
        // Mostly in the page of the task that was found last.
        let page = self.last.get().page;
        if let Some(slot) = self.pages.get(page).and_then(|page| page.slot(order)) {
            return Some(Position::new(page, slot));
        }
        let page = self.page_of(order)?;
        let slot = self.pages.get(page)?.slot(order)?;
        let position = Position::new(page, slot);
        self.last.set(position);
        Some(position)
    }

    fn page_of(&self, order: Order) -> Option<PageAt> {
        self.pages.last_where(|page| page.first() <= order)
    }

    /// The page and the slot of a position.
    pub fn page(&self, position: Position) -> Option<(&Page, usize)> {
        Some((self.pages.get(position.page)?, position.slot()))
    }

    /// The order number at a position.
    pub fn order(&self, position: Position) -> Order {
        self.pages.get(position.page).map_or(Order::MAX, |page| page.order(position.slot()))
    }

    /// The record at a position.
    pub fn record(&self, position: Position) -> Option<Record<'_>> {
        self.pages.get(position.page)?.record(position.slot())
    }

    /// The next task's position, if it is in the same page, was never touched, and its order number is below `end`.
    pub fn fresh_after(&self, before: Position, end: Order) -> Option<Position> {
        let (page, slot) = (self.pages.get(before.page)?, before.slot() + 1);
        (page.is_fresh(slot) && page.order(slot) < end).then_some(Position::new(before.page, slot))
    }

    /// When the first lease may end: the lowest bound of all pages.
    pub fn first_bound(&self) -> Option<Millis> {
        self.bounds.first().map(|&(bound, _)| bound)
    }

    /// Makes the next search begin at a position.
    pub fn look_at(&self, position: Position) {
        self.last.set(position);
    }

    /// Bytes of the record at a position.
    pub fn record_len(&self, position: Position) -> usize {
        self.pages.get(position.page).map_or(0, |page| page.record_len(position.slot()))
    }

    /// The entry at a position; `None` for a task that was never touched.
    pub fn entry(&self, position: Position) -> Option<Entry> {
        self.pages.get(position.page)?.entry(position.slot())
    }

    /// Stores the entry of a task. `deadline` is that of a lease that begins; it can lower the page's bound.
    pub fn set_entry(&mut self, position: Position, entry: &Entry, deadline: Option<Millis>) {
        let Some(page) = self.pages.get_mut(position.page) else { return };
        let before = page.memory();
        page.set_entry(position.slot(), entry);
        self.memory = self.memory + page.memory() - before;
        let Some(deadline) = deadline else { return };
        if page.bound.is_none_or(|bound| deadline < bound) {
            if let Some(bound) = page.bound {
                self.bounds.remove(&(bound, page.first()));
            }
            self.bounds.insert((deadline, page.first()));
            page.bound = Some(deadline);
        }
    }

    /// Removes a task. A page without tasks is removed too, unless it is the last one and of usual size. That one is
    /// reused by the next push.
    pub fn remove(&mut self, position: Position) {
        let is_last = self.pages.is_last(position.page);
        let Some(page) = self.pages.get_mut(position.page) else { return };
        if !page.is_live(position.slot()) {
            return;
        }
        let before = page.memory();
        debug_assert!(
            self.tasks > 0 && self.record_bytes >= page.record_len(position.slot()) as u64,
            "tasks and bytes are counted"
        );
        self.record_bytes -= page.vacate(position.slot()) as u64;
        self.tasks -= 1;
        if page.live() > 0 {
            if !is_last {
                page.compact();
            }
            self.memory = self.memory + page.memory() - before;
            return;
        }
        if is_last && before <= 2 * crate::store::page::PAGE_BYTES {
            return;
        }
        if is_last {
            rare!("the last page is empty and too large to be kept");
        } else {
            rare!("a page without tasks is removed");
        }
        if let Some(bound) = page.bound {
            self.bounds.remove(&(bound, page.first()));
        }
        self.memory -= before;
        self.pages.remove(position.page);
    }

    /// The page with the lowest bound, or the next one after another page. None of its leases ends before the bound.
    pub fn bound_after(&self, after: Option<PageBound>) -> Option<PageBound> {
        let start = after.map_or(Bound::Unbounded, |page| Bound::Excluded((page.bound, page.first)));
        let next = self.bounds.range((start, Bound::Unbounded)).next();
        next.map(|&(bound, first)| PageBound { bound, first })
    }

    /// The leased tasks of a page.
    pub fn leases_in(&self, page: PageBound) -> impl Iterator<Item = Position> + '_ {
        let at = self.page_of(page.first);
        let found = at.and_then(|at| Some((at, self.pages.get(at)?)));
        found
            .into_iter()
            .flat_map(|(page, found)| found.deadlines().map(move |(slot, _)| Position::new(page, slot)))
    }

    /// Raises the bound of the page that contains `order` to its first deadline.
    pub fn tighten(&mut self, order: Order) {
        let Some(page) = self.page_of(order).and_then(|page| self.pages.get_mut(page)) else { return };
        if let Some(bound) = page.bound {
            self.bounds.remove(&(bound, page.first()));
        }
        page.tighten();
        if let Some(bound) = page.bound {
            self.bounds.insert((bound, page.first()));
        }
    }

    /// All tasks from the order number `from` on, ordered by id.
    pub fn tasks_from(&self, from: Order) -> impl Iterator<Item = Position> + '_ {
        self.positions(from, Order::MAX, Page::is_live)
    }

    /// The tasks from the order number `from` on that may be leased, ordered by id, and other tasks of their pages. A page
    /// without leases is skipped. It is one item, so that the caller can count it: its last order number and no task.
    pub fn leases_from(&self, from: Order) -> impl Iterator<Item = (Order, Option<Position>)> + '_ {
        let start = self.page_of(from).unwrap_or_default();
        self.pages.iter_from(start).flat_map(move |(at, page)| {
            let last = page.order(page.slots().saturating_sub(1));
            leases_of(at, page, from..Order::MAX, last)
        })
    }

    /// The same for order numbers below `end`, from the last to the first. A skipped page has its first order number.
    pub fn leases_back(&self, end: Order) -> impl Iterator<Item = (Order, Option<Position>)> + '_ {
        let last = end.0.checked_sub(1).and_then(|last| self.page_of(Order(last)));
        let pages = last.into_iter().flat_map(|at| self.pages.iter_back(at));
        pages.flat_map(move |(at, page)| leases_of(at, page, Order(0)..end, page.first()).rev())
    }

    /// Tasks that were never touched, from `from` up to, but not including, `end`.
    pub fn fresh_in(&self, from: Order, end: Order) -> impl Iterator<Item = Position> + '_ {
        self.positions(from, end, Page::is_fresh)
    }

    /// The order number of the first task that was never touched, from `from` up to, but not including, `end`.
    pub fn first_fresh_in(&self, from: Order, end: Order) -> Option<Order> {
        self.fresh_in(from, end).next().map(|position| self.order(position))
    }

    /// The positions from `from` up to, but not including, `end` that `wanted` accepts.
    fn positions<'a>(
        &'a self,
        from: Order,
        end: Order,
        wanted: impl Fn(&Page, usize) -> bool + Copy + 'a,
    ) -> impl Iterator<Item = Position> + 'a {
        let start = self.page_of(from).unwrap_or_default();
        self.pages.iter_from(start).take_while(move |(_, page)| page.first() < end).flat_map(
            move |(at, page)| {
                let slot =
                    |order: Order| order.0.saturating_sub(page.first().0).min(page.slots() as u64) as usize;
                (slot(from)..slot(end)).filter(move |&s| wanted(page, s)).map(move |s| Position::new(at, s))
            },
        )
    }

    /// All tasks with order numbers below `end`, down to `from`, ordered by id from the last to the first.
    pub fn tasks_back(&self, from: Order, end: Order) -> impl Iterator<Item = Position> + '_ {
        let last = end.0.checked_sub(1).and_then(|last| self.page_of(Order(last)));
        let pages = last.into_iter().flat_map(|at| self.pages.iter_back(at));
        let reaches = move |page: &Page| page.first().0.saturating_add(page.slots() as u64) > from.0;
        pages.take_while(move |(_, page)| reaches(page)).flat_map(move |(at, page)| {
            let slot =
                |order: Order| order.0.saturating_sub(page.first().0).min(page.slots() as u64) as usize;
            let slots = (slot(from)..slot(end)).rev();
            slots.filter(|&slot| page.is_live(slot)).map(move |slot| Position::new(at, slot))
        })
    }

    /// The stored form of each page that has tasks.
    pub fn stored_pages(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        self.pages.iter().filter(|page| page.live() > 0).map(Page::save)
    }

    /// The position and the entry of every touched task.
    pub fn entries(&self) -> impl Iterator<Item = (Position, Entry)> + '_ {
        let pages = self.pages.iter_from(PageAt::default());
        pages.flat_map(|(at, page)| page.entries().map(move |(slot, entry)| (Position::new(at, slot), entry)))
    }

    /// Whether all invariants of the log and its pages hold. O(tasks).
    pub fn validate(&self) -> Result<(), Invalid> {
        self.pages.validate()?;
        self.pages.iter().try_for_each(Page::validate)?;
        let tasks: u64 = self.pages.iter().map(|page| u64::from(page.live())).sum();
        let bytes: usize = self.pages.iter().map(Page::live_bytes).sum();
        let memory: usize = self.pages.iter().map(Page::memory).sum();
        ensure(
            tasks == self.tasks && bytes as u64 == self.record_bytes,
            "a correct count of tasks and bytes",
        )?;
        ensure(memory == self.memory, "a correct count of memory")?;
        let bounds = self.pages.iter().filter_map(|page| Some((page.bound?, page.first())));
        ensure(bounds.collect::<BTreeSet<_>>() == self.bounds, "an index of all pages' bounds")?;
        let full = self.pages.iter().take(self.pages.len().saturating_sub(1));
        ensure(full.into_iter().all(|page| page.live() > 0), "no empty page before the last")?;
        let firsts = self.pages.iter().map(|page| (page.first(), page.base()));
        ensure(firsts.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1), "pages in order")
    }
}

/// The tasks of a page with these order numbers, if it has leases; otherwise no task, for the order number `skipped`.
fn leases_of(
    at: PageAt,
    page: &Page,
    orders: Range<Order>,
    skipped: Order,
) -> impl DoubleEndedIterator<Item = (Order, Option<Position>)> {
    let slot = |order: Order| order.0.saturating_sub(page.first().0).min(page.slots() as u64) as usize;
    let slots = if page.bound.is_some() { slot(orders.start)..slot(orders.end) } else { 0..0 };
    let tasks = slots.filter(|&slot| page.is_live(slot));
    let tasks = tasks.map(move |slot| (page.order(slot), Some(Position::new(at, slot))));
    tasks.chain(page.bound.is_none().then_some((skipped, None)))
}
