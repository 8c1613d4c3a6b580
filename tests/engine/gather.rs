//! What a claim would get now, for workers that wait for more tasks: in queues with groups and limits. In plain
//! queues it is compared with each claim of the random histories.

use taskslot_engine::edges::BEHIND_LOOKED_AT;
use taskslot_engine::{Claim, ClaimTurns, Claimable, Event, Gate, GroupLimits, GroupRate, Options, Set};

use crate::story::{Story, story};

fn push(s: &mut Story, group: &str, count: usize) {
    for _ in 0..count {
        s.push_unchecked(Options { group: group.as_bytes(), ..Options::default() });
    }
}

fn limit(s: &mut Story, group: &str, concurrency: i64, rate: GroupRate) {
    let limits = GroupLimits { concurrency: Some(concurrency), rate, ..GroupLimits::default() };
    let event = s.queue.set_group(group.as_bytes(), limits).unwrap();
    s.apply(&event);
}

fn batch(s: &Story, count: usize, group: Option<&str>) -> Option<Claimable> {
    let claim = Claim { count, group: group.map(str::as_bytes), ..Claim::default() };
    s.queue.claimable(s.now.at, &claim)
}

fn is_full(s: &Story, count: usize) -> bool {
    let is_full = batch(s, count, None).is_some_and(|batch| batch.is_full);
    let claim = Claim { count, ..Claim::default() };
    assert!(!is_full || s.queue.may_fill(&claim), "what is full can be full");
    is_full
}

/// How many tasks a claim of this size gets, in a copy of the queue.
fn got(s: &Story, count: usize) -> usize {
    let (mut queue, mut got) = (s.queue.clone(), 0);
    let mut turns = ClaimTurns::new(Claim { count, ..Claim::default() });
    while let Some(event) = turns.turn(&queue, s.now, &mut || 7).unwrap() {
        let Event::Claimed { leases, .. } = &event else { panic!("{event:?}") };
        got += leases.len();
        queue.apply(&event).unwrap();
    }
    got
}

#[test]
fn the_tasks_of_all_groups_make_a_batch() {
    let mut s = story();
    push(&mut s, "f", 2);
    push(&mut s, "g", 1);
    push(&mut s, "", 1);
    assert!(is_full(&s, 4) && !is_full(&s, 5));
    assert!(batch(&s, 2, Some("f")).unwrap().is_full);
    assert!(!batch(&s, 2, Some("g")).unwrap().is_full);
    assert_eq!(batch(&s, 1, Some("h")), None);
}

#[test]
fn limits_of_groups_and_of_the_queue_bound_a_batch() {
    let mut s = story();
    limit(&mut s, "f", 2, GroupRate::OfAllGroups);
    push(&mut s, "f", 5);
    s.push_unchecked(Options { group: b"f", priority: 1, ..Options::default() });
    push(&mut s, "g", 1);
    for count in 1..6 {
        assert_eq!(is_full(&s, count), got(&s, count) == count, "{count} tasks");
    }
    assert!(!is_full(&s, 4), "two of f, though it has tasks of two priorities, and one of g");
    s.config("concurrency", 2);
    assert!(is_full(&s, 2) && !is_full(&s, 3));
}

#[test]
fn a_batch_is_as_old_as_its_oldest_task() {
    let mut s = story();
    push(&mut s, "f", 1);
    let first = s.now.at;
    s.passes(500);
    s.push_unchecked(Options { group: b"g", priority: 1, ..Options::default() });
    assert_eq!(batch(&s, 5, None).unwrap().since, first);
    assert_eq!(batch(&s, 5, Some("g")).unwrap().since, s.now.at);
}

#[test]
fn a_suspect_makes_a_batch_of_its_own() {
    let mut s = story();
    s.push("p").claims("p").passes(30_000).claims("p").passes(30_000).passes(1000).push("a");
    assert!(is_full(&s, 5), "it is delivered alone");
    assert_eq!(got(&s, 5), 1);
}

#[test]
fn a_paused_queue_has_no_batch() {
    let mut s = story();
    push(&mut s, "", 3);
    s.apply(&Event::Paused { gate: Gate::Out, until: None });
    assert_eq!(batch(&s, 1, None), None);
}

#[test]
fn bytes_of_other_tasks_fill_no_batch() {
    let mut s = story();
    let long = "x".repeat(100);
    let payloads: Vec<String> = (0..50).map(|nth| format!("{long}{nth}")).collect();
    let names: Vec<&str> = payloads.iter().map(String::as_str).collect();
    s.push_all(&names).claims_all(50, &names).push("ready");
    let claim = |bytes| Claim { count: 1000, bytes: Some(bytes), ..Claim::default() };
    assert!(!s.queue.may_fill(&claim(1000)), "the leased tasks are not looked at, nor is the ready one");
    assert!(s.queue.may_fill(&claim(4)), "one of five bytes is more");
    s.reloads();
    assert!(!s.queue.may_fill(&claim(1000)) && s.queue.may_fill(&claim(4)), "after a load too");
    let to = Set { payload: Some(&[7; 500]), ..Set::default() };
    let event = s.queue.set(s.now, &[s.id("ready")], &to).unwrap().unwrap();
    assert!(
        s.apply(&event).queue.may_fill(&claim(400)),
        "a changed payload is longer than all that were pushed"
    );
}

#[test]
fn a_million_tasks_are_not_all_counted() {
    let mut s = story();
    for nth in 0..3000 {
        push(&mut s, &format!("group {nth}"), 1);
    }
    assert!(is_full(&s, BEHIND_LOOKED_AT), "of the first groups");
    assert!(!s.queue.may_fill(&Claim { count: 3001, ..Claim::default() }), "without counting");
}
