//! The states of a task, one story for each rule: transitions, order, poison, counters.

use taskslot_engine::{Claim, Due, Event, Millis, Options, Refusal, Retry, TaskId, TaskState};

use crate::story::{self, START, story};

// New

#[test]
fn a_pushed_task_is_ready() {
    story().push("a").is_ready("a").counts("a", [0, 0, 0]).total(|t| t.pushed, 1);
}

#[test]
fn a_task_pushed_with_a_delay_is_delayed_until_it_is_due() {
    story()
        .push_delayed("a", 500)
        .is_delayed("a", 500)
        .passes(499)
        .is_delayed("a", 1)
        .passes(1)
        .is_ready("a");
}

#[test]
fn a_task_pushed_for_an_instant_is_delayed_until_then() {
    let at = Due::Wall(Millis(START + 700));
    story().push_with("a", Some(at), Options::default()).passes(699).is_delayed("a", 1).passes(1).claims("a");
}

// Delayed

#[test]
fn a_delayed_task_that_is_retried_is_ready() {
    let mut s = story();
    s.push_delayed("a", 500)
        .retries(&["a"])
        .is_ready("a")
        .total(|t| t.retried, 1)
        .passes(500)
        .lists(TaskState::Ready, &["a"]);
}

#[test]
fn a_delayed_task_that_is_cancelled_is_gone() {
    story()
        .push_delayed("a", 500)
        .cancels("a")
        .is_gone("a")
        .total(|t| t.cancelled, 1)
        .passes(500)
        .claims_nothing();
}

#[test]
fn a_delayed_task_that_is_purged_is_gone() {
    story().push_delayed("a", 500).purges("a").is_gone("a").total(|t| t.purged, 1);
}

// Ready

#[test]
fn a_claimed_task_is_leased_for_the_queues_lease() {
    let mut s = story();
    s.push("a")
        .claims("a")
        .ends_in("a", 30_000)
        .counts("a", [1, 0, 0])
        .claims_nothing()
        .total(|t| t.claimed, 1);
}

#[test]
fn a_task_claimed_with_noack_is_gone_and_counted_acked() {
    let mut s = story();
    s.push("a").push("b");
    assert_eq!(s.claim(&Claim { noack: true, ..Claim::default() }), ["a"]);
    s.is_gone("a").is_ready("b").total(|t| t.acked, 1).total(|t| t.claimed, 1);
}

#[test]
fn a_ready_task_that_is_cancelled_is_gone() {
    let mut s = story();
    s.push("a").cancels("a").is_gone("a").total(|t| t.cancelled, 1).claims_nothing();
    assert_eq!(s.queue.cancel(s.id("a")), Err(Refusal::Gone));
}

#[test]
fn a_ready_task_that_is_purged_is_gone() {
    story().push("a").push("b").purges("a").is_gone("a").total(|t| t.purged, 1).claims("b");
}

// Leased

#[test]
fn an_acked_task_is_gone() {
    let mut s = story();
    s.push("a").claims("a").acks("a").is_gone("a").total(|t| t.acked, 1).total(|t| t.late, 0);
    s.cannot_ack("a", Refusal::Gone).cannot_extend("a", Refusal::Gone).cannot_fail("a", Refusal::Gone);
}

#[test]
fn a_failed_task_is_delayed_by_its_backoff() {
    let mut s = story();
    s.push("a")
        .claims("a")
        .fails_with("a", Retry::Backoff, "no disk")
        .is_delayed("a", 1000)
        .counts("a", [1, 1, 0]);
    assert_eq!(s.task("a").error(), b"no disk");
    s.total(|t| t.failed, 1).passes(1000).claims("a").fails("a").is_delayed("a", 2000);
    assert_eq!(s.task("a").error(), b"", "the last failure said nothing");
}

#[test]
fn a_failure_can_name_its_delay() {
    story().push("a").claims("a").fails_with("a", Retry::After(77), "").is_delayed("a", 77);
    story().push("a").claims("a").fails_with("a", Retry::After(0), "").is_delayed("a", 1);
}

#[test]
fn a_task_at_its_limit_of_failures_is_dead() {
    let mut s = story();
    s.config("attempts", 2).push("a").claims("a").fails("a").passes(1000).claims("a").fails("a");
    s.is_dead("a").counts("a", [2, 2, 0]).total(|t| t.dead, 1).cannot_ack("a", Refusal::Stale);
    story().config("attempts", 1).push("a").claims("a").fails_with("a", Retry::After(5), "").is_dead("a");
}

#[test]
fn a_task_that_failed_for_good_is_dead() {
    story()
        .push("a")
        .claims("a")
        .fails_with("a", Retry::Dead, "bad input")
        .is_dead("a")
        .counts("a", [1, 1, 0]);
}

#[test]
fn a_requeued_task_is_ready_and_nothing_is_counted_against_it() {
    story().push("a").claims("a").requeues("a").is_ready("a").counts("a", [1, 0, 0]).total(|t| t.requeued, 1);
}

#[test]
fn a_task_requeued_with_a_delay_is_delayed() {
    story().push("a").claims("a").requeues_later("a", 60).is_delayed("a", 60).passes(60).claims("a");
}

#[test]
fn an_expired_lease_makes_the_task_ready_again() {
    let mut s = story();
    s.push("a").claims("a").passes(29_999).is_leased("a").passes(1).is_ready("a").counts("a", [1, 0, 1]);
    s.total(|t| t.stalled, 1).claims("a").counts("a", [2, 0, 1]);
}

#[test]
fn the_second_stall_delays_the_task_by_anything_up_to_its_backoff() {
    for (dice, first, second) in [(0, 1, 1), (story::MIDDLE, 500, 1000), (u32::MAX, 1000, 2000)] {
        let mut s = story();
        s.dice = dice;
        s.config("backoff-jitter", 0).push("a").claims("a").passes(30_000).claims("a");
        s.passes(30_000).is_delayed("a", first).passes(first);
        s.claims("a").passes(30_000).is_delayed("a", second);
    }
}

#[test]
fn a_task_at_its_limit_of_stalls_is_dead() {
    let mut s = story();
    s.config("stalls", 2).push("a").claims("a").passes(30_000).claims("a").passes(30_000).is_dead("a");
    story().config("stalls", 1).push("a").claims("a").passes(30_000).is_dead("a").total(|t| t.dead, 1);
}

// Leased, and cancel asked for

#[test]
fn a_worker_learns_by_extend_that_its_task_is_to_be_cancelled_and_can_still_finish_it() {
    let mut s = story();
    s.push("a").claims("a").cancels("a").is_leased("a").cannot_extend("a", Refusal::CancelAsked).acks("a");
    s.is_gone("a").total(|t| t.acked, 1).total(|t| t.cancelled, 0);
}

#[test]
fn a_task_to_be_cancelled_is_gone_when_it_fails() {
    let mut s = story();
    s.push("a")
        .claims("a")
        .cancels("a")
        .fails("a")
        .is_gone("a")
        .total(|t| t.cancelled, 1)
        .total(|t| t.failed, 0);
}

#[test]
fn a_task_to_be_cancelled_is_gone_when_it_is_requeued() {
    story().push("a").claims("a").cancels("a").requeues("a").is_gone("a").total(|t| t.cancelled, 1);
}

#[test]
fn a_task_to_be_cancelled_is_gone_when_it_stalls() {
    let mut s = story();
    s.push("a")
        .claims("a")
        .cancels("a")
        .passes(30_000)
        .is_gone("a")
        .total(|t| t.cancelled, 1)
        .total(|t| t.stalled, 1);
    s.cannot_ack("a", Refusal::Gone);
}

#[test]
fn a_task_to_be_cancelled_is_gone_when_its_hand_off_is_undone() {
    story().push("a").claims("a").cancels("a").unclaims("a").is_gone("a").total(|t| t.cancelled, 1);
}

// Dead

#[test]
fn a_dead_task_that_is_retried_is_ready_with_new_chances() {
    let mut s = story();
    s.config("stalls", 2)
        .push("a")
        .claims("a")
        .passes(30_000)
        .claims("a")
        .passes(30_000)
        .is_dead("a")
        .retries(&["a"]);
    s.is_ready("a").counts("a", [2, 0, 0]).claims("a").passes(30_000).is_ready("a").counts("a", [3, 0, 1]);
    story().push("a").claims("a").fails_with("a", Retry::Dead, "x").retries(&["a"]).counts("a", [1, 0, 0]);
}

#[test]
fn a_retry_of_a_delayed_task_keeps_its_failures() {
    story().push("a").claims("a").fails("a").retries(&["a"]).is_ready("a").counts("a", [1, 1, 0]);
}

#[test]
fn a_retry_skips_tasks_that_are_neither_dead_nor_delayed() {
    let mut s = story();
    s.push("a").push("b").claims("a");
    assert_eq!(s.queue.retry(s.now, &[s.id("a"), s.id("b"), TaskId { ms: 9, seq: 9 }]), None);
    s.push_delayed("c", 5);
    assert_eq!(
        s.queue.retry(s.now, &[s.id("c"), s.id("c")]),
        Some(Event::Retried { ids: vec![s.id("c")], at: s.now.at })
    );
}

#[test]
fn a_retry_by_count_takes_the_oldest_dead() {
    let mut s = story();
    s.push_all(&["a", "b", "c"]).claims_all(3, &["a", "b", "c"]);
    for name in ["b", "c", "a"] {
        s.passes(1).fails_with(name, Retry::Dead, "");
    }
    s.lists(TaskState::Dead, &["b", "c", "a"]);
    let event = s.queue.retry_oldest(s.now, 2).unwrap();
    s.apply(&event).lists(TaskState::Dead, &["a"]).lists(TaskState::Ready, &["b", "c"]);
}

#[test]
fn a_dead_task_that_is_purged_is_gone_but_cannot_be_cancelled() {
    let mut s = story();
    s.push("a").claims("a").fails_with("a", Retry::Dead, "x");
    assert_eq!(s.queue.cancel(s.id("a")), Err(Refusal::Gone));
    s.purges("a").is_gone("a").total(|t| t.purged, 1);
}

// Order

#[test]
fn higher_priority_goes_first_strictly() {
    let mut s = story();
    s.push("a").push_priority("low", -128).push_priority("high", 127).push_priority("mid", 1).push("b");
    s.lists(TaskState::Ready, &["high", "mid", "a", "b", "low"]).drains(&["high", "mid", "a", "b", "low"]);
}

#[test]
fn within_a_priority_first_in_is_first_out() {
    let mut s = story();
    s.push_all(&["a", "b", "c"]).claims("a").push("d").claims("b").acks("b").drains(&["c", "d"]);
}

#[test]
fn a_task_that_comes_back_keeps_its_place() {
    story().push_all(&["a", "b"]).claims("a").push("c").requeues("a").drains(&["a", "b", "c"]);
    story().push_all(&["a", "b"]).claims("a").passes(30_000).drains(&["a", "b"]);
    story()
        .push_all(&["a", "b", "c"])
        .claims_all(2, &["a", "b"])
        .requeues("b")
        .requeues("a")
        .drains(&["a", "b", "c"]);
}

#[test]
fn a_task_that_comes_back_keeps_its_priority() {
    story().push("a").push_priority("p", 5).claims("p").requeues("p").drains(&["p", "a"]);
    story().push("a").push_priority("p", 5).claims("p").requeues_back("p").drains(&["p", "a"]);
}

#[test]
fn a_task_requeued_to_the_back_comes_after_the_others() {
    story().push_all(&["a", "b"]).claims("a").requeues_back("a").push("c").drains(&["b", "a", "c"]);
}

#[test]
fn a_retried_task_comes_after_the_others() {
    let mut s = story();
    s.push_all(&["a", "b"]).claims("a").fails_with("a", Retry::Dead, "").retries(&["a"]).drains(&["b", "a"]);
}

#[test]
fn a_delayed_task_comes_after_those_that_were_ready_before_it() {
    story().push_delayed("d", 5).push("a").passes(5).push("b").drains(&["a", "d", "b"]);
    story().push_all(&["a", "b"]).claims("a").requeues_later("a", 5).passes(5).drains(&["b", "a"]);
}

#[test]
fn due_tasks_become_ready_in_the_order_of_due_times() {
    let mut s = story();
    s.push_delayed("c", 30).push_delayed("a", 10).push_delayed("b", 20).push_delayed("a2", 10);
    s.lists(TaskState::Delayed, &["a", "a2", "b", "c"]).passes(100).drains(&["a", "a2", "b", "c"]);
}

#[test]
fn a_claim_that_is_undone_leaves_no_trace_in_the_order_and_the_counters() {
    let mut s = story();
    s.push_all(&["a", "b"])
        .claims("a")
        .unclaims("a")
        .counts("a", [0, 0, 0])
        .total(|t| t.claimed, 0)
        .claims("a");
    let handle = s.handle("a");
    s.acks("a");
    assert_eq!(s.queue.unclaim(s.now, &handle), None);
}

// Poison

#[test]
fn a_task_that_stalled_twice_is_only_delivered_alone() {
    let mut s = story();
    s.push("p").claims("p").passes(30_000).claims("p").passes(30_000).passes(1000).push("a");
    s.claims_all(10, &["p"]).requeues("p").push("b").claims_all(10, &["p"]).requeues_back("p");
    s.claims_all(10, &["a", "b"]).claims_all(10, &["p"]);
}

#[test]
fn a_task_that_stalled_once_is_delivered_with_others() {
    story().push_all(&["a", "b"]).claims("a").passes(30_000).claims_all(10, &["a", "b"]);
}
