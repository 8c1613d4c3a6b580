//! TTL: it counts from the moment a task is due, and ends at its first claim.

use std::num::NonZeroU64;

use taskslot_engine::edges::{STEP_TASKS, SWEEPS};
use taskslot_engine::{Claim, ClaimTurns, Due, Event, Gate, Millis, Options, Retry, TaskState};

use crate::story::{START, Story, story};

fn delayed(s: &mut Story, name: &str, due: Due, ttl_ms: u64) {
    s.push_with(name, Some(due), Options { ttl_ms: NonZeroU64::new(ttl_ms), ..Options::default() });
}

#[test]
fn a_task_that_nobody_claims_in_time_expires() {
    let mut s = story();
    s.push_ttl("a", 100).push("b").next_due_in(Some(100)).passes(99).is_ready("a").next_due_in(Some(1));
    assert_eq!(s.task("a").expires, Some(s.in_ms(1)));
    s.passes(1)
        .is_gone("a")
        .total(|t| t.expired, 1)
        .next_due_in(None)
        .lists(TaskState::Ready, &["b"])
        .claims("b");
}

#[test]
fn a_claim_never_delivers_an_expired_task() {
    let mut s = story();
    s.push_ttl("a", 100).push("b").push_ttl("c", 101).clock_shows(100).claims_all(9, &["b", "c"]);
    s.push_ttl("d", 5).clock_shows(5).claims_nothing().total(|t| t.expired, 2);
    assert_eq!(s.claim(&Claim { noack: true, ..Claim::default() }), [""; 0]);
    s.is_gone("a").is_gone("d").ticks().total(|t| t.expired, 2);
}

#[test]
fn only_what_a_claim_would_get_is_claimable() {
    let mut s = story();
    s.push_ttl("a", 100);
    assert!(s.queue.is_claimable(s.now.at));
    s.clock_shows(100);
    assert!(!s.queue.is_claimable(s.now.at), "a worker that waits is not woken for nothing");
    s.push("b");
    assert!(!s.queue.is_claimable(s.now.at), "what has expired goes first");
    s.ticks();
    assert!(s.queue.is_claimable(s.now.at));
}

#[test]
fn a_task_behind_thousands_of_expired_ones_is_found() {
    let mut s = story();
    // A claim and a half.
    let payloads: Vec<&[u8]> = vec![b"x"; SWEEPS * STEP_TASKS * 3 / 2];
    for payloads in payloads.chunks(1000) {
        let options = Options { ttl_ms: NonZeroU64::new(10), ..Options::default() };
        let event = s.queue.push(s.now, &taskslot_engine::Push { due: None, options, payloads });
        let event = event.unwrap();
        s.queue.apply(&event).unwrap();
    }
    let event = s.queue.push(
        s.now,
        &taskslot_engine::Push { due: None, options: Options::default(), payloads: &[b"behind"] },
    );
    s.queue.apply(&event.unwrap()).unwrap();
    s.clock_shows(10);
    assert!(!s.queue.is_claimable(s.now.at) && s.queue.is_behind(s.now.at));
    let mut claiming = ClaimTurns::new(Claim::default());
    while let Some(event) = claiming.turn(&s.queue, s.now, &mut || 0).unwrap() {
        assert!(matches!(&event, Event::Expired { ids, .. } if ids.len() == STEP_TASKS), "a step is bounded");
        s.queue.apply(&event).unwrap();
    }
    assert_eq!(s.queue.totals().expired, (SWEEPS * STEP_TASKS) as u64, "one claim never takes long");
    let mut claiming = ClaimTurns::new(Claim::default());
    let mut last = None;
    while let Some(event) = claiming.turn(&s.queue, s.now, &mut || 0).unwrap() {
        s.queue.apply(&event).unwrap();
        last = Some(event);
    }
    let Some(Event::Claimed { leases, .. }) = last else { panic!("{last:?}") };
    assert_eq!(s.queue.task(&s.now, leases[0].id).unwrap().payload, b"behind");
}

#[test]
fn a_claim_ends_the_time_to_live() {
    let mut s = story();
    s.push_ttl("a", 100).clock_shows(99).claims("a").next_due_in(Some(30_000)).passes(500).is_leased("a");
    assert_eq!(s.task("a").expires, None);
    s.requeues("a").passes(500).is_ready("a").claims("a").fails("a").passes(1000).passes(1000).is_ready("a");
    s.claims("a").passes(30_000).passes(1000).is_ready("a").claims("a").fails_with("a", Retry::Dead, "");
    s.retries(&["a"]).passes(1000).is_ready("a").total(|t| t.expired, 0);
}

#[test]
fn undoing_a_hand_off_restarts_the_time_to_live() {
    let mut s = story();
    s.push_ttl("a", 100).passes(60).claims("a").unclaims("a").next_due_in(Some(100)).passes(99).is_ready("a");
    s.passes(1).is_gone("a").total(|t| t.expired, 1);
}

#[test]
fn a_delayed_task_counts_from_when_it_was_due() {
    let mut s = story();
    let due = Due::Clock(s.in_ms(500));
    delayed(&mut s, "a", due, 100);
    s.passes(400)
        .is_delayed("a", 100)
        .passes(100)
        .is_ready("a")
        .next_due_in(Some(100))
        .passes(99)
        .is_ready("a");
    s.passes(1).is_gone("a");
}

#[test]
fn a_late_tick_does_not_extend_the_time_to_live() {
    let mut s = story();
    let due = Due::Clock(s.in_ms(500));
    delayed(&mut s, "a", due, 100);
    delayed(&mut s, "b", due, 101);
    s.clock_shows(600).ticks().is_gone("a").is_ready("b").next_due_in(Some(1));
    assert_eq!(s.task("b").instant, Millis(START + 500));
}

#[test]
fn a_task_for_an_instant_counts_from_when_it_became_ready() {
    let mut s = story();
    delayed(&mut s, "a", Due::Wall(Millis(START + 500)), 100);
    s.wall_jumps(400).passes(120).is_ready("a").passes(99).is_ready("a").passes(1).is_gone("a");
}

#[test]
fn a_delayed_task_that_is_retried_counts_from_then() {
    let mut s = story();
    let due = Due::Clock(s.in_ms(500));
    delayed(&mut s, "a", due, 100);
    s.passes(50).retries(&["a"]).next_due_in(Some(100)).passes(100).is_gone("a");
}

#[test]
fn tasks_expire_in_a_paused_queue_and_after_a_reload() {
    let mut s = story();
    s.push_ttl("a", 100).push_ttl("b", 200).pauses(Gate::All, None).reloads().passes(100).is_gone("a");
    s.reloads().next_due_in(Some(100)).passes(100).is_gone("b");
}

#[test]
fn a_task_that_was_removed_does_not_expire() {
    let mut s = story();
    s.push_ttl("a", 100).push_ttl("b", 100).push_ttl("c", 100).cancels("a").purges("b").claims("c").acks("c");
    s.passes(100).total(|t| t.expired, 0);
}

#[test]
fn tasks_expire_in_a_copy_too() {
    let mut s = story();
    s.push_ttl("a", 100).push_ttl("b", 100).claims("a");
    let mut copy = s.queue.copied().unwrap();
    copy.validate().unwrap();
    s.clock_shows(100);
    let event = copy.tick(s.now, &mut || 0, &mut 9).unwrap();
    assert_eq!(event, Event::Expired { at: s.now.at, ids: vec![s.id("b")] });
    copy.apply(&event).unwrap();
    copy.validate().unwrap();
}

#[test]
fn an_invented_expiry_is_refused() {
    let mut s = story();
    let due = Due::Clock(s.in_ms(5));
    s.push("without").push_ttl("claimed", 100).push_priority("x", 9);
    delayed(&mut s, "delayed", due, 1);
    s.cancels("x")
        .push_ttl("early", 200)
        .claims("without")
        .requeues("without")
        .claims_all(2, &["without", "claimed"]);
    for name in ["without", "claimed", "delayed", "early"] {
        let event = Event::Expired { at: s.in_ms(150), ids: vec![s.id(name)] };
        assert!(s.queue.clone().apply(&event).is_err(), "{name}");
    }
    let twice = Event::Expired { at: s.in_ms(250), ids: vec![s.id("early"), s.id("early")] };
    assert!(s.queue.clone().apply(&twice).is_err());
}
