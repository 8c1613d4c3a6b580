//! The wait queues of blocked workers: cases by hand, and random histories that are compared with a naive model.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use taskslot_node::{Candidates, Demand, Groups, Offer, Position, QueueKey, Ticket, WaitQueues};

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
    assert_eq!(steps, 3, "a hundred positions at a time");
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
