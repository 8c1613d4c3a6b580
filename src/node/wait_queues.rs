//! The wait queues of all task queues, by database and key.
//!
//! A worker that waits for several queues stands in the wait queue of each, and leaves all of them at once. Thousands that
//! wait for a hundred queues each may die at once, so all but its first few places are cleared soon, some at a time.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;

use crate::QueueKey;
use crate::wait_queue::{Demand, Offer, Place, Ticket, WaitQueue};

/// Places of a worker that are cleared as soon as it leaves.
const CLEARED_AT_ONCE: usize = 4;
/// Places that are cleared in one step.
const PLACES_A_STEP: usize = 100;

/// The wait queues of a node. `T` is what waits.
pub struct WaitQueues<T> {
    queues: HashMap<i32, HashMap<Box<[u8]>, WaitQueue<T>>>,
    total: usize,
    last_number: u64,
    /// Whether in any wait queue somebody was looked at in vain.
    has_looked: bool,
    /// Who has left and may still be in some wait queues: from which of its places on.
    left: VecDeque<(Rc<Ticket>, usize)>,
}

impl<T> Default for WaitQueues<T> {
    fn default() -> WaitQueues<T> {
        let (queues, left) = Default::default();
        WaitQueues { queues, total: 0, last_number: 0, has_looked: false, left }
    }
}

impl<T: Clone> WaitQueues<T> {
    /// How many workers wait, each counted once.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Whether a task queue has a wait queue, perhaps only of those who have left.
    pub fn has_any(&self, db: i32, name: &[u8]) -> bool {
        self.total > 0 && self.get(db, name).is_some()
    }

    /// What all who wait for a queue would take.
    pub fn demand(&self, db: i32, name: &[u8]) -> Demand {
        self.get(db, name).map(|queue| queue.demand(self.some_have_left())).unwrap_or_default()
    }

    /// The same by name, for the first `limit` names.
    pub fn names(&self, db: i32, name: &[u8], limit: usize) -> BTreeMap<Box<[u8]>, Demand> {
        let queue = self.get(db, name);
        let names = queue.into_iter().flat_map(|queue| queue.names(self.some_have_left()));
        names.take(limit).map(|(name, demand)| (name.into(), demand)).collect()
    }

    /// How many names of those who wait for a queue are wanted; `None` where one gave none, or there are more than
    /// `limit`.
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

    /// The first in the wait queue of a task queue who may have what is ready now, of those who wait for this group or of
    /// those who take any task.
    pub fn first(
        &mut self,
        db: i32,
        name: &[u8],
        group: Option<&[u8]>,
        offer: &impl Offer,
    ) -> Option<(u64, T)> {
        let queue = self.queues.get_mut(&db)?.get_mut(name)?;
        let number = queue.first(group, offer, &mut self.has_looked)?;
        Some((number, queue.at(number)?.clone()))
    }

    /// For how many groups alone workers wait.
    pub fn groups(&self, db: i32, name: &[u8]) -> usize {
        self.get(db, name).map_or(0, WaitQueue::groups)
    }

    /// The first of each group that is waited for and has a task now, by number.
    pub fn heads(&mut self, db: i32, name: &[u8], offer: &impl Offer) -> BTreeMap<u64, Box<[u8]>> {
        let queue = self.queues.get_mut(&db).and_then(|queues| queues.get_mut(name));
        queue.map(|queue| queue.heads(offer, &mut self.has_looked)).unwrap_or_default()
    }

    /// Those who wait by this name may be given more than when they were looked at. `add_group` gets the group that each
    /// waits for, if it waits for one.
    pub fn look_again(&mut self, db: i32, name: &[u8], worker: &[u8], add_group: &mut dyn FnMut(&[u8])) {
        if let Some(queue) = self.queues.get_mut(&db).and_then(|queues| queues.get_mut(name)) {
            queue.look_again(worker, add_group);
        }
    }

    /// Nothing is known any more of what those who wait for a queue hold.
    pub fn look_at_all(&mut self, db: i32, name: &[u8]) {
        let queue = self.queues.get_mut(&db).and_then(|queues| queues.get_mut(name));
        queue.filter(|_| self.has_looked).into_iter().for_each(WaitQueue::look_at_all);
    }

    /// The one that waits for a queue with this token, and its number.
    pub fn with_token(&self, key: &QueueKey, token: &[u8]) -> Option<(u64, T)> {
        let queue = self.get(key.db, &key.name)?;
        let number = queue.with_token(token)?;
        Some((number, queue.at(number)?.clone()))
    }

    /// The number of one who comes now.
    pub fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Puts a worker in its places.
    pub fn join(&mut self, ticket: &Rc<Ticket>, waiter: T) {
        debug_assert!(!ticket.is_valid(), "a worker joins once");
        ticket.is_valid.set(true);
        for Place { queue, number } in &ticket.places {
            let queues = self.queues.entry(queue.db).or_default();
            queues.entry(queue.name.clone()).or_default().insert(*number, ticket, waiter.clone());
        }
        self.total += 1;
    }

    /// Takes a worker out; false where it has left before. It may be found in some of its places until they are cleared.
    pub fn leave(&mut self, ticket: &Rc<Ticket>) -> bool {
        if !self.invalidate(ticket) {
            return false;
        }
        ticket.places.iter().take(CLEARED_AT_ONCE).for_each(|place| self.clear(ticket, place));
        if ticket.places.len() > CLEARED_AT_ONCE {
            self.left.push_back((Rc::clone(ticket), CLEARED_AT_ONCE));
        }
        true
    }

    /// As [`WaitQueues::leave`], out of all its places at once, since a copy is about to take them.
    pub fn leave_to_copy(&mut self, ticket: &Ticket) {
        if self.invalidate(ticket) {
            ticket.places.iter().for_each(|place| self.clear(ticket, place));
        }
    }

    /// Takes a worker out of the wait queue of one task queue.
    pub fn clear_from(&mut self, ticket: &Ticket, db: i32, name: &[u8]) {
        if let Some(place) = ticket.place_in(db, name) {
            self.clear(ticket, place);
        }
    }

    /// Whether some who have left are still to be cleared.
    pub fn some_have_left(&self) -> bool {
        !self.left.is_empty()
    }

    /// Clears some places of those who have left.
    pub fn clear_some(&mut self) {
        let Some((ticket, from)) = self.left.pop_front() else { return };
        let next = ticket.places.iter().skip(from).take(PLACES_A_STEP);
        next.for_each(|place| self.clear(&ticket, place));
        if from + PLACES_A_STEP < ticket.places.len() {
            self.left.push_front((ticket, from + PLACES_A_STEP));
        }
    }

    fn invalidate(&mut self, ticket: &Ticket) -> bool {
        let was_valid = ticket.is_valid.replace(false);
        debug_assert!(!was_valid || self.total > 0, "who waits was counted");
        self.total = self.total.saturating_sub(usize::from(was_valid));
        was_valid
    }

    fn clear(&mut self, ticket: &Ticket, Place { queue: key, number }: &Place) {
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
