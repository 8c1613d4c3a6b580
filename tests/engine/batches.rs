//! Batches: a callback that becomes ready once all tasks of its batch have ended, whatever their ends.

use std::num::NonZeroU64;

use taskslot_engine::edges::STEP_TASKS;
use taskslot_engine::{
    After, BATCH_MAX, BatchCounts, Claim, Event, Gate, GroupLimits, Hold, Millis, NAME_MAX_BYTES, Now,
    Options, Push, Queue, Refusal, Retry, TaskId, TaskState, Totals, Unique, When,
};

use crate::copies::{digest, load, save};
use crate::story::{START, Story, story};

const NONE: BatchCounts = BatchCounts { done: 0, dead: 0, cancelled: 0, expired: 0, purged: 0 };
const DONE: BatchCounts = BatchCounts { done: 1, ..NONE };
const DEAD: BatchCounts = BatchCounts { dead: 1, ..NONE };
const CANCELLED: BatchCounts = BatchCounts { cancelled: 1, ..NONE };
const EXPIRED: BatchCounts = BatchCounts { expired: 1, ..NONE };
const PURGED: BatchCounts = BatchCounts { purged: 1, ..NONE };

fn into(batch: &str) -> Options<'_> {
    Options { batch: batch.as_bytes(), ..Options::default() }
}

/// A closed batch "b" with the callback "end" and the task "x", which is ready.
fn closed() -> Story {
    let mut s = story();
    s.opens("b", "end").push_into("b", "x").closes_batch("b").is_held("end");
    s
}

// When a callback becomes ready

#[test]
fn a_callback_becomes_ready_once_its_batch_is_closed_and_all_tasks_have_ended() {
    let mut s = story();
    s.opens("b", "end").is_held("end").push_into("b", "x").push_into("b", "y").claims("x").acks("x").ticks();
    s.is_batch("b", "open", 1, DONE).closes_batch("b").is_batch("b", "closed", 1, DONE).is_held("end");
    s.claims("y").acks("y").is_held("end").next_due_in(Some(0)).ticks().is_ready("end");
    s.is_batch("b", "complete", 0, BatchCounts { done: 2, ..NONE }).claims("end").acks("end");
    s.is_no_batch("b").claims_nothing();
}

#[test]
fn a_batch_whose_tasks_have_all_ended_is_complete_only_when_it_is_closed() {
    let mut s = story();
    s.opens("b", "end").push_into("b", "x").claims("x").acks("x").passes(1_000_000).is_held("end");
    s.closes_batch("b").is_ready("end");
}

#[test]
fn an_empty_batch_is_complete_when_it_is_closed() {
    let mut s = story();
    s.opens("b", "end").passes(9).is_held("end").closes_batch("b").is_ready("end");
    s.is_batch("b", "complete", 0, NONE);
}

#[test]
fn a_batch_can_be_closed_once_and_opened_once() {
    let s = closed();
    assert_eq!(s.queue.close_batch(s.now, b"b"), Ok(None));
    assert_eq!(s.queue.close_batch(s.now, b"other"), Err(Refusal::UnknownBatch));
    let push = Push { due: None, options: Options::default(), payloads: &[b"again"] };
    assert_eq!(s.queue.open_batch(s.now, b"b", When::Now, &push), Ok(None));
}

/// One way to end for the only task of a closed batch. How many tasks ended how afterwards.
type Way = (&'static str, Options<'static>, fn(&mut Story), BatchCounts);

const PLAIN: Options<'static> = Options {
    priority: 0,
    attempts: None,
    lease_ms: None,
    headers: b"",
    group: b"",
    unique: None,
    ttl_ms: None,
    retain_ms: None,
    batch: b"b",
};

const WAYS: [Way; 20] = [
    ("an ack", PLAIN, |s| _ = s.claims("x").acks("x"), DONE),
    ("an ack of a retained task", PLAIN, |s| _ = s.claims("x").finishes("x", Some(9), Some(b"r")), DONE),
    (
        "a retained task that is forgotten",
        PLAIN,
        |s| _ = s.claims("x").finishes("x", Some(9), None).passes(10).is_gone("x"),
        DONE,
    ),
    ("a late ack", PLAIN, |s| _ = s.claims_for("x", 5).passes(5).is_ready("x").acks("x"), DONE),
    (
        "a late ack of a dead task",
        PLAIN,
        |s| {
            s.config("stalls", 1)
                .claims_for("x", 5)
                .passes(5)
                .is_dead("x")
                .is_batch("b", "complete", 0, DEAD);
            s.acks("x");
        },
        DONE,
    ),
    (
        "a delivery with NOACK",
        PLAIN,
        |s| assert_eq!(s.claim(&Claim { noack: true, ..Claim::default() }), ["x"]),
        DONE,
    ),
    ("a failure for good", PLAIN, |s| _ = s.claims("x").fails_with("x", Retry::Dead, "e"), DEAD),
    (
        "the limit of attempts",
        Options { attempts: Some(1), ..PLAIN },
        |s| _ = s.claims("x").fails("x").is_dead("x"),
        DEAD,
    ),
    (
        "the limit of stalls",
        PLAIN,
        |s| _ = s.config("stalls", 1).claims_for("x", 5).passes(5).is_dead("x"),
        DEAD,
    ),
    ("a dead task that is purged", PLAIN, |s| _ = dies(s).purges("x").is_gone("x"), DEAD),
    ("dead-max", PLAIN, |s| _ = s.config("dead-max", 0).claims("x").fails_with("x", Retry::Dead, ""), DEAD),
    ("dead-ttl", PLAIN, |s| _ = dies(s).config("dead-ttl", 5).passes(5).is_gone("x"), DEAD),
    ("a cancellation", PLAIN, |s| _ = s.cancels("x"), CANCELLED),
    (
        "a cancellation of a delayed task",
        PLAIN,
        |s| _ = s.claims("x").requeues_later("x", 99).cancels("x"),
        CANCELLED,
    ),
    (
        "a stall after a cancellation was asked for",
        PLAIN,
        |s| _ = s.claims_for("x", 5).cancels("x").is_leased("x").passes(5),
        CANCELLED,
    ),
    (
        "a failure after a cancellation was asked for",
        PLAIN,
        |s| _ = s.claims("x").cancels("x").fails("x"),
        CANCELLED,
    ),
    ("an ack after a cancellation was asked for", PLAIN, |s| _ = s.claims("x").cancels("x").acks("x"), DONE),
    (
        "a time to live",
        Options { ttl_ms: NonZeroU64::new(5), ..PLAIN },
        |s| _ = s.passes(5).is_gone("x").total(|t| t.expired, 1),
        EXPIRED,
    ),
    ("a purge", PLAIN, |s| _ = s.purges("x"), PURGED),
    ("a purge of a delayed task", PLAIN, |s| _ = s.claims("x").requeues_later("x", 99).purges("x"), PURGED),
];

fn dies(s: &mut Story) -> &mut Story {
    s.claims("x").fails_with("x", Retry::Dead, "e")
}

#[test]
fn every_way_to_end_counts_and_lets_the_callback_go() {
    for (what, options, way, counts) in WAYS {
        println!("{what}");
        let mut s = story();
        s.opens("b", "end").push_with("x", None, options).closes_batch("b").is_held("end");
        way(&mut s);
        s.ticks().is_batch("b", "complete", 0, counts).is_ready("end");
        s.reloads().is_batch("b", "complete", 0, counts).claims("end").acks("end").is_no_batch("b");
    }
}

#[test]
fn what_is_not_an_end_keeps_the_callback_waiting() {
    let mut s = closed();
    s.claims("x").fails("x").passes(2000).is_held("end").claims_for("x", 5).passes(5).is_held("end");
    s.claims("x").requeues("x").claims("x").unclaims("x").claims("x").cancels("x").ticks().is_held("end");
    s.is_batch("b", "closed", 1, NONE);
}

#[test]
fn a_purged_held_task_counts_as_purged() {
    let mut s = story();
    s.push("parent").opens("b", "end");
    s.push_after_with("x", &["parent"], Default::default(), When::Now, into("b")).is_held("x");
    s.closes_batch("b").is_batch("b", "closed", 1, NONE).purges("x").ticks();
    s.is_batch("b", "complete", 0, PURGED).is_ready("end");
}

// Dead tasks

#[test]
fn a_dead_task_that_is_retried_before_the_end_is_open_again() {
    let mut s = closed();
    s.push_into("b", "y");
    dies(&mut s).ticks().is_batch("b", "closed", 1, DEAD).retries(&["x"]).is_batch("b", "closed", 2, NONE);
    s.claims_all(2, &["y", "x"]).acks("y").ticks().is_held("end").acks("x").ticks().is_ready("end");
    s.is_batch("b", "complete", 0, BatchCounts { done: 2, ..NONE });
}

#[test]
fn a_dead_task_that_is_retried_before_the_callback_was_told_keeps_it_waiting() {
    let mut s = closed();
    dies(&mut s).retries(&["x"]).ticks().is_held("end").claims("x").acks("x").ticks().is_ready("end");
}

#[test]
fn a_dead_task_that_is_retried_after_the_end_changes_the_counts_only() {
    let mut s = closed();
    dies(&mut s).ticks().is_ready("end").retries(&["x"]).is_batch("b", "complete", 1, NONE);
    s.is_ready("end").claims_all(2, &["end", "x"]).acks("x").ticks().is_batch("b", "complete", 0, DONE);
    s.is_leased("end").acks("end").claims_nothing();
}

// Pushes into a batch

#[test]
fn a_closed_batch_accepts_tasks_as_long_as_one_is_open() {
    let mut s = closed();
    s.claims("x").push_into("b", "y").acks("x").ticks().is_held("end").is_batch("b", "closed", 1, DONE);
    s.claims("y").push_into("b", "z").acks("y").claims("z").acks("z");
    // Not told yet, but complete.
    s.is_held("end").cannot_push_into("b", Refusal::ClosedBatch).ticks().is_ready("end");
    s.cannot_push_into("b", Refusal::ClosedBatch).claims("end").acks("end");
    s.cannot_push_into("b", Refusal::UnknownBatch).cannot_push_into("other", Refusal::UnknownBatch);
    assert_eq!(s.queue.batch(b"b"), None);
}

#[test]
fn a_push_that_was_decided_before_an_ack_reopens_the_batch_of_the_acked_task() {
    let mut s = closed();
    s.claims("x");
    let queue = s.queue.clone();
    let push = queue.push(s.now, &Push { due: None, options: into("b"), payloads: &[b"next"] }).unwrap();
    s.acks("x").apply(&push).ticks().is_held("end").is_batch("b", "closed", 1, DONE);
}

#[test]
fn a_push_of_many_tasks_counts_each() {
    let mut s = story();
    s.opens("b", "end");
    let push = Push { due: None, options: into("b"), payloads: &[&b"x"[..]; 7] };
    let event = s.queue.push(s.now, &push).unwrap();
    s.apply(&event).is_batch("b", "open", 7, NONE);
    assert_eq!(s.queue.batch(b"b").unwrap().tasks(), 7);
}

#[test]
fn a_refused_push_counts_nowhere() {
    let mut s = story();
    s.opens("b", "end").config("max-len", 1).cannot_push_into("b", Refusal::FullLen);
    s.is_batch("b", "open", 0, NONE);
}

// Batches in batches

#[test]
fn the_callback_of_an_inner_batch_counts_in_the_outer_one() {
    let mut s = story();
    s.opens("outer", "last").opens_with("inner", "middle", When::Now, into("outer"));
    s.push_into("inner", "x").closes_batch("outer").is_batch("outer", "closed", 1, NONE);
    s.closes_batch("inner").claims("x").acks("x").ticks().is_ready("middle").is_held("last");
    s.claims("middle").push_into("outer", "more").acks("middle").ticks().is_held("last").is_no_batch("inner");
    s.claims("more").acks("more").ticks().is_ready("last");
    s.is_batch("outer", "complete", 0, BatchCounts { done: 2, ..NONE });
}

#[test]
fn an_inner_batch_that_is_deleted_counts_as_cancelled_in_the_outer_one() {
    let mut s = story();
    s.opens("outer", "last").opens_with("inner", "middle", When::Now, into("outer")).push_into("inner", "x");
    s.closes_batch("outer");
    assert!(s.deletes_batch("inner"));
    s.is_batch("outer", "complete", 0, CANCELLED).is_ready("last").is_no_batch("inner").is_ready("x");
    s.claims_all(9, &["x", "last"]).acks("x").ticks();
}

#[test]
fn a_batch_cannot_count_its_own_callback() {
    let s = story();
    let push = Push { due: None, options: into("b"), payloads: &[b"end"] };
    assert_eq!(s.queue.open_batch(s.now, b"b", When::Now, &push), Err(Refusal::UnknownBatch));
}

#[test]
fn a_task_of_a_batch_waits_for_held_tasks_of_the_batch_only() {
    let mut s = story();
    s.push("ready").opens("b", "end").push_into("b", "x");
    let wait = Default::default();
    s.push_after("outside", &["end"], wait).push_after_with("inside", &["x"], wait, When::Now, into("b"));
    let refused = |s: &Story, after: &[&str]| {
        let after: Vec<TaskId> = after.iter().map(|name| s.id(name)).collect();
        let push = Push { due: None, options: into("b"), payloads: &[b"?"] };
        s.queue.push_after(s.now, &push, &After { parents: &after, when: When::Now, on_dead: wait }).err()
    };
    assert_eq!(refused(&s, &["end"]), Some(Refusal::Circular), "its own callback");
    assert_eq!(
        refused(&s, &["ready", "outside"]),
        Some(Refusal::Circular),
        "one that waits for its callback"
    );
    s.opens("c", "other end").push_into("c", "y");
    s.push_after_with("elsewhere", &["y"], wait, When::Now, into("c"));
    assert_eq!(refused(&s, &["elsewhere"]), Some(Refusal::Circular), "one of another batch");
    assert!(s.deletes_batch("c"));
    s.cancels("elsewhere").cancels("y");
    assert_eq!(refused(&s, &["ready", "x", "inside"]), None);
    s.closes_batch("b").drains(&["ready", "x"]).ticks().drains(&["inside"]).ticks().drains(&["end"]).ticks();
    s.is_ready("outside");
}

// Removing a batch

#[test]
fn a_batch_is_deleted_with_its_callback_in_every_state_of_it() {
    type Phase = (fn(&mut Story), fn(&Totals) -> u64);
    let phases: [Phase; 6] = [
        (|_| {}, |t| t.cancelled),
        (|s| _ = s.closes_batch("b"), |t| t.cancelled),
        (|s| _ = s.closes_batch("b").purges("x").ticks().is_ready("end"), |t| t.cancelled),
        (
            |s| _ = s.closes_batch("b").purges("x").ticks().claims("end").requeues_later("end", 50),
            |t| t.cancelled,
        ),
        (
            |s| {
                s.closes_batch("b").purges("x").ticks().claims("end").fails_with("end", Retry::Dead, "");
                s.is_batch("b", "complete", 0, PURGED);
            },
            |t| t.purged - 1,
        ),
        (
            |s| {
                s.closes_batch("b").purges("x").ticks().claims("end").finishes("end", Some(99), None);
                s.is_batch("b", "complete", 0, PURGED);
            },
            |t| t.forgotten,
        ),
    ];
    for (phase, total) in phases {
        let mut s = story();
        s.opens("b", "end").push_into("b", "x");
        phase(&mut s);
        assert!(s.deletes_batch("b"));
        s.is_gone("end").is_no_batch("b").total(total, 1);
        assert!(!s.deletes_batch("b"));
        s.opens("b", "again").is_batch("b", "open", 0, NONE);
    }
    let mut s = story();
    s.opens("b", "end").push_into("b", "x").closes_batch("b").cancels("x").ticks().claims("end");
    assert!(s.deletes_batch("b"));
    assert!(!s.deletes_batch("b"), "that was asked for before");
    s.is_batch("b", "complete", 0, CANCELLED).cannot_extend("end", Refusal::CancelAsked).fails("end");
    s.is_gone("end").is_no_batch("b");
}

#[test]
fn tasks_outlive_their_batch_and_count_in_no_other_of_its_name() {
    let mut s = story();
    s.opens("b", "end").push_into("b", "x").push_into("b", "y");
    assert!(s.deletes_batch("b"));
    s.opens("b", "other").push_into("b", "z").closes_batch("b").claims_all(9, &["x", "y", "z"]);
    assert_eq!(s.task("x").relations.batch, b"");
    assert_eq!(s.task("z").relations.batch, b"b");
    s.acks("x").fails_with("y", Retry::Dead, "").retries(&["y"]).reloads();
    s.is_batch("b", "closed", 1, NONE).acks("z").ticks().is_batch("b", "complete", 0, DONE);
}

#[test]
fn a_callback_that_is_cancelled_or_purged_takes_its_batch_along() {
    let ways: [fn(&mut Story); 2] = [|s| _ = s.cancels("end"), |s| _ = s.purges("end")];
    for removes in ways {
        let mut s = closed();
        removes(&mut s);
        s.is_no_batch("b").claims("x").acks("x").ticks().claims_nothing();
        assert_eq!(s.queue.batches(), (0, 0));
    }
}

// The callback

#[test]
fn a_held_callback_that_is_retried_is_ready_at_once_and_only_once() {
    let mut s = closed();
    s.retries(&["end"]).is_ready("end").is_batch("b", "complete", 1, NONE);
    s.cannot_push_into("b", Refusal::ClosedBatch).claims_all(2, &["x", "end"]).acks("x").ticks();
    s.is_leased("end")
        .is_batch("b", "complete", 0, DONE)
        .total(|t| t.retried, 1)
        .acks("end")
        .claims_nothing();
}

#[test]
fn a_callback_of_an_open_batch_that_is_retried_lets_nothing_more_in() {
    let mut s = story();
    s.opens("b", "end").retries(&["end"]).cannot_push_into("b", Refusal::ClosedBatch).claims("end");
    s.is_batch("b", "complete", 0, BatchCounts::default()).reloads();
    assert_eq!(s.queue.batches(), (0, 1), "it does not wait for its CLOSE");
    s.closes_batch("b");
    assert_eq!(s.queue.batches(), (0, 1));
    s.is_leased("end").acks("end").is_no_batch("b");
}

#[test]
fn the_delay_of_a_callback_counts_from_the_end_of_its_batch() {
    let mut s = story();
    s.opens_with("b", "end", When::After(70), Options::default()).push_into("b", "x").passes(500);
    s.closes_batch("b")
        .claims("x")
        .acks("x")
        .ticks()
        .is_delayed("end", 70)
        .is_batch("b", "complete", 0, DONE);
    s.passes(69).claims_nothing().passes(1).claims("end");
}

#[test]
fn a_callback_with_an_instant_is_ready_then_or_at_the_end_if_that_is_later() {
    for (end_at, due_in) in [(100, Some(400)), (500, None), (900, None)] {
        let mut s = story();
        let when = When::At(Millis(s.now.wall.0 + 500));
        s.opens_with("b", "end", when, Options::default()).passes(end_at).reloads().closes_batch("b");
        match due_in {
            Some(ms) => _ = s.is_delayed("end", ms).passes(ms).is_ready("end"),
            None => _ = s.is_ready("end"),
        }
    }
}

#[test]
fn a_callback_of_a_delay_of_nothing_is_ready_at_once() {
    let mut s = story();
    s.opens_with("b", "end", When::After(0), Options::default()).reloads().closes_batch("b").is_ready("end");
}

#[test]
fn the_time_to_live_of_a_callback_begins_with_the_end_of_its_batch() {
    let mut s = story();
    s.opens_with("b", "end", When::Now, Options { ttl_ms: NonZeroU64::new(50), ..Options::default() });
    s.passes(400).is_held("end").closes_batch("b").is_ready("end").passes(49).is_ready("end").passes(1);
    s.is_gone("end").is_no_batch("b").total(|t| t.expired, 1);
}

#[test]
fn a_held_callback_holds_its_token_and_can_be_replaced() {
    let mut s = story();
    let unique = |hold| Options { unique: Some(Unique { token: b"t", hold }), ..Options::default() };
    s.opens_with("b", "end", When::Now, unique(Hold::Start)).finds("end", "t").reloads().finds("end", "t");
    assert!(s.replaces("end", "later"));
    s.closes_batch("b").holds("t", "end");
    assert_eq!(s.claim(&Claim::default()), ["later"]);
    s.holds("t", "");
}

#[test]
fn a_callback_waits_its_turn_in_its_group_once_it_is_released() {
    let mut s = story();
    let of = |group| Options { group, ..Options::default() };
    let event = s.queue.set_group(b"o", GroupLimits { ordered: true, ..GroupLimits::default() }).unwrap();
    s.apply(&event).opens_with("b", "end", When::Now, of(b"o")).push_with("x", None, of(b"o"));
    // A held task is not the head of its group, though it was pushed first.
    s.claims("x").closes_batch("b").is_ready("end").claims_nothing().acks("x").claims("end");
}

#[test]
fn no_limit_and_no_pause_keeps_a_callback_from_becoming_ready() {
    let mut s = closed();
    s.claims("x").config("max-len", 0).config("max-bytes", 0).pauses(Gate::All, None).acks("x").ticks();
    s.is_ready("end").resumes(Gate::Out).claims("end");
}

#[test]
fn held_tasks_count_towards_max_len() {
    let mut s = story();
    s.config("max-len", 2).opens("b", "end").push("x");
    assert_eq!(s.queue.len(), 2);
    assert_eq!(s.try_push("y", None, Options::default()), Err(Refusal::FullLen));
    let push = Push { due: None, options: Options::default(), payloads: &[b"end"] };
    assert_eq!(s.queue.open_batch(s.now, b"c", When::Now, &push), Err(Refusal::FullLen));
    s.lists(TaskState::Held, &["end"]);
}

#[test]
fn a_batch_is_known_as_long_as_its_callback() {
    let mut s = closed();
    s.claims("x").acks("x").ticks().claims_for("end", 5).passes(5).claims("end");
    s.fails_with("end", Retry::Dead, "").is_batch("b", "complete", 0, DONE).retries(&["end"]).claims("end");
    s.finishes("end", Some(50), Some(b"r")).is_batch("b", "complete", 0, DONE).passes(49);
    s.is_batch("b", "complete", 0, DONE).passes(1).is_gone("end").is_no_batch("b");
}

#[test]
fn a_worker_sees_the_batch_whose_callback_it_has() {
    let mut s = closed();
    s.claims("x").fails_with("x", Retry::Dead, "").passes(3).claims("end");
    let given = s.queue.given(s.id("end")).unwrap().relations.unwrap();
    let batch = given.callback_of.unwrap();
    assert_eq!((batch.name, batch.counts, batch.state()), (&b"b"[..], DEAD, "complete"));
    assert_eq!((batch.opened_at, batch.closed_at), (Millis(START), Some(Millis(START))));
    assert_eq!(s.task("x").relations.batch, b"b");
    assert_eq!(s.task("end").relations.callback_of, Some(batch));
}

#[test]
fn batches_are_shown_by_name() {
    let mut s = story();
    for name in ["m", "z", "a", "mm"] {
        s.opens(name, name);
    }
    s.closes_batch("z");
    let after = |after: &'static [u8]| {
        s.queue.batch_views(after).map(|batch| batch.name.to_vec()).collect::<Vec<_>>()
    };
    assert_eq!(after(b""), [&b"a"[..], b"m", b"mm", b"z"]);
    assert_eq!(after(b"m"), [&b"mm"[..], b"z"]);
    assert_eq!(s.queue.batches(), (3, 1));
}

// Copies, restarts, bounds

#[test]
fn a_copy_has_batches_of_its_own() {
    let mut s = story();
    s.opens("b", "end").push_into("b", "x").push_into("b", "y").closes_batch("b").claims_all(2, &["x", "y"]);
    s.cancels("y");
    let mut copy = s.queue.copied().unwrap();
    copy.validate().unwrap();
    let seen = copy.batch(b"b").unwrap();
    assert_eq!((seen.open, seen.counts), (1, CANCELLED), "one was to be cancelled");
    s.acks("x").fails("y").ticks().is_ready("end");
    assert_eq!(copy.task(&s.now, s.id("end")).unwrap().state, TaskState::Held);
    let event = Event::Taken { ids: vec![s.id("x")], at: s.now.at };
    copy.apply(&event).unwrap();
    let told = copy.tick(s.now, &mut || 0, &mut 9).unwrap();
    copy.apply(&told).unwrap();
    copy.validate().unwrap();
    assert_eq!(copy.task(&s.now, s.id("end")).unwrap().state, TaskState::Ready);
}

#[test]
fn a_complete_batch_whose_callback_was_not_told_is_told_after_a_restart() {
    let mut s = closed();
    s.claims("x").acks("x").is_held("end").reloads().is_held("end").ticks().is_ready("end");
}

#[test]
fn many_batches_that_are_complete_at_once_are_told_in_steps() {
    let mut s = story();
    for n in 0..300 {
        let (name, when) = (format!("{n}"), When::Now);
        let push = Push { due: None, options: Options::default(), payloads: &[b"end"] };
        let event = s.queue.open_batch(s.now, name.as_bytes(), when, &push).unwrap().unwrap();
        s.apply_unchecked(&event);
        let event = Event::BatchClosed { name: name.as_bytes(), at: s.now.at };
        s.apply_unchecked(&event);
    }
    let expected: Vec<usize> = (0..300).step_by(STEP_TASKS).map(|told| STEP_TASKS.min(300 - told)).collect();
    assert_eq!(steps(&mut s.queue.clone(), s.now), expected);
}

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

#[test]
fn a_batch_of_100_000_tasks_takes_no_more_than_one_of_ten() {
    let mut queue = Queue::new();
    let now = Now::plain(START);
    let push = Push { due: None, options: Options::default(), payloads: &[b"end"] };
    let event = queue.open_batch(now, b"b", When::Now, &push).unwrap().unwrap();
    queue.apply(&event).unwrap();
    let mut plain = Queue::new();
    let payloads = [&b"x"[..]; BATCH_MAX];
    for _ in 0..100 {
        let push = |batch| Push { due: None, options: Options { batch, ..PLAIN }, payloads: &payloads };
        let event = queue.push(now, &push(b"b")).unwrap();
        queue.apply(&event).unwrap();
        let event = plain.push(now, &push(b"")).unwrap();
        plain.apply(&event).unwrap();
    }
    let more = queue.record_bytes() - plain.record_bytes();
    assert!(more <= 100_000 + 20, "one byte for each task, not {more}");
    assert!(queue.memory() < plain.memory() + 110_000, "a batch has no list of its tasks");
    queue.apply(&Event::BatchClosed { name: b"b", at: now.at }).unwrap();
    let claim = Claim { count: BATCH_MAX, noack: true, ..Claim::default() };
    for left in (0..100).rev() {
        assert!(!queue.has_news());
        let event = queue.claim(now, &mut || 0, &claim).unwrap().unwrap();
        queue.apply(&event).unwrap();
        assert_eq!(queue.batch(b"b").unwrap().open, left * 1000);
    }
    assert_eq!(steps(&mut queue, now), [1], "the callback, once");
    let loaded = load(&save(&queue)).unwrap();
    assert_eq!(digest(&loaded), digest(&queue));
    assert_eq!(loaded.batch(b"b").unwrap().counts, BatchCounts { done: 100_000, ..NONE });
}

#[test]
fn the_longest_name_of_a_batch_is_accepted() {
    let name = "n".repeat(NAME_MAX_BYTES);
    let mut s = story();
    s.opens(&name, "end").push_into(&name, "x").reloads().closes_batch(&name).cancels("x").ticks();
    s.is_ready("end");
}

#[test]
fn a_queue_that_has_no_batch_any_more_is_stored_as_one_that_never_had_one() {
    let (mut with, mut without) = (story(), story());
    with.opens("b", "end").closes_batch("b").claims("end").acks("end").clock_shows(5);
    without.push("end").claims("end").acks("end").clock_shows(5);
    for s in [&mut with, &mut without] {
        s.push_all(&["x", "y"]).claims("x").fails_with("x", Retry::Dead, "e").push_delayed("z", 50);
    }
    assert_eq!(with.queue.memory(), without.queue.memory());
    let chunks =
        |s: &Story| save(&s.queue).iter().skip(1).map(|chunk| (chunk[0], chunk.len())).collect::<Vec<_>>();
    assert_eq!(chunks(&with), chunks(&without));
    let head = save(&without.queue).remove(0);
    assert!(!head.windows(5).any(|word| word == b"batch"), "it has no word for batches");
}
