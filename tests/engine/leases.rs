//! The rules for ids, leases and late answers.

use taskslot_engine::{
    Arrival, Beginning, Claim, Event, LeaseNumber, Millis, Now, Queue, Refusal, Retry, Stamp, TaskId, Term,
};

use crate::story::{self, START, Story, story};

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
fn lease_numbers_increase_even_if_the_clock_goes_back() {
    let mut s = story();
    s.push("a").claims("a").requeues("a");
    let first = s.number("a").0;
    s.now.at = Millis(START - 5000);
    s.claims("a");
    assert_eq!(s.number("a").0, first + 1);
}

/// A term that begins with a promotion.
fn promoted(id: u64) -> Term {
    Term { id, beginning: Beginning::Promotion }
}

fn started(id: u64) -> Term {
    Term { id, beginning: Beginning::Start }
}

/// The lease number of the next claim in a term. If the term is new, the node's lead has grown by its step.
fn number_in(s: &mut Story, term: Term) -> u64 {
    if s.queue.begin_term(s.now, term).is_some() {
        s.now.lead_us += term.step_us();
    }
    if let Some(event) = s.queue.begin_term(s.now, term) {
        s.apply(&event);
    }
    s.claims("a");
    let number = s.number("a").0;
    s.requeues("a");
    number
}

#[test]
fn a_promoted_primary_raises_the_number_by_2_to_36_at_least_whether_claimed_before_or_not() {
    for claimed_before in [false, true] {
        let mut s = story();
        s.push("a");
        if claimed_before {
            s.claims("a").requeues("a");
        }
        let clock = s.now.at.0 * 1000;
        assert!(number_in(&mut s, promoted(7)) >= clock + (1 << 36));
        assert_eq!(s.queue.begin_term(s.now, promoted(7)), None, "the term is its own");
    }
    // A number far ahead of the clock, as a restored queue can have.
    let mut s = story();
    let floor = LeaseNumber(1 << 52);
    s.push("a").apply(&Event::Term { term: 1, floor, clocks: None });
    assert!(number_in(&mut s, promoted(7)) > floor.0 + (1 << 36));
}

#[test]
fn a_primary_that_lives_on_or_restarts_stays_below_its_successor() {
    let (mut first, mut second) = (story(), story());
    first.push("a");
    let event = first.queue.begin_term(first.now, started(1)).unwrap();
    first.apply(&event);
    second.push("a").apply(&event);
    let successor = number_in(&mut second, promoted(2));
    for start in 3..1000 {
        assert!(number_in(&mut first, started(start)) < successor, "start {start}");
    }
    // The old primary's clock is 14 hours ahead, too.
    first.now.at = first.now.at.plus(14 * 3_600_000);
    assert!(number_in(&mut first, started(1000)) < successor);
    // A year later, both still number by their own clocks.
    first.now.at = Millis(START + 365 * 86_400_000);
    second.now.at = first.now.at;
    assert!(number_in(&mut first, started(1000)) < number_in(&mut second, promoted(2)));
}

#[test]
fn a_start_skips_the_numbers_of_claims_that_its_file_may_have_lost() {
    let mut s = story();
    s.push("a");
    let first = number_in(&mut s, started(1));
    assert!(number_in(&mut s, started(2)) >= first + (1 << 24));
}

#[test]
fn of_two_starts_that_know_of_the_same_claims_the_later_one_gives_higher_numbers() {
    let mut file = story();
    file.push("a").claims("a").requeues("a");
    // The second start doesn't know of the first one: a power cut took what it wrote.
    let [first, second] = [(u64::MAX, 100), (1 << 40, 1200)].map(|(id, after_ms)| {
        let mut s = story();
        s.push("a").arrives(&file.queue);
        s.now.at = s.now.at.plus(after_ms);
        number_in(&mut s, started(id))
    });
    assert!(first < second, "{second} after {first}");
}

#[test]
fn two_promoted_replicas_give_different_numbers_even_if_the_last_one_was_far_ahead_of_their_clocks() {
    let number = |id| {
        let mut s = story();
        s.push("a").apply(&Event::Term { term: 1, floor: LeaseNumber(1 << 52), clocks: None });
        number_in(&mut s, promoted(id))
    };
    assert_ne!(number(7), number(8));
}

/// What the clocks of a story's node show.
fn clocks(s: &Story) -> Stamp {
    Stamp { at_us: s.now.at.0 * 1000, lead_us: s.now.lead_us, ..Stamp::default() }
}

/// The queue of a node moves to another one.
fn moves(from: &Story, to: &mut Story) {
    let mut chunks = Vec::new();
    from.queue.save_at(clocks(from), &mut |chunk| chunks.push(chunk.to_vec()));
    let mut moved = Queue::load_head(&chunks[0]).unwrap();
    chunks[1..].iter().for_each(|chunk| moved.load_chunk(chunk).unwrap());
    moved.validate().unwrap();
    let offset_ms = moved.clock_offset_ms() + from.now.at.0 as i64 - to.now.at.0 as i64;
    let saved = moved.take_saved().unwrap();
    moved.arrive(&saved, &clocks(to), offset_ms);
    to.push("a").arrives(&moved);
}

/// A node that has the same data as another one, and the same clocks.
fn replica(of: &Story) -> Story {
    let mut replica = story();
    replica.push("a").arrives(&of.queue);
    replica.now = of.now;
    replica
}

/// A node whose clock shows a time before that of others.
fn node(behind_ms: u64) -> Story {
    let mut node = story();
    node.now = Now::plain(START - behind_ms);
    node
}

/// A replica is promoted.
fn is_promoted(s: &mut Story, term: Term) {
    s.now.lead_us += term.step_us();
}

#[test]
fn numbers_grow_in_a_queue_that_a_promoted_node_moves_before_it_has_written_to_it() {
    let mut old = story();
    old.push("a");
    number_in(&mut old, started(1));
    let mut new = replica(&old);
    is_promoted(&mut new, promoted(2));
    // The old primary restarts. The new one doesn't know of its claim.
    let lost = number_in(&mut old, started(1 << 19));
    // The clock of the next node is behind, and it was never promoted. The queue moves on from there, too.
    let (mut next, mut last) = (node(5000), node(900_000));
    moves(&new, &mut next);
    moves(&next, &mut last);
    for (s, id) in [(&mut next, 3), (&mut last, 4)] {
        let number = number_in(s, started(id));
        assert!(number > lost, "{number} after {lost}");
    }
}

#[test]
fn a_replica_and_an_aof_load_a_queue_that_arrived_as_its_primary_has_it() {
    let (mut far, here) = (node(0), node(7_200_000));
    far.push("a");
    number_in(&mut far, promoted(1));
    let mut chunks = Vec::new();
    far.queue.save_at(clocks(&far), &mut |chunk| chunks.push(chunk.to_vec()));
    let (written, stored_ms) = Arrival::source(&chunks[1], 0).unwrap();
    assert_eq!((written, stored_ms), (clocks(&far), 0));
    let arrival = Arrival { written, here: clocks(&here), offset_ms: 7_200_000 };
    assert_eq!(Arrival::open(&arrival.chunk()), Some(arrival));
    assert_eq!(Arrival::source(&arrival.chunk(), 0), Some((arrival.here, 7_200_000)));
    let load = |clocks: &[u8]| {
        let mut queue = Queue::load_head(&chunks[0]).unwrap();
        queue.load_chunk(clocks).unwrap();
        assert!(queue.load_chunk(clocks).is_err(), "only once");
        chunks[2..].iter().for_each(|chunk| queue.load_chunk(chunk).unwrap());
        queue
    };
    let mut primary = load(&chunks[1]);
    primary.arrive(&primary.take_saved().unwrap(), &clocks(&here), 7_200_000);
    let copy = load(&arrival.chunk());
    assert_eq!((copy.clock_offset_ms(), copy.saved(), copy.has_arrived()), (7_200_000, None, true));
    let begins = |queue: &Queue| queue.begin_term(here.now, started(9));
    assert_eq!(begins(&copy), begins(&primary));
    let absurd = Arrival { offset_ms: i64::MIN, ..arrival };
    assert_eq!(Arrival::open(&absurd.chunk()), None);
}

#[test]
fn a_queue_that_comes_back_in_its_own_term_numbers_above_a_copy_that_an_old_primary_kept_where_it_was() {
    let (mut here, mut old) = (story(), node(0));
    here.push("a");
    number_in(&mut here, started(1));
    moves(&here, &mut old);
    let mut new = replica(&old);
    is_promoted(&mut new, promoted(3));
    let lost = number_in(&mut old, started(2));
    // The promoted replica sends the queue back before it has written to it.
    moves(&new, &mut here);
    let number = number_in(&mut here, started(1));
    assert!(number > lost, "{number} after {lost}");
    assert_eq!(here.queue.begin_term(here.now, started(1)), None, "it begins once");
}

#[test]
fn a_replica_is_promoted_above_a_primary_to_which_the_queue_came_from_a_node_with_more_promotions() {
    let (mut far, mut primary) = (node(0), node(3000));
    far.push("a");
    (1..5).for_each(|id| _ = number_in(&mut far, promoted(id)));
    is_promoted(&mut primary, promoted(u64::from(u32::MAX)));
    moves(&far, &mut primary);
    // Neither node has written to the queue when the replica is promoted. The old primary lives on.
    let mut new = replica(&primary);
    is_promoted(&mut new, promoted(6));
    // It restarts, too, before it has written.
    new.now.lead_us += started(7).step_us();
    let old = number_in(&mut primary, started(8));
    let number = number_in(&mut new, started(9));
    assert!(number > old, "{number} while an old primary gives {old}");
}

#[test]
fn a_clock_that_is_set_far_ahead_uses_up_no_lease_numbers() {
    let mut s = story();
    s.push("a").claims("a").requeues("a");
    for year in [2254, 2255, 2256, 9999] {
        s.now = Now::plain((year - 1970) * 365 * 86_400_000);
        s.claims("a").requeues("a");
    }
    s.now = Now::plain(START);
    let far = number_in(&mut s, promoted(9));
    assert!(far < LeaseNumber::MAX.0 - (1 << 45), "{far}");
}

#[test]
fn there_is_no_lease_number_of_2_to_53() {
    let mut s = story();
    s.push("a")
        .apply(&Event::Term { term: 1, floor: LeaseNumber(LeaseNumber::MAX.0 - 1), clocks: None })
        .claims("a")
        .requeues("a");
    assert_eq!(s.number("a"), LeaseNumber::MAX);
    assert_eq!(s.queue.claim(s.now, &mut || 0, &Claim::default()), Err(Refusal::Exhausted));
    let event = s.queue.begin_term(s.now, started(2));
    assert_eq!(event, Some(Event::Term { term: 2, floor: LeaseNumber::MAX, clocks: None }));
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
fn a_task_that_was_never_claimed_cannot_be_acked() {
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
fn a_requeued_or_failed_task_is_not_acked_late() {
    story().push("a").claims("a").requeues("a").cannot_ack("a", Refusal::Stale);
    story().push("a").claims("a").fails("a").cannot_ack("a", Refusal::Stale);
    story().push("a").claims("a").unclaims("a").cannot_ack("a", Refusal::Stale);
}
