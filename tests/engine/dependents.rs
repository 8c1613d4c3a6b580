//! Tasks that wait for tasks: AFTER, and what becomes of them when one ends otherwise than done.

use std::num::NonZeroU64;

use taskslot_engine::edges::STEP_TASKS;
use taskslot_engine::{
    After, BATCH_MAX, Claim, Event, Gate, GroupLimits, Hold, Millis, Now, OnDead, Options, Parent, Push,
    Queue, Refusal, Release, Retry, TaskId, TaskState, Unique, When,
};

use crate::copies::{digest, load, save};
use crate::story::{START, Story, story};

const OPTIONS: Options<'static> = Options {
    priority: 0,
    attempts: None,
    lease_ms: None,
    headers: b"",
    group: b"",
    unique: None,
    ttl_ms: None,
    retain_ms: None,
    batch: b"",
};

/// A task "p" that is ready, and one that waits for it in each way.
fn family() -> Story {
    let mut s = story();
    s.push("p");
    for on_dead in OnDead::ALL {
        s.push_after(on_dead.name(), &["p"], on_dead).is_held(on_dead.name());
    }
    s
}

/// Whether each of the three dependents waits for the task still, as [`Parent::is_open`].
fn waits(s: &Story) -> [Option<bool>; 3] {
    OnDead::ALL.map(|on_dead| {
        let task = s.queue.task(&s.now, s.id(on_dead.name()))?;
        assert_eq!(task.relations.on_dead, on_dead);
        Some(task.relations.parents[0].is_open)
    })
}

// Graphs

#[test]
fn a_chain_runs_one_after_the_other() {
    let mut s = story();
    s.push("a").push_after("b", &["a"], OnDead::Wait).push_after("c", &["b"], OnDead::Wait);
    s.claims("a").claims_nothing().acks("a").is_held("b").next_due_in(Some(0)).ticks();
    s.claims("b").claims_nothing().acks("b").ticks().claims("c").acks("c").ticks().claims_nothing();
}

#[test]
fn many_wait_for_one() {
    let mut s = story();
    s.push("a");
    for name in ["x", "y", "z"] {
        s.push_after(name, &["a"], OnDead::Wait);
    }
    s.claims("a").acks("a").ticks().drains(&["x", "y", "z"]);
}

#[test]
fn one_waits_for_many_in_whatever_order_they_end() {
    for order in [["a", "b", "c"], ["c", "a", "b"], ["b", "c", "a"]] {
        let mut s = story();
        s.push_all(&["a", "b", "c"]).push_after("x", &["c", "a", "b"], OnDead::Wait);
        s.claims_all(9, &["a", "b", "c"]);
        for name in order {
            s.ticks().is_held("x").acks(name);
        }
        s.ticks().is_ready("x");
        let parents: Vec<TaskId> = s.task("x").relations.parents.iter().map(|parent| parent.id).collect();
        assert_eq!(parents, ["a", "b", "c"].map(|name| s.id(name)), "they stay known");
    }
}

#[test]
fn a_diamond_comes_together() {
    let mut s = story();
    s.push("top").push_after("left", &["top"], OnDead::Wait).push_after("right", &["top"], OnDead::Wait);
    s.push_after("end", &["left", "right", "top"], OnDead::Wait).claims("top").acks("top").ticks();
    s.claims_all(9, &["left", "right"]).acks("right").ticks().is_held("end").acks("left").ticks();
    s.drains(&["end"]);
}

// How a parent ends

/// A way to end for "p"; whether it ends as done.
type Way = (&'static str, fn(&mut Story), bool);

const WAYS: [Way; 16] = [
    ("an ack", |s| _ = s.claims("p").acks("p"), true),
    ("an ack of a retained task", |s| _ = s.claims("p").finishes("p", Some(99), Some(b"r")), true),
    ("a late ack", |s| _ = s.claims_for("p", 5).passes(5).acks("p"), true),
    ("an ack after a cancellation was asked for", |s| _ = s.claims("p").cancels("p").acks("p"), true),
    (
        "a delivery with NOACK",
        |s| assert_eq!(s.claim(&Claim { noack: true, ..Claim::default() }), ["p"]),
        true,
    ),
    ("a failure for good", |s| _ = s.claims("p").fails_with("p", Retry::Dead, ""), false),
    ("the limit of attempts", |s| _ = s.config("attempts", 1).claims("p").fails("p"), false),
    ("the limit of stalls", |s| _ = s.config("stalls", 1).claims_for("p", 5).passes(5), false),
    ("dead-max", |s| _ = s.config("dead-max", 0).claims("p").fails_with("p", Retry::Dead, ""), false),
    ("a dead task that is purged", |s| _ = s.claims("p").fails_with("p", Retry::Dead, "").purges("p"), false),
    ("a cancellation", |s| _ = s.cancels("p"), false),
    ("a stall after a cancellation", |s| _ = s.claims_for("p", 5).cancels("p").passes(5), false),
    ("a failure after a cancellation", |s| _ = s.claims("p").cancels("p").fails("p"), false),
    ("a purge", |s| _ = s.purges("p"), false),
    ("a purge of a delayed task", |s| _ = s.claims("p").requeues_later("p", 99).purges("p"), false),
    (
        "an expiry",
        |s| {
            s.cancels("p").ticks().drains(&["run"]).cancels("wait").push_ttl("p", 5);
            for on_dead in OnDead::ALL {
                s.push_after(on_dead.name(), &["p"], on_dead);
            }
            s.passes(5).is_gone("p").total(|t| t.expired, 1);
        },
        false,
    ),
];

#[test]
fn each_end_lets_the_dependents_run_wait_or_drop() {
    for (what, way, is_done) in WAYS {
        println!("{what}");
        let mut s = family();
        way(&mut s);
        s.ticks();
        if is_done {
            assert_eq!(waits(&s), [Some(false); 3]);
            s.drains(&["wait", "run", "drop"]);
        } else {
            assert_eq!(waits(&s), [Some(true), Some(false), None]);
            s.is_held("wait").is_gone("drop").claims("run").claims_nothing().reloads().is_held("wait");
            assert!(s.queue.totals().cancelled >= 1, "a dropped task is cancelled");
        }
    }
}

#[test]
fn what_is_not_an_end_changes_nothing() {
    let mut s = family();
    s.claims("p").fails("p").passes(2000).claims_for("p", 5).passes(5).claims("p").requeues("p");
    s.claims("p").unclaims("p").claims("p").cancels("p").ticks();
    assert_eq!(waits(&s), [Some(true); 3]);
    s.next_due_in(Some(30_000));
}

#[test]
fn a_dead_parent_that_is_retried_and_done_lets_those_run_that_waited() {
    let mut s = family();
    s.claims("p").fails_with("p", Retry::Dead, "").ticks().is_held("wait").drains(&["run"]);
    s.retries(&["p"])
        .ticks()
        .is_held("wait")
        .claims("p")
        .acks("p")
        .ticks()
        .drains(&["wait"])
        .claims_nothing();
}

#[test]
fn a_dead_parent_that_is_acked_late_lets_those_run_that_waited() {
    let mut s = family();
    s.config("stalls", 1).claims_for("p", 5).passes(5).is_dead("p").is_held("wait").acks("p").ticks();
    s.drains(&["run", "wait"]);
}

#[test]
fn a_parent_that_is_retried_before_anybody_was_told_is_open_again() {
    let mut s = family();
    s.claims("p").fails_with("p", Retry::Dead, "").retries(&["p"]).ticks();
    assert_eq!(waits(&s), [Some(true); 3]);
    s.claims("p").acks("p").ticks().drains(&["wait", "run", "drop"]);
}

#[test]
fn those_who_wait_for_a_dead_task_that_is_removed_stay_held_until_they_are_retried() {
    let mut s = family();
    s.claims("p").fails_with("p", Retry::Dead, "").ticks().purges("p").ticks().reloads().passes(1_000_000);
    s.is_held("wait").retries(&["wait"]).drains(&["run", "wait"]);
}

#[test]
fn a_dropped_task_drops_and_tells_its_own_dependents() {
    let mut s = story();
    s.push("a").push_after("b", &["a"], OnDead::Drop).push_after("c", &["b"], OnDead::Drop);
    s.push_after("d", &["c"], OnDead::Run).push_after("e", &["c"], OnDead::Wait).cancels("a").ticks();
    s.is_gone("b").is_gone("c").is_ready("d").is_held("e").total(|t| t.cancelled, 3);
}

#[test]
fn one_that_drops_is_dropped_by_the_first_that_is_not_done() {
    let mut s = story();
    s.push_all(&["a", "b", "c"]).push_after("x", &["a", "b", "c"], OnDead::Drop);
    s.claims("a").acks("a").ticks().is_held("x").cancels("b").ticks().is_gone("x").cancels("c").ticks();
    s.total(|t| t.cancelled, 3);
}

#[test]
fn one_that_runs_anyway_still_waits_for_the_others() {
    let mut s = story();
    s.push_all(&["a", "b"]).push_after("x", &["a", "b"], OnDead::Run).cancels("a").ticks().is_held("x");
    s.claims("b").acks("b").ticks().is_ready("x");
}

#[test]
fn a_held_parent_that_is_cancelled_has_ended() {
    let mut s = story();
    s.push("a").push_after("b", &["a"], OnDead::Wait).push_after("c", &["b"], OnDead::Run);
    s.cancels("b").ticks().is_ready("c").claims_all(9, &["a", "c"]).acks("a").ticks().claims_nothing();
}

// What can be named

#[test]
fn a_task_that_is_done_or_gone_counts_as_done() {
    let mut s = story();
    s.push_all(&["done", "acked", "cancelled", "died"]).claims_all(2, &["done", "acked"]);
    s.finishes("done", Some(500), Some(b"r")).acks("acked").cancels("cancelled").claims("died");
    s.fails_with("died", Retry::Dead, "").purges("died");
    for on_dead in OnDead::ALL {
        s.push_after("x", &["done", "acked", "cancelled", "died"], on_dead).is_ready("x");
        assert!(s.task("x").relations.parents.iter().all(|parent| !parent.is_open));
    }
    let when = When::After(50);
    s.push_after_with("later", &["done"], OnDead::Wait, when, OPTIONS).is_delayed("later", 50);
}

#[test]
fn a_task_that_is_dead_already_is_told_of_at_once() {
    let mut s = story();
    s.push("p").claims("p").fails_with("p", Retry::Dead, "");
    for on_dead in OnDead::ALL {
        s.push_after(on_dead.name(), &["p"], on_dead).is_held(on_dead.name());
    }
    s.reloads().ticks().is_held("wait").is_ready("run").is_gone("drop").retries(&["p"]);
    s.claims_all(2, &["run", "p"]).acks("p").ticks().is_ready("wait");
}

#[test]
fn an_id_that_was_never_given_is_refused() {
    let mut s = story();
    s.push("p");
    let last = s.id("p");
    for id in [
        TaskId { seq: last.seq + 1, ..last },
        TaskId { ms: last.ms + 1, seq: 0 },
        TaskId { ms: u64::MAX, seq: u64::MAX },
    ] {
        let push = Push { due: None, options: OPTIONS, payloads: &[b"x"] };
        let refused = s.queue.push_after(
            s.now,
            &push,
            &After { parents: &[last, id], when: When::Now, on_dead: OnDead::Run },
        );
        assert_eq!(refused, Err(Refusal::NeverPushed));
    }
    // One that can't have been given, but is not above the last, is one that is gone.
    let push = Push { due: None, options: OPTIONS, payloads: &[b"x"] };
    let id = TaskId { ms: 1, seq: 1 };
    let event = s
        .queue
        .push_after(s.now, &push, &After { parents: &[id], when: When::Now, on_dead: OnDead::Run })
        .unwrap();
    let Event::PushedAfter { parents, .. } = event else { panic!() };
    assert_eq!(parents, [Parent { id, is_open: false }]);
}

#[test]
fn a_task_that_is_named_twice_is_waited_for_once() {
    let mut s = story();
    s.push_all(&["a", "b"]).push_after("x", &["b", "a", "b", "a", "a"], OnDead::Wait);
    assert_eq!(s.task("x").relations.parents.len(), 2);
    s.drains(&["a", "b"]).ticks().is_ready("x");
}

#[test]
fn a_task_can_wait_for_a_thousand() {
    let mut s = story();
    let names: Vec<String> = (0..BATCH_MAX).map(|n| n.to_string()).collect();
    let push = Push { due: None, options: OPTIONS, payloads: &vec![&b"p"[..]; BATCH_MAX] };
    let event = s.queue.push(s.now, &push).unwrap();
    let Event::Pushed { first, .. } = event else { panic!() };
    s.apply(&event);
    let after: Vec<TaskId> = (0..BATCH_MAX as u64).map(|n| TaskId { seq: first.seq + n, ..first }).collect();
    let push = Push { due: None, options: OPTIONS, payloads: &[b"x"] };
    let event = s
        .queue
        .push_after(s.now, &push, &After { parents: &after, when: When::Now, on_dead: OnDead::Wait })
        .unwrap();
    s.apply(&event);
    assert_eq!(names.len(), s.queue.count(TaskState::Ready) as usize);
    let event = s.queue.claim(s.now, &mut || 0, &Claim { count: BATCH_MAX, noack: true, ..Claim::default() });
    s.apply(&event.unwrap().unwrap());
    assert_eq!(s.queue.count(TaskState::Held), 1);
    s.reloads().ticks().claims_all(9, &["x"]);
}

#[test]
fn several_tasks_that_are_pushed_together_each_wait() {
    let mut s = story();
    s.push("p");
    let push = Push { due: None, options: OPTIONS, payloads: &[&b"x"[..]; 3] };
    let event = s
        .queue
        .push_after(s.now, &push, &After { parents: &[s.id("p")], when: When::Now, on_dead: OnDead::Wait })
        .unwrap();
    s.apply(&event).claims("p").acks("p");
    assert_eq!(steps(&mut s.queue.clone(), s.now), [3]);
}

// Their other options

#[test]
fn a_delay_counts_from_the_end_of_the_last_parent() {
    let mut s = story();
    s.push("p").push_after_with("x", &["p"], OnDead::Wait, When::After(70), OPTIONS).passes(500).is_held("x");
    s.claims("p").acks("p").ticks().is_delayed("x", 70).passes(70).is_ready("x");
}

#[test]
fn an_instant_that_is_over_when_the_last_parent_ends_is_at_once() {
    for (passes, left) in [(100, Some(200)), (300, None), (900, None)] {
        let mut s = story();
        let when = When::At(Millis(s.now.wall.0 + 300));
        s.push("p").push_after_with("x", &["p"], OnDead::Wait, when, OPTIONS).passes(passes).reloads();
        s.claims("p").acks("p").ticks();
        match left {
            Some(ms) => _ = s.is_delayed("x", ms),
            None => _ = s.is_ready("x"),
        }
    }
}

#[test]
fn a_held_task_that_is_retried_is_ready_at_once_and_waits_for_nothing_more() {
    let mut s = family();
    let when = When::After(500);
    s.push_after_with("x", &["p", "run"], OnDead::Drop, when, OPTIONS).retries(&["x", "wait"]);
    s.is_ready("x").claims_all(3, &["p", "x", "wait"]).cancels("p").fails("p").ticks();
    s.is_leased("x").is_leased("wait").acks("x").acks("wait").drains(&["run"]).total(|t| t.retried, 2);
}

#[test]
fn a_time_to_live_begins_when_the_task_is_ready() {
    let mut s = story();
    let options = Options { ttl_ms: NonZeroU64::new(50), ..OPTIONS };
    s.push("p").push_after_with("x", &["p"], OnDead::Wait, When::Now, options).passes(400).claims("p");
    s.acks("p").ticks().is_ready("x").passes(49).is_ready("x").passes(1).is_gone("x");
}

#[test]
fn a_held_task_holds_its_token() {
    let mut s = story();
    let unique = Some(Unique { token: b"t", hold: Hold::End });
    s.push("p").push_after_with("x", &["p"], OnDead::Drop, When::Now, Options { unique, ..OPTIONS });
    s.finds("x", "t").reloads().finds("x", "t");
    assert!(s.replaces("x", "y"));
    s.cancels("p").holds("t", "x").ticks().is_gone("x").holds("t", "");
}

#[test]
fn tasks_of_an_ordered_group_queue_up_when_they_are_released() {
    let mut s = story();
    let event = s.queue.set_group(b"o", GroupLimits { ordered: true, ..GroupLimits::default() }).unwrap();
    let group = Options { group: b"o", ..OPTIONS };
    s.apply(&event).push("p").push_after_with("first", &["p"], OnDead::Wait, When::Now, group);
    s.push_with("second", None, group).claims("p").claims("second").acks("p").ticks().claims_nothing();
    s.acks("second").claims("first").acks("first");
}

#[test]
fn limits_and_pauses_do_not_keep_a_task_held() {
    let mut s = story();
    s.push("p").push_after("x", &["p"], OnDead::Wait).claims("p").config("max-len", 0).config("max-bytes", 0);
    s.pauses(Gate::All, None).acks("p").ticks().is_ready("x").resumes(Gate::Out).claims("x");
}

#[test]
fn a_push_after_others_is_refused_like_any_other() {
    let mut s = story();
    s.push("p").config("max-len", 1);
    let push = |batch| Push { due: None, options: Options { batch, ..OPTIONS }, payloads: &[b"x"] };
    let after = [s.id("p")];
    let refused = |s: &Story, batch| {
        s.queue
            .push_after(
                s.now,
                &push(batch),
                &After { parents: &after, when: When::Now, on_dead: OnDead::Wait },
            )
            .err()
    };
    assert_eq!(refused(&s, b""), Some(Refusal::FullLen), "held tasks count");
    assert_eq!(refused(&s, b"b"), Some(Refusal::UnknownBatch));
    s.pauses(Gate::In, None);
    assert_eq!(refused(&s, b""), Some(Refusal::Paused));
}

#[test]
fn held_tasks_are_listed_counted_and_purged() {
    let mut s = family();
    s.lists(TaskState::Held, &["wait", "run", "drop"])
        .purges("run")
        .lists(TaskState::Held, &["wait", "drop"]);
    assert_eq!((s.queue.len(), s.queue.count(TaskState::Held)), (3, 2));
    s.total(|t| t.purged, 1).passes(3);
    assert_eq!(s.task("wait").instant, Millis(START), "held since its push");
}

#[test]
fn a_copy_waits_for_its_own_tasks() {
    let mut s = family();
    s.claims("p").acks("p");
    let mut copy = s.queue.copied().unwrap();
    assert!(copy.has_news());
    assert_eq!(steps(&mut copy, s.now), [3]);
    copy.validate().unwrap();
    assert_eq!((copy.count(TaskState::Ready), s.queue.count(TaskState::Held)), (3, 3));
}

#[test]
fn a_parent_that_is_to_be_cancelled_is_cancelled_in_a_copy() {
    let mut s = family();
    s.claims("p").cancels("p");
    let mut copy = s.queue.copied().unwrap();
    copy.validate().unwrap();
    assert_eq!(steps(&mut copy, s.now), [2], "those that run and drop");
    assert_eq!(copy.count(TaskState::Held), 1);
}

// Large ones

/// How many tasks each step tells.
fn steps(queue: &mut Queue, now: Now) -> Vec<usize> {
    let mut steps = Vec::new();
    while let Some(event) = queue.tick(now, &mut || 0, &mut 9) {
        let Event::Told { tasks, .. } = &event else { panic!("{event:?}") };
        steps.push(tasks.len());
        queue.apply(&event).unwrap();
    }
    steps
}

/// 100,000 tasks that wait for one, which is leased. Every third waits in another way.
fn fan() -> (Queue, Now, taskslot_engine::Handle) {
    let (mut queue, now) = (Queue::new(), Now::plain(START));
    let event = queue.push(now, &Push { due: None, options: OPTIONS, payloads: &[b"p"] }).unwrap();
    queue.apply(&event).unwrap();
    let Event::Pushed { first, .. } = event else { panic!() };
    let payloads = [&b"x"[..]; BATCH_MAX];
    let push = Push { due: None, options: OPTIONS, payloads: &payloads };
    for n in 0..100 {
        let event = queue
            .push_after(
                now,
                &push,
                &After { parents: &[first], when: When::Now, on_dead: OnDead::ALL[n % 3] },
            )
            .unwrap();
        queue.apply(&event).unwrap();
    }
    let event = queue.claim(now, &mut || 1, &Claim::default()).unwrap().unwrap();
    queue.apply(&event).unwrap();
    let Event::Claimed { leases, .. } = &event else { panic!() };
    let handle = leases[0].handle();
    (queue, now, handle)
}

#[test]
fn a_hundred_thousand_dependents_are_told_in_steps_also_after_a_restart() {
    let (mut queue, now, handle) = fan();
    let event = queue.ack(now, &handle).unwrap();
    queue.apply(&event).unwrap();
    assert_eq!(queue.count(TaskState::Held), 100_000, "the ack itself tells nobody");
    for _ in 0..300 {
        let event = queue.tick(now, &mut || 0, &mut 9).unwrap();
        queue.apply(&event).unwrap();
    }
    assert_eq!(queue.count(TaskState::Held), 100_000 - 300 * STEP_TASKS as u64);
    let mut loaded = load(&save(&queue)).unwrap();
    assert_eq!(digest(&loaded), digest(&queue));
    for queue in [&mut queue, &mut loaded] {
        let steps = steps(queue, now);
        assert!(steps.iter().all(|&told| told <= STEP_TASKS), "no step tells more");
        assert_eq!(steps.iter().sum::<usize>(), 100_000 - 300 * STEP_TASKS, "each is told once");
        assert_eq!(queue.count(TaskState::Ready), 100_000);
        queue.validate().unwrap();
    }
}

#[test]
fn a_hundred_thousand_dependents_of_a_task_that_dies_run_wait_and_drop_in_steps() {
    let (mut queue, now, handle) = fan();
    let event = queue.fail(now, &mut || 0, &handle, Retry::Dead, b"").unwrap();
    queue.apply(&event).unwrap();
    let told = steps(&mut queue, now);
    assert_eq!(told.iter().sum::<usize>(), 66_000, "those that wait are not told");
    assert!(told.iter().all(|&told| told <= STEP_TASKS));
    let counts = [TaskState::Ready, TaskState::Held].map(|state| queue.count(state));
    assert_eq!((counts, queue.totals().cancelled), ([33_000, 34_000], 33_000));
    queue.validate().unwrap();
}

/// 30 held tasks, each of which waits for the same thousand. Also returns the first of the thousand.
fn wide() -> (Queue, Now, TaskId) {
    let (mut queue, now) = (Queue::new(), Now::plain(START));
    let push = Push { due: None, options: OPTIONS, payloads: &[&b"p"[..]; 1000] };
    let event = queue.push(now, &push).unwrap();
    queue.apply(&event).unwrap();
    let Event::Pushed { first, .. } = event else { panic!() };
    let after: Vec<TaskId> = (0..1000).map(|n| TaskId { seq: first.seq + n, ..first }).collect();
    let push = Push { due: None, options: OPTIONS, payloads: &[&b"x"[..]; 10] };
    for _ in 0..3 {
        let event = queue
            .push_after(now, &push, &After { parents: &after, when: When::Now, on_dead: OnDead::Drop })
            .unwrap();
        queue.apply(&event).unwrap();
    }
    (queue, now, first)
}

#[test]
fn a_step_drops_fewer_tasks_if_each_waits_for_many() {
    let (mut queue, now, first) = wide();
    let event = queue.cancel(first).unwrap();
    queue.apply(&event).unwrap();
    let event = queue.tick(now, &mut || 0, &mut 1).unwrap();
    assert_eq!(queue.work(&event), 1000, "as much work as its waits");
    let (told, mut waits) = (steps(&mut queue.clone(), now), queue.open_waits());
    assert_eq!((told.iter().sum::<usize>(), told.iter().max()), (30, Some(&1)));
    while let Some(event) = queue.tick(now, &mut || 0, &mut 9) {
        queue.apply(&event).unwrap();
        assert!(waits - queue.open_waits() <= 1000, "no step ends more");
        waits = queue.open_waits();
    }
    assert_eq!(waits, 0);
}

#[test]
fn the_waits_of_tasks_are_counted_each_task_once() {
    let (queue, now, first) = wide();
    let held: Vec<TaskId> = queue
        .list(&now, TaskState::Held, Default::default(), 99, None, None)
        .1
        .iter()
        .map(|task| task.id)
        .collect();
    assert_eq!((queue.open_waits(), held.len()), (30_000, 30));
    assert_eq!(queue.waits_of(&[held[0], held[1], held[0], first]), 2000);
    assert!(queue.free_effort() > 30_000 / 8, "each wait is freed");
}

#[test]
fn a_purge_of_held_tasks_ends_about_ten_thousand_waits() {
    for older in [None, Some(0)] {
        let (mut queue, now, _) = wide();
        for left in [20, 10, 0] {
            let event = queue.purge(&now, TaskState::Held, older, 1000).0.unwrap();
            queue.apply(&event).unwrap();
            assert_eq!((queue.count(TaskState::Held), queue.open_waits()), (left, left as usize * 1000));
        }
    }
}

#[test]
fn a_task_that_waits_for_many_is_told_that_it_is_held_still() {
    let mut s = story();
    s.push_all(&["a", "b"]).push_after("x", &["a", "b"], OnDead::Wait).claims("a").acks("a");
    let event = s.queue.clone().tick(s.now, &mut || 0, &mut 9).unwrap();
    let tasks = vec![(s.id("x"), Release::Held)];
    assert_eq!(event, Event::Told { parent: Some(s.id("a")), at: s.now.at, tasks });
    s.reloads().apply(&event).reloads().drains(&["b"]).ticks().is_ready("x");
}

#[test]
fn a_queue_whose_tasks_wait_no_more_takes_as_much_as_one_that_never_had_any() {
    let (mut with, mut without) = (story(), story());
    with.push("a").push_after("b", &["a"], OnDead::Wait).drains(&["a"]).ticks().drains(&["b"]);
    without.push_all(&["a", "b"]).drains(&["a", "b"]);
    assert_eq!(with.queue.memory(), without.queue.memory());
    let kinds = |s: &Story| save(&s.queue).iter().map(|chunk| (chunk[0], chunk.len())).collect::<Vec<_>>();
    assert_eq!(kinds(&with), kinds(&without));
}
