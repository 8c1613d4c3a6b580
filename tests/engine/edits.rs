//! SET and POSTPONE, one story for each rule: what can be changed about a task that waits, and where it stands then.

use taskslot_engine::{
    Claim, Due, Event, GroupLimits, Headers, Hold, Millis, OnDead, Options, Push, Queue, Refusal, Retry, Set,
    TaskId, TaskState, Then, When,
};

use crate::copies::{Dice, digest, load, replicate, save};
use crate::story::{Story, story, unique};

const NOW: Option<When> = Some(When::Now);

fn of(group: &str) -> Options<'_> {
    Options { group: group.as_bytes(), ..Options::default() }
}

fn group(name: &str) -> Set<'_> {
    Set { group: Some(name.as_bytes()), ..Set::default() }
}

fn priority(priority: i8) -> Set<'static> {
    Set { priority: Some(priority), ..Set::default() }
}

fn payload(payload: &str) -> Set<'_> {
    Set { payload: Some(payload.as_bytes()), ..Set::default() }
}

impl Story {
    /// Changes tasks, and returns how many of them changed.
    fn sets_all(&mut self, names: &[&str], to: &Set) -> usize {
        let ids: Vec<TaskId> = names.iter().map(|name| self.id(name)).collect();
        let Some(event) = self.queue.set(self.now, &ids, to).unwrap() else { return 0 };
        while let Some(room) = self.queue.make_room(&event) {
            self.apply(&room);
        }
        self.apply(&event);
        let Event::Edited { ids, .. } = event else { panic!("{event:?}") };
        ids.len()
    }

    /// Changes a task.
    fn sets(&mut self, name: &str, to: &Set) -> &mut Self {
        assert_eq!(self.sets_all(&[name], to), 1, "{name} changes");
        self
    }

    /// Checks that this would change nothing.
    fn keeps(&mut self, name: &str, to: &Set) -> &mut Self {
        assert_eq!(self.queue.set(self.now, &[self.id(name)], to), Ok(None), "{name} stays as it is");
        self
    }

    fn delays(&mut self, name: &str, ms: u64) -> &mut Self {
        self.sets(name, &Set { when: Some(When::After(ms)), ..Set::default() })
    }

    /// Pushes once more with the token of a task: its delay, and how long after the first push at most.
    fn postpones(&mut self, name: &str, ms: u64, until_ms: Option<u64>) -> &mut Self {
        let event = self.queue.postpone(self.now, self.id(name), When::After(ms), until_ms);
        event.iter().for_each(|event| _ = self.apply(event));
        self
    }

    fn orders(&mut self, group: &str) -> &mut Self {
        let limits = GroupLimits { ordered: true, ..GroupLimits::default() };
        let event = self.queue.set_group(group.as_bytes(), limits).unwrap();
        self.apply(&event)
    }
}

// When

#[test]
fn a_delayed_task_becomes_ready_at_once_behind_the_others() {
    let mut s = story();
    s.push_delayed("a", 500).push("b").sets("a", &Set { when: NOW, ..Set::default() });
    s.is_ready("a").reloads().next_due_in(None).drains(&["b", "a"]);
}

#[test]
fn a_ready_task_is_delayed_and_comes_back_behind_the_others() {
    let mut s = story();
    s.push("a").push("b").delays("a", 500).is_delayed("a", 500).reloads().claims("b").claims_nothing();
    s.passes(500).push("c").claims_all(2, &["a", "c"]);
}

#[test]
fn a_delayed_task_gets_another_time_earlier_or_later() {
    let mut s = story();
    s.push_delayed("a", 500).delays("a", 900).is_delayed("a", 900).next_due_in(Some(900));
    s.delays("a", 10).is_delayed("a", 10).reloads().next_due_in(Some(10));
    let when = Some(When::At(s.now.wall.plus(70)));
    s.sets("a", &Set { when, ..Set::default() }).wall_jumps(20).is_delayed("a", 50);
    s.keeps("a", &Set { when, ..Set::default() });
}

#[test]
fn a_ready_task_that_shall_be_ready_keeps_its_place() {
    let mut s = story();
    s.push("a").push("b").passes(7).keeps("a", &Set { when: NOW, ..Set::default() });
    assert_eq!(s.task("a").instant, Millis(s.now.at.0 - 7), "ready since");
    s.drains(&["a", "b"]);
}

#[test]
fn a_time_to_live_counts_from_the_new_time() {
    let mut s = story();
    s.push_ttl("a", 100).push_ttl("b", 100).passes(60).delays("a", 30).passes(40).is_gone("b");
    s.is_ready("a").reloads();
    assert_eq!(s.task("a").expires, Some(Millis(s.now.at.0 - 10 + 100)));
    s.passes(90).is_gone("a").total(|t| t.expired, 2);
}

#[test]
fn a_time_to_live_goes_on_in_another_lane() {
    let mut s = story();
    s.push_ttl("a", 100).passes(60).sets("a", &priority(3)).sets("a", &group("g")).reloads();
    s.passes(39).is_ready("a").passes(1).is_gone("a");
}

// Which tasks

#[test]
fn only_a_task_that_waits_is_changed() {
    let mut s = story();
    s.push_all(&["dead", "done", "leased", "gone", "ready"]).push_delayed("delayed", 9);
    s.claims_all(3, &["dead", "done", "leased"]).fails_with("dead", Retry::Dead, "");
    s.finishes("done", Some(900), None).cancels("gone");
    for name in ["dead", "done", "leased", "gone"] {
        s.keeps(name, &payload("x"));
        assert!(!s.queue.waits(s.id(name)), "{name}");
    }
    let all = ["dead", "delayed", "gone", "ready", "ready"];
    assert_eq!(s.sets_all(&all, &Set { when: NOW, priority: Some(2), ..Set::default() }), 2);
    s.lists(TaskState::Ready, &["delayed", "ready"]);
}

#[test]
fn a_task_that_failed_or_stalled_is_changed_while_it_waits() {
    let mut s = story();
    s.push("a").claims("a").fails("a").sets("a", &priority(1)).is_delayed("a", 1000);
    s.delays("a", 7).counts("a", [1, 1, 0]).passes(7).claims("a").passes(30_000).is_ready("a");
    s.sets("a", &priority(2)).acks("a").is_gone("a");
}

// Priority

#[test]
fn another_priority_puts_a_task_at_the_back_of_its_new_lane() {
    let mut s = story();
    s.push_priority("high", 5).push("a").push("b").sets("a", &priority(5)).reloads();
    s.keeps("a", &priority(5)).push_priority("later", 5).drains(&["high", "a", "later", "b"]);
}

#[test]
fn a_task_comes_back_to_its_old_lane_at_the_back() {
    let mut s = story();
    s.push_all(&["a", "b", "c"]).sets("a", &priority(-3)).drains(&["b", "c", "a"]);
    s.push_all(&["d", "e"]).sets("d", &priority(1)).sets("d", &priority(0)).reloads().drains(&["e", "d"]);
}

#[test]
fn a_delayed_task_stays_delayed_in_another_lane() {
    let mut s = story();
    s.push_delayed("a", 500).push("b").sets("a", &priority(1)).sets("a", &group("g")).is_delayed("a", 500);
    s.reloads().passes(500).claims("a").claims("b");
}

#[test]
fn a_task_that_was_claimed_shows_its_new_priority_and_group() {
    let mut s = story();
    s.push("a").sets("a", &Set { priority: Some(9), ..group("g") }).claims("a");
    let given = s.queue.given(s.id("a")).unwrap();
    assert_eq!((given.priority, given.group), (9, &b"g"[..]));
    let options = s.task("a").options;
    assert_eq!((options.priority, options.group), (9, &b"g"[..]));
    s.requeues("a").reloads().claims("a").fails_with("a", Retry::Dead, "").reloads().retries(&["a"]);
    assert_eq!(s.task("a").options.group, b"g");
}

// Groups

#[test]
fn a_task_moves_to_another_group_and_out_of_it() {
    let mut s = story();
    s.push_with("a", None, of("x")).push_with("b", None, of("x")).push("c");
    s.sets("a", &group("y")).reloads();
    assert_eq!(s.claim(&Claim { group: Some(b"y"), ..Claim::default() }), ["a"]);
    s.requeues("a").sets("a", &group("")).sets("b", &group("")).reloads();
    assert_eq!(s.claim(&Claim { group: Some(b"y"), ..Claim::default() }), [""; 0]);
    s.drains(&["c", "a", "b"]);
}

#[test]
fn the_number_of_a_group_that_was_left_goes_to_another() {
    let mut s = story();
    s.push_with("a", None, of("x")).push_with("b", None, of("kept")).sets("a", &group("")).reloads();
    s.push_with("c", None, of("new")).reloads();
    assert_eq!((s.task("a").options.group, s.task("c").options.group), (&b""[..], &b"new"[..]));
    s.config("group-concurrency", 0).reloads().claims("a").claims_nothing();
    s.acks("a").config("group-concurrency", -1).cancels("c").sets("b", &group("c")).reloads().claims("b");
}

#[test]
fn a_full_group_lets_a_task_go_and_another_takes_it() {
    let mut s = story();
    s.config("group-concurrency", 1).push_with("a", None, of("x")).push_with("b", None, of("x"));
    s.claims("a").claims_nothing().sets("b", &group("y")).claims("b").requeues("b");
    s.sets("b", &group("x")).reloads().claims_nothing().acks("a").claims("b");
}

#[test]
fn groups_max_bounds_the_groups_that_tasks_are_moved_to() {
    let mut s = story();
    s.push_with("a", None, of("x")).push("b").config("groups-max", 1);
    assert_eq!(s.queue.set(s.now, &[s.id("b")], &group("y")), Err(Refusal::FullGroups));
    s.sets("b", &group("x")).keeps("b", &group("x")).sets("a", &group("")).sets("b", &group(""));
    s.sets("b", &group("y"));
}

#[test]
fn an_ordered_group_waits_for_a_task_that_has_begun_wherever_it_came_from() {
    let mut s = story();
    s.orders("g").push_with("a", None, of("g")).push_with("b", None, of("g"));
    // It never began, so the others need not wait.
    s.delays("a", 50).claims("b").requeues("b").passes(50).claims("b").acks("b").claims("a");
    s.push_with("c", None, of("g")).fails("a").claims_nothing().reloads().claims_nothing();
    s.sets("a", &group("other")).claims("c").acks("c");
    s.push_with("d", None, of("g")).sets("a", &group("g")).reloads().claims_nothing();
    s.sets("a", &Set { when: NOW, ..Set::default() }).drains(&["a"]).drains(&["d"]);
}

#[test]
fn a_task_that_has_begun_and_is_delayed_keeps_its_place_in_an_ordered_group() {
    let mut s = story();
    s.orders("g").push_with("a", None, of("g")).push_with("b", None, of("g")).claims("a").requeues("a");
    s.delays("a", 50).claims_nothing().passes(50).drains(&["a"]).drains(&["b"]);
}

// Payload and headers

#[test]
fn payload_and_headers_are_replaced_each_on_its_own() {
    let (old, new) = (Headers::pack(&[(b"h", b"1")]), Headers::pack(&[(b"h", b"2"), (b"i", b"")]));
    let mut s = story();
    s.push_with("a", None, Options { headers: &old, ..Options::default() });
    let bytes = s.queue.record_bytes();
    s.sets("a", &payload("longer"));
    assert_eq!((s.task("a").payload, s.task("a").options.headers), (&b"longer"[..], &old[..]));
    s.sets("a", &Set { headers: Some(&new), ..Set::default() }).sets("a", &payload("b")).reloads();
    assert_eq!((s.task("a").payload, s.task("a").options.headers), (&b"b"[..], &new[..]));
    assert_eq!(s.queue.record_bytes(), bytes + 1 + new.len() as u64);
    s.sets("a", &Set { headers: Some(b""), ..Set::default() }).reloads().claims("b").push("other");
    assert_eq!(s.queue.given(s.id("a")).unwrap().headers, b"");
    let handle = s.handle("b");
    let event = s.queue.ack(s.now, &handle).unwrap();
    s.apply(&event).drains(&["other"]);
    assert_eq!(s.queue.record_bytes(), 0);
}

#[test]
fn max_bytes_bounds_what_is_added_and_done_tasks_make_way() {
    let mut s = story();
    s.push_all(&["a", "b"]);
    let living = s.queue.record_bytes();
    s.push_priority("done", 1).claims("done").finishes("done", Some(900), Some(&[b'r'; 50]));
    s.config("max-bytes", living as i64 + 20);
    assert_eq!(s.sets_all(&["a", "b"], &payload("0123456789")), 2);
    s.is_gone("done");
    assert_eq!(s.queue.set(s.now, &[s.id("a")], &payload("0123456789x")), Err(Refusal::FullBytes));
    s.config("max-bytes", 1).sets("a", &payload("012345678"));
    let both = [s.id("a"), s.id("b")];
    assert_eq!(s.queue.set(s.now, &both, &payload("0123456789")), Err(Refusal::FullBytes));
}

#[test]
fn growth_counts_what_an_edit_adds_and_releases() {
    let mut s = story();
    s.push_all(&["a", "b"]).sets("a", &payload("0123456789"));
    let growth = |s: &Story, to: &Set| {
        let event = s.queue.set(s.now, &[s.id("a"), s.id("b")], to).unwrap().unwrap();
        s.queue.growth(&event)
    };
    assert_eq!(growth(&s, &payload("012")), 3 - 10 + 3);
    assert_eq!(growth(&s, &priority(1)), 0);
    assert!(growth(&s, &group("new")) > 3, "the name of a group");
}

// Suspects

#[test]
fn a_suspect_that_changes_its_lane_stays_reserved() {
    let mut s = story();
    s.push("a").claims("a").passes(30_000).claims("a").passes(30_000).passes(1000).push("b");
    s.sets("b", &priority(9)).claims_as("w", 1, &["b"]).config("lease", 1000);
    s.claims_as("w", 1, &[]).passes(1000).claims_as("w", 1, &[]);
    assert_eq!(s.queue.awaited_worker(), Some(&b"w"[..]));
    s.sets("a", &priority(4)).reloads();
    assert_eq!(s.queue.awaited_worker(), Some(&b"w"[..]));
    s.delays("a", 10_000);
    assert_eq!(s.queue.awaited_worker(), None, "no suspect is ready");
}

// Tokens

#[test]
fn a_token_names_the_task_that_holds_it_while_it_waits_or_is_leased() {
    let mut s = story();
    let until = s.in_ms(100_000);
    s.push_unique("a", "t", Hold::End).push_unique("b", "u", Hold::Exactly(until));
    let holder = |s: &Story, token: &str| s.queue.living_holder(s.now.at, token.as_bytes());
    assert_eq!((holder(&s, "t"), holder(&s, "none")), (Some(s.id("a")), None));
    s.delays("a", 5);
    assert_eq!(holder(&s, "t"), Some(s.id("a")));
    s.claims("b");
    assert_eq!(holder(&s, "u"), Some(s.id("b")));
    s.fails_with("b", Retry::Dead, "");
    assert_eq!((holder(&s, "u"), s.queue.holder(s.now.at, b"u")), (None, Some(s.id("b"))));
    s.retries(&["b"]).claims("b").finishes("b", Some(50), None);
    assert_eq!(holder(&s, "u"), None, "done, and its token is kept");
    s.passes(50).is_gone("b");
    assert_eq!(holder(&s, "u"), None, "gone, and its token is kept");
}

// Held tasks

#[test]
fn a_held_task_is_changed_and_stays_held() {
    let mut s = story();
    s.push("parent").push_after("child", &["parent"], OnDead::Wait);
    let later = Set { when: Some(When::After(500)), priority: Some(3), payload: Some(b"new"), ..group("g") };
    s.sets("child", &later).reloads().keeps("child", &Set { payload: None, ..later });
    assert_eq!((s.task("child").state, s.task("child").options.group), (TaskState::Held, &b"g"[..]));
    s.passes(50).claims("parent").acks("parent").ticks();
    s.is_delayed("child", 500).passes(500).claims("new");
}

#[test]
fn a_held_task_that_is_postponed_is_delayed_from_the_end_of_its_wait() {
    let mut s = story();
    s.push("parent").push_after("child", &["parent"], OnDead::Wait).delays("child", 500);
    s.postpones("child", 70, Some(20)).reloads().passes(50).claims("parent").acks("parent").ticks();
    s.is_delayed("child", 70).passes(70).claims("child");
}

#[test]
fn a_held_task_that_is_postponed_by_nothing_is_ready_once_it_waits_for_nothing() {
    let mut s = story();
    s.push("parent").push_after("child", &["parent"], OnDead::Wait).delays("child", 500);
    s.postpones("child", 0, None).claims("parent").acks("parent").ticks().claims("child");
    assert_eq!(s.queue.postpone(s.now, s.id("child"), When::After(5), None), None, "a worker has it");
}

#[test]
fn a_held_task_of_which_the_delay_is_removed_is_ready_once_it_waits_for_nothing() {
    let mut s = story();
    s.push("parent").push_after("child", &["parent"], OnDead::Wait).delays("child", 500).reloads();
    s.sets("child", &Set { when: NOW, ..Set::default() })
        .claims("parent")
        .acks("parent")
        .ticks()
        .claims("child");
}

// POSTPONE

#[test]
fn each_further_push_postpones_a_task_until_there_is_quiet() {
    let mut s = story();
    s.push_with("a", Some(Due::Clock(s.in_ms(100))), unique("t", Hold::End));
    s.passes(80).postpones("a", 100, None).is_delayed("a", 100);
    s.passes(80).postpones("a", 100, None).reloads().passes(99).is_delayed("a", 1).passes(1).claims("a");
    s.postpones("a", 100, None).is_leased("a");
}

#[test]
fn a_task_is_postponed_until_a_bound_after_its_first_push() {
    let mut s = story();
    s.push_with("a", Some(Due::Clock(s.in_ms(100))), unique("t", Hold::End));
    s.passes(80).postpones("a", 100, Some(250)).is_delayed("a", 100);
    s.passes(80).postpones("a", 100, Some(250)).is_delayed("a", 90);
    s.postpones("a", 100, None).is_delayed("a", 100).passes(95).postpones("a", 100, Some(250)).is_ready("a");
    s.postpones("a", 100, Some(250)).is_ready("a").postpones("a", 100, Some(300)).is_delayed("a", 45);
}

#[test]
fn a_task_that_is_due_and_waits_is_postponed_too() {
    let mut s = story();
    s.push_unique("a", "t", Hold::End).postpones("a", 70, None).is_delayed("a", 70);
    s.postpones("a", 0, None).is_ready("a");
}

#[test]
fn an_instant_is_no_later_than_another_whatever_clock_it_is_on() {
    let mut s = story();
    s.wall_jumps(1000);
    let (now, at) = (s.now, |ms| Due::Clock(Millis(s.now.at.0 + ms)));
    let wall = |ms| Due::Wall(Millis(s.now.wall.0 + ms));
    assert_eq!(at(5).no_later_than(s.in_ms(5), &now), Some(at(5)));
    assert_eq!(at(6).no_later_than(s.in_ms(5), &now), Some(at(5)));
    assert_eq!(wall(5).no_later_than(s.in_ms(5), &now), Some(wall(5)));
    assert_eq!(wall(6).no_later_than(s.in_ms(5), &now), Some(at(5)));
    assert_eq!(wall(6).no_later_than(s.in_ms(0), &now), None);
}

// Copies, effects, histories

#[test]
fn a_copy_has_what_was_changed() {
    let mut s = story();
    s.push_with("a", None, of("x")).sets("a", &Set { priority: Some(3), ..group("y") });
    s.sets("a", &payload("b")).claims("b");
    let copy = s.queue.copied().unwrap();
    copy.validate().unwrap();
    let task = copy.task(&s.now, s.id("a")).unwrap();
    assert_eq!((task.payload, task.options.priority, task.options.group), (&b"b"[..], 3, &b"y"[..]));
}

#[test]
fn a_queue_without_edits_takes_nothing_for_them_and_leaves_nothing_behind() {
    let mut s = story();
    s.push("a").push("b");
    let before = s.queue.memory();
    s.sets("a", &payload("other")).sets("a", &group("g")).claims_all(2, &["b", "other"]);
    assert!(s.queue.memory() > before);
    let handle = s.handle("other");
    let event = s.queue.ack(s.now, &handle).unwrap();
    s.apply(&event).acks("b");
    let mut other = story();
    other.push("a").push("b").drains(&["a", "b"]);
    assert!(s.queue.memory() <= other.queue.memory() + 512, "{}", s.queue.memory());
}

#[test]
fn edits_that_no_rule_decides_are_refused() {
    let mut s = story();
    s.push_all(&["leased", "ready"]).claims("leased");
    let (ready, leased) = (s.id("ready"), s.id("leased"));
    let edit = |ids, then, group, headers| Event::Edited {
        ids,
        then,
        when: None,
        priority: None,
        group,
        headers,
        has_payload: false,
        payload: None,
    };
    let (long, now) = ([b'x'; 257], s.now.at);
    for lie in [
        edit(vec![leased], None, None, None),
        edit(vec![ready, TaskId { ms: 1, seq: 1 }], None, None, None),
        edit(vec![ready], Some(Then::Dead(now)), None, None),
        edit(vec![ready], Some(Then::Delayed(Due::Clock(Millis(u64::MAX)))), None, None),
        edit(vec![ready], Some(Then::Delayed(Due::Wall(Millis(u64::MAX)))), None, None),
        edit(vec![ready], None, Some(&long), None),
        edit(vec![ready], None, None, Some(b"\x41")),
    ] {
        assert!(s.queue.clone().apply(&lie).is_err(), "{lie:?}");
        assert!(replicate(&mut s.queue.clone(), &mut s.queue.clone(), &lie).is_err(), "{lie:?}");
    }
    let without = |has_payload| Event::Edited {
        ids: vec![ready],
        then: None,
        when: None,
        priority: None,
        group: None,
        headers: None,
        has_payload,
        payload: (!has_payload).then_some(b"x"),
    };
    assert!(s.queue.clone().apply(&without(true)).is_err());
    assert!(s.queue.clone().apply(&without(false)).is_err());
}

/// A queue and a replica with groups go through a random history in which tasks are edited.
#[test]
fn random_edits_among_groups_leave_a_valid_queue_that_its_copies_equal() {
    let groups = ["", "a", "b", "c"];
    for seed in 0..40 {
        let (mut s, mut dice) = (story(), Dice(seed));
        if seed % 2 == 0 {
            s.orders("a").config("group-concurrency", 2);
        }
        let mut ids: Vec<TaskId> = Vec::new();
        for _ in 0..150 {
            let name = groups[dice.below(4) as usize];
            let due = dice.below(3).checked_sub(1).map(|ms| Due::Clock(s.in_ms(ms * 30 + 1)));
            let anyone =
                |dice: &mut Dice, ids: &[TaskId]| ids.get(dice.below(ids.len() as u64 + 1) as usize).copied();
            let event = match dice.below(8) {
                0 | 1 => {
                    let options = Options { priority: dice.below(2) as i8, ..of(name) };
                    s.queue.push(s.now, &Push { due, options, payloads: &[b"x"] }).ok()
                }
                2 => s.queue.claim(s.now, &mut || 7, &Claim { count: 2, ..Claim::default() }).unwrap(),
                3 => {
                    let (_, leased) =
                        s.queue.list(&s.now, TaskState::Leased, Default::default(), 9, None, None);
                    let id = leased.get(dice.below(9) as usize).map(|task| task.id);
                    id.and_then(|id| s.queue.abandon(s.now, &mut || 7, id))
                }
                4 => anyone(&mut dice, &ids).and_then(|id| s.queue.cancel(id).ok()),
                _ => {
                    let some: Vec<TaskId> = (0..3).filter_map(|_| anyone(&mut dice, &ids)).collect();
                    let to = Set {
                        when: (dice.below(2) == 0).then(|| When::After(dice.below(3) * 30)),
                        priority: (dice.below(3) == 0).then(|| dice.below(2) as i8),
                        group: (dice.below(2) == 0).then_some(name.as_bytes()),
                        headers: (dice.below(9) == 0).then_some(&b""[..]),
                        payload: (dice.below(9) == 0).then_some(&b"other"[..]),
                    };
                    s.queue.set(s.now, &some, &to).unwrap()
                }
            };
            if let Some(event) = event {
                if let Event::Pushed { first, .. } = &event {
                    ids.push(*first);
                }
                s.apply(&event);
            }
            if dice.below(4) == 0 {
                s.passes(dice.below(40));
            }
            if dice.below(20) == 0 {
                s.reloads();
            }
        }
        let loaded: Queue = load(&save(&s.queue)).unwrap();
        assert_eq!(digest(&loaded), digest(&s.queue));
    }
}
