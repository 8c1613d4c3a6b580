//! The lines of waiting workers: one for each queue, by database and key, first come, first served.
//!
//! A worker that waits for several queues stands in the line of each, and leaves all of them at once. It stands in
//! all its lines or in none.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::api::blocked::Waiter;
use crate::waiters::Worker;
use crate::wakeups::Place;

/// A worker's place in the line of one queue. Who has the lower number came first.
#[derive(Debug, Clone)]
pub struct Stand {
    /// The queue.
    pub place: Place,
    /// The number.
    pub number: u64,
}

#[derive(Default)]
struct Line {
    waiters: BTreeMap<u64, Waiter<Worker>>,
    /// Numbers by the group that they wait for; those who take any task wait for none.
    groups: BTreeMap<Option<Box<[u8]>>, BTreeSet<u64>>,
    tokens: BTreeMap<Box<[u8]>, u64>,
    /// By the name that they gave: how many wait, and for how many tasks at a time.
    names: BTreeMap<Box<[u8]>, Crew>,
    crew: Crew,
}

/// Claims that wait, of one name or all of a line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Crew {
    /// How many wait.
    pub waiting: u64,
    /// How many tasks they would take at a time.
    pub places: u64,
}

impl Crew {
    fn add(&mut self, places: u64) {
        self.waiting += 1;
        self.places = self.places.saturating_add(places);
    }

    fn take(&mut self, places: u64) {
        self.waiting = self.waiting.saturating_sub(1);
        self.places = self.places.saturating_sub(places);
    }
}

type Lines = HashMap<i32, HashMap<Box<[u8]>, Line>>;

thread_local! {
    static LINES: RefCell<Lines> = RefCell::new(HashMap::new());
    static WAITING: Cell<usize> = const { Cell::new(0) };
    static LAST_NUMBER: Cell<u64> = const { Cell::new(0) };
}

/// How many workers wait for a queue.
pub fn waiting(db: i32, key: &[u8]) -> usize {
    look(db, key, |line| line.waiters.len()).unwrap_or(0)
}

/// All who wait for a queue.
pub fn crew(db: i32, key: &[u8]) -> Crew {
    look(db, key, |line| line.crew).unwrap_or_default()
}

/// Who waits for a queue, by name, the first `limit` of them.
pub fn names(db: i32, key: &[u8], limit: usize) -> BTreeMap<Box<[u8]>, Crew> {
    let names =
        |line: &Line| line.names.iter().take(limit).map(|(name, crew)| (name.clone(), *crew)).collect();
    look(db, key, names).unwrap_or_default()
}

/// How many names of those who wait for a queue are wanted; `None` where one gave none, or there are more than `limit`.
pub fn count_names(db: i32, key: &[u8], limit: usize, is_wanted: impl Fn(&[u8]) -> bool) -> Option<u64> {
    let count = |line: &Line| {
        let is_known = line.names.len() <= limit && !line.names.contains_key(&b""[..]);
        is_known.then(|| line.names.keys().filter(|name| is_wanted(name)).count() as u64)
    };
    look(db, key, count).unwrap_or(Some(0))
}

/// How many workers wait on this node, each counted once.
pub fn total() -> usize {
    WAITING.get()
}

/// The queues that workers of a database wait for.
pub fn places(db: i32) -> Vec<Place> {
    LINES.with_borrow(|lines| {
        let keys = lines.get(&db).into_iter().flatten();
        keys.map(|(key, _)| Place::new(db, key)).collect()
    })
}

/// The first in the line of a queue, of those who wait for this group or of those who take any task.
pub fn first(db: i32, key: &[u8], group: Option<&[u8]>) -> Option<(u64, Waiter<Worker>)> {
    look(db, key, |line| line.first_of(line.groups.get(&group.map(Box::from))?)).flatten()
}

/// For how many groups alone workers wait.
pub fn groups(db: i32, key: &[u8]) -> usize {
    let groups = |line: &Line| line.groups.len() - usize::from(line.groups.contains_key(&None));
    look(db, key, groups).unwrap_or(0)
}

/// The first of each group that is waited for and wanted, by number.
pub fn firsts(db: i32, key: &[u8], is_wanted: impl Fn(&[u8]) -> bool) -> BTreeMap<u64, Box<[u8]>> {
    let firsts = look(db, key, |line| {
        let groups = line.groups.iter().filter_map(|(group, numbers)| Some((group.as_deref()?, numbers)));
        let wanted = groups.filter(|(group, _)| is_wanted(group));
        wanted.filter_map(|(group, numbers)| Some((*numbers.first()?, group.into()))).collect()
    });
    firsts.unwrap_or_default()
}

impl Line {
    fn first_of(&self, numbers: &BTreeSet<u64>) -> Option<(u64, Waiter<Worker>)> {
        let number = *numbers.first()?;
        Some((number, self.waiters.get(&number)?.clone()))
    }
}

/// The one in the line of a queue that waits with this token, and its number.
pub fn with_token(place: &Place, token: &[u8]) -> Option<(u64, Waiter<Worker>)> {
    look(place.db, &place.key, |line| {
        let number = *line.tokens.get(token)?;
        Some((number, line.waiters.get(&number)?.clone()))
    })
    .flatten()
}

/// The number of one who comes now.
pub fn next_number() -> u64 {
    LAST_NUMBER.set(LAST_NUMBER.get() + 1);
    LAST_NUMBER.get()
}

/// Puts a worker into the lines of its queues.
pub fn join(waiter: &Waiter<Worker>) {
    let worker = waiter.state();
    LINES.with_borrow_mut(|lines| {
        for Stand { place, number } in worker.stands() {
            let line = lines.entry(place.db).or_default().entry(place.key.clone()).or_default();
            line.waiters.insert(*number, waiter.clone());
            line.groups.entry(worker.group().map(Box::from)).or_default().insert(*number);
            line.names.entry(worker.name().into()).or_default().add(worker.places());
            line.crew.add(worker.places());
            worker.token().into_iter().for_each(|token| {
                line.tokens.insert(token.into(), *number);
            });
        }
    });
    WAITING.set(WAITING.get() + 1);
}

/// Takes a worker out of its lines, if it still stands there.
pub fn leave(worker: &Worker) {
    let mut stood = false;
    LINES.with_borrow_mut(|lines| {
        for Stand { place, number } in worker.stands() {
            let Some(keys) = lines.get_mut(&place.db) else { return };
            let Some(line) = keys.get_mut(&place.key) else { continue };
            // A copy of the same request may stand there by now, with the same number.
            let is_mine = |waiter: &Waiter<Worker>| std::ptr::eq(waiter.state(), worker);
            if line.waiters.get(number).is_some_and(is_mine) {
                stood = true;
                line.waiters.remove(number);
                let group = worker.group().map(Box::from);
                if let Some(numbers) = line.groups.get_mut(&group) {
                    numbers.remove(number);
                    if numbers.is_empty() {
                        line.groups.remove(&group);
                    }
                }
                worker.token().into_iter().for_each(|token| {
                    line.tokens.remove(token);
                });
                line.crew.take(worker.places());
                if let Some(crew) = line.names.get_mut(worker.name()) {
                    crew.take(worker.places());
                    if crew.waiting == 0 {
                        line.names.remove(worker.name());
                    }
                }
            }
            if line.waiters.is_empty() {
                keys.remove(&place.key);
            }
        }
    });
    if stood {
        WAITING.set(WAITING.get().saturating_sub(1));
    }
}

fn look<R>(db: i32, key: &[u8], look: impl FnOnce(&Line) -> R) -> Option<R> {
    LINES.with_borrow(|lines| lines.get(&db)?.get(key).map(look))
}
