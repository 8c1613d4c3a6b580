//! The wait queue of one task queue: blocked workers, first come, first served.
//!
//! Where the task queue has suspects, not everybody may have what there is: who may not is skipped and keeps its place.
//! Those who hold a suspect, or are awaited, are few. Those who hold anything at all may be all: where only suspects are
//! ready, they are looked at once, and again when a lease of theirs has ended.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use taskslot_engine::{Millis, Queue};

use crate::QueueKey;

/// What a task queue has now, as those who wait for it may ask.
pub trait Offer {
    /// Whether there is anything for a worker without a name, of this group or of any.
    fn is_claimable(&self, group: Option<&[u8]>) -> bool;
    /// Whether there is anything for a worker by name; empty for none.
    fn is_claimable_for(&self, group: Option<&[u8]>, worker: &[u8]) -> bool;
    /// Whether a worker's name may matter.
    fn has_suspects(&self) -> bool;
    /// Whether no worker that holds anything may have what there is.
    fn has_only_suspects(&self, group: Option<&[u8]>) -> bool;
    /// The groups that have ready tasks and may run.
    fn groups(&self) -> impl Iterator<Item = &[u8]>;
}

/// A queue at an instant.
#[derive(Clone, Copy)]
pub struct QueueAt<'q> {
    /// The queue.
    pub queue: &'q Queue,
    /// The instant, on the queue's clock.
    pub at: Millis,
}

impl Offer for QueueAt<'_> {
    fn is_claimable(&self, group: Option<&[u8]>) -> bool {
        self.queue.is_claimable_by(self.at, group)
    }

    fn is_claimable_for(&self, group: Option<&[u8]>, worker: &[u8]) -> bool {
        self.queue.is_claimable_for(self.at, group, worker)
    }

    fn has_suspects(&self) -> bool {
        self.queue.has_suspects()
    }

    fn has_only_suspects(&self, group: Option<&[u8]>) -> bool {
        self.queue.has_only_suspects(self.at, group)
    }

    fn groups(&self) -> impl Iterator<Item = &[u8]> {
        self.queue.groups_in_turn()
    }
}

/// A blocked worker's place in the wait queue of one task queue. Who has the lower number came first.
#[derive(Debug, Clone)]
pub struct Place {
    /// The task queue.
    pub queue: QueueKey,
    /// The number.
    pub number: u64,
}

/// A blocked worker's right to its places: it has all of them or none, and a wait queue may still hold it for a while
/// after it has left.
#[derive(Debug)]
pub struct Ticket {
    /// Its places, one for each queue that it waits for.
    pub places: Vec<Place>,
    /// Its name, empty for none.
    pub worker: Box<[u8]>,
    /// The group whose tasks it waits for; `None` for all.
    pub group: Option<Box<[u8]>>,
    /// Its token, if it may ask again.
    pub token: Option<Box<[u8]>>,
    /// How many tasks it takes at a time.
    pub tasks: u64,
    /// Set by `WaitQueues` alone.
    pub(crate) is_valid: Cell<bool>,
}

impl Ticket {
    /// A ticket for these places, not yet taken.
    pub fn new(
        places: Vec<Place>,
        worker: &[u8],
        group: Option<&[u8]>,
        token: Option<&[u8]>,
        tasks: u64,
    ) -> Rc<Ticket> {
        let (worker, group, token) = (worker.into(), group.map(Box::from), token.map(Box::from));
        Rc::new(Ticket { places, worker, group, token, tasks, is_valid: Cell::new(false) })
    }

    /// Whether the worker stands in its wait queues.
    pub fn is_valid(&self) -> bool {
        self.is_valid.get()
    }

    /// Its place in the wait queue of one task queue.
    pub(crate) fn place_in(&self, db: i32, name: &[u8]) -> Option<&Place> {
        self.places.iter().find(|place| place.queue.db == db && *place.queue.name == *name)
    }
}

/// Claims that wait, of one name or all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Demand {
    /// How many claims wait.
    pub claims: u64,
    /// How many tasks they would take at a time.
    pub tasks: u64,
}

impl Demand {
    fn add(&mut self, tasks: u64) {
        self.claims += 1;
        self.tasks = self.tasks.saturating_add(tasks);
    }

    fn remove(&mut self, tasks: u64) {
        debug_assert!(self.claims > 0, "a claim is removed that was counted");
        self.claims = self.claims.saturating_sub(1);
        self.tasks = self.tasks.saturating_sub(tasks);
    }
}

/// The wait queue of one task queue. `T` is what waits.
pub(crate) struct WaitQueue<T> {
    waiters: BTreeMap<u64, (Rc<Ticket>, T)>,
    /// By the group that they wait for; those who take any task wait for none.
    groups: BTreeMap<Option<Box<[u8]>>, SameGroup>,
    tokens: BTreeMap<Box<[u8]>, u64>,
    /// By the worker's name, empty for none.
    names: BTreeMap<Box<[u8]>, SameName>,
    demand: Demand,
}

/// Those who wait for the same group.
#[derive(Default)]
struct SameGroup {
    numbers: BTreeSet<u64>,
    /// Up to this number all were found to hold something while only suspects were ready, but for those in `again`.
    looked_to: u64,
    /// Who is to be looked at again.
    again: BTreeSet<u64>,
}

/// Those who gave the same name.
#[derive(Default)]
struct SameName {
    numbers: BTreeSet<u64>,
    demand: Demand,
}

impl<T> Default for WaitQueue<T> {
    fn default() -> WaitQueue<T> {
        let (waiters, groups, tokens, names) = Default::default();
        WaitQueue { waiters, groups, tokens, names, demand: Demand::default() }
    }
}

impl<T> WaitQueue<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// Puts a worker in its place.
    pub(crate) fn insert(&mut self, number: u64, ticket: &Rc<Ticket>, waiter: T) {
        let replaced = self.waiters.insert(number, (Rc::clone(ticket), waiter));
        debug_assert!(replaced.is_none(), "a place is taken once");
        let group = self.groups.entry(ticket.group.clone()).or_default();
        group.numbers.insert(number);
        if number <= group.looked_to {
            // It takes the place of another, which was looked at.
            group.again.insert(number);
        }
        let name = self.names.entry(ticket.worker.clone()).or_default();
        name.numbers.insert(number);
        name.demand.add(ticket.tasks);
        self.demand.add(ticket.tasks);
        if let Some(token) = &ticket.token {
            self.tokens.insert(token.clone(), number);
        }
    }

    /// Takes a worker out of its place, if it is still there: a copy of the same request may stand there by now.
    pub(crate) fn remove(&mut self, number: u64, ticket: &Ticket) -> Option<T> {
        self.waiters.get(&number).filter(|(here, _)| std::ptr::eq(&**here, ticket))?;
        let (_, waiter) = self.waiters.remove(&number)?;
        if let Some(group) = self.groups.get_mut(&ticket.group) {
            group.numbers.remove(&number);
            group.again.remove(&number);
            if group.numbers.is_empty() {
                self.groups.remove(&ticket.group);
            }
        }
        if let Some(name) = self.names.get_mut(&ticket.worker) {
            name.numbers.remove(&number);
            name.demand.remove(ticket.tasks);
            if name.numbers.is_empty() {
                self.names.remove(&ticket.worker);
            }
        }
        if let Some(token) = ticket.token.as_ref().filter(|&token| self.tokens.get(token) == Some(&number)) {
            self.tokens.remove(token);
        }
        self.demand.remove(ticket.tasks);
        Some(waiter)
    }

    /// The waiter in a place.
    pub(crate) fn at(&self, number: u64) -> Option<&T> {
        self.waiters.get(&number).map(|(_, waiter)| waiter)
    }

    /// The number of the one that waits with this token.
    pub(crate) fn with_token(&self, token: &[u8]) -> Option<u64> {
        let number = *self.tokens.get(token)?;
        self.waiters.get(&number).filter(|(ticket, _)| ticket.is_valid())?;
        Some(number)
    }

    /// For how many groups alone workers wait.
    pub(crate) fn groups(&self) -> usize {
        self.groups.len() - usize::from(self.groups.contains_key(&None))
    }

    /// The number of the first who may have what there is, of those who wait for this group or of those who take any
    /// task. `has_looked` is set where somebody was looked at in vain.
    pub(crate) fn first(
        &mut self,
        group: Option<&[u8]>,
        offer: &impl Offer,
        has_looked: &mut bool,
    ) -> Option<u64> {
        let waiters = &self.waiters;
        let may_have = |number: &u64| {
            waiters.get(number).is_some_and(|(ticket, _)| offer.is_claimable_for(group, &ticket.worker))
        };
        self.groups.get_mut(&group.map(Box::from))?.first(group, offer, may_have, has_looked)
    }

    /// The first of each group that is waited for and has a task now, by number.
    pub(crate) fn heads(&mut self, offer: &impl Offer, has_looked: &mut bool) -> BTreeMap<u64, Box<[u8]>> {
        let waiters = &self.waiters;
        let groups = self.groups.iter_mut().filter_map(|(group, same)| Some((group.as_deref()?, same)));
        let wanted = groups.filter(|(group, _)| offer.is_claimable(Some(group)));
        let heads = wanted.filter_map(|(group, same)| {
            let may_have = |number: &u64| {
                let waiter = waiters.get(number);
                waiter.is_some_and(|(ticket, _)| offer.is_claimable_for(Some(group), &ticket.worker))
            };
            Some((same.first(Some(group), offer, may_have, has_looked)?, group.into()))
        });
        heads.collect()
    }

    /// Those who wait by this name may be given more than when they were looked at. `add_group` gets the group that each
    /// waits for, if it waits for one.
    pub(crate) fn look_again(&mut self, name: &[u8], add_group: &mut dyn FnMut(&[u8])) {
        let same = self.names.get(name).filter(|_| !name.is_empty());
        for number in same.into_iter().flat_map(|same| &same.numbers) {
            let Some((ticket, _)) = self.waiters.get(number) else { continue };
            ticket.group.as_deref().into_iter().for_each(&mut *add_group);
            if let Some(group) = self.groups.get_mut(&ticket.group)
                && *number <= group.looked_to
            {
                group.again.insert(*number);
            }
        }
    }

    /// Nothing is known any more of what those who wait hold.
    pub(crate) fn look_at_all(&mut self) {
        for group in self.groups.values_mut() {
            group.looked_to = 0;
            group.again.clear();
        }
    }

    /// What all who wait would take. Counted anew where somebody may stand here that has left.
    pub(crate) fn demand(&self, some_have_left: bool) -> Demand {
        if some_have_left { of_the_present(self.waiters.values()) } else { self.demand }
    }

    /// The same by name, of those names of which anybody waits.
    pub(crate) fn names(&self, some_have_left: bool) -> impl Iterator<Item = (&[u8], Demand)> {
        let demand = move |same: &SameName| {
            if some_have_left {
                of_the_present(same.numbers.iter().filter_map(|number| self.waiters.get(number)))
            } else {
                same.demand
            }
        };
        let names = self.names.iter().map(move |(name, same)| (&**name, demand(same)));
        names.filter(|(_, demand)| demand.claims > 0)
    }

    /// How many names of those who wait are wanted; `None` where one gave none, or there are more than `limit`.
    pub(crate) fn count_names(
        &self,
        limit: usize,
        is_wanted: impl Fn(&[u8]) -> bool,
        some_have_left: bool,
    ) -> Option<u64> {
        let is_known = self.names.len() <= limit && !self.names.contains_key(&b""[..]);
        is_known.then(|| self.names(some_have_left).filter(|(name, _)| is_wanted(name)).count() as u64)
    }
}

fn of_the_present<'a, T: 'a>(waiters: impl Iterator<Item = &'a (Rc<Ticket>, T)>) -> Demand {
    let mut demand = Demand::default();
    let present = waiters.map(|(ticket, _)| ticket).filter(|ticket| ticket.is_valid());
    present.for_each(|ticket| demand.add(ticket.tasks));
    demand
}

impl SameGroup {
    /// The first who may have what there is.
    fn first(
        &mut self,
        group: Option<&[u8]>,
        offer: &impl Offer,
        may_have: impl Fn(&u64) -> bool,
        has_looked: &mut bool,
    ) -> Option<u64> {
        if !offer.has_suspects() {
            return self.numbers.first().copied();
        }
        if !offer.has_only_suspects(group) {
            return self.numbers.iter().find(|number| may_have(number)).copied();
        }
        while let Some(number) = self.again.first() {
            if may_have(number) {
                return Some(*number);
            }
            self.again.pop_first();
        }
        *has_looked = true;
        for number in self.numbers.range(self.looked_to.saturating_add(1)..) {
            if may_have(number) {
                return Some(*number);
            }
            self.looked_to = *number;
        }
        None
    }
}
