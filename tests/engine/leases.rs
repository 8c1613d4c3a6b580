//! The contract's sentences on ids, leases and late answers.

use taskslot_engine::{Claim, Event, LeaseNumber, Millis, Refusal, Retry, TaskId};

use crate::story::{self, START, story};

// Ids

#[test]
fn ids_take_the_clock_and_count_within_a_millisecond() {
    let mut s = story();
    s.push_all(&["a", "b"]).passes(1).push("c");
    let ids = ["a", "b", "c"].map(|name| s.id(name).to_string());
    assert_eq!(ids, ["1000000000-0", "1000000000-1", "1000000001-0"]);
}

#[test]
fn ids_never_go_backwards_with_the_clock() {
    let mut s = story();
    s.push("a");
    s.now.at = Millis(START - 5000);
    s.push("b");
    assert_eq!(s.id("b"), TaskId { ms: START, seq: 1 });
}

// Leases

#[test]
fn lease_numbers_take_the_clock_in_microseconds_and_increase() {
    let mut s = story();
    s.push_all(&["a", "b"]).claims_all(2, &["a", "b"]);
    assert_eq!(s.number("a"), LeaseNumber(START * 1000));
    assert_eq!(s.number("b"), LeaseNumber(START * 1000 + 1));
    s.passes(1).requeues("a").claims("a");
    assert_eq!(s.number("a"), LeaseNumber((START + 1) * 1000));
}

#[test]
fn lease_numbers_increase_though_the_clock_goes_back() {
    let mut s = story();
    s.push("a").claims("a").requeues("a");
    let first = s.number("a").0;
    s.now.at = Millis(START - 5000);
    s.claims("a");
    assert_eq!(s.number("a").0, first + 1);
}

#[test]
fn a_primary_of_another_term_raises_the_number_by_2_to_36() {
    let mut s = story();
    s.push("a").claims("a").requeues("a");
    let event = s.queue.begin_term(7).unwrap();
    let first = s.number("a").0;
    s.apply(&event).claims("a");
    assert_eq!(s.number("a").0, first + (1 << 36) + 1);
    assert_eq!(s.queue.begin_term(7), None, "the term is its own");
}

#[test]
fn there_is_no_lease_number_of_2_to_53() {
    let mut s = story();
    s.push("a")
        .apply(&Event::Term { term: 1, floor: LeaseNumber(LeaseNumber::MAX.0 - 1) })
        .claims("a")
        .requeues("a");
    assert_eq!(s.number("a"), LeaseNumber::MAX);
    assert_eq!(s.queue.claim(s.now, &mut || 0, &Claim::default()), Err(Refusal::Exhausted));
    assert_eq!(s.queue.begin_term(2), Some(Event::Term { term: 2, floor: LeaseNumber::MAX }));
}

#[test]
fn number_and_nonce_of_a_handle_must_both_match() {
    let mut s = story();
    s.push("a").claims("a");
    let handle = s.handle("a");
    for other in [
        taskslot_engine::Handle { nonce: handle.nonce ^ 1, ..handle },
        taskslot_engine::Handle { lease: LeaseNumber(handle.lease.0 + 1), ..handle },
        taskslot_engine::Handle { lease: LeaseNumber(0), nonce: 0, ..handle },
    ] {
        assert_eq!(s.queue.ack(s.now, &other), Err(Refusal::Stale));
        assert_eq!(s.queue.extend(s.now, &other, None), Err(Refusal::Stale));
        assert_eq!(s.queue.requeue(s.now, &other, None, false), Err(Refusal::Stale));
        assert_eq!(s.queue.fail(s.now, &mut || 0, &other, Retry::Dead, b""), Err(Refusal::Stale));
        assert_eq!(s.queue.unclaim(s.now, &other), None);
    }
    s.acks("a");
}

#[test]
fn nobody_finishes_a_task_that_was_never_claimed() {
    let mut s = story();
    s.push("a");
    let nobodys = taskslot_engine::Handle { id: s.id("a"), lease: LeaseNumber(0), nonce: 0 };
    assert_eq!(s.queue.ack(s.now, &nobodys), Err(Refusal::Stale));
}

#[test]
fn a_stale_worker_cannot_finish_what_another_holds() {
    let mut s = story();
    s.push("a").claims("a");
    let stale = s.handle("a");
    s.passes(30_000).claims("a");
    assert_eq!(s.queue.ack(s.now, &stale), Err(Refusal::Stale));
    s.requeues("a");
    assert_eq!(s.queue.ack(s.now, &stale), Err(Refusal::Stale), "it was claimed again");
}

// Late answers

#[test]
fn an_ack_is_accepted_until_the_task_is_claimed_again() {
    let late = |s: &mut story::Story| _ = s.acks("a").is_gone("a").total(|t| t.late, 1).total(|t| t.acked, 1);
    late(story().push("a").claims("a").clock_shows(30_000));
    late(story().push("a").claims("a").passes(40_000).is_ready("a"));
    late(story().push("a").claims("a").passes(30_000).claims("a").passes(30_000).is_delayed("a", 500));
    late(story().config("stalls", 1).push("a").claims("a").passes(30_000).is_dead("a"));
}

#[test]
fn extend_fail_and_requeue_after_the_end_of_a_lease_are_stale() {
    let mut s = story();
    s.push("a").claims("a").clock_shows(30_000);
    for _ in 0..2 {
        s.cannot_extend("a", Refusal::Stale)
            .cannot_fail("a", Refusal::Stale)
            .cannot_requeue("a", Refusal::Stale);
        s.ticks();
    }
    s.is_ready("a").counts("a", [1, 0, 1]);
}

#[test]
fn an_answer_in_the_last_millisecond_of_a_lease_counts() {
    story().push("a").claims("a").clock_shows(29_999).extends("a", None, 30_000);
    story().push("a").claims("a").clock_shows(29_999).acks("a").total(|t| t.late, 0);
    story().push("a").claims("a").clock_shows(29_999).fails("a").total(|t| t.failed, 1);
}

#[test]
fn what_was_given_back_or_failed_is_not_acked_late() {
    story().push("a").claims("a").requeues("a").cannot_ack("a", Refusal::Stale);
    story().push("a").claims("a").fails("a").cannot_ack("a", Refusal::Stale);
    story().push("a").claims("a").unclaims("a").cannot_ack("a", Refusal::Stale);
}
