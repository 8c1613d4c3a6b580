//! The wait queues of blocked workers: cases by hand, and random histories that are compared with a naive model.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use taskslot_engine::{Claimable, Millis};
use taskslot_node::edges::{ENDS_A_STEP, POSITIONS_A_STEP};
use taskslot_node::{Candidates, Demand, Gather, Groups, Offer, Position, QueueKey, Ticket, WaitQueues};

use crate::dice::Dice;

/// The tasks of a queue: its ready groups ("" for tasks without a group), and whether all tasks are suspects, which
/// only some workers can get.
#[derive(Default)]
struct Tasks {
    ready: BTreeSet<&'static [u8]>,
    are_suspects: bool,
    /// The names of the workers that can get a suspect.
    allowed: BTreeSet<&'static [u8]>,
    /// How often a worker was checked.
    asked: RefCell<usize>,
    /// How many tasks there are, for workers that gather, and since when the oldest is ready.
    tasks: u64,
    since: u64,
    at: u64,
}

impl Offer for Tasks {
    fn is_claimable(&self, group: Option<&[u8]>) -> bool {
        group.map_or(!self.ready.is_empty(), |group| self.ready.contains(group))
    }

    fn is_claimable_for(&self, group: Option<&[u8]>, worker: &[u8]) -> bool {
        *self.asked.borrow_mut() += 1;
        self.is_claimable(group) && (!self.are_suspects || self.allowed.contains(worker))
    }

    fn has_suspects(&self) -> bool {
        self.are_suspects
    }

    fn has_only_suspects(&self, _: Option<&[u8]>) -> bool {
        self.are_suspects
    }

    fn groups(&self) -> impl Iterator<Item = &[u8]> {
        self.ready.iter().copied().filter(|group| !group.is_empty())
    }

    fn claimable(&self, ticket: &Ticket, only_full: bool) -> Option<Claimable> {
        let is_full = self.tasks >= ticket.tasks;
        let can_get =
            self.is_claimable_for(ticket.group.as_deref(), &ticket.worker) && (is_full || !only_full);
        can_get.then_some(Claimable { is_full, since: Millis(self.since) })
    }

    fn at(&self) -> Millis {
        Millis(self.at)
    }
}

fn ready(groups: &[&'static str]) -> Tasks {
    Tasks { ready: groups.iter().map(|group| group.as_bytes()).collect(), ..Tasks::default() }
}

/// The wait queues of tests: a ticket stands for its worker.
type Queues = WaitQueues<Rc<Ticket>>;

/// Adds a worker that waits for these queues.
fn join(
    queues: &mut Queues,
    keys: &[&str],
    name: &str,
    group: Option<&str>,
    token: Option<&str>,
) -> Rc<Ticket> {
    let number = queues.next_number();
    let position = |key: &&str| Position { queue: QueueKey::new(0, key.as_bytes()), number };
    let positions = keys.iter().map(position).collect();
    let ticket =
        Ticket::new(positions, name.as_bytes(), group.map(str::as_bytes), token.map(str::as_bytes), 10);
    queues.join(&ticket, Rc::clone(&ticket));
    ticket
}

/// The worker that is served next, found in the same way as in the module.
fn next(queues: &mut Queues, key: &str, tasks: &Tasks) -> Option<Rc<Ticket>> {
    let key = key.as_bytes();
    let mut candidates = Candidates::of(queues, 0, key, tasks, &Groups::All);
    loop {
        let of_group = candidates.peek(queues, 0, key, tasks);
        let of_all = queues.first(0, key, None, tasks).filter(|_| tasks.is_claimable(None));
        let (_, ticket) = of_all.into_iter().chain(of_group).min_by_key(|(number, _)| *number)?;
        if ticket.is_valid() {
            return Some(ticket);
        }
        queues.clear_from(&ticket, 0, key);
    }
}

fn name(ticket: Option<Rc<Ticket>>) -> String {
    ticket.map_or_else(|| "nobody".to_owned(), |ticket| String::from_utf8_lossy(&ticket.worker).into_owned())
}

#[test]
fn the_first_worker_to_come_is_served_first() {
    let mut queues = Queues::default();
    let first = join(&mut queues, &["q"], "a", None, None);
    join(&mut queues, &["q"], "b", Some("g"), None);
    join(&mut queues, &["q"], "c", None, None);
    assert_eq!(name(next(&mut queues, "q", &ready(&["g"]))), "a");
    assert!(queues.leave(&first));
    assert!(!queues.leave(&first), "once");
    assert_eq!(name(next(&mut queues, "q", &ready(&["g"]))), "b");
    assert_eq!(name(next(&mut queues, "q", &ready(&["h"]))), "c");
    assert_eq!(name(next(&mut queues, "q", &ready(&[]))), "nobody");
    assert_eq!(queues.total(), 2);
}

#[test]
fn what_is_put_off_is_forgotten_when_the_last_worker_leaves() {
    let mut queues = Queues::default();
    queues.set_put_off(0, b"q", true);
    assert!(!queues.is_put_off(0, b"q"), "nobody waits");
    let worker = join(&mut queues, &["q", "r"], "a", None, None);
    queues.set_put_off(0, b"q", true);
    assert!(queues.is_put_off(0, b"q") && !queues.is_put_off(0, b"r") && !queues.is_put_off(1, b"q"));
    queues.leave(&worker);
    queues.clear_from(&worker, 0, b"q");
    join(&mut queues, &["q"], "b", None, None);
    assert!(!queues.is_put_off(0, b"q"));
}

#[test]
fn a_worker_that_waits_for_several_queues_leaves_all_of_them_at_once() {
    let mut queues = Queues::default();
    let keys: Vec<String> = (0..250).map(|nth| format!("q{nth}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let many = join(&mut queues, &keys, "a", None, None);
    join(&mut queues, &["q249"], "b", None, None);
    assert_eq!(queues.demand(0, b"q249"), Demand { claims: 2, tasks: 20 });
    queues.leave(&many);
    assert_eq!(queues.total(), 1);
    // Its positions are not cleared yet, but it is neither served nor counted.
    assert!(queues.some_have_left());
    assert_eq!(queues.demand(0, b"q249"), Demand { claims: 1, tasks: 10 });
    assert_eq!(queues.names(0, b"q249", 9).len(), 1);
    assert_eq!(name(next(&mut queues, "q249", &ready(&["g"]))), "b");
    assert!(queues.has_any(0, b"q0") && queues.has_any(0, b"q100"));
    let mut steps = 0;
    while queues.some_have_left() {
        queues.clear_some();
        steps += 1;
    }
    assert_eq!(steps, 250_usize.div_ceil(POSITIONS_A_STEP), "so many positions at a time");
    assert_eq!(queues.keys(0), [QueueKey::new(0, b"q249")]);
}

#[test]
fn a_copy_of_a_claim_takes_over_its_places() {
    let mut queues = Queues::default();
    let old = join(&mut queues, &["q", "r"], "a", None, Some("t"));
    join(&mut queues, &["q"], "b", None, None);
    let (number, found) = queues.with_token(&QueueKey::new(0, b"q"), b"t").unwrap();
    assert!(Rc::ptr_eq(&found, &old));
    queues.leave_to_copy(&old);
    assert!(!old.is_valid() && !queues.some_have_left());
    let positions = vec![Position { queue: QueueKey::new(0, b"q"), number }];
    let copy = Ticket::new(positions, b"copy", None, Some(b"t"), 1);
    queues.join(&copy, Rc::clone(&copy));
    // The later end of the old claim doesn't affect the copy.
    queues.clear_from(&old, 0, b"q");
    assert!(!queues.leave(&old));
    assert_eq!(name(next(&mut queues, "q", &ready(&["g"]))), "copy");
    assert!(queues.with_token(&QueueKey::new(0, b"r"), b"t").is_none());
}

#[test]
fn a_worker_that_cannot_get_a_suspect_keeps_its_place_and_is_checked_once() {
    let mut queues = Queues::default();
    for _ in 0..1000 {
        join(&mut queues, &["q"], "busy", None, None);
    }
    let mut tasks = Tasks { are_suspects: true, ..ready(&["g"]) };
    assert_eq!(name(next(&mut queues, "q", &tasks)), "nobody");
    let asked = tasks.asked.take();
    assert!(asked >= 1000);
    assert_eq!(name(next(&mut queues, "q", &tasks)), "nobody");
    assert!(tasks.asked.take() < 10, "not all of them again");
    // A lease of the worker has ended.
    tasks.allowed.insert(b"busy");
    assert_eq!(name(next(&mut queues, "q", &tasks)), "nobody");
    queues.recheck(0, b"q", b"busy", &mut |_| {});
    assert_eq!(name(next(&mut queues, "q", &tasks)), "busy");
    tasks.allowed.clear();
    next(&mut queues, "q", &tasks);
    // Another queue is at the key now.
    tasks.allowed.insert(b"busy");
    queues.recheck_all(0, b"q");
    assert_eq!(name(next(&mut queues, "q", &tasks)), "busy");
}

#[test]
fn a_copy_of_a_claim_is_checked_although_its_position_was() {
    let mut queues = Queues::default();
    let old = join(&mut queues, &["q"], "busy", None, Some("t"));
    join(&mut queues, &["q"], "busy", None, None);
    let tasks = Tasks { are_suspects: true, allowed: [&b"free"[..]].into(), ..ready(&["g"]) };
    assert_eq!(name(next(&mut queues, "q", &tasks)), "nobody");
    let (number, _) = queues.with_token(&QueueKey::new(0, b"q"), b"t").unwrap();
    queues.leave_to_copy(&old);
    let positions = vec![Position { queue: QueueKey::new(0, b"q"), number }];
    let copy = Ticket::new(positions, b"free", None, Some(b"t"), 1);
    queues.join(&copy, Rc::clone(&copy));
    assert_eq!(name(next(&mut queues, "q", &tasks)), "free");
}

#[test]
fn names_are_counted_unless_a_worker_has_none() {
    let mut queues = Queues::default();
    for name in ["a", "b", "b"] {
        join(&mut queues, &["q"], name, None, None);
    }
    assert_eq!(queues.count_names(0, b"q", 9, |name| name != b"a"), Some(1));
    assert_eq!(queues.count_names(0, b"q", 1, |_| true), None, "too many");
    assert_eq!(queues.names(0, b"q", 9)[&b"b"[..]], Demand { claims: 2, tasks: 20 });
    let unnamed = join(&mut queues, &["q"], "", None, None);
    assert_eq!(queues.count_names(0, b"q", 9, |_| true), None);
    queues.leave(&unnamed);
    assert_eq!(queues.count_names(0, b"q", 9, |_| true), Some(2));
    assert_eq!(queues.count_names(0, b"r", 9, |_| true), Some(0));
}

const KEYS: [&str; 3] = ["q", "r", "s"];
const GROUPS: [&str; 4] = ["", "f", "g", "h"];
const NAMES: [&str; 3] = ["", "a", "b"];

/// The naive model: all workers in the order in which they came, searched from the beginning each time.
#[derive(Default)]
struct Model(Vec<Rc<Ticket>>);

impl Model {
    fn here<'m>(&'m self, key: &'m str) -> impl Iterator<Item = &'m Rc<Ticket>> {
        self.0.iter().filter(move |ticket| {
            ticket.positions.iter().any(|position| *position.queue.name == *key.as_bytes())
        })
    }

    fn next(&self, key: &str, tasks: &Tasks) -> Option<Rc<Ticket>> {
        let mut here = self.here(key);
        here.find(|ticket| tasks.is_claimable_for(ticket.group.as_deref(), &ticket.worker)).cloned()
    }

    fn demand(&self, key: &str) -> Demand {
        let claims = self.here(key).count() as u64;
        Demand { claims, tasks: claims * 10 }
    }

    fn names(&self, key: &str) -> BTreeMap<Box<[u8]>, u64> {
        let mut names = BTreeMap::new();
        self.here(key).for_each(|ticket| *names.entry(ticket.worker.clone()).or_default() += 1);
        names
    }
}

#[test]
fn wait_queues_equal_a_naive_model() {
    for seed in 0..300 {
        let (mut dice, mut queues, mut model) = (Dice(seed), Queues::default(), Model::default());
        for step in 0..120 {
            match dice.below(10) {
                0..4 => {
                    let keys: Vec<&str> = KEYS.into_iter().filter(|_| dice.below(2) > 0).collect();
                    let keys = if keys.is_empty() { vec![dice.pick(&KEYS)] } else { keys };
                    let group = Some(dice.pick(&GROUPS)).filter(|group| !group.is_empty());
                    model.0.push(join(&mut queues, &keys, dice.pick(&NAMES), group, None));
                }
                4 if !model.0.is_empty() => {
                    let gone = model.0.remove(dice.below(model.0.len() as u64) as usize);
                    assert!(queues.leave(&gone));
                }
                5 => queues.clear_some(),
                // The next step must not rely on earlier checks of workers.
                _ => KEYS.iter().for_each(|key| queues.recheck_all(0, key.as_bytes())),
            }
            let (key, are_suspects) = (dice.pick(&KEYS), dice.below(3) == 0);
            let groups: Vec<&'static str> = GROUPS.into_iter().filter(|_| dice.below(2) > 0).collect();
            let allowed = NAMES.into_iter().filter(|_| dice.below(2) > 0).map(str::as_bytes).collect();
            let tasks = Tasks { are_suspects, allowed, ..ready(&groups) };
            KEYS.iter().for_each(|key| queues.recheck_all(0, key.as_bytes()));
            let expected = model.next(key, &tasks);
            let found = next(&mut queues, key, &tasks);
            let is_same = match (&found, &expected) {
                (Some(found), Some(expected)) => Rc::ptr_eq(found, expected),
                (found, expected) => found.is_none() && expected.is_none(),
            };
            assert!(is_same, "seed {seed}, step {step}: {found:?}, not {expected:?}");
            assert_eq!(queues.total(), model.0.len(), "seed {seed}, step {step}");
            assert_eq!(queues.demand(0, key.as_bytes()), model.demand(key), "seed {seed}, step {step}");
            let names = queues.names(0, key.as_bytes(), 9).into_iter();
            let names: BTreeMap<_, _> = names.map(|(name, demand)| (name, demand.claims)).collect();
            assert_eq!(names, model.names(key), "seed {seed}, step {step}");
            if let Some(served) = found.filter(|_| dice.below(2) > 0) {
                queues.clear_from(&served, 0, key.as_bytes());
                assert!(queues.leave(&served));
                model.0.retain(|ticket| !Rc::ptr_eq(ticket, &served));
            }
        }
    }
}

// Workers that gather

/// A worker that gathers for `ms`, but no longer than until `at_most`, and takes this many tasks.
fn gather(
    queues: &mut Queues,
    keys: &[&str],
    name: &str,
    group: Option<&str>,
    tasks: u64,
    span: (u64, u64),
) -> Rc<Ticket> {
    let number = queues.next_number();
    let position = |key: &&str| Position { queue: QueueKey::new(0, key.as_bytes()), number };
    let positions = keys.iter().map(position).collect();
    let gather = Some(Gather::new(span.0, None, Millis(span.1)));
    let group = group.map(str::as_bytes);
    let ticket = Ticket::gathering(positions, name.as_bytes(), group, None, tasks, gather);
    queues.join(&ticket, Rc::clone(&ticket));
    ticket
}

/// Tasks of these groups at an instant; the oldest of them is ready since `since`.
fn some(groups: &[&'static str], tasks: u64, since: u64, at: u64) -> Tasks {
    Tasks { tasks, since, at, ..ready(groups) }
}

/// The worker that is served next at the tasks' instant, by a write that may have made tasks of any group ready.
fn served(queues: &mut Queues, key: &str, tasks: &Tasks) -> String {
    served_by(queues, key, tasks, Groups::All)
}

/// The worker that is served next at the tasks' instant, found in the same way as in the module, by a write that made
/// tasks of these groups ready.
fn served_by(queues: &mut Queues, key: &str, tasks: &Tasks, mut ready: Groups) -> String {
    let key = key.as_bytes();
    queues.end_gathering(0, key, Millis(tasks.at), &mut |group| ready.add(group));
    let mut candidates = Candidates::of(queues, 0, key, tasks, &ready);
    if !tasks.is_claimable(None) {
        return "nobody".to_owned();
    }
    let of_group = candidates.peek(queues, 0, key, tasks);
    let of_all = queues.first(0, key, None, tasks);
    let first = of_all.into_iter().chain(of_group).min_by_key(|(number, _)| *number);
    let before = (first.as_ref().map(|(number, _)| *number), Millis(tasks.at));
    let full = candidates.peek_full(queues, 0, key, tasks, before);
    name(full.or(first).map(|(_, ticket)| ticket))
}

const LATE: u64 = 1_000_000;

#[test]
fn a_worker_gathers_until_its_batch_is_full_or_its_first_task_is_old_enough() {
    let mut queues = Queues::default();
    gather(&mut queues, &["q"], "a", None, 3, (100, LATE));
    assert_eq!(queues.gather_end(0, b"q"), Some(Millis(LATE)));
    assert_eq!(served(&mut queues, "q", &some(&[""], 3, 50, 50)), "a", "full at once");
    // The first task is ready since 20, and seen at 30. Its end does not move when others come.
    assert_eq!(served(&mut queues, "q", &some(&[""], 1, 20, 30)), "nobody");
    assert_eq!(queues.gather_end(0, b"q"), Some(Millis(120)));
    assert_eq!(served(&mut queues, "q", &some(&[""], 2, 90, 119)), "nobody");
    assert_eq!(served(&mut queues, "q", &some(&[""], 2, 90, 120)), "a");
    assert_eq!(queues.gather_end(0, b"q"), None, "from now on it takes what is there");
    assert_eq!(served(&mut queues, "q", &some(&[""], 1, 500, 500)), "a");
}

#[test]
fn others_are_served_while_a_worker_gathers_and_it_keeps_its_position() {
    let mut queues = Queues::default();
    gather(&mut queues, &["q"], "a", None, 3, (100, LATE));
    let plain = join(&mut queues, &["q"], "b", None, None);
    assert_eq!(served(&mut queues, "q", &some(&[""], 1, 10, 10)), "b");
    assert_eq!(served(&mut queues, "q", &some(&[""], 3, 10, 10)), "a", "it came first");
    assert_eq!(served(&mut queues, "q", &some(&[""], 1, 109, 109)), "b");
    assert_eq!(served(&mut queues, "q", &some(&[""], 1, 110, 110)), "a", "its span is over");
    queues.leave(&plain);
    assert_eq!(queues.total(), 1);
}

#[test]
fn a_worker_that_came_before_is_served_before_a_full_batch() {
    let mut queues = Queues::default();
    join(&mut queues, &["q"], "a", None, None);
    join(&mut queues, &["q"], "b", Some("g"), None);
    gather(&mut queues, &["q"], "c", None, 1, (100, LATE));
    assert_eq!(served(&mut queues, "q", &some(&["g"], 5, 0, 0)), "a");
    let first = queues.first(0, b"q", None, &ready(&["g"])).unwrap().1;
    queues.leave(&first);
    assert_eq!(served(&mut queues, "q", &some(&["g"], 5, 0, 0)), "b");
    assert_eq!(served(&mut queues, "q", &some(&["h"], 5, 0, 0)), "c");
}

#[test]
fn workers_gather_one_after_the_other_and_each_group_for_itself() {
    let mut queues = Queues::default();
    let first = gather(&mut queues, &["q"], "a", None, 5, (100, LATE));
    let second = gather(&mut queues, &["q"], "b", None, 2, (10, LATE));
    gather(&mut queues, &["q"], "c", Some("g"), 2, (50, LATE));
    assert_eq!(served(&mut queues, "q", &some(&["h"], 2, 0, 0)), "nobody", "b stands behind a");
    assert_eq!(second.gather.as_ref().unwrap().until(), Millis(LATE), "and has not begun");
    assert_eq!(served(&mut queues, "q", &some(&["g"], 2, 0, 0)), "c", "but not c");
    queues.leave(&first);
    assert_eq!(served(&mut queues, "q", &some(&["h"], 2, 0, 0)), "b");
    assert!(queues.gathers(0, b"q", None) && queues.gathers(0, b"q", Some(b"g")));
    assert!(!queues.gathers(0, b"q", Some(b"h")) && !queues.gathers(0, b"r", None));
}

#[test]
fn a_worker_that_gathers_in_several_queues_has_one_end_and_leaves_all() {
    let mut queues = Queues::default();
    let ticket = gather(&mut queues, &["q", "r"], "a", None, 3, (100, 400));
    assert_eq!(served(&mut queues, "q", &some(&[""], 1, 5, 5)), "nobody");
    assert_eq!([queues.gather_end(0, b"q"), queues.gather_end(0, b"r")], [Some(Millis(105)); 2]);
    assert_eq!(served(&mut queues, "r", &some(&[""], 1, 105, 105)), "a");
    assert!(queues.some_gather() && queues.leave(&ticket) && !queues.some_gather());
    assert!(!queues.has_any(0, b"q") && !queues.has_any(0, b"r"));
}

#[test]
fn the_end_of_a_wait_ends_the_gathering() {
    let mut queues = Queues::default();
    gather(&mut queues, &["q"], "a", None, 3, (100, 50));
    gather(&mut queues, &["q"], "b", None, 3, (100, 20));
    assert_eq!(served(&mut queues, "q", &some(&[""], 1, 10, 10)), "nobody");
    assert_eq!(served(&mut queues, "q", &some(&[""], 1, 10, 20)), "b", "its wait ends first");
    assert_eq!(served(&mut queues, "q", &some(&[""], 1, 10, 50)), "a", "but a came first");
}

#[test]
fn a_worker_that_cannot_get_the_tasks_does_not_hold_up_those_behind_it() {
    let mut queues = Queues::default();
    gather(&mut queues, &["q"], "busy", None, 2, (100, LATE));
    gather(&mut queues, &["q"], "free", None, 2, (100, LATE));
    let tasks = Tasks { are_suspects: true, allowed: [&b"free"[..]].into(), ..some(&[""], 2, 0, 0) };
    assert_eq!(served(&mut queues, "q", &tasks), "free");
}

#[test]
fn a_thousand_workers_that_gather_are_a_matter_of_one() {
    let mut queues = Queues::default();
    for _ in 0..1000 {
        gather(&mut queues, &["q"], "a", None, 3, (100, LATE));
    }
    let tasks = some(&[""], 1, 0, 0);
    for _ in 0..10 {
        assert_eq!(served(&mut queues, "q", &tasks), "nobody");
    }
    assert!(tasks.asked.take() < 20, "only the first was asked");
    // The others end their waits at the same time: a bounded number in each step.
    let mut step = || {
        queues.end_gathering(0, b"q", Millis(LATE), &mut |_| unreachable!("none waits for a group"));
        queues.gather_end(0, b"q")
    };
    assert_eq!(step(), Some(Millis(LATE)));
    (2..1000_usize.div_ceil(ENDS_A_STEP)).for_each(|_| assert_eq!(step(), Some(Millis(LATE))));
    assert_eq!(step(), None);
}

/// The groups of a write that makes nothing ready: the timer's.
fn nothing() -> Groups {
    Groups::Some(BTreeSet::new())
}

#[test]
fn a_worker_for_a_group_is_served_in_time_by_a_write_that_makes_nothing_ready() {
    let mut queues = Queues::default();
    gather(&mut queues, &["q"], "a", Some("g"), 3, (100, LATE));
    gather(&mut queues, &["q"], "b", Some("g"), 3, (10, LATE));
    gather(&mut queues, &["q"], "c", Some("h"), 3, (10, 500));
    assert_eq!(served(&mut queues, "q", &some(&["g"], 1, 0, 0)), "nobody");
    assert_eq!(served_by(&mut queues, "q", &some(&["g"], 1, 0, 99), nothing()), "nobody");
    assert_eq!(served_by(&mut queues, "q", &some(&["g"], 1, 0, 100), nothing()), "a");
    assert_eq!(served_by(&mut queues, "q", &some(&["g", "h"], 1, 0, 500), nothing()), "c", "its wait ends");
}

/// The queues that need a write soon.
fn unsettled(queues: &mut Queues) -> Vec<String> {
    while queues.some_have_left() {
        queues.clear_some();
    }
    let unsettled = queues.take_unsettled().into_iter();
    unsettled.map(|queue| String::from_utf8_lossy(&queue.name).into_owned()).collect()
}

#[test]
fn when_a_worker_that_gathers_leaves_its_queue_is_looked_at_for_the_one_behind_it() {
    let mut queues = Queues::default();
    let keys = ["q", "r"];
    let [first, second, third] =
        ["a", "b", "c"].map(|name| gather(&mut queues, &keys, name, None, 3, (9, LATE)));
    let other = gather(&mut queues, &["q"], "d", Some("g"), 3, (9, LATE));
    queues.leave(&second);
    queues.leave(&other);
    assert_eq!(unsettled(&mut queues), [""; 0], "none of them was the first of several");
    queues.leave(&first);
    assert_eq!(unsettled(&mut queues), ["q", "r"]);
    gather(&mut queues, &keys, "e", None, 3, (9, LATE));
    // This one is served by `q`, which looks at the next by itself.
    queues.clear_from(&third, 0, b"q");
    queues.leave(&third);
    assert_eq!(unsettled(&mut queues), ["r"]);
}

#[test]
fn when_one_queue_decides_the_end_of_a_gathering_the_others_are_looked_at() {
    let mut queues = Queues::default();
    gather(&mut queues, &["q", "r", "s"], "a", Some("g"), 3, (100, LATE));
    assert_eq!(served(&mut queues, "r", &some(&["g"], 1, 0, 0)), "nobody");
    assert_eq!(unsettled(&mut queues), ["q", "s"]);
    assert_eq!(served(&mut queues, "q", &some(&["g"], 1, 0, 0)), "nobody");
    assert_eq!(unsettled(&mut queues), [""; 0], "only once");
}
