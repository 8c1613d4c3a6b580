//! A digest covers every field: each change that one event can make changes the digest.

use std::collections::{BTreeMap, BTreeSet};

use taskslot_engine::{
    Answer, Claim, Due, Event, Gate, Handle, Headers, Hold, LeaseNumber, Millis, Now, OnDead, Options, Push,
    Queue, Retry, TaskId, TaskState, Then, When,
};

use crate::copies::{self, digest, load, save};
use crate::story::{START, Story, story};

/// Tasks in every state, each with some data.
fn base() -> Story {
    let mut s = story();
    s.push_all(&["leased", "failed", "stalled", "dead", "ready"]).push_delayed("delayed", 9000);
    s.claims("leased").claims("failed").claims_for("stalled", 10).claims("dead").passes(10);
    s.fails_with("failed", Retry::After(7000), "text").fails_with("dead", Retry::Dead, "bad").passes(5);
    s
}

type Change = fn(&mut Story);

/// One change each, all different from each other.
const CHANGES: [(&str, Change); 97] = [
    ("a token", |s| _ = s.push_unique("x", "t", Hold::End)),
    ("another token", |s| _ = s.push_unique("x", "u", Hold::End)),
    ("a token to the start", |s| _ = s.push_unique("x", "t", Hold::Start)),
    ("a token for a time", |s| _ = s.push_unique("x", "t", Hold::AtMost(Millis(START + 500)))),
    ("a token for another time", |s| _ = s.push_unique("x", "t", Hold::AtMost(Millis(START + 501)))),
    ("a token that is kept", |s| _ = s.push_unique("x", "t", Hold::Exactly(Millis(START + 500)))),
    ("a token that is kept for nobody", |s| {
        _ = s.push_unique("x", "t", Hold::Exactly(Millis(START + 500))).cancels("x")
    }),
    ("a token that was free in time", |s| {
        s.push_unique("x", "t", Hold::AtMost(Millis(START + 500)));
        let tokens = vec![b"t".to_vec().into()];
        s.apply(&Event::Freed { at: Millis(START + 500), tokens });
    }),
    ("a body in place of another", |s| _ = s.push_unique("x", "t", Hold::End).replaces("x", "y")),
    ("a time to live", |s| _ = s.push_ttl("x", 500)),
    ("another time to live", |s| _ = s.push_ttl("x", 501)),
    ("an expired task", |s| {
        let event = Event::Expired { at: Millis(START + 1000), ids: vec![s.push_ttl("x", 500).id("x")] };
        s.apply(&event);
    }),
    ("nothing", |_| {}),
    ("a push", |s| _ = s.push("x")),
    ("another payload", |s| _ = s.push("y")),
    ("an empty payload", |s| _ = s.push("")),
    ("a priority", |s| _ = s.push_priority("x", 1)),
    ("another priority", |s| _ = s.push_priority("x", -1)),
    ("attempts", |s| with(s, Options { attempts: Some(3), ..Options::default() })),
    ("no limit of attempts", |s| with(s, Options { attempts: Some(-1), ..Options::default() })),
    ("a lease", |s| with(s, Options { lease_ms: Some(3), ..Options::default() })),
    ("headers", |s| with(s, Options { headers: &Headers::pack(&[(b"a", b"b")]), ..Options::default() })),
    ("other headers", |s| {
        with(s, Options { headers: &Headers::pack(&[(b"ab", b"")]), ..Options::default() })
    }),
    ("an id", |s| _ = s.clock_shows(1).push("x")),
    ("a delay", |s| _ = s.push_delayed("x", 5)),
    ("another delay", |s| _ = s.push_delayed("x", 6)),
    ("an instant", |s| _ = s.push_with("x", Some(Due::Wall(Millis(s.now.at.0 + 5))), Options::default())),
    ("an id that is gone", |s| _ = s.push("x").purges("x")),
    ("a claim", |s| claim(s, Claim::default())),
    ("a nonce", |s| {
        s.dice = 9;
        claim(s, Claim::default());
    }),
    ("a worker", |s| claim(s, Claim { worker: b"w", ..Claim::default() })),
    ("another worker", |s| claim(s, Claim { worker: b"v", ..Claim::default() })),
    ("a tie", |s| claim(s, Claim { tied: true, ..Claim::default() })),
    ("a lease's length", |s| claim(s, Claim { lease_ms: Some(29_999), ..Claim::default() })),
    ("a lease that run-max cut", |s| _ = s.config("run-max", 29_999).claims("stalled").config("run-max", -1)),
    ("a claim that is undone", |s| _ = s.claims("stalled").unclaims("stalled")),
    ("a longer lease", |s| _ = s.extends("leased", Some(60_000), 60_000)),
    ("a cancellation asked for", |s| _ = s.cancels("leased")),
    ("a cancellation", |s| _ = s.cancels("ready")),
    ("an ack", |s| _ = s.acks("leased")),
    ("a late ack", |s| _ = s.acks("stalled")),
    ("a late ack that counts as none", |s| {
        _ = s.apply(&Event::Acked { id: s.id("stalled"), late: false, end: None })
    }),
    ("a task that is kept", |s| _ = s.finishes("leased", Some(9), None)),
    ("a task that is kept for longer", |s| _ = s.finishes("leased", Some(10), None)),
    ("a task that is kept for very long", |s| _ = s.finishes("leased", Some(9 + (1 << 32)), None)),
    ("a task that is kept later", |s| _ = s.clock_shows(1).finishes("leased", Some(9), None)),
    ("a result", |s| _ = s.finishes("leased", Some(9), Some(b"r"))),
    ("another result", |s| _ = s.finishes("leased", Some(9), Some(b"s"))),
    ("an empty result", |s| _ = s.finishes("leased", Some(9), Some(b""))),
    ("a done task that is forgotten", |s| _ = s.finishes("leased", Some(9), Some(b"r")).forgets("leased")),
    ("a retention", |s| with(s, Options { retain_ms: Some(3), ..Options::default() })),
    ("no retention", |s| with(s, Options { retain_ms: Some(0), ..Options::default() })),
    ("a progress", |s| _ = s.reports("leased", "half")),
    ("another progress", |s| _ = s.reports("leased", "more")),
    ("a requeue", |s| _ = s.requeues("leased")),
    ("a requeue to the back", |s| _ = s.requeues_back("leased")),
    ("a requeue later", |s| _ = s.requeues_later("leased", 6)),
    ("a failure", |s| _ = s.fails_with("leased", Retry::After(6), "")),
    ("an error", |s| _ = s.fails_with("leased", Retry::After(6), "e")),
    ("another error", |s| _ = s.fails_with("leased", Retry::After(6), "f")),
    ("a death", |s| _ = s.fails_with("leased", Retry::Dead, "")),
    ("a death at another time", |s| {
        let (id, then, at) = (s.id("leased"), Then::Dead(Millis(START)), s.now.at);
        _ = s.apply(&Event::Failed { id, then, error: b"", at, progress: None })
    }),
    ("a stall", |s| {
        _ = s.apply(&Event::Stalled { tasks: vec![(s.id("leased"), Some(Then::Ready(s.now.at)))] })
    }),
    ("a stall at another time", |s| {
        _ = s.apply(&Event::Stalled { tasks: vec![(s.id("leased"), Some(Then::Ready(Millis(START))))] })
    }),
    ("a retry", |s| _ = s.retries(&["dead"])),
    ("a dead task that is dropped", |s| _ = s.apply(&Event::Dropped { ids: vec![s.id("dead")] })),
    ("a dead task that is purged", |s| _ = s.purges("dead")),
    ("a setting", |s| _ = s.config("lease", 7)),
    ("a pause inward", |s| _ = s.pauses(Gate::In, None)),
    ("a pause outward", |s| _ = s.pauses(Gate::Out, None)),
    ("a pause for a time", |s| _ = s.pauses(Gate::Out, Some(5))),
    ("a term", |s| _ = s.apply(&Event::Term { term: 4, floor: LeaseNumber(0), clocks: None })),
    ("a lease number", |s| {
        s.apply(&Event::Term { term: 0, floor: LeaseNumber(1 << 52), clocks: None });
    }),
    ("the queue's clock", |s| _ = s.apply(&Event::Clock { offset_ms: 1 })),
    ("a batch", |s| _ = s.opens("b", "x")),
    ("another name of a batch", |s| _ = s.opens("c", "x")),
    ("another callback", |s| _ = s.opens("b", "y")),
    ("a callback with a delay", |s| _ = s.opens_with("b", "x", When::After(5), Options::default())),
    ("a callback with another delay", |s| _ = s.opens_with("b", "x", When::After(6), Options::default())),
    ("a callback with an instant", |s| _ = s.opens_with("b", "x", When::At(Millis(5)), Options::default())),
    ("a batch that is closed", |s| close(s.opens("b", "x"))),
    ("a batch that is closed at another time", |s| {
        s.opens("b", "x");
        s.apply(&Event::BatchClosed { name: b"b", at: Millis(START) });
    }),
    ("a batch that is over", |s| _ = s.opens("b", "x").closes_batch("b")),
    ("a batch that is over before it is closed", |s| _ = s.opens("b", "x").retries(&["x"])),
    ("a batch that is gone", |s| _ = s.opens("b", "x").cancels("x")),
    ("a task of a batch", |s| _ = s.opens("b", "x").push_into("b", "y")),
    ("a task beside a batch", |s| _ = s.opens("b", "x").push("y")),
    ("a task of another batch", |s| _ = s.opens("b", "x").opens("c", "z").push_into("b", "y")),
    ("a task of yet another batch", |s| _ = s.opens("b", "x").opens("c", "z").push_into("c", "y")),
    ("a task of a batch that ended", |s| _ = s.opens("b", "x").push_into("b", "y").cancels("y")),
    ("a task of a batch that ended otherwise", |s| _ = s.opens("b", "x").push_into("b", "y").purges("y")),
    ("a task that waits", |s| _ = s.push_after("x", &["ready"], OnDead::Wait)),
    ("a task that waits for another", |s| _ = s.push_after("x", &["dead"], OnDead::Wait)),
    ("a task that waits for more", |s| _ = s.push_after("x", &["dead", "ready"], OnDead::Wait)),
    ("a task that waits in another way", |s| _ = s.push_after("x", &["ready"], OnDead::Drop)),
    ("a task that is to be told", |s| _ = s.push_after("x", &["leased"], OnDead::Wait).acks("leased")),
    ("a task that was told", |s| _ = s.push_after("x", &["leased"], OnDead::Wait).acks("leased").ticks()),
];

fn close(s: &mut Story) {
    let event = s.queue.close_batch(s.now, b"b").unwrap().unwrap();
    s.apply(&event);
}

fn with(s: &mut Story, options: Options) {
    s.push_with("x", None, options);
}

fn claim(s: &mut Story, claim: Claim) {
    assert_eq!(s.claim(&claim), ["stalled"]);
}

#[test]
fn every_change_changes_the_digest_and_survives_a_save() {
    let mut seen: BTreeMap<u64, &str> = BTreeMap::new();
    let mut fingerprints = BTreeMap::new();
    for (what, change) in CHANGES {
        let mut s = base();
        change(&mut s);
        let digest = digest(&s.queue);
        assert_eq!(seen.insert(digest, what), None, "{what} has the digest of another change");
        let loaded = load(&save(&s.queue)).unwrap();
        assert_eq!(copies::digest(&loaded), digest, "{what} is saved");
        let fingerprint = s.queue.fingerprint();
        assert_eq!(
            fingerprints.insert(fingerprint, what),
            None,
            "{what} has the fingerprint of another change"
        );
        assert_eq!(loaded.fingerprint(), fingerprint, "{what} keeps its fingerprint");
    }
}

#[test]
fn every_part_of_a_remembered_request_changes_the_digest() {
    let first = TaskId { ms: START, seq: 0 };
    let handle = Handle { id: first, lease: LeaseNumber(7), nonce: 8 };
    let claimed = |handle| Answer::Claimed { handles: vec![handle] };
    let answers: [(&[u8], u64, Answer); 9] = [
        (b"t", 1, Answer::Pushed { first, count: 1 }),
        (b"u", 1, Answer::Pushed { first, count: 1 }),
        (b"t", 2, Answer::Pushed { first, count: 1 }),
        (b"t", 1, Answer::Pushed { first, count: 2 }),
        (b"t", 1, Answer::Pushed { first: TaskId { ms: START, seq: 1 }, count: 1 }),
        (b"t", 1, claimed(handle)),
        (b"t", 1, claimed(Handle { nonce: 9, ..handle })),
        (b"t", 1, claimed(Handle { lease: LeaseNumber(9), ..handle })),
        (b"t", 1, Answer::Claimed { handles: vec![handle, handle] }),
    ];
    let mut seen = std::collections::BTreeSet::from([digest(&base().queue)]);
    for (token, later, answer) in answers {
        let mut s = base();
        let kept_until = s.now.at.plus(later);
        s.apply(&Event::Answered { token, at: s.now.at, kept_until, answer: answer.clone() });
        assert!(seen.insert(digest(&s.queue)), "{answer:?}");
    }
}

#[test]
fn the_order_of_remembered_requests_is_part_of_the_digest() {
    let digest_of = |tokens: [&[u8]; 2]| {
        let mut s = base();
        for token in tokens {
            let answer = Answer::Pushed { first: TaskId { ms: START, seq: 0 }, count: 1 };
            let event = s.queue.answered(s.now, token, answer);
            s.apply(&event);
        }
        digest(&s.queue)
    };
    assert_ne!(digest_of([b"t", b"u"]), digest_of([b"u", b"t"]), "it says which is forgotten first");
}

#[test]
fn equal_queues_have_equal_digests_however_they_are_laid_out() {
    // The same worker names come and go in another order, and pages fill and empty on the way.
    let after_claims = |workers: [&[u8]; 3]| {
        let mut s = story();
        s.push_all(&["a", "b", "c"]);
        for worker in workers {
            s.claim(&Claim { worker, ..Claim::default() });
        }
        s
    };
    let mut s = after_claims([b"x", b"y", b"z"]);
    s.requeues("b").requeues("a");
    s.claim(&Claim { worker: b"y", ..Claim::default() });
    s.claim(&Claim { worker: b"x", ..Claim::default() });
    let loaded = load(&save(&s.queue)).unwrap();
    assert_eq!(digest(&loaded), digest(&s.queue));
    assert_eq!(s.queue.count(TaskState::Leased), 3);
    s.requeues("c");
    let mut again = loaded;
    let event = again.requeue(s.now, &s.handle("c"), None, false).unwrap();
    again.apply(&event).unwrap();
    for queue in [&mut again, &mut s.queue] {
        let event =
            queue.claim(s.now, &mut || 4, &Claim { worker: b"new", ..Claim::default() }).unwrap().unwrap();
        queue.apply(&event).unwrap();
        queue.validate().unwrap();
    }
    assert_eq!(digest(&again), digest(&s.queue));
}

/// The fingerprint of a queue with one task with this payload and these headers.
fn fingerprint_of(payload: &[u8], headers: &[(&[u8], &[u8])]) -> [u8; 16] {
    let mut queue = Queue::new();
    let headers = Headers::pack(headers);
    let options = Options { headers: &headers, ..Options::default() };
    let push = Push { due: None, options, payloads: &[payload] };
    let event = queue.push(Now::plain(START), &push).unwrap();
    queue.apply(&event).unwrap();
    queue.fingerprint()
}

#[test]
fn a_fingerprint_sees_each_bit_and_each_length_of_a_payload() {
    let mut seen = BTreeSet::new();
    let payload = b"seventeen bytes !";
    for length in 0..=payload.len() {
        assert!(seen.insert(fingerprint_of(&payload[..length], &[])), "{length} bytes");
    }
    for bit in 0..payload.len() * 8 {
        let mut other = *payload;
        other[bit / 8] ^= 1 << (bit % 8);
        assert!(seen.insert(fingerprint_of(&other, &[])), "bit {bit}");
    }
    // Zeros at the end differ from the zeros that pad a word.
    for zeros in 1..20 {
        assert!(seen.insert(fingerprint_of(&vec![0; zeros], &[])), "{zeros} zeros");
    }
    // The border between headers and payload matters.
    for cut in 1..payload.len() {
        let (name, rest) = payload.split_at(cut);
        assert!(seen.insert(fingerprint_of(rest, &[(name, b"")])), "cut at {cut}");
    }
}
