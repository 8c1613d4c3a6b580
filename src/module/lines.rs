//! The lines of waiting workers: one for each queue, by database and key, first come, first served.
//!
//! A worker that waits for several queues stands in the line of each, and leaves all of them at once. It stands in
//! all its lines or in none: that is noted with it, and a line may still hold it for a while. Thousands that wait for a
//! hundred queues each may die at once, so all but its first few places are cleared soon, a slice at a time.
//!
//! Where the queue has suspects, not everybody may have what there is: who may not is skipped and keeps its place. Those
//! who hold a suspect, or are awaited, are few. Those who hold anything at all may be all: where only suspects are
//! ready, they are looked at once, and again when a lease of theirs has ended.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Instant;

use taskslot_engine::{Millis, Queue};

use crate::api::blocked::Waiter;
use crate::waiters::Worker;
use crate::wakeups::{self, Place, SLICE};

/// Places of a worker that are cleared as soon as it leaves.
const CLEARED_AT_ONCE: usize = 4;
/// Places that are cleared between two looks at the clock.
const PLACES_A_STEP: usize = 100;

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
    groups: BTreeMap<Option<Box<[u8]>>, Part>,
    tokens: BTreeMap<Box<[u8]>, u64>,
    /// By the worker's name, empty for none.
    names: BTreeMap<Box<[u8]>, Namesakes>,
    crew: Crew,
}

/// Those of a line who wait for the same.
#[derive(Default)]
struct Part {
    numbers: BTreeSet<u64>,
    /// Up to this number all were found to hold something while only suspects were ready, but for those in `again`.
    looked_to: u64,
    /// Who is to be looked at again.
    again: BTreeSet<u64>,
}

/// Those of a line who gave the same name.
#[derive(Default)]
struct Namesakes {
    numbers: BTreeSet<u64>,
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
    /// Whether in any line somebody was looked at in vain.
    static LOOKED: Cell<bool> = const { Cell::new(false) };
    /// Who has left and may still be in some lines: from which of its places on.
    static GONE: RefCell<VecDeque<(Waiter<Worker>, usize)>> = const { RefCell::new(VecDeque::new()) };
}

impl Line {
    /// All who wait.
    fn crew(&self) -> Crew {
        self.without_the_gone(self.crew, self.waiters.values())
    }

    fn crew_of(&self, namesakes: &Namesakes) -> Crew {
        let waiters = namesakes.numbers.iter().filter_map(|number| self.waiters.get(number));
        self.without_the_gone(namesakes.crew, waiters)
    }

    /// What was counted, or counted anew while somebody may stand here that has left.
    fn without_the_gone<'a>(&self, counted: Crew, waiters: impl Iterator<Item = &'a Waiter<Worker>>) -> Crew {
        if GONE.with_borrow(VecDeque::is_empty) {
            return counted;
        }
        let mut crew = Crew::default();
        let present = waiters.map(Waiter::state).filter(|worker| worker.stands_in_line());
        present.for_each(|worker| crew.add(worker.places()));
        crew
    }
}

/// How many workers wait for a queue.
pub fn waiting(db: i32, key: &[u8]) -> usize {
    usize::try_from(crew(db, key).waiting).unwrap_or(usize::MAX)
}

/// Whether a queue has a line, perhaps only of those who have left.
pub fn has_line(db: i32, key: &[u8]) -> bool {
    look(db, key, |_| ()).is_some()
}

/// All who wait for a queue.
pub fn crew(db: i32, key: &[u8]) -> Crew {
    look(db, key, Line::crew).unwrap_or_default()
}

/// Who waits for a queue, by name, the first `limit` of them.
pub fn names(db: i32, key: &[u8], limit: usize) -> BTreeMap<Box<[u8]>, Crew> {
    look(db, key, |line| {
        let names = line.names.iter().map(|(name, namesakes)| (name.clone(), line.crew_of(namesakes)));
        names.filter(|(_, crew)| crew.waiting > 0).take(limit).collect()
    })
    .unwrap_or_default()
}

/// How many names of those who wait for a queue are wanted; `None` where one gave none, or there are more than `limit`.
pub fn count_names(db: i32, key: &[u8], limit: usize, is_wanted: impl Fn(&[u8]) -> bool) -> Option<u64> {
    let count = |line: &Line| {
        let is_known = line.names.len() <= limit && !line.names.contains_key(&b""[..]);
        let here = line.names.iter().filter(|(_, namesakes)| line.crew_of(namesakes).waiting > 0);
        is_known.then(|| here.filter(|(name, _)| is_wanted(name)).count() as u64)
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

/// The first in the line of a queue who may have what is ready now, of those who wait for this group or of those who
/// take any task.
pub fn first(
    db: i32,
    key: &[u8],
    group: Option<&[u8]>,
    queue: &Queue,
    now: Millis,
) -> Option<(u64, Waiter<Worker>)> {
    LINES.with_borrow_mut(|lines| {
        let Line { waiters, groups, .. } = lines.get_mut(&db)?.get_mut(key)?;
        let number = groups.get_mut(&group.map(Box::from))?.first(waiters, group, queue, now)?;
        Some((number, waiters.get(&number)?.clone()))
    })
}

/// For how many groups alone workers wait.
pub fn groups(db: i32, key: &[u8]) -> usize {
    let groups = |line: &Line| line.groups.len() - usize::from(line.groups.contains_key(&None));
    look(db, key, groups).unwrap_or(0)
}

/// The first of each group that is waited for and has a task now, by number.
pub fn firsts(db: i32, key: &[u8], queue: &Queue, now: Millis) -> BTreeMap<u64, Box<[u8]>> {
    LINES.with_borrow_mut(|lines| {
        let Some(Line { waiters, groups, .. }) = lines.get_mut(&db).and_then(|keys| keys.get_mut(key)) else {
            return BTreeMap::new();
        };
        let groups = groups.iter_mut().filter_map(|(group, part)| Some((group.as_deref()?, part)));
        let wanted = groups.filter(|(group, _)| queue.is_claimable_by(now, Some(group)));
        let first = |(group, part): (&[u8], &mut Part)| {
            Some((part.first(waiters, Some(group), queue, now)?, group.into()))
        };
        wanted.filter_map(first).collect()
    })
}

/// Those who wait by this name may be given more than when they were looked at. `stir` is told the group that each
/// waits for, if it waits for one.
pub fn look_again(db: i32, key: &[u8], name: &[u8], stir: &mut dyn FnMut(&[u8])) {
    LINES.with_borrow_mut(|lines| {
        let Some(line) = lines.get_mut(&db).and_then(|keys| keys.get_mut(key)) else { return };
        let namesakes = line.names.get(name).filter(|_| !name.is_empty());
        for number in namesakes.into_iter().flat_map(|namesakes| &namesakes.numbers) {
            let Some(waiter) = line.waiters.get(number) else { continue };
            let group = waiter.state().group();
            group.into_iter().for_each(&mut *stir);
            if let Some(part) = line.groups.get_mut(&group.map(Box::from))
                && *number <= part.looked_to
            {
                part.again.insert(*number);
            }
        }
    });
}

/// Nothing is known any more of what those in the line of a queue hold.
pub fn look_at_all(db: i32, key: &[u8]) {
    if !LOOKED.get() {
        return;
    }
    LINES.with_borrow_mut(|lines| {
        let line = lines.get_mut(&db).and_then(|keys| keys.get_mut(key));
        for part in line.into_iter().flat_map(|line| line.groups.values_mut()) {
            part.looked_to = 0;
            part.again.clear();
        }
    });
}

impl Part {
    /// The first who may have what is ready now.
    fn first(
        &mut self,
        waiters: &BTreeMap<u64, Waiter<Worker>>,
        group: Option<&[u8]>,
        queue: &Queue,
        now: Millis,
    ) -> Option<u64> {
        if !queue.has_suspects() {
            return self.numbers.first().copied();
        }
        let name = |number: &u64| Some(waiters.get(number)?.state().name());
        let may_have =
            |number: &u64| name(number).is_some_and(|name| queue.is_claimable_for(now, group, name));
        if !queue.has_only_suspects(now, group) {
            return self.numbers.iter().find(|number| may_have(number)).copied();
        }
        while let Some(number) = self.again.first() {
            if may_have(number) {
                return Some(*number);
            }
            self.again.pop_first();
        }
        LOOKED.set(true);
        for number in self.numbers.range(self.looked_to.saturating_add(1)..) {
            if may_have(number) {
                return Some(*number);
            }
            self.looked_to = *number;
        }
        None
    }
}

/// The one in the line of a queue that waits with this token, and its number.
pub fn with_token(place: &Place, token: &[u8]) -> Option<(u64, Waiter<Worker>)> {
    look(place.db, &place.key, |line| {
        let number = *line.tokens.get(token)?;
        let waiter = line.waiters.get(&number).filter(|waiter| waiter.state().stands_in_line())?;
        Some((number, waiter.clone()))
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
    worker.stands_in_line.set(true);
    LINES.with_borrow_mut(|lines| {
        for Stand { place, number } in worker.stands() {
            let line = lines.entry(place.db).or_default().entry(place.key.clone()).or_default();
            line.waiters.insert(*number, waiter.clone());
            let part = line.groups.entry(worker.group().map(Box::from)).or_default();
            part.numbers.insert(*number);
            if *number <= part.looked_to {
                // It takes the place of another, which was looked at.
                part.again.insert(*number);
            }
            let namesakes = line.names.entry(worker.name().into()).or_default();
            namesakes.numbers.insert(*number);
            namesakes.crew.add(worker.places());
            line.crew.add(worker.places());
            worker.token().into_iter().for_each(|token| {
                line.tokens.insert(token.into(), *number);
            });
        }
    });
    WAITING.set(WAITING.get() + 1);
}

/// Takes a worker out of its lines; false where it has left before. It may be found in some of them until they are
/// cleared.
pub fn leave(worker: &Worker) -> bool {
    if !worker.stands_in_line.replace(false) {
        return false;
    }
    WAITING.set(WAITING.get().saturating_sub(1));
    let (first, others) = worker.stands().split_at(CLEARED_AT_ONCE.min(worker.stands().len()));
    let cleared = first.iter().map(|stand| clear(worker, stand)).fold(None, |all, one| all.or(one));
    if let Some(waiter) = cleared.filter(|_| !others.is_empty()) {
        GONE.with_borrow_mut(|gone| gone.push_back((waiter, first.len())));
        wakeups::soon();
    }
    true
}

/// As [`leave`], out of all its lines at once, since a copy is about to take its places.
pub fn leave_to_copy(worker: &Worker) {
    if worker.stands_in_line.replace(false) {
        WAITING.set(WAITING.get().saturating_sub(1));
        worker.stands().iter().for_each(|stand| _ = clear(worker, stand));
    }
}

/// Takes a worker out of the line of one queue.
pub fn clear_from(worker: &Worker, db: i32, key: &[u8]) {
    let stand = worker.stands().iter().find(|stand| stand.place.db == db && *stand.place.key == *key);
    stand.into_iter().for_each(|stand| _ = clear(worker, stand));
}

/// Clears the places of those who have left, for a slice of time. Whether there are more.
pub fn clear_gone() -> bool {
    let started = Instant::now();
    while let Some((waiter, from)) = GONE.with_borrow_mut(VecDeque::pop_front) {
        let stands = waiter.state().stands();
        let next = stands.iter().skip(from).take(PLACES_A_STEP);
        next.for_each(|stand| _ = clear(waiter.state(), stand));
        if from + PLACES_A_STEP < stands.len() {
            GONE.with_borrow_mut(|gone| gone.push_front((waiter, from + PLACES_A_STEP)));
        }
        if started.elapsed() >= SLICE {
            return GONE.with_borrow(|gone| !gone.is_empty());
        }
    }
    false
}

/// Takes a worker out of one line, if it is still there: what the line held.
fn clear(worker: &Worker, Stand { place, number }: &Stand) -> Option<Waiter<Worker>> {
    LINES.with_borrow_mut(|lines| {
        let keys = lines.get_mut(&place.db)?;
        let line = keys.get_mut(&place.key)?;
        // A copy of the same request may stand there by now, with the same number.
        line.waiters.get(number).filter(|waiter| std::ptr::eq(waiter.state(), worker))?;
        let waiter = line.waiters.remove(number);
        let group = worker.group().map(Box::from);
        if let Some(part) = line.groups.get_mut(&group) {
            part.numbers.remove(number);
            part.again.remove(number);
            if part.numbers.is_empty() {
                line.groups.remove(&group);
            }
        }
        line.crew.take(worker.places());
        if let Some(namesakes) = line.names.get_mut(worker.name()) {
            namesakes.numbers.remove(number);
            namesakes.crew.take(worker.places());
            if namesakes.numbers.is_empty() {
                line.names.remove(worker.name());
            }
        }
        if let Some(token) = worker.token().filter(|&token| line.tokens.get(token) == Some(number)) {
            line.tokens.remove(token);
        }
        if line.waiters.is_empty() {
            keys.remove(&place.key);
        }
        waiter
    })
}

fn look<R>(db: i32, key: &[u8], look: impl FnOnce(&Line) -> R) -> Option<R> {
    LINES.with_borrow(|lines| lines.get(&db)?.get(key).map(look))
}
