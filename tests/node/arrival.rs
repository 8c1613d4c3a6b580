//! The clock of a queue that comes from another node on its own, and its lease numbers.

use taskslot_engine::{Arrival, Beginning, CLOCK_OFFSET_MAX_MS, Event, LeaseNumber, Now, Queue, Stamp, Term};
use taskslot_node::arrival::{arrival, keep_clock, keep_numbers, set_ahead};

const START_MS: u64 = 1_700_000_000_000;

/// What the clocks of a machine show, this far ahead of the others.
fn clocks(machine: u64, ahead_ms: i64) -> Stamp {
    let at_us = START_MS.saturating_add_signed(ahead_ms) * 1000;
    Stamp { at_us, wall_us: at_us, boot: machine << 32, up_us: 50_000_000, lead_us: 0 }
}

/// The parts of a queue as a node stores it, whose clocks show `written`.
fn stored(queue: &Queue, written: Stamp) -> Vec<Vec<u8>> {
    let mut chunks = Vec::new();
    queue.save_at(written, &mut |chunk| chunks.push(chunk.to_vec()));
    chunks
}

/// A queue that a node has stored, whose clocks show `written`.
fn written_by(written: Stamp) -> Queue {
    let chunks = stored(&Queue::new(), written);
    let mut queue = Queue::load_head(&chunks[0]).unwrap();
    chunks[1..].iter().for_each(|chunk| queue.load_chunk(chunk).unwrap());
    queue
}

/// The lease number with which a term would begin on a node with these clocks.
fn next_number(queue: &Queue, here: Stamp) -> LeaseNumber {
    let now = Now { lead_us: here.lead_us, ..Now::plain(here.at().0) }.ahead_by(queue.clock_offset_ms());
    match queue.begin_term(now, Term { id: 9, beginning: Beginning::Start }) {
        Some(Event::Term { floor, .. }) => floor,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_queue_keeps_the_clock_of_the_node_that_it_comes_from() {
    let mut queue = written_by(clocks(1, 3_600_000));
    assert!(keep_clock(&mut queue, || clocks(2, 0)));
    assert_eq!((queue.clock_offset_ms(), queue.has_arrived()), (3_600_000, true));
}

#[test]
fn a_clock_is_kept_once() {
    let mut queue = written_by(clocks(1, 3_600_000));
    keep_clock(&mut queue, || clocks(2, 0));
    assert!(!keep_clock(&mut queue, || panic!("no clock is read")));
    assert!(!keep_clock(&mut Queue::new(), || panic!("no clock is read")));
    assert_eq!(queue.clock_offset_ms(), 3_600_000);
}

#[test]
fn clocks_that_differ_by_their_inaccuracy_are_the_same_clock() {
    for (ahead_ms, offset_ms) in [(20, 0), (-20, 0), (21, 21), (-21, -21)] {
        let mut queue = written_by(clocks(1, ahead_ms));
        assert!(keep_clock(&mut queue, || clocks(2, 0)), "replicas are told all the same");
        assert_eq!(queue.clock_offset_ms(), offset_ms);
        let mut queue = Queue::new();
        assert_eq!(set_ahead(&mut queue, ahead_ms), offset_ms != 0);
        assert_eq!(queue.clock_offset_ms(), offset_ms);
    }
}

#[test]
fn an_offset_stays_within_its_bounds() {
    for (ahead, offset_ms) in [(i64::MAX, CLOCK_OFFSET_MAX_MS), (i64::MIN, -CLOCK_OFFSET_MAX_MS)] {
        let mut queue = Queue::new();
        set_ahead(&mut queue, ahead);
        assert_eq!(queue.clock_offset_ms(), offset_ms);
        let far = Arrival { written: clocks(1, 0), here: clocks(1, ahead.signum() * 1000), offset_ms };
        let here = arrival(&Queue::new(), &far.chunk(), || clocks(2, 0)).unwrap();
        assert_eq!(here.offset_ms, offset_ms);
    }
}

#[test]
fn a_part_with_the_clocks_of_another_node_says_how_the_queue_arrived_here() {
    let (far, here) = (clocks(1, 5000), clocks(2, 0));
    let chunks = stored(&Queue::new(), far);
    let head = Queue::load_head(&chunks[0]).unwrap();
    let read: Vec<_> = chunks[1..].iter().filter_map(|chunk| arrival(&head, chunk, || here)).collect();
    assert_eq!(read, [Arrival { written: far, here, offset_ms: 5000 }], "one part shows the clocks");
    // It goes on to a third node, before it has a term here.
    let next = arrival(&head, &read[0].chunk(), || clocks(3, 7000)).unwrap();
    assert_eq!(next, Arrival { written: here, here: clocks(3, 7000), offset_ms: -2000 });
}

#[test]
fn numbers_that_were_kept_before_the_clock_are_not_raised_again() {
    let (far, here) = (Stamp { lead_us: 1 << 36, ..clocks(1, 0) }, clocks(2, 0));
    let mut at_once = written_by(far);
    keep_clock(&mut at_once, || here);
    let mut first_numbers = written_by(far);
    keep_numbers(&mut first_numbers, || here);
    assert_eq!((first_numbers.saved(), first_numbers.has_arrived()), (Some(far), true));
    assert_eq!(next_number(&first_numbers, here), next_number(&at_once, here));
    keep_clock(&mut first_numbers, || here);
    assert_eq!(next_number(&first_numbers, here), next_number(&at_once, here));
}
