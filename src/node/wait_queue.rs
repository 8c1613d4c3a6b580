//! The wait queue of one task queue: blocked workers, in the order in which they came.
//!
//! If the task queue has suspects (tasks that stalled twice), some workers can't get the tasks that are ready. They are
//! skipped and keep their positions. If other tasks are ready too, few workers are skipped: those that hold a suspect,
//! and one that the queue waits for. But if only suspects are ready, each worker that holds any task is skipped, and
//! that can be all of them. So each of them is checked once, and again when one of its leases has ended.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use taskslot_edges::rare;
use taskslot_engine::{Claim, Claimable, Millis, Queue};

use crate::QueueKey;
use crate::gatherers::{Gather, Gatherers, HEADS_LOOKED_AT};

/// What a task queue can give to a worker now.
pub trait Offer {
    /// Whether there is a task for a worker without a name. With a group: a task of this group.
    fn is_claimable(&self, group: Option<&[u8]>) -> bool;
    /// Whether there is a task for the worker of this name; an empty name stands for none.
    fn is_claimable_for(&self, group: Option<&[u8]>, worker: &[u8]) -> bool;
    /// Whether the queue has suspects, so that the name of a worker can matter.
    fn has_suspects(&self) -> bool;
    /// Whether all tasks that can be claimed are suspects, so that no worker with other tasks can get one.
    fn has_only_suspects(&self, group: Option<&[u8]>) -> bool;
    /// The groups with tasks that can be claimed.
    fn groups(&self) -> impl Iterator<Item = &[u8]>;
    /// What the worker would get now, as far as its ticket says: how many tasks, of which group, how many bytes. `None`
    /// if it would get nothing; and, if `only_full`, also if these would surely not be all that it takes.
    fn claimable(&self, ticket: &Ticket, only_full: bool) -> Option<Claimable>;
    /// The time, on the queue's clock.
    fn at(&self) -> Millis;
}

/// A queue at a point in time.
#[derive(Clone, Copy)]
pub struct QueueAt<'q> {
    /// The queue that is asked.
    pub queue: &'q Queue,
    /// The time, on the queue's clock.
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

    fn claimable(&self, ticket: &Ticket, only_full: bool) -> Option<Claimable> {
        let claim = Claim {
            count: usize::try_from(ticket.tasks).unwrap_or(usize::MAX),
            bytes: ticket.gather.as_ref().and_then(|gather| gather.bytes),
            worker: &ticket.worker,
            group: ticket.group.as_deref(),
            ..Claim::default()
        };
        if only_full && !self.queue.may_fill(&claim) {
            return None;
        }
        self.queue.claimable(self.at, &claim)
    }

    fn at(&self) -> Millis {
        self.at
    }
}

/// The position of a blocked worker in the wait queue of one task queue.
#[derive(Debug, Clone)]
pub struct Position {
    /// The key of the task queue.
    pub queue: QueueKey,
    /// The position: a worker with a lower number came earlier.
    pub number: u64,
}

/// The right of a blocked worker to its positions: it has all of them or none. After a worker has left, its ticket is
/// not valid any more, but it can stay in some wait queues for a while.
#[derive(Debug)]
pub struct Ticket {
    /// The positions, one for each queue that the worker waits for.
    pub positions: Vec<Position>,
    /// The worker's name, empty for none.
    pub worker: Box<[u8]>,
    /// The group whose tasks it waits for; `None` for all.
    pub group: Option<Box<[u8]>>,
    /// The token of REQUEST, by which a claim that is sent again is recognised.
    pub token: Option<Box<[u8]>>,
    /// The most tasks that the worker takes (COUNT).
    pub tasks: u64,
    /// How it waits for more tasks (GATHER); `None` if it takes what is there.
    pub gather: Option<Gather>,
    /// Only `WaitQueues` changes it.
    pub(crate) is_valid: Cell<bool>,
}

impl Ticket {
    /// A ticket for these positions, which the worker doesn't have yet.
    pub fn new(
        positions: Vec<Position>,
        worker: &[u8],
        group: Option<&[u8]>,
        token: Option<&[u8]>,
        tasks: u64,
    ) -> Rc<Ticket> {
        Ticket::gathering(positions, worker, group, token, tasks, None)
    }

    /// A ticket for a worker that may wait for more tasks.
    pub fn gathering(
        positions: Vec<Position>,
        worker: &[u8],
        group: Option<&[u8]>,
        token: Option<&[u8]>,
        tasks: u64,
        gather: Option<Gather>,
    ) -> Rc<Ticket> {
        let (worker, group, token) = (worker.into(), group.map(Box::from), token.map(Box::from));
        Rc::new(Ticket { positions, worker, group, token, tasks, gather, is_valid: Cell::new(false) })
    }

    /// Whether the worker has its positions.
    pub fn is_valid(&self) -> bool {
        self.is_valid.get()
    }

    /// The position in the wait queue of one task queue.
    pub(crate) fn position_in(&self, db: i32, name: &[u8]) -> Option<&Position> {
        self.positions.iter().find(|position| position.queue.db == db && *position.queue.name == *name)
    }
}

/// The demand of claims that wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Demand {
    /// The number of claims.
    pub claims: u64,
    /// The number of tasks that they would take at once.
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

/// The wait queue of one task queue. `T` is the type of what waits.
pub(crate) struct WaitQueue<T> {
    /// The workers, by their number.
    waiters: BTreeMap<u64, (Rc<Ticket>, T)>,
    /// The workers by the group that they wait for; `None` for those that take any task.
    groups: BTreeMap<Option<Box<[u8]>>, SameGroup>,
    /// The workers that gather. They are in no group until that is over.
    gatherers: Gatherers,
    /// The number of the worker with each token.
    tokens: BTreeMap<Box<[u8]>, u64>,
    /// The workers by their name, empty for none.
    names: BTreeMap<Box<[u8]>, SameName>,
    demand: Demand,
    /// Whether tasks became ready that were not offered to all of these workers yet.
    pub(crate) is_put_off: bool,
}

/// The workers that wait for the same group.
#[derive(Default)]
struct SameGroup {
    numbers: BTreeSet<u64>,
    /// While only suspects were ready, all workers up to this number were found to hold tasks, except those in
    /// `recheck`.
    checked_to: u64,
    /// Workers up to that number that have to be checked again.
    recheck: BTreeSet<u64>,
}

/// The workers of the same name.
#[derive(Default)]
struct SameName {
    numbers: BTreeSet<u64>,
    demand: Demand,
}

impl<T> Default for WaitQueue<T> {
    fn default() -> WaitQueue<T> {
        let (waiters, groups, gatherers, tokens, names) = Default::default();
        WaitQueue { waiters, groups, gatherers, tokens, names, demand: Demand::default(), is_put_off: false }
    }
}

impl<T> WaitQueue<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// Adds a worker at its position.
    pub(crate) fn insert(&mut self, number: u64, ticket: &Rc<Ticket>, waiter: T) {
        let replaced = self.waiters.insert(number, (Rc::clone(ticket), waiter));
        debug_assert!(replaced.is_none(), "a position is taken once");
        match &ticket.gather {
            Some(gather) => self.gatherers.insert(number, &ticket.group, gather.until()),
            None => self.line_up(number, &ticket.group),
        }
        let name = self.names.entry(ticket.worker.clone()).or_default();
        name.numbers.insert(number);
        name.demand.add(ticket.tasks);
        self.demand.add(ticket.tasks);
        if let Some(token) = &ticket.token {
            self.tokens.insert(token.clone(), number);
        }
    }

    /// Adds a worker to those that take what is there.
    fn line_up(&mut self, number: u64, group: &Option<Box<[u8]>>) {
        let group = self.groups.entry(group.clone()).or_default();
        group.numbers.insert(number);
        if number <= group.checked_to {
            // It takes over the position of a worker that was checked before, or has gathered meanwhile.
            rare!("a worker comes to a position that was checked");
            group.recheck.insert(number);
        }
    }

    /// Takes a worker off those that gather. Returns whether it was one of them.
    fn stop_gathering(&mut self, number: u64, ticket: &Ticket) -> bool {
        let gather = ticket.gather.as_ref();
        gather.is_some_and(|gather| self.gatherers.remove(number, &ticket.group, gather.until()))
    }

    /// Removes a worker from its position, if it is still there. A copy of the same claim may have taken it over.
    pub(crate) fn remove(&mut self, number: u64, ticket: &Ticket) -> Option<T> {
        self.waiters.get(&number).filter(|(here, _)| std::ptr::eq(&**here, ticket))?;
        let (_, waiter) = self.waiters.remove(&number)?;
        if self.stop_gathering(number, ticket) {
        } else if let Some(group) = self.groups.get_mut(&ticket.group) {
            group.numbers.remove(&number);
            group.recheck.remove(&number);
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

    /// The worker with this number.
    pub(crate) fn at(&self, number: u64) -> Option<&T> {
        self.waiters.get(&number).map(|(_, waiter)| waiter)
    }

    /// The number of the worker that waits with this token.
    pub(crate) fn with_token(&self, token: &[u8]) -> Option<u64> {
        let number = *self.tokens.get(token)?;
        self.waiters.get(&number).filter(|(ticket, _)| ticket.is_valid())?;
        Some(number)
    }

    /// The number of groups for which workers wait, not counting those that take any task.
    pub(crate) fn groups(&self) -> usize {
        self.groups.len() - usize::from(self.groups.contains_key(&None))
    }

    /// The number of the first worker that can get a task, of those that wait for this group; `None` for those that
    /// take any task. Sets `has_checked` if a worker may have been checked without result.
    pub(crate) fn first(
        &mut self,
        group: Option<&[u8]>,
        offer: &impl Offer,
        has_checked: &mut bool,
    ) -> Option<u64> {
        let waiters = &self.waiters;
        let can_get = |number: &u64| {
            waiters.get(number).is_some_and(|(ticket, _)| offer.is_claimable_for(group, &ticket.worker))
        };
        self.groups.get_mut(&group.map(Box::from))?.first(group, offer, can_get, has_checked)
    }

    /// The first worker of each group that has a task now, by number.
    pub(crate) fn heads(&mut self, offer: &impl Offer, has_checked: &mut bool) -> BTreeMap<u64, Box<[u8]>> {
        let waiters = &self.waiters;
        let groups = self.groups.iter_mut().filter_map(|(group, same)| Some((group.as_deref()?, same)));
        let wanted = groups.filter(|(group, _)| offer.is_claimable(Some(group)));
        let heads = wanted.filter_map(|(group, same)| {
            let can_get = |number: &u64| {
                let waiter = waiters.get(number);
                waiter.is_some_and(|(ticket, _)| offer.is_claimable_for(Some(group), &ticket.worker))
            };
            Some((same.first(Some(group), offer, can_get, has_checked)?, group.into()))
        });
        heads.collect()
    }

    /// The workers that gather.
    pub(crate) fn gatherers(&self) -> &Gatherers {
        &self.gatherers
    }

    /// The end of a worker's gathering has changed.
    pub(crate) fn change_end(&mut self, number: u64, before: Millis, until: Millis) {
        self.gatherers.change_end(number, before, until);
    }

    /// Whether a worker gathers for this group.
    pub(crate) fn gathers(&self, group: &Option<Box<[u8]>>) -> bool {
        let is_valid = |number| self.waiters.get(&number).is_some_and(|(ticket, _)| ticket.is_valid());
        self.gatherers.of_group(group).any(is_valid)
    }

    /// Whether this worker is the first that gathers for its group, and others stand behind it. They begin when it
    /// leaves.
    pub(crate) fn gathers_before_others(&self, number: u64, ticket: &Ticket) -> bool {
        let is_here = self.waiters.get(&number).is_some_and(|(here, _)| std::ptr::eq(&**here, ticket));
        let mut same = self.gatherers.of_group(&ticket.group);
        is_here && same.next() == Some(number) && same.next().is_some()
    }

    /// Adds workers whose gathering is over to those that take what is there, at most `limit`. Calls `add_group` with
    /// the group that each of them waits for, if it waits for one.
    pub(crate) fn end_gathering(&mut self, at: Millis, limit: usize, add_group: &mut dyn FnMut(&[u8])) {
        for _ in 0..limit {
            let Some(number) = self.gatherers.over(at) else { return };
            let Some((ticket, _)) = self.waiters.get(&number) else { return };
            let ticket = Rc::clone(ticket);
            self.stop_gathering(number, &ticket);
            self.line_up(number, &ticket.group);
            ticket.group.as_deref().into_iter().for_each(&mut *add_group);
        }
        rare!("more workers may stop gathering than one step ends");
    }

    /// The first worker that gathers for this group, and what it would get now, if it can get anything.
    pub(crate) fn gatherer(
        &self,
        group: &Option<Box<[u8]>>,
        offer: &impl Offer,
    ) -> Option<(u64, Rc<Ticket>, Option<Claimable>)> {
        let looks = if offer.has_suspects() { HEADS_LOOKED_AT } else { 1 };
        let waiting = self.gatherers.of_group(group).filter_map(|number| {
            let (ticket, _) = self.waiters.get(&number)?;
            ticket.is_valid().then_some((number, ticket))
        });
        waiting.take(looks).find_map(|(number, ticket)| {
            let is_settled = ticket.gather.as_ref().is_some_and(Gather::is_settled);
            let batch = offer.claimable(ticket, is_settled);
            (batch.is_some() || is_settled).then(|| (number, Rc::clone(ticket), batch))
        })
    }

    /// Rechecks the workers of this name, because they may get tasks now that they could not get before. Calls
    /// `add_group` with the group that each of them waits for, if it waits for one.
    pub(crate) fn recheck(&mut self, name: &[u8], add_group: &mut dyn FnMut(&[u8])) {
        let same = self.names.get(name).filter(|_| !name.is_empty());
        for number in same.into_iter().flat_map(|same| &same.numbers) {
            let Some((ticket, _)) = self.waiters.get(number) else { continue };
            ticket.group.as_deref().into_iter().for_each(&mut *add_group);
            if let Some(group) = self.groups.get_mut(&ticket.group)
                && *number <= group.checked_to
            {
                group.recheck.insert(*number);
            }
        }
    }

    /// Rechecks all workers, because it isn't known any more which of them hold tasks.
    pub(crate) fn recheck_all(&mut self) {
        rare!("all workers are checked again");
        for group in self.groups.values_mut() {
            group.checked_to = 0;
            group.recheck.clear();
        }
    }

    /// The demand of all workers. It is counted again if some of the workers here may have left.
    pub(crate) fn demand(&self, some_have_left: bool) -> Demand {
        if some_have_left { of_the_present(self.waiters.values()) } else { self.demand }
    }

    /// The demand by name, of the names for which a worker waits.
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

    /// The number of names for which `is_wanted` is true. `None` if a worker has no name, or if there are more names
    /// than `limit`.
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
    /// The number of the first worker that can get a task.
    fn first(
        &mut self,
        group: Option<&[u8]>,
        offer: &impl Offer,
        can_get: impl Fn(&u64) -> bool,
        has_checked: &mut bool,
    ) -> Option<u64> {
        if !offer.has_suspects() {
            return self.numbers.first().copied();
        }
        if !offer.has_only_suspects(group) {
            return self.numbers.iter().find(|number| can_get(number)).copied();
        }
        while let Some(number) = self.recheck.first() {
            if can_get(number) {
                return Some(*number);
            }
            rare!("a worker is checked again in vain");
            self.recheck.pop_first();
        }
        *has_checked = true;
        for number in self.numbers.range(self.checked_to.saturating_add(1)..) {
            if can_get(number) {
                return Some(*number);
            }
            rare!("a worker gets no suspect because it holds a task");
            self.checked_to = *number;
        }
        None
    }
}
