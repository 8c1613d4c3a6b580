//! The wait queues of all task queues, by database and key.
//!
//! A worker that waits for several queues has a position in the wait queue of each, and leaves all of them at once.
//! Thousands of workers that wait for a hundred queues each can disappear at the same time. So the positions of a
//! worker that has many are cleared a little later, a limited number at a time.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;

use taskslot_edges::{edge, rare};
use taskslot_engine::Millis;

use crate::QueueKey;
use crate::wait_queue::{Demand, Offer, Position, Ticket, WaitQueue};

/// A worker with no more positions than this is cleared as soon as it leaves.
const CLEARED_AT_ONCE: usize = edge(4, 1);
/// The number of positions that are cleared in one step.
pub const POSITIONS_A_STEP: usize = edge(100, 2);

/// The number of workers whose gathering ends in one step.
pub const ENDS_A_STEP: usize = edge(100, 2);

/// What the tasks of a queue are for the workers that gather for a group.
pub enum Gathered<T> {
    /// The first of them can get all that it takes.
    Full(u64, T),
    /// The first of them waits for more.
    Waits,
    /// None of them can get any.
    Nobody,
}

/// The wait queues of a node. `T` is the type of what waits.
pub struct WaitQueues<T> {
    queues: HashMap<i32, HashMap<Box<[u8]>, WaitQueue<T>>>,
    total: usize,
    /// The number of workers that gather or have gathered. If there are none, nothing is looked up for them.
    gatherers: usize,
    last_number: u64,
    /// Whether a worker may have been checked without result, in any wait queue.
    has_checked: bool,
    /// Workers that have left but are still in some wait queues, each with the index of the first position to clear.
    left: VecDeque<(Rc<Ticket>, usize)>,
    /// The queues in which a worker may begin or stop to gather by a change elsewhere: see
    /// [`WaitQueues::take_unsettled`].
    unsettled: Vec<QueueKey>,
}

impl<T> Default for WaitQueues<T> {
    fn default() -> WaitQueues<T> {
        let (queues, left, unsettled) = Default::default();
        WaitQueues { queues, total: 0, gatherers: 0, last_number: 0, has_checked: false, left, unsettled }
    }
}

impl<T: Clone> WaitQueues<T> {
    /// The number of workers. One that waits for several queues counts once.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Whether a task queue has a wait queue. Its workers may all have left.
    pub fn has_any(&self, db: i32, name: &[u8]) -> bool {
        self.total > 0 && self.get(db, name).is_some()
    }

    /// The demand of all workers that wait for a queue.
    pub fn demand(&self, db: i32, name: &[u8]) -> Demand {
        self.get(db, name).map(|queue| queue.demand(self.some_have_left())).unwrap_or_default()
    }

    /// The demand by name, for the first `limit` names.
    pub fn names(&self, db: i32, name: &[u8], limit: usize) -> BTreeMap<Box<[u8]>, Demand> {
        let queue = self.get(db, name);
        let names = queue.into_iter().flat_map(|queue| queue.names(self.some_have_left()));
        names.take(limit).map(|(name, demand)| (name.into(), demand)).collect()
    }

    /// The number of names for which `is_wanted` is true, of the workers that wait for a queue. `None` if a worker has
    /// no name, or if there are more names than `limit`.
    pub fn count_names(
        &self,
        db: i32,
        name: &[u8],
        limit: usize,
        is_wanted: impl Fn(&[u8]) -> bool,
    ) -> Option<u64> {
        let queue = self.get(db, name);
        queue.map_or(Some(0), |queue| queue.count_names(limit, is_wanted, self.some_have_left()))
    }

    /// The queues that workers of a database wait for.
    pub fn keys(&self, db: i32) -> Vec<QueueKey> {
        let queues = self.queues.get(&db).into_iter().flatten();
        queues.map(|(name, _)| QueueKey::new(db, name)).collect()
    }

    /// The first worker that can get a task of a queue now, of those that wait for this group; `None` for those that
    /// take any task.
    pub fn first(
        &mut self,
        db: i32,
        name: &[u8],
        group: Option<&[u8]>,
        offer: &impl Offer,
    ) -> Option<(u64, T)> {
        let queue = self.queues.get_mut(&db)?.get_mut(name)?;
        let number = queue.first(group, offer, &mut self.has_checked)?;
        Some((number, queue.at(number)?.clone()))
    }

    /// The number of groups for which workers wait, not counting those that take any task.
    pub fn groups(&self, db: i32, name: &[u8]) -> usize {
        self.get(db, name).map_or(0, WaitQueue::groups)
    }

    /// The first worker of each group that has a task now, by number.
    pub fn heads(&mut self, db: i32, name: &[u8], offer: &impl Offer) -> BTreeMap<u64, Box<[u8]>> {
        let queue = self.queues.get_mut(&db).and_then(|queues| queues.get_mut(name));
        queue.map(|queue| queue.heads(offer, &mut self.has_checked)).unwrap_or_default()
    }

    /// Notes whether tasks of a queue became ready that are offered to its workers later. Until then each write has to
    /// look at the workers of all groups. Otherwise it would give such a task to a later worker that takes any, because
    /// it doesn't know which groups have become ready before.
    pub fn set_put_off(&mut self, db: i32, name: &[u8], is_put_off: bool) {
        if let Some(queue) = self.queues.get_mut(&db).and_then(|queues| queues.get_mut(name)) {
            queue.is_put_off = is_put_off;
        }
    }

    /// Whether tasks of a queue became ready that were not offered to all its workers yet.
    pub fn is_put_off(&self, db: i32, name: &[u8]) -> bool {
        self.get(db, name).is_some_and(|queue| queue.is_put_off)
    }

    /// Whether a worker gathers for this group of a queue; `None` for those that take any task.
    pub fn gathers(&self, db: i32, name: &[u8], group: Option<&[u8]>) -> bool {
        self.get(db, name)
            .is_some_and(|queue| !queue.gatherers().is_empty() && queue.gathers(&group.map(Box::from)))
    }

    /// The first end of the gathering of workers that wait for a queue.
    pub fn gather_end(&self, db: i32, name: &[u8]) -> Option<Millis> {
        self.get(db, name)?.gatherers().first_end()
    }

    /// Workers whose gathering is over at `at` are from now on like those that never gathered. Ends that of a limited
    /// number of workers. Calls `add_group` with the group that each of them waits for, if it waits for one: it may be
    /// ready since long ago.
    pub fn end_gathering(&mut self, db: i32, name: &[u8], at: Millis, add_group: &mut dyn FnMut(&[u8])) {
        if let Some(queue) = self.queues.get_mut(&db).and_then(|queues| queues.get_mut(name)) {
            queue.end_gathering(at, ENDS_A_STEP, add_group);
        }
    }

    /// The groups for which workers gather (`None` for any group), by the number of their first worker.
    pub fn gathering(&self, db: i32, name: &[u8]) -> impl Iterator<Item = (u64, &Option<Box<[u8]>>)> {
        self.get(db, name).into_iter().flat_map(|queue| queue.gatherers().heads())
    }

    /// The number of the first worker that gathers for this group.
    pub fn first_gathering(&self, db: i32, name: &[u8], group: &Option<Box<[u8]>>) -> Option<u64> {
        self.get(db, name)?.gatherers().of_group(group).next()
    }

    /// Whether any worker of the node gathers or has gathered.
    pub fn some_gather(&self) -> bool {
        self.gatherers > 0
    }

    /// The first worker that gathers for this group, and whether it can get all that it takes. If it can get its first
    /// task, that decides when its gathering ends. `at` is the time on the node's clock.
    pub fn gathered(
        &mut self,
        db: i32,
        name: &[u8],
        group: &Option<Box<[u8]>>,
        offer: &impl Offer,
        at: Millis,
    ) -> Gathered<T> {
        let Some(queue) = self.get(db, name) else { return Gathered::Nobody };
        let Some((number, ticket, batch)) = queue.gatherer(group, offer) else { return Gathered::Nobody };
        match (batch, queue.at(number)) {
            (Some(batch), Some(waiter)) if batch.is_full => return Gathered::Full(number, waiter.clone()),
            (Some(batch), _) => self.settle(&ticket, (db, name), at, offer.at().since(batch.since)),
            (None, _) => {}
        }
        Gathered::Waits
    }

    /// The first task of a worker that gathers has been ready for `age_ms`, in the queue `here`.
    fn settle(&mut self, ticket: &Ticket, here: (i32, &[u8]), at: Millis, age_ms: u64) {
        let Some(gather) = &ticket.gather else { return };
        let Some(before) = gather.settle(at, age_ms) else { return };
        for Position { queue: key, number } in &ticket.positions {
            let queue = self.queues.get_mut(&key.db).and_then(|queues| queues.get_mut(&key.name));
            queue.into_iter().for_each(|queue| queue.change_end(*number, before, gather.until()));
            if (key.db, &*key.name) != here {
                self.unsettled.push(key.clone());
            }
        }
    }

    /// The queues that need a write soon, in which the workers of all groups are looked at: a worker that gathers there
    /// has got its end by the tasks of another queue, or has left, so that the one behind it begins. No write of these
    /// queues knows of that. A queue can be named twice.
    pub fn take_unsettled(&mut self) -> Vec<QueueKey> {
        std::mem::take(&mut self.unsettled)
    }

    /// Rechecks the workers of this name, because they may get tasks now that they could not get before. Calls
    /// `add_group` with the group that each of them waits for, if it waits for one.
    pub fn recheck(&mut self, db: i32, name: &[u8], worker: &[u8], add_group: &mut dyn FnMut(&[u8])) {
        if let Some(queue) = self.queues.get_mut(&db).and_then(|queues| queues.get_mut(name)) {
            queue.recheck(worker, add_group);
        }
    }

    /// Rechecks all workers that wait for a queue, because it isn't known any more which of them hold tasks.
    pub fn recheck_all(&mut self, db: i32, name: &[u8]) {
        let queue = self.queues.get_mut(&db).and_then(|queues| queues.get_mut(name));
        queue.filter(|_| self.has_checked).into_iter().for_each(WaitQueue::recheck_all);
    }

    /// The worker that waits for a queue with this token, and its number.
    pub fn with_token(&self, key: &QueueKey, token: &[u8]) -> Option<(u64, T)> {
        let queue = self.get(key.db, &key.name)?;
        let number = queue.with_token(token)?;
        Some((number, queue.at(number)?.clone()))
    }

    /// The number for a worker that comes now.
    pub fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Adds a worker at all its positions.
    pub fn join(&mut self, ticket: &Rc<Ticket>, waiter: T) {
        debug_assert!(!ticket.is_valid(), "a worker joins once");
        ticket.is_valid.set(true);
        for Position { queue, number } in &ticket.positions {
            let queues = self.queues.entry(queue.db).or_default();
            queues.entry(queue.name.clone()).or_default().insert(*number, ticket, waiter.clone());
        }
        self.total += 1;
        self.gatherers += usize::from(ticket.gather.is_some());
    }

    /// Removes a worker. Returns false if it had left before. It stays in some wait queues until they are cleared.
    pub fn leave(&mut self, ticket: &Rc<Ticket>) -> bool {
        if !self.invalidate(ticket) {
            return false;
        }
        if ticket.positions.len() > CLEARED_AT_ONCE {
            rare!("the positions of a worker are cleared later");
            self.left.push_back((Rc::clone(ticket), 0));
        } else {
            ticket.positions.iter().for_each(|position| self.clear(ticket, position));
        }
        true
    }

    /// Like [`WaitQueues::leave`], but clears all positions at once, because a copy of the claim takes them over.
    pub fn leave_to_copy(&mut self, ticket: &Ticket) {
        if self.invalidate(ticket) {
            ticket.positions.iter().for_each(|position| self.clear(ticket, position));
        }
    }

    /// Removes a worker from the wait queue of one task queue, whose workers are being served.
    pub fn clear_from(&mut self, ticket: &Ticket, db: i32, name: &[u8]) {
        if let Some(position) = ticket.position_in(db, name) {
            self.remove(ticket, position);
        }
    }

    /// Whether positions of workers that have left still have to be cleared.
    pub fn some_have_left(&self) -> bool {
        !self.left.is_empty()
    }

    /// Clears some positions of workers that have left.
    pub fn clear_some(&mut self) {
        let Some((ticket, from)) = self.left.pop_front() else { return };
        let next = ticket.positions.iter().skip(from).take(POSITIONS_A_STEP);
        next.for_each(|position| self.clear(&ticket, position));
        if from + POSITIONS_A_STEP < ticket.positions.len() {
            rare!("the positions of a worker are cleared in several steps");
            self.left.push_front((ticket, from + POSITIONS_A_STEP));
        }
    }

    fn invalidate(&mut self, ticket: &Ticket) -> bool {
        let was_valid = ticket.is_valid.replace(false);
        debug_assert!(!was_valid || self.total > 0, "a waiting worker was counted");
        self.total = self.total.saturating_sub(usize::from(was_valid));
        self.gatherers = self.gatherers.saturating_sub(usize::from(was_valid && ticket.gather.is_some()));
        was_valid
    }

    fn clear(&mut self, ticket: &Ticket, position: &Position) {
        let Position { queue: key, number } = position;
        if ticket.gather.is_some()
            && self.get(key.db, &key.name).is_some_and(|queue| queue.gathers_before_others(*number, ticket))
        {
            self.unsettled.push(key.clone());
        }
        self.remove(ticket, position);
    }

    fn remove(&mut self, ticket: &Ticket, Position { queue: key, number }: &Position) {
        let Some(queues) = self.queues.get_mut(&key.db) else { return };
        let Some(queue) = queues.get_mut(&key.name) else { return };
        queue.remove(*number, ticket);
        if queue.is_empty() {
            queues.remove(&key.name);
        }
    }

    fn get(&self, db: i32, name: &[u8]) -> Option<&WaitQueue<T>> {
        self.queues.get(&db)?.get(name)
    }
}
