//! The log of all tasks.

use std::cell::Cell;
use std::collections::{BTreeSet, VecDeque};
use std::ops::Bound;

use crate::invalid::{Invalid, ensure};
use crate::numbers::Order;
use crate::store::entry::Entry;
use crate::store::page::Page;
use crate::store::record::{Record, record_len};
use crate::task::TaskId;
use crate::time::Millis;

/// Pages that the list of pages keeps room for.
const PAGES_KEPT: usize = 16;

/// Where a task lies: valid until the next push or removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    page: usize,
    slot: usize,
}

/// A page by its first number, with a lower bound of its deadlines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageBound {
    pub bound: Millis,
    pub first: Order,
}

/// The log: every task's record, in the order of ids, in pages, for the task's whole life.
///
/// Bodies never move while a task changes its state; what changes lies in the page's entries. A task is found
/// by its order number or its id, both by binary search over pages. Leases are found by their deadline through
/// a lower bound per page (`bounds`), so that a claim, an ACK or an EXTEND touches no index.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pages: VecDeque<Page>,
    bounds: BTreeSet<(Millis, Order)>,
    tasks: u64,
    record_bytes: u64,
    memory: usize,
    /// Where a task was found last: a place to try first, which need not hold anything.
    last: Cell<Place>,
}

impl Clone for Log {
    /// A copy takes no more memory than it needs, so its own is counted.
    fn clone(&self) -> Log {
        let pages = self.pages.clone();
        let memory = pages.iter().map(Page::memory).sum();
        let (tasks, record_bytes) = (self.tasks, self.record_bytes);
        Log { pages, bounds: self.bounds.clone(), tasks, record_bytes, memory, last: Cell::default() }
    }
}

impl Log {
    /// How many tasks there are.
    pub fn tasks(&self) -> u64 {
        self.tasks
    }

    /// Bytes of all records: payloads with a few bytes each.
    pub fn record_bytes(&self) -> u64 {
        self.record_bytes
    }

    /// Bytes taken from the allocator.
    pub fn memory(&self) -> usize {
        self.memory + self.pages.capacity() * size_of::<Page>() + self.bounds.len() * 24
    }

    /// How many pages there are.
    pub fn pages(&self) -> usize {
        self.pages.len()
    }

    /// Appends a task; its number and its id are larger than any before.
    pub fn push(&mut self, order: Order, record: &Record) {
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
    }

    /// Sees to a last page that has room for the record, and returns the record's length.
    fn make_room(&mut self, order: Order, record: &Record) -> usize {
        let id = record.id;
        if let Some(last) = self.pages.back_mut() {
            if last.live() == 0 {
                // A calm queue writes the same page again and again and allocates nothing.
                let (bound, first) = (last.bound, last.first());
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
            let before = last.memory();
            last.seal();
            self.memory = self.memory + last.memory() - before;
        }
        let length = record_len(id, record);
        let page = Page::new(order, id, length);
        self.memory += page.memory();
        self.pages.push_back(page);
        length
    }

    /// Appends a page that was loaded; false (and no change) where it doesn't follow the last.
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
        self.pages.push_back(page);
        true
    }

    /// The task with this id.
    pub fn find(&self, id: TaskId) -> Option<Place> {
        // What is claimed, answered and shown comes one after the other, mostly.
        let Place { page, slot } = self.last.get();
        let near = self.pages.get(page).and_then(|at| (slot..slot + 2).find(|&slot| at.id(slot) == Some(id)));
        let place = match near {
            Some(slot) => Place { page, slot },
            None => {
                let page = self.pages.partition_point(|page| page.base() <= id).checked_sub(1)?;
                Place { page, slot: self.pages.get(page)?.find(id)? }
            }
        };
        self.last.set(place);
        Some(place)
    }

    /// The task that drew this number at its push.
    pub fn locate(&self, order: Order) -> Option<Place> {
        let page = self.page_of(order)?;
        let slot = self.pages.get(page)?.slot(order)?;
        Some(Place { page, slot })
    }

    fn page_of(&self, order: Order) -> Option<usize> {
        self.pages.partition_point(|page| page.first() <= order).checked_sub(1)
    }

    /// The order number at a place.
    pub fn order(&self, place: Place) -> Order {
        self.pages.get(place.page).map_or(Order::MAX, |page| page.order(place.slot))
    }

    /// The record at a place.
    pub fn record(&self, place: Place) -> Option<Record<'_>> {
        self.pages.get(place.page)?.record(place.slot)
    }

    /// Bytes of the record at a place.
    pub fn record_len(&self, place: Place) -> usize {
        self.pages.get(place.page).map_or(0, |page| page.record_len(place.slot))
    }

    /// The entry at a place; `None` for a task that was never touched.
    pub fn entry(&self, place: Place) -> Option<Entry> {
        self.pages.get(place.page)?.entry(place.slot)
    }

    /// Stores what is now known of a task. `deadline` of a lease that begins is noted in the page's bound.
    pub fn set_entry(&mut self, place: Place, entry: &Entry, deadline: Option<Millis>) {
        let Some(page) = self.pages.get_mut(place.page) else { return };
        let before = page.memory();
        page.set_entry(place.slot, entry);
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

    /// Removes a task, and its page with the last one of a page.
    pub fn remove(&mut self, place: Place) {
        let is_last = place.page + 1 == self.pages.len();
        let Some(page) = self.pages.get_mut(place.page) else { return };
        if !page.is_live(place.slot) {
            return;
        }
        let before = page.memory();
        debug_assert!(
            self.tasks > 0 && self.record_bytes >= page.record_len(place.slot) as u64,
            "tasks and bytes are counted"
        );
        self.record_bytes -= page.vacate(place.slot) as u64;
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
        if let Some(bound) = page.bound {
            self.bounds.remove(&(bound, page.first()));
        }
        self.memory -= before;
        self.pages.remove(place.page);
        if self.pages.capacity() > 4 * self.pages.len().max(PAGES_KEPT) {
            self.pages.shrink_to(2 * self.pages.len().max(PAGES_KEPT));
        }
    }

    /// The page with the first bound, or with the next after another page's: no lease in it ends before that.
    pub fn bound_after(&self, after: Option<PageBound>) -> Option<PageBound> {
        let start = after.map_or(Bound::Unbounded, |page| Bound::Excluded((page.bound, page.first)));
        let next = self.bounds.range((start, Bound::Unbounded)).next();
        next.map(|&(bound, first)| PageBound { bound, first })
    }

    /// The leased tasks of a page.
    pub fn leases_in(&self, page: PageBound) -> impl Iterator<Item = Place> + '_ {
        let at = self.page_of(page.first);
        let found = at.and_then(|at| Some((at, self.pages.get(at)?)));
        found
            .into_iter()
            .flat_map(|(page, found)| found.deadlines().map(move |(slot, _)| Place { page, slot }))
    }

    /// Moves the bound of the page of `order` to its first deadline.
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

    /// All tasks from the number `from` on, in the order of their ids.
    pub fn tasks_from(&self, from: Order) -> impl Iterator<Item = Place> + '_ {
        self.places(from, Order::MAX, Page::is_live)
    }

    /// Tasks never touched, from the number `from` up to and without `end`.
    pub fn fresh_in(&self, from: Order, end: Order) -> impl Iterator<Item = Place> + '_ {
        self.places(from, end, Page::is_fresh)
    }

    /// The number of the first task never touched, from `from` up to and without `end`.
    pub fn first_fresh_in(&self, from: Order, end: Order) -> Option<Order> {
        self.fresh_in(from, end).next().map(|place| self.order(place))
    }

    /// The wanted ones among the slots from `from` up to and without `end`.
    fn places<'a>(
        &'a self,
        from: Order,
        end: Order,
        wanted: impl Fn(&Page, usize) -> bool + Copy + 'a,
    ) -> impl Iterator<Item = Place> + 'a {
        let start = self.page_of(from).unwrap_or(0);
        (start..self.pages.len())
            .map_while(move |at| self.pages.get(at).filter(|page| page.first() < end).map(|page| (at, page)))
            .flat_map(move |(at, page)| {
                let slot =
                    |order: Order| order.0.saturating_sub(page.first().0).min(page.slots() as u64) as usize;
                (slot(from)..slot(end))
                    .filter(move |&s| wanted(page, s))
                    .map(move |s| Place { page: at, slot: s })
            })
    }

    /// The pages in their stored form.
    pub fn stored_pages(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        self.pages.iter().filter(|page| page.live() > 0).map(Page::save)
    }

    /// Every touched task's place and entry.
    pub fn entries(&self) -> impl Iterator<Item = (Place, Entry)> + '_ {
        let pages = self.pages.iter().enumerate();
        pages
            .flat_map(|(at, page)| page.entries().map(move |(slot, entry)| (Place { page: at, slot }, entry)))
    }

    /// Whether all invariants of the log and its pages hold. O(tasks).
    pub fn validate(&self) -> Result<(), Invalid> {
        self.pages.iter().try_for_each(Page::validate)?;
        let tasks: u64 = self.pages.iter().map(|page| u64::from(page.live())).sum();
        let bytes: usize = self.pages.iter().map(Page::live_bytes).sum();
        let memory: usize = self.pages.iter().map(Page::memory).sum();
        ensure(tasks == self.tasks && bytes as u64 == self.record_bytes, "tasks and bytes are counted")?;
        ensure(memory == self.memory, "memory is counted")?;
        let bounds = self.pages.iter().filter_map(|page| Some((page.bound?, page.first())));
        ensure(bounds.collect::<BTreeSet<_>>() == self.bounds, "every page's bound is indexed")?;
        let full = self.pages.iter().take(self.pages.len().saturating_sub(1));
        ensure(full.into_iter().all(|page| page.live() > 0), "only the last page is empty")?;
        let firsts = self.pages.iter().map(|page| (page.first(), page.base()));
        ensure(firsts.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1), "pages are in order")
    }
}
