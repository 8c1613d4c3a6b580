//! Damaged, reordered or invented effects never panic, and what applies leaves a valid queue.

use std::num::NonZeroU64;

use taskslot_engine::{
    Answer, Catchup, Due, Effect, End, Event, Gate, Handle, Hold, Invalid, Lease, LeaseNumber, Millis,
    OnDead, Options, PROGRESS_MAX_BYTES, Parent, Queue, RESULT_MAX_BYTES, Received, Release, Retry,
    SPAN_MAX_MS, ScheduleSpec, Stamp, TaskId, Then, Trigger, Unique, When,
};

use crate::copies::{Dice, NAME, first_effect, load, replicate, save, without_checksum};
use crate::properties::bits_of;
use crate::sample::{START, effect, live, lives_on};
use crate::story::{Story, story};

/// Each event of the sample life, encoded, with its payloads and the queue before it.
fn steps() -> Vec<(Queue, Vec<u8>, Vec<Vec<u8>>)> {
    let mut steps = Vec::new();
    live(&mut |before, event| {
        let payloads = event.changes().payloads.iter().map(|payload| payload.to_vec()).collect();
        steps.push((before.clone(), first_effect(event), payloads));
    });
    steps
}

/// Applies an effect to a queue.
fn receives(queue: &mut Queue, bytes: &[u8], payloads: &[Vec<u8>]) -> Result<(), Invalid> {
    let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
    let received = Effect::decode(NAME, bytes, &payloads)?;
    received.events.iter().try_for_each(|event| queue.apply(event).map(drop))
}

/// The kind of an event. A new kind does not compile until it is added here; add it to [`KINDS`] too.
fn kind(event: &Event) -> &'static str {
    match event {
        Event::Pushed { .. } => "Pushed",
        Event::PushedAfter { .. } => "PushedAfter",
        Event::BatchOpened { .. } => "BatchOpened",
        Event::BatchClosed { .. } => "BatchClosed",
        Event::Told { .. } => "Told",
        Event::Answered { .. } => "Answered",
        Event::Term { .. } => "Term",
        Event::Clock { .. } => "Clock",
        Event::Claimed { .. } => "Claimed",
        Event::PassedOver { .. } => "PassedOver",
        Event::Taken { .. } => "Taken",
        Event::Unclaimed { .. } => "Unclaimed",
        Event::Acked { .. } => "Acked",
        Event::Failed { .. } => "Failed",
        Event::Requeued { .. } => "Requeued",
        Event::Extended { .. } => "Extended",
        Event::Stalled { .. } => "Stalled",
        Event::BecameReady { .. } => "BecameReady",
        Event::Retried { .. } => "Retried",
        Event::Cancelled { .. } => "Cancelled",
        Event::CancelAsked { .. } => "CancelAsked",
        Event::Dropped { .. } => "Dropped",
        Event::Forgotten { .. } => "Forgotten",
        Event::Purged { .. } => "Purged",
        Event::Expired { .. } => "Expired",
        Event::Replaced { .. } => "Replaced",
        Event::Edited { .. } => "Edited",
        Event::Freed { .. } => "Freed",
        Event::Configured { .. } => "Configured",
        Event::Grouped { .. } => "Grouped",
        Event::GroupPaused { .. } => "GroupPaused",
        Event::GroupResumed { .. } => "GroupResumed",
        Event::Rested { .. } => "Rested",
        Event::Paused { .. } => "Paused",
        Event::Resumed { .. } => "Resumed",
        Event::Scheduled { .. } => "Scheduled",
        Event::Unscheduled { .. } => "Unscheduled",
        Event::Fired { .. } => "Fired",
        Event::Ran { .. } => "Ran",
        Event::Skipped { .. } => "Skipped",
        Event::Replanned { .. } => "Replanned",
    }
}

const KINDS: [&str; 41] = [
    "Pushed",
    "PushedAfter",
    "BatchOpened",
    "BatchClosed",
    "Told",
    "Answered",
    "Term",
    "Clock",
    "Claimed",
    "PassedOver",
    "Taken",
    "Unclaimed",
    "Acked",
    "Failed",
    "Requeued",
    "Extended",
    "Stalled",
    "BecameReady",
    "Retried",
    "Cancelled",
    "CancelAsked",
    "Dropped",
    "Forgotten",
    "Purged",
    "Expired",
    "Replaced",
    "Edited",
    "Freed",
    "Configured",
    "Grouped",
    "GroupPaused",
    "GroupResumed",
    "Rested",
    "Paused",
    "Resumed",
    "Scheduled",
    "Unscheduled",
    "Fired",
    "Ran",
    "Skipped",
    "Replanned",
];

#[test]
fn the_life_has_every_kind_of_event() {
    let mut missing = std::collections::BTreeSet::from(KINDS);
    live(&mut |_, event| {
        missing.remove(kind(event));
    });
    // The life is part of stored samples. Events added after the present version have tests of their own.
    assert_eq!(missing.into_iter().collect::<Vec<_>>(), ["PassedOver"]);
}

#[test]
fn an_effect_that_ends_too_early_or_too_late_is_refused() {
    let (whole, payloads) = effect();
    let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
    assert!(Effect::decode(NAME, &whole, &payloads).is_ok());
    let whole = without_checksum(&whole);
    assert!(Effect::decode(NAME, &whole, &payloads).is_ok());
    for length in 0..whole.len() {
        assert!(Effect::decode(NAME, &whole[..length], &payloads).is_err(), "cut to {length}");
    }
    let more = [&whole[..], &[0]].concat();
    assert!(Effect::decode(NAME, &more, &payloads).is_err(), "with more behind it");
    assert!(Effect::decode(NAME, &whole, &payloads[1..]).is_err(), "a payload too few");
    let too_many = [&payloads[..], &[b"x"]].concat();
    assert!(Effect::decode(NAME, &whole, &too_many).is_err(), "a payload too many");
}

#[test]
fn an_effect_of_more_events_than_any_write_makes_is_refused() {
    let of = |events: usize| {
        let mut effect = Effect::default();
        (0..events).for_each(|_| effect.add(&Event::BecameReady { ids: Vec::new(), at: Millis(0) }));
        effect.seal(1, Millis(1), NAME, []).to_vec()
    };
    assert!(Effect::decode(NAME, &of(100_000), &[]).is_ok());
    assert!(Effect::decode(NAME, &of(100_001), &[]).is_err());
}

#[test]
fn an_effect_without_checksum_and_with_a_flipped_bit_is_refused_or_leaves_a_queue_that_lives_on() {
    let mut dice = Dice(5);
    let (mut refused, mut accepted) = (0, 0);
    for (before, bytes, payloads) in steps() {
        let bytes = without_checksum(&bytes);
        for (byte, bit) in (0..bytes.len()).flat_map(bits_of) {
            let mut flipped = bytes.clone();
            flipped[byte] ^= 1 << bit;
            let mut queue = before.clone();
            match receives(&mut queue, &flipped, &payloads) {
                Err(_) => refused += 1,
                Ok(()) => {
                    accepted += 1;
                    queue.validate().unwrap();
                    lives_on(queue, &mut dice, 10);
                }
            }
        }
    }
    assert!(refused > 1000 && accepted > 1000, "{refused} refused, {accepted} accepted");
}

/// Events about several tasks, which change one after the other. Those before the one that is refused are changed.
const SEVERAL: [&str; 13] = [
    "Claimed",
    "Taken",
    "Stalled",
    "BecameReady",
    "Retried",
    "Dropped",
    "Forgotten",
    "Purged",
    "Expired",
    "Edited",
    "Freed",
    "Told",
    "Rested",
];

#[test]
fn a_refused_event_leaves_the_queue_as_it_was() {
    let mut refused = std::collections::BTreeMap::new();
    let mut wrong = std::collections::BTreeMap::new();
    for (before, bytes, payloads) in steps() {
        let (stored, bytes) = (save(&before), without_checksum(&bytes));
        for (byte, bit) in (0..bytes.len()).flat_map(bits_of) {
            let mut flipped = bytes.clone();
            flipped[byte] ^= 1 << bit;
            let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
            let Ok(received) = Effect::decode(NAME, &flipped, &payloads) else { continue };
            let mut queue = before.clone();
            for event in &received.events {
                let Err(why) = queue.apply(event).map(drop) else { continue };
                let kind = kind(event);
                *refused.entry(kind).or_insert(0) += 1;
                let is_whole = SEVERAL.contains(&kind) || received.events.len() > 1 || save(&queue) == stored;
                if let (Ok(()), true) = (queue.validate(), is_whole) {
                    break;
                }
                *wrong.entry((kind, why.0, queue.validate().err().map(|w| w.0))).or_insert(0) += 1;
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "changed or invalid: {wrong:#?}");
    assert!(refused.len() > 20, "kinds that were refused: {refused:?}");
}

#[test]
fn an_effect_with_a_flipped_bit_is_refused() {
    for (_, bytes, payloads) in steps() {
        // All that a server sends for it: the queue's name, the effect, the payloads.
        let mut words = [vec![NAME.to_vec(), bytes], payloads].concat();
        assert!(arrives(&words).is_ok());
        let places: Vec<_> = words.iter().map(Vec::len).enumerate().collect();
        for (word, length) in places {
            for (byte, bit) in (0..length).flat_map(bits_of) {
                words[word][byte] ^= 1 << bit;
                assert!(arrives(&words).is_err(), "word {word}, byte {byte}, bit {bit}");
                words[word][byte] ^= 1 << bit;
            }
        }
    }
}

#[test]
fn an_effect_whose_words_are_cut_elsewhere_is_refused() {
    let many: &[&[u8]] = &[b"ab", b"cd"];
    let (first, options) = (TaskId { ms: START, seq: 0 }, Options::default());
    let effect = first_effect(&Event::Pushed { first, count: 2, due: None, options, payloads: many });
    assert!(Effect::decode(NAME, &effect, many).is_ok());
    for payloads in [[&b"abc"[..], b"d"], [b"a", b"bcd"], [b"cd", b"ab"], [b"abcd", b""]] {
        assert!(Effect::decode(NAME, &effect, &payloads).is_err());
    }
}

/// Reads an effect that arrived with the queue's name and payloads.
fn arrives(words: &[Vec<u8>]) -> Result<(), Invalid> {
    let [name, effect, payloads @ ..] = words else { panic!("a name and an effect") };
    let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
    Effect::decode(name, effect, &payloads).map(drop)
}

#[test]
fn effects_out_of_order_twice_or_missing_are_refused_or_leave_a_valid_queue() {
    let steps = steps();
    let mut dice = Dice(6);
    for _ in 0..3000 {
        let mut order: Vec<usize> = (0..steps.len()).collect();
        for _ in 0..=dice.below(3) {
            let (a, b) = (dice.below(order.len() as u64) as usize, dice.below(order.len() as u64) as usize);
            match dice.below(3) {
                0 => order.swap(a, b),
                1 => order.insert(a, order[b]),
                _ => _ = order.remove(a),
            }
        }
        let mut queue = Queue::new();
        let received = order.iter().try_for_each(|&at| receives(&mut queue, &steps[at].1, &steps[at].2));
        if received.is_ok() {
            queue.validate().unwrap();
        }
    }
}

#[test]
fn an_effect_that_arrives_twice_is_refused() {
    let mut refused = 0;
    for (before, bytes, payloads) in steps() {
        let mut queue = before.clone();
        receives(&mut queue, &bytes, &payloads).unwrap();
        refused += usize::from(receives(&mut queue, &bytes, &payloads).is_err());
    }
    assert!(refused >= 30, "{refused}");
}

#[test]
fn an_effect_that_went_missing_is_noticed_by_the_next() {
    let mut replica = Queue::new();
    let numbered = |number| Received { stamp: Some((number, Millis(1))), events: Vec::new() };
    replica.expect_effect(&numbered(1)).unwrap();
    assert!(replica.expect_effect(&numbered(3)).is_err());
    replica.expect_effect(&numbered(2)).unwrap();
}

#[test]
fn the_last_number_of_an_effect_repeats() {
    let last = (1u64 << 48) - 1;
    let mut stored = save(&Queue::new());
    let name = b"effects";
    let at = stored[0].windows(name.len()).position(|part| part == name).unwrap() + name.len();
    stored[0].splice(at..=at, [0xcf].into_iter().chain(last.to_be_bytes()));
    let (mut primary, mut replica) = (load(&stored).unwrap(), load(&stored).unwrap());
    assert_eq!(primary.effects(), Some(last));
    for _ in 0..2 {
        let received = Received { stamp: Some((primary.count_effect(), Millis(1))), events: Vec::new() };
        replica.expect_effect(&received).unwrap();
    }
    let other = Received { stamp: Some((1, Millis(1))), events: Vec::new() };
    assert!(replica.expect_effect(&other).is_err());
}

fn lease(id: TaskId, number: u64, deadline: u64) -> Lease {
    Lease { id, number: LeaseNumber(number), nonce: 1, lease_ms: 1, deadline: Millis(deadline) }
}

#[test]
fn invented_events_are_refused() {
    let queue = live(&mut |_, _| {});
    let now = taskslot_engine::Now::plain(START);
    let first = |state| {
        let mut cursor = taskslot_engine::Cursor::default();
        loop {
            let (next, tasks) = queue.list(&now, state, cursor, 9, None, None);
            match tasks.first() {
                Some(task) => return task.id,
                None => cursor = next,
            }
        }
    };
    let states = taskslot_engine::TaskState::ALL.map(first);
    let [ready, delayed, held, leased, dead, done] = states;
    let unknown = TaskId { ms: 5, seq: 5 };
    let enormous = Millis(u64::MAX);
    let new = TaskId { ms: START + 1_000_000, seq: 0 };
    let options = Options::default();
    let push = |first, count, due, options, payloads| Event::Pushed { first, count, due, options, payloads };
    let one: &[&[u8]] = &[b"x"];
    let many: Vec<&[u8]> = vec![b"x"; 1001];
    let claim = |lease| Event::Claimed { at: Millis(START), worker: b"", tied: false, leases: vec![lease] };
    let number = (START + 500_000_000) * 1000;
    let long = [b'x'; 257];
    let answer =
        Answer::Claimed { handles: vec![Handle { id: ready, lease: LeaseNumber(1), nonce: 0 }; 1001] };
    let with_token = |token, hold| Options { unique: Some(Unique { token, hold }), ..options };
    let unique = queue.holder(now.at, b"to the end").unwrap();
    let request = |token, kept_until, answer| Event::Answered { token, at: now.at, kept_until, answer };
    let pushed = |first, count| Answer::Pushed { first, count };
    let acked = |id, end| Event::Acked { id, late: false, end };
    let extended = |id, deadline, progress| Event::Extended { id, deadline, progress };
    let too_much = [b'x'; PROGRESS_MAX_BYTES + 1];
    let failed = |id, then, at, progress| Event::Failed { id, then, error: b"why", at, progress };
    let requeued = |id, then, progress| Event::Requeued { id, then, back: true, progress };
    let invented = vec![
        push(new, 2, None, options, one),
        push(new, 0, None, options, &[]),
        push(new, 1001, None, options, &many),
        push(ready, 1, None, options, one),
        push(TaskId { ms: u64::MAX, seq: 0 }, 1, None, options, one),
        push(TaskId { ms: START + 9, seq: u64::MAX }, 1, None, options, one),
        push(new, 1, Some(Due::Clock(enormous)), options, one),
        push(new, 1, Some(Due::Wall(enormous)), options, one),
        push(new, 1, None, Options { attempts: Some(0), ..options }, one),
        push(new, 1, None, Options { attempts: Some(-2), ..options }, one),
        push(new, 1, None, Options { lease_ms: Some(0), ..options }, one),
        push(new, 1, None, Options { lease_ms: Some(u32::MAX), ..options }, one),
        push(new, 1, None, Options { headers: b"\x01", ..options }, one),
        push(new, 1, None, Options { headers: b"\x41", ..options }, one),
        claim(lease(unknown, number, START + 9)),
        claim(lease(delayed, number, START + 9)),
        claim(lease(leased, number, START + 9)),
        claim(lease(dead, number, START + 9)),
        claim(lease(ready, 1, START + 9)),
        claim(lease(ready, 1 << 53, START + 9)),
        claim(lease(ready, number, START - 1)),
        claim(lease(ready, number, u64::MAX)),
        Event::Claimed {
            at: now.at,
            worker: &long,
            tied: false,
            leases: vec![lease(ready, number, START + 9)],
        },
        Event::Claimed {
            at: now.at,
            worker: b"",
            tied: true,
            leases: vec![lease(ready, number, START + 9), lease(ready, number + 1, START + 9)],
        },
        Event::Term { term: 1, floor: LeaseNumber(u64::MAX), clocks: None },
        Event::Term {
            term: 1,
            floor: LeaseNumber(1),
            clocks: Some(Stamp { up_us: u64::MAX, ..Stamp::default() }),
        },
        Event::Clock { offset_ms: i64::MIN },
        Event::Taken { ids: vec![leased], at: Millis(1) },
        Event::Taken { ids: vec![ready, ready], at: Millis(1) },
        Event::Unclaimed { id: ready, at: now.at },
        Event::Unclaimed { id: leased, at: enormous },
        acked(unknown, None),
        acked(done, None),
        acked(ready, None),
        acked(delayed, None),
        acked(dead, Some(End { at: now.at, retain_ms: 9, result: None })),
        acked(held, Some(End { at: now.at, retain_ms: 9, result: None })),
        acked(leased, Some(End { at: enormous, retain_ms: 1, result: None })),
        acked(leased, Some(End { at: now.at, retain_ms: SPAN_MAX_MS as u64 + 1, result: None })),
        acked(leased, Some(End { at: now.at, retain_ms: 0, result: Some(&[0; RESULT_MAX_BYTES + 1]) })),
        failed(ready, Then::Dead(now.at), now.at, None),
        failed(held, Then::Dead(now.at), now.at, None),
        failed(leased, Then::Ready(now.at), now.at, None),
        failed(leased, Then::Dead(enormous), now.at, None),
        failed(leased, Then::Dead(now.at), enormous, None),
        failed(leased, Then::Delayed(Due::Clock(enormous)), now.at, None),
        failed(leased, Then::Dead(now.at), now.at, Some(&too_much)),
        requeued(dead, Then::Ready(now.at), None),
        requeued(held, Then::Ready(now.at), None),
        requeued(leased, Then::Dead(now.at), None),
        requeued(leased, Then::Ready(enormous), None),
        requeued(leased, Then::Ready(now.at), Some(&too_much)),
        extended(ready, Millis(START + 999_999), None),
        extended(held, Millis(START + 999_999), None),
        extended(done, Millis(START + 999_999), Some(b"more")),
        extended(leased, Millis(1), None),
        extended(leased, enormous, None),
        extended(leased, Millis(START + 999_999), Some(&too_much)),
        Event::Stalled { tasks: vec![(ready, None)] },
        Event::Stalled { tasks: vec![(held, None)] },
        Event::Unclaimed { id: held, at: now.at },
        Event::Stalled { tasks: vec![(leased, None), (leased, None)] },
        Event::BecameReady { ids: vec![dead], at: now.at },
        Event::BecameReady { ids: vec![delayed, delayed], at: now.at },
        Event::BecameReady { ids: vec![delayed], at: enormous },
        Event::Retried { ids: vec![ready], at: now.at },
        Event::Retried { ids: vec![dead], at: enormous },
        Event::Cancelled { id: dead },
        Event::Cancelled { id: done },
        Event::CancelAsked { id: done },
        Event::Taken { ids: vec![done], at: Millis(1) },
        Event::Retried { ids: vec![done], at: now.at },
        failed(done, Then::Dead(now.at), now.at, None),
        Event::CancelAsked { id: ready },
        Event::CancelAsked { id: unknown },
        Event::Dropped { ids: vec![ready] },
        Event::Dropped { ids: vec![done] },
        Event::Forgotten { ids: vec![dead] },
        Event::Forgotten { ids: vec![done, done] },
        Event::Purged { ids: vec![leased] },
        Event::Purged { ids: vec![done] },
        Event::Configured { values: vec![("no such", 1)] },
        Event::Configured { values: vec![("lease", 0)] },
        Event::Paused { gate: Gate::In, until: Some(enormous) },
        Event::Paused { gate: Gate::In, until: Some(Millis(0)) },
        Event::GroupPaused { name: b"", until: None },
        Event::GroupPaused { name: &long, until: None },
        Event::GroupPaused { name: b"x", until: Some(enormous) },
        Event::GroupPaused { name: b"x", until: Some(Millis(0)) },
        Event::GroupResumed { name: b"unknown" },
        Event::Ran { name: b"unknown", id: new, at: now.at },
        Event::Ran { name: b"often", id: ready, at: now.at },
        Event::Ran { name: b"often", id: new, at: enormous },
        request(&long, Millis(START + 9), pushed(new, 1)),
        request(b"t", enormous, pushed(new, 1)),
        request(b"t", Millis(START + 9), answer),
        request(b"t", Millis(START + 9), pushed(new, 1001)),
        request(b"t", Millis(START + 9), pushed(TaskId { ms: 1, seq: u64::MAX }, 2)),
        push(new, 1, None, Options { ttl_ms: NonZeroU64::new(u64::MAX), ..options }, one),
        push(new, 1, None, with_token(b"to the end", Hold::End), one),
        push(new, 1, None, with_token(b"", Hold::End), one),
        push(new, 1, None, with_token(&long, Hold::End), one),
        push(new, 1, None, with_token(b"x", Hold::AtMost(enormous)), one),
        push(new, 2, None, with_token(b"x", Hold::End), &[b"x", b"y"]),
        Event::Replaced { id: leased, headers: b"", payload: b"x" },
        Event::Replaced { id: dead, headers: b"", payload: b"x" },
        Event::Replaced { id: ready, headers: b"", payload: b"without a token" },
        Event::Replaced { id: unknown, headers: b"", payload: b"x" },
        Event::Replaced { id: unique, headers: b"\x41", payload: b"x" },
        Event::Freed { at: now.at, tokens: vec![b"kept".to_vec().into()] },
        Event::Freed { at: enormous, tokens: vec![b"to the end".to_vec().into()] },
        Event::Freed { at: enormous, tokens: vec![b"kept".to_vec().into(), b"kept".to_vec().into()] },
        Event::Expired { at: enormous, ids: vec![delayed] },
        Event::Expired { at: now.at, ids: vec![unique] },
        Event::Expired { at: enormous, ids: vec![unknown] },
    ];
    for event in &invented {
        let mut receiver = queue.clone();
        assert!(receiver.apply(event).is_err(), "{event:?}");
        assert!(replicate(&mut queue.clone(), &mut queue.clone(), event).is_err(), "{event:?}");
    }
}

/// Batches in each state, and tasks that wait: "a" is acked, "c" cancelled, and nobody was told of it.
fn related() -> Story {
    let mut s = story();
    s.opens("open", "o").opens("closed", "c").push_into("closed", "x").closes_batch("closed");
    s.opens("over", "v").closes_batch("over").opens("complete", "m");
    s.push_all(&["a", "b", "p"]).push_after("both", &["a", "b"], OnDead::Wait);
    s.push_after("only", &["a"], OnDead::Wait).push_after("drop", &["p"], OnDead::Drop);
    s.push_after("run", &["p"], OnDead::Run).push_after("wait", &["p"], OnDead::Wait);
    s.push("done").claims_all(9, &["x", "v", "a", "b", "p", "done"]).finishes("done", Some(9), None);
    s.acks("a").fails_with("p", Retry::Dead, "");
    let event = s.queue.close_batch(s.now, b"complete").unwrap().unwrap();
    s.apply(&event);
    s
}

#[test]
fn invented_events_about_batches_are_refused() {
    let s = related();
    let (new, old) = (TaskId { ms: START + 1_000_000, seq: 0 }, s.id("a"));
    let (at, enormous, options, long) = (s.now.at, Millis(u64::MAX), Options::default(), [b'n'; 257]);
    let one: &[&[u8]] = &[b"x"];
    let into = |batch| Options { batch, ..options };
    let push = |batch| Event::Pushed { first: new, count: 1, due: None, options: into(batch), payloads: one };
    let open = |name, id, at, when, options, payloads| Event::BatchOpened {
        name,
        id,
        at,
        when,
        options: Box::new(options),
        payloads,
    };
    let plan = |batch| ScheduleSpec {
        timing: Trigger::Every(1000),
        catchup: Catchup::One,
        options: into(batch),
        payload: b"",
    };
    let scheduled =
        |batch| Event::Scheduled { name: b"s", plan: Box::new(plan(batch)), next: Due::Clock(at), seen: at };
    let accepted = [
        open(b"new", new, at, When::Now, options, one),
        push(b"open"),
        push(b"closed"),
        // An ACK whose push goes into its own task's batch comes first.
        push(b"complete"),
        Event::BatchClosed { name: b"open", at },
        scheduled(b""),
    ];
    let refused = [
        open(b"", new, at, When::Now, options, one),
        open(&long, new, at, When::Now, options, one),
        open(b"open", new, at, When::Now, options, one),
        open(b"over", new, at, When::Now, options, one),
        open(b"new", old, at, When::Now, options, one),
        open(b"new", new, enormous, When::Now, options, one),
        open(b"new", new, at, When::After(0), options, one),
        open(b"new", new, at, When::After(SPAN_MAX_MS as u64 + 1), options, one),
        open(b"new", new, at, When::At(enormous), options, one),
        open(b"new", new, at, When::Now, Options { attempts: Some(0), ..options }, one),
        open(b"new", new, at, When::Now, into(b"new"), one),
        open(b"new", new, at, When::Now, into(b"over"), one),
        open(b"new", new, at, When::Now, options, &[]),
        open(b"new", new, at, When::Now, options, &[b"x", b"y"]),
        push(b"unknown"),
        push(b"over"),
        push(&long),
        Event::BatchClosed { name: b"", at },
        Event::BatchClosed { name: b"unknown", at },
        Event::BatchClosed { name: b"closed", at },
        Event::BatchClosed { name: b"over", at },
        Event::BatchClosed { name: b"open", at: enormous },
        scheduled(b"open"),
    ];
    assert_fit(&s.queue, &accepted, &refused);
}

/// Checks which events fit a queue. What fits leaves a valid queue.
fn assert_fit(queue: &Queue, accepted: &[Event], refused: &[Event]) {
    for event in accepted {
        let mut receiver = queue.clone();
        receiver.apply(event).unwrap_or_else(|error| panic!("{error:?} {event:?}"));
        receiver.validate().unwrap();
    }
    for event in refused {
        assert!(queue.clone().apply(event).is_err(), "{event:?}");
        assert!(replicate(&mut queue.clone(), &mut queue.clone(), event).is_err(), "{event:?}");
    }
}

#[test]
fn invented_events_about_tasks_that_wait_are_refused() {
    let s = related();
    let (new, enormous, options) =
        (TaskId { ms: START + 1_000_000, seq: 0 }, Millis(u64::MAX), Options::default());
    let at = s.now.at;
    let one: &[&[u8]] = &[b"x"];
    let parent = |name: &str, is_open| Parent { id: s.id(name), is_open };
    let [a, b, p, done] =
        [("a", false), ("b", true), ("p", true), ("done", false)].map(|(n, o)| parent(n, o));
    let after = |first, count, at, when, parents: &[Parent], options, payloads| Event::PushedAfter {
        first,
        count,
        at,
        when,
        parents: parents.to_vec(),
        on_dead: OnDead::Wait,
        options: Box::new(options),
        payloads,
    };
    let of = |parents: &[Parent]| after(new, 1, at, When::Now, parents, options, one);
    let many: Vec<Parent> =
        (0..1001).map(|seq| Parent { id: TaskId { ms: 1, seq }, is_open: false }).collect();
    let told = |parent: Option<&str>, at, tasks: &[(&str, Release)]| Event::Told {
        parent: parent.map(|name| s.id(name)),
        at,
        tasks: tasks.iter().map(|(name, release)| (s.id(name), *release)).collect(),
    };
    let later = Release::Delayed(Due::Clock(at.plus(5)));
    let accepted = [
        of(&[a, b, p, done]),
        of(&[a]),
        of(&many[..1000]),
        told(Some("a"), at, &[("both", Release::Held), ("only", Release::Ready)]),
        told(Some("a"), at, &[("only", later)]),
        told(Some("p"), at, &[("run", Release::Ready), ("drop", Release::Cancelled)]),
        told(None, at, &[("m", Release::Ready)]),
        told(None, at, &[("m", later)]),
    ];
    let refused = [
        of(&[]),
        of(&many),
        of(&[b, a]),
        of(&[b, b]),
        of(&[Parent { is_open: true, ..a }]),
        of(&[Parent { is_open: true, ..done }]),
        of(&[Parent { is_open: false, ..b }]),
        of(&[Parent { is_open: false, ..p }]),
        of(&[Parent { id: new, is_open: false }]),
        after(new, 2, at, When::Now, &[b], options, one),
        after(new, 0, at, When::Now, &[b], options, &[]),
        after(s.id("a"), 1, at, When::Now, &[b], options, one),
        after(new, 1, enormous, When::Now, &[b], options, one),
        after(new, 1, at, When::After(0), &[b], options, one),
        after(new, 1, at, When::After(u64::MAX), &[b], options, one),
        after(new, 1, at, When::At(enormous), &[b], options, one),
        after(new, 1, at, When::Now, &[b], Options { batch: b"over", ..options }, one),
        after(new, 1, at, When::Now, &[b], Options { ttl_ms: NonZeroU64::new(u64::MAX), ..options }, one),
        told(Some("b"), at, &[("both", Release::Held)]),
        told(Some("done"), at, &[("both", Release::Held)]),
        told(Some("a"), enormous, &[("only", Release::Ready)]),
        told(Some("a"), at, &[("only", Release::Held)]),
        told(Some("a"), at, &[("only", Release::Cancelled)]),
        told(Some("a"), at, &[("only", Release::Delayed(Due::Wall(enormous)))]),
        told(Some("a"), at, &[("only", Release::Ready), ("only", Release::Ready)]),
        told(Some("a"), at, &[("both", Release::Held), ("both", Release::Held)]),
        told(Some("a"), at, &[("both", Release::Ready)]),
        told(Some("a"), at, &[("run", Release::Ready)]),
        told(Some("a"), at, &[("a", Release::Ready)]),
        told(Some("a"), at, &[("m", Release::Ready)]),
        told(Some("p"), at, &[("wait", Release::Ready)]),
        told(Some("p"), at, &[("wait", Release::Held)]),
        told(Some("p"), at, &[("drop", Release::Ready)]),
        told(Some("p"), at, &[("run", Release::Cancelled)]),
        told(None, at, &[("o", Release::Ready)]),
        told(None, at, &[("c", Release::Ready)]),
        told(None, at, &[("v", Release::Ready)]),
        told(None, at, &[("only", Release::Ready)]),
        told(None, at, &[("m", Release::Held)]),
        told(None, at, &[("m", Release::Cancelled)]),
        told(None, at, &[("m", Release::Ready), ("m", Release::Ready)]),
        told(None, enormous, &[("m", Release::Ready)]),
        Event::Claimed {
            at,
            worker: b"",
            tied: false,
            leases: vec![lease(s.id("only"), 1 << 52, START + 9)],
        },
        Event::BecameReady { ids: vec![s.id("only")], at },
        Event::Dropped { ids: vec![s.id("only")] },
        Event::Forgotten { ids: vec![s.id("only")] },
        Event::CancelAsked { id: s.id("only") },
        Event::Acked { id: s.id("only"), late: true, end: None },
        Event::Acked { id: s.id("only"), late: true, end: Some(End { at, retain_ms: 9, result: None }) },
        Event::Taken { ids: vec![s.id("only")], at },
        Event::Expired { at, ids: vec![s.id("only")] },
    ];
    assert_fit(&s.queue, &accepted, &refused);
}

#[test]
fn an_error_is_cut_to_its_length() {
    let mut queue = live(&mut |_, _| {});
    let now = taskslot_engine::Now::plain(START);
    let id = queue
        .list(&now, taskslot_engine::TaskState::Leased, taskslot_engine::Cursor::default(), 1, None, None)
        .1[0]
        .id;
    let (then, error) = (Then::Dead(now.at), &[b'e'; 5000]);
    queue.apply(&Event::Failed { id, then, error, at: now.at, progress: None }).unwrap();
    assert_eq!(queue.task(&now, id).unwrap().error().len(), 4096);
    queue.validate().unwrap();
}
