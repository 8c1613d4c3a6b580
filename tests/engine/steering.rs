//! What administrators do to tasks: pausing a group, removing tasks by age and by id, retrying the dead of a group.

use taskslot_engine::edges::{LOOKED_AT, SEARCHES_MAX};
use taskslot_engine::{
    After, Claim, Cursor, Event, GroupLimits, GroupRate, HeldBy, Limit, Listing, OnDead, Options, Pause,
    Push, Rate, Refusal, Retry, Set, TaskId, TaskState, When,
};

use crate::copies::{digest, first_effect, load, save};
use crate::story::{Story, story};

/// A tenth of the tasks that one search examines.
const EACH: usize = LOOKED_AT / 10;
/// More than half of them.
const SOME: usize = EACH * 3 / 5;

fn in_group(group: &str) -> Options<'_> {
    Options { group: group.as_bytes(), ..Options::default() }
}

impl Story {
    fn holds_group(&mut self, name: &str, for_ms: Option<u64>) -> &mut Self {
        let until = for_ms.map(|ms| self.now.at.plus(ms));
        let event = self.queue.pause_group(name.as_bytes(), until).unwrap();
        self.apply(&event)
    }

    fn lets_group_go(&mut self, name: &str) -> &mut Self {
        let event = self.queue.resume_group(name.as_bytes()).unwrap();
        self.apply(&event)
    }

    fn is_held_by(&mut self, name: &str, held_by: Option<HeldBy>) -> &mut Self {
        let view = self.queue.group_views(b"").find(|view| view.name == name.as_bytes());
        assert_eq!(view.unwrap_or_else(|| panic!("{name} is not known")).held_by, held_by, "{name}");
        self
    }

    fn purges_old(&mut self, state: TaskState, older_ms: u64, expected: usize) -> &mut Self {
        let (event, stopped) = self.queue.purge(&self.now, state, Some(older_ms), EACH);
        stopped.into_iter().for_each(|stopped| self.queue.note_search(stopped));
        let removed = event.as_ref().map_or(0, |event| event.changes().tasks.ids().count());
        assert_eq!(removed, expected, "{} tasks of {older_ms} ms", state.name());
        event.iter().for_each(|event| _ = self.apply(event));
        self
    }

    fn dies(&mut self, name: &str, group: &str) -> &mut Self {
        self.push_with(name, None, in_group(group)).claims(name).fails_with(name, Retry::Dead, "")
    }

    fn retries_group(&mut self, group: &str, count: usize) -> usize {
        let (event, stopped) = self.queue.retry_group(self.now, group.as_bytes(), count);
        stopped.into_iter().for_each(|stopped| self.queue.note_search(stopped));
        event.iter().for_each(|event| self.apply_unchecked(event));
        event.map_or(0, |event| event.changes().tasks.ids().count())
    }
}

#[test]
fn a_paused_group_gives_no_tasks_and_others_go_on() {
    let mut s = story();
    s.push_with("a1", None, in_group("a")).push_with("b1", None, in_group("b")).push("none");
    s.holds_group("a", None).is_held_by("a", Some(HeldBy::Pause)).is_held_by("b", None);
    assert_eq!(s.claim(&Claim { group: Some(b"a"), ..Claim::default() }), [""; 0], "not by its name either");
    s.drains(&["b1", "none"]).claims_nothing();
    s.push_with("a2", None, in_group("a")).claims_nothing();
    s.lets_group_go("a").is_held_by("a", None).drains(&["a1", "a2"]);
    assert_eq!(s.queue.resume_group(b"a"), None, "it is not paused any more");
}

#[test]
fn a_pause_of_a_group_ends_by_itself() {
    let mut s = story();
    s.push_with("a1", None, in_group("a")).holds_group("a", Some(500)).claims_nothing();
    s.next_due_in(Some(500)).passes(499).claims_nothing();
    s.passes(1).is_held_by("a", None).claims("a1");
}

#[test]
fn a_later_pause_of_a_group_replaces_the_earlier_one() {
    let mut s = story();
    s.push_with("a1", None, in_group("a")).holds_group("a", None).holds_group("a", Some(50));
    s.holds_group("a", Some(500)).next_due_in(Some(500)).passes(50).claims_nothing();
    s.passes(450).claims("a1");
}

#[test]
fn a_group_is_known_while_it_is_paused() {
    let mut s = story();
    s.holds_group("new", Some(500)).is_held_by("new", Some(HeldBy::Pause));
    assert_eq!(s.queue.groups(), 1);
    s.push_with("t", None, in_group("new")).cancels("t");
    assert_eq!(s.queue.groups(), 1, "its last task is gone");
    s.passes(500);
    assert_eq!(s.queue.groups(), 0);
    s.holds_group("new", None).lets_group_go("new");
    assert_eq!(s.queue.groups(), 0);
}

#[test]
fn a_paused_group_counts_against_groups_max() {
    let mut s = story();
    s.config("groups-max", 1).holds_group("one", None);
    assert_eq!(s.queue.pause_group(b"two", None), Err(Refusal::FullGroups));
    s.holds_group("one", Some(5));
}

#[test]
fn a_pause_and_a_rate_hold_a_group_until_both_allow_it() {
    for (pause_ms, rate_ms) in [(300, 700), (700, 300)] {
        let mut s = story();
        let rate = GroupRate::Limited(Rate { claims: 1, per_ms: rate_ms });
        let event = s.queue.set_group(b"a", GroupLimits { rate, ..GroupLimits::default() }).unwrap();
        s.apply(&event).push_with("a1", None, in_group("a")).push_with("a2", None, in_group("a"));
        s.claims("a1").is_held_by("a", Some(HeldBy::Rate)).holds_group("a", Some(pause_ms));
        s.is_held_by("a", Some(HeldBy::Pause)).passes(300).claims_nothing();
        s.passes(399).claims_nothing().passes(1).claims("a2");
    }
}

#[test]
fn limits_of_a_group_come_and_go_while_it_is_paused() {
    let mut s = story();
    s.push_with("a1", None, in_group("a")).holds_group("a", Some(500));
    let event = s.queue.set_group(b"a", GroupLimits { weight: Some(3), ..GroupLimits::default() }).unwrap();
    s.apply(&event).claims_nothing();
    let event = s.queue.forget_group(b"a").unwrap();
    s.apply(&event).claims_nothing().is_held_by("a", Some(HeldBy::Pause)).passes(500).claims("a1");
}

#[test]
fn paused_and_stopped_groups_are_counted() {
    let counts = |s: &Story| (s.queue.groups_paused(), s.queue.groups_stopped());
    let limits = |s: &mut Story, name: &str, limits: GroupLimits| {
        let event = s.queue.set_group(name.as_bytes(), limits).unwrap();
        s.apply(&event);
    };
    let mut s = story();
    limits(&mut s, "none", GroupLimits { concurrency: Some(0), ..GroupLimits::default() });
    let rate = GroupRate::Limited(Rate { claims: 0, per_ms: 1000 });
    limits(&mut s, "slow", GroupLimits { rate, ..GroupLimits::default() });
    limits(&mut s, "some", GroupLimits { concurrency: Some(1), ..GroupLimits::default() });
    s.holds_group("a", None).holds_group("b", Some(500)).holds_group("a", Some(900));
    assert_eq!(counts(&s), (2, 2));
    let copy = load(&save(&s.queue)).unwrap();
    assert_eq!((copy.groups_paused(), copy.groups_stopped()), (2, 2));
    limits(&mut s, "none", GroupLimits { weight: Some(2), ..GroupLimits::default() });
    s.passes(500);
    assert_eq!(counts(&s), (1, 1));
    let event = s.queue.forget_group(b"slow").unwrap();
    s.apply(&event).lets_group_go("a");
    assert_eq!(counts(&s), (0, 0));
}

#[test]
fn a_queue_is_held_by_groups_if_none_of_its_ready_tasks_may_run() {
    let mut s = story();
    let held = |s: &Story| s.queue.held_by(s.now.at);
    s.holds_group("a", None);
    assert_eq!(held(&s), None, "nothing is ready");
    s.push_with("a1", None, in_group("a"));
    assert_eq!(held(&s), Some(HeldBy::Groups));
    s.push("none");
    assert_eq!(held(&s), None, "a task without a group may run");
    s.claims("none").push_with("b1", None, in_group("b"));
    assert_eq!(held(&s), None, "another group may run");
    s.config("group-concurrency", 0);
    assert_eq!(held(&s), Some(HeldBy::Groups));
    s.config("concurrency", 1);
    assert_eq!(held(&s), Some(HeldBy::Concurrency), "the queue's own limit comes first");
    s.config("concurrency", -1).config("group-concurrency", -1).lets_group_go("a");
    assert_eq!(held(&s), None);
}

#[test]
fn a_pause_of_a_group_is_stored_copied_and_part_of_the_digest() {
    let mut s = story();
    s.push_with("a1", None, in_group("a"));
    let open = digest(&s.queue);
    s.holds_group("a", Some(500));
    let paused = digest(&s.queue);
    s.holds_group("a", Some(600));
    assert!(open != paused && paused != digest(&s.queue), "digests differ");
    s.holds_group("b", None).reloads().claims_nothing();
    let view = |s: &Story| s.queue.group_views(b"").map(|view| view.pause).collect::<Vec<_>>();
    assert_eq!(view(&s), [Pause::Until(s.in_ms(600)), Pause::UntilResume]);
    let copy = s.queue.copied().unwrap();
    copy.validate().unwrap();
    assert_eq!(copy.group_views(b"").map(|view| view.pause).collect::<Vec<_>>(), view(&s));
    s.passes(600).claims("a1");
}

#[test]
fn a_paused_group_that_is_behind_the_settings_stays_paused() {
    let mut s = story();
    for number in 0..1100 {
        let name = format!("{number}");
        let limits = GroupLimits { weight: Some(1), ..GroupLimits::default() };
        let event = s.queue.set_group(name.as_bytes(), limits).unwrap();
        s.apply_unchecked(&event);
    }
    s.push_with("t", None, in_group("7")).holds_group("7", Some(500)).holds_group("8", None);
    s.config("group-concurrency", 5);
    assert!(s.queue.groups_behind() > 0);
    s.reloads().claims_nothing().ticks().claims_nothing().passes(500).claims("t");
    s.is_held_by("8", Some(HeldBy::Pause));
}

#[test]
fn a_pause_of_a_known_group_needs_no_memory() {
    let mut s = story();
    s.push_with("a1", None, in_group("a"));
    assert_eq!(s.queue.growth(&s.queue.pause_group(b"a", None).unwrap()), 0);
    assert!(s.queue.growth(&s.queue.pause_group(b"new", None).unwrap()) > 0);
    assert!(first_effect(&Event::GroupPaused { name: b"a", until: None }).len() < 60);
}

#[test]
fn old_tasks_are_removed_by_the_time_they_have_been_in_their_state() {
    let mut s = story();
    s.push("dead").push("done").push("ready").push("requeued").push_delayed("delayed", 90_000);
    s.claims_all(4, &["dead", "done", "ready", "requeued"]).requeues("ready");
    s.passes(1000).fails_with("dead", Retry::Dead, "").finishes("done", Some(60_000), None);
    s.requeues("requeued").push("young");
    s.purges_old(TaskState::Dead, 1, 0).purges_old(TaskState::Done, 1, 0).purges_old(
        TaskState::Ready,
        1001,
        0,
    );
    s.purges_old(TaskState::Ready, 1000, 1).purges_old(TaskState::Delayed, 1001, 0);
    s.purges_old(TaskState::Delayed, 1000, 1).is_ready("requeued").is_ready("young");
    s.passes(50).purges_old(TaskState::Dead, 51, 0).purges_old(TaskState::Dead, 50, 1);
    s.purges_old(TaskState::Done, 50, 1).purges_old(TaskState::Leased, 0, 0).purges_old(
        TaskState::Ready,
        50,
        2,
    );
    assert_eq!(s.queue.totals().forgotten, 1);
    assert_eq!(s.queue.totals().purged, 5);
}

#[test]
fn a_search_for_old_tasks_goes_on_where_it_stopped() {
    let mut s = story();
    s.push("first");
    let push = Push { due: None, options: Options::default(), payloads: &[b"x" as &[u8]; EACH] };
    let delayed = Push { due: Some(taskslot_engine::Due::Clock(s.in_ms(90_000))), ..push };
    for push in [push; 24].into_iter().chain([Push { payloads: &[b"x" as &[u8]; 5], ..delayed }]) {
        let event = s.queue.push(s.now, &push).unwrap();
        s.apply_unchecked(&event);
    }
    s.clock_shows(1000);
    s.purges_old(TaskState::Delayed, 1000, 0).purges_old(TaskState::Delayed, 1000, 0);
    // One that it has passed by is found too, once it begins again.
    let later = Set { when: Some(When::After(90_000)), ..Set::default() };
    let event = s.queue.set(s.now, &[s.id("first")], &later).unwrap().unwrap();
    s.apply_unchecked(&event);
    s.purges_old(TaskState::Delayed, 1000, 6).purges_old(TaskState::Delayed, 1000, 0);
    let before = s.queue.count(TaskState::Ready);
    for _ in 0..24 {
        s.purges_old(TaskState::Ready, 1000, EACH);
    }
    assert_eq!((before, s.queue.count(TaskState::Ready)), (24 * EACH as u64, 0));
}

#[test]
fn tasks_are_removed_by_their_ids_unless_they_are_leased() {
    let mut s = story();
    s.push("ready").push("leased").push("dead").push("done").push_delayed("delayed", 90_000).push("gone");
    s.claims_all(4, &["ready", "leased", "dead", "done"]).requeues("ready").cancels("gone");
    s.fails_with("dead", Retry::Dead, "").finishes("done", Some(60_000), Some(b"42"));
    let names = ["ready", "leased", "dead", "done", "delayed", "gone", "dead"];
    let ids: Vec<TaskId> = names.iter().map(|name| s.id(name)).collect();
    assert_eq!(s.queue.purge_ids(&s.now, &ids, Some(1)), [], "none is so old");
    let events = s.queue.purge_ids(&s.now, &ids, None);
    assert_eq!(events.iter().map(|event| event.changes().tasks.ids().count()).sum::<usize>(), 4);
    events.iter().for_each(|event| _ = s.apply(event));
    assert_eq!(TaskState::ALL.map(|state| s.queue.count(state)), [0, 0, 0, 1, 0, 0]);
    assert_eq!((s.queue.totals().purged, s.queue.totals().forgotten), (3, 1));
    assert_eq!(s.queue.purge_ids(&s.now, &ids, None), []);
}

#[test]
fn the_oldest_dead_of_a_group_are_retried() {
    let mut s = story();
    s.dies("a1", "a").passes(1).dies("b1", "b").passes(1).dies("a2", "a").dies("none", "").dies("a3", "a");
    assert_eq!(s.retries_group("a", 2), 2);
    s.is_ready("a1").is_ready("a2");
    assert_eq!((s.retries_group("a", 2), s.retries_group("a", 2), s.retries_group("unknown", 2)), (1, 0, 0));
    assert_eq!(s.queue.count(TaskState::Dead), 2);
}

/// Tasks of a group are pushed and given up.
fn die(s: &mut Story, group: &str, count: usize) {
    let payloads = vec![&b"x"[..]; count];
    for payloads in payloads.chunks(1000) {
        let push = Push { due: None, options: in_group(group), payloads };
        let event = s.queue.push(s.now, &push).unwrap();
        s.apply_unchecked(&event);
        let claim = Claim { count: 1000, ..Claim::default() };
        let Some(event) = s.queue.claim(s.now, &mut || 7, &claim).unwrap() else { panic!() };
        s.apply_unchecked(&event);
        let Event::Claimed { leases, .. } = &event else { panic!("{event:?}") };
        for lease in leases {
            let event = s.queue.fail(s.now, &mut || 7, &lease.handle(), Retry::Dead, b"").unwrap();
            s.apply_unchecked(&event);
        }
        s.clock_shows(1);
    }
}

#[test]
fn of_too_many_searches_only_the_oldest_begins_again() {
    let mut s = story();
    let groups: Vec<String> = (0..=SEARCHES_MAX).map(|number| format!("few {number}")).collect();
    die(&mut s, "many", LOOKED_AT);
    groups.iter().for_each(|group| die(&mut s, group, 1));
    assert!(groups.iter().all(|group| s.retries_group(group, 1) == 0), "they stop before their tasks");
    assert!(groups[1..].iter().all(|group| s.retries_group(group, 1) == 1), "they go on");
    assert_eq!([0; 2].map(|_| s.retries_group(&groups[0], 1)), [0, 1], "it has begun again");
}

#[test]
fn a_search_that_goes_on_ends_when_it_has_seen_all_tasks() {
    let mut s = story();
    die(&mut s, "many", LOOKED_AT);
    die(&mut s, "few", 1);
    assert_eq!(s.retries_group("few", 2), 0, "it stops before its task");
    for left in (0..LOOKED_AT).step_by(1000).map(|retried| LOOKED_AT - retried) {
        assert_eq!(s.retries_group("many", left.min(1000)), left.min(1000));
    }
    assert_eq!([0; 2].map(|_| s.retries_group("few", 2)), [1, 0]);
}

#[test]
fn the_few_dead_of_a_group_among_many_are_found_by_repetition() {
    let mut s = story();
    let push = |group| Push { due: None, options: in_group(group), payloads: &[b"x" as &[u8]; EACH] };
    for group in ["many"; 24].into_iter().chain(["few"]) {
        let event = s.queue.push(s.now, &push(group)).unwrap();
        s.apply_unchecked(&event);
    }
    let claim = Claim { count: 30_000, ..Claim::default() };
    while let Some(event) = s.queue.claim(s.now, &mut || 7, &claim).unwrap() {
        s.apply_unchecked(&event);
        let Event::Claimed { leases, .. } = &event else { panic!("{event:?}") };
        for lease in leases {
            let is_few = s.queue.group_of(lease.id) == b"few";
            // Those of the small group die last.
            let now = taskslot_engine::Now::plain(s.now.at.0 + u64::from(is_few));
            let event = s.queue.fail(now, &mut || 7, &lease.handle(), Retry::Dead, b"").unwrap();
            s.apply_unchecked(&event);
        }
    }
    s.clock_shows(1);
    assert_eq!(s.queue.count(TaskState::Dead), 25 * EACH as u64);
    assert_eq!([0; 3].map(|_| s.retries_group("few", SOME)), [0, 0, SOME]);
    // Another group's search has its own place, and the search begins again at the oldest.
    assert_eq!((s.retries_group("many", 3), s.retries_group("few", SOME)), (3, EACH - SOME));
    assert_eq!([0; 3].map(|_| s.retries_group("few", SOME)), [0, 0, 0]);
    s.checks();
}

#[test]
fn held_tasks_are_listed_and_removed_like_others() {
    let mut s = story();
    s.push("parent");
    let (parents, on_dead) = ([s.id("parent")], OnDead::Wait);
    for _ in 0..4 {
        let push = Push { due: None, options: Options::default(), payloads: &[b"x"] };
        let after = After { parents: &parents, on_dead, when: When::default() };
        let event = s.queue.push_after(s.now, &push, &after).unwrap();
        s.apply(&event).clock_shows(10);
    }
    let limit = Limit { count: 3, bytes: u64::MAX, with_payload: false };
    let (worker, group, pattern) = (None, None, None);
    let listing = Listing {
        state: TaskState::Held,
        cursor: Cursor::default(),
        limit,
        worker,
        group,
        is_reversed: true,
        pattern,
    };
    let (cursor, last) = s.queue.list_as(&s.now, &listing);
    let (end, first) = s.queue.list_as(&s.now, &Listing { cursor, ..listing });
    let mut ids: Vec<TaskId> = last.into_iter().chain(first).map(|task| task.id).collect();
    assert_eq!((ids.len(), end), (4, Cursor::default()));
    ids.reverse();
    assert!(ids.is_sorted());
    s.purges_old(TaskState::Held, 41, 0).purges_old(TaskState::Held, 30, 2).purges_old(
        TaskState::Held,
        30,
        0,
    );
    let event = s.queue.purge_ids(&s.now, &ids, None);
    s.apply(&event[0]);
    assert_eq!((s.queue.count(TaskState::Held), s.queue.totals().purged), (0, 4));
}
