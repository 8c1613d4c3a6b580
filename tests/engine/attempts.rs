//! What a task remembers of its attempts: the last errors, and who made the last one and when.

use serde_bytes::ByteBuf;
use taskslot_engine::{
    Claim, Cursor, Effect, Event, LastAttempt, Lease, Limit, Millis, Retry, TaskError, TaskId, TaskState,
    Then,
};

use crate::copies::{NAME, digest, load, save, without_checksum};
use crate::story::{Story, story};

/// The length of a lease by default.
const LEASE: u64 = 30_000;

/// The errors of a task: attempt, ms since the start of the story, worker, text.
fn errors<'s>(s: &'s Story, start: Millis) -> Vec<(u32, u64, &'s str, &'s str)> {
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    let of = |e: TaskError<'s>| (e.attempt, e.at.since(start), text(e.worker), text(e.text));
    s.task("a").errors.iter().map(of).collect()
}

/// Claims as a worker, fails, and waits until the task is ready again.
fn fails_as(s: &mut Story, worker: &str, error: &str) {
    s.claims_as(worker, 1, &["a"]).passes(10).fails_with("a", Retry::After(5), error).passes(5);
}

// Errors

#[test]
fn only_the_last_error_is_kept_by_default() {
    let mut s = story();
    let start = s.now.at;
    s.push("a");
    fails_as(&mut s, "w1", "no disk");
    fails_as(&mut s, "w2", "no net");
    assert_eq!(errors(&s, start), [(2, 25, "w2", "no net")]);
    assert_eq!(s.task("a").error(), b"no net");
    fails_as(&mut s, "w2", "");
    assert_eq!(errors(&s, start), [], "the last failure said nothing");
}

#[test]
fn as_many_errors_are_kept_as_the_setting_says() {
    let mut s = story();
    let start = s.now.at;
    s.config("errors-kept", 3).push("a");
    fails_as(&mut s, "w1", "");
    assert_eq!(errors(&s, start), [], "a failure that said nothing is no error");
    for (worker, error) in [("w1", "one"), ("", "two"), ("w3", ""), ("w4", "four")] {
        fails_as(&mut s, worker, error);
    }
    let kept = [(3, 40, "", "two"), (4, 55, "w3", ""), (5, 70, "w4", "four")];
    assert_eq!(errors(&s, start), kept);
    s.reloads();
    assert_eq!(errors(&s, start), kept);
    s.config("errors-kept", 1);
    assert_eq!(errors(&s, start), kept[2..], "a change applies to the errors that are there");
    s.config("errors-kept", 2).claims("a").fails_with("a", Retry::Dead, "");
    assert_eq!(errors(&s, start), [kept[2], (6, 75, "", "")]);
    assert_eq!(s.task("a").error(), b"", "the last one said nothing");
    s.retries(&["a"]);
    assert_eq!(errors(&s, start).len(), 2, "a retry forgets no errors");
    fails_as(&mut s, "w", "");
    assert_eq!(errors(&s, start), [], "none of the last two said anything");
}

#[test]
fn an_error_is_kept_up_to_4_kib() {
    let mut s = story();
    s.config("errors-kept", 10).push("a");
    let long = "e".repeat(5000);
    for _ in 0..11 {
        fails_as(&mut s, "w", &long);
    }
    let lengths: Vec<usize> = s.task("a").errors.iter().map(|error| error.text.len()).collect();
    assert_eq!(lengths, [4096; 10]);
    s.reloads();
}

#[test]
fn a_death_by_stalls_is_one_of_the_errors() {
    let mut s = story();
    let start = s.now.at;
    s.config("errors-kept", 3).config("stalls", 1).push("a");
    fails_as(&mut s, "w1", "no disk");
    s.claims_as("w2", 1, &["a"]).passes(LEASE).is_dead("a");
    let why = "1 stall, after 30000 ms at worker w2";
    assert_eq!(errors(&s, start), [(1, 10, "w1", "no disk"), (2, 15 + LEASE, "w2", why)]);
}

#[test]
fn a_list_shows_errors_within_its_bytes() {
    let mut s = story();
    s.config("errors-kept", 10);
    for name in ["a", "b"] {
        s.push(name).claims(name);
        for _ in 0..9 {
            s.fails_with(name, Retry::After(1), &"e".repeat(1000)).passes(1).claims_all(1, &[name]);
        }
        s.fails_with(name, Retry::Dead, "last");
    }
    let listed = |bytes, with_payload| {
        let limit = Limit { count: 9, bytes, with_payload };
        s.queue.list(&s.now, TaskState::Dead, Cursor::default(), limit, None, None).1.len()
    };
    assert_eq!([listed(5_000, false), listed(15_000, true), listed(25_000, true)], [2, 1, 2]);
}

// The last attempt

fn last(s: &Story) -> Option<(u64, u64, &str)> {
    let last: LastAttempt = s.task("a").last?;
    Some((last.claimed_at.0, last.run_ms, std::str::from_utf8(last.worker).unwrap()))
}

#[test]
fn a_dead_task_shows_who_worked_on_it_and_for_how_long() {
    let mut s = story();
    s.push("a").passes(7);
    let claimed = s.now.at.0;
    s.claims_as("w1", 1, &["a"]).passes(20);
    assert_eq!(last(&s), None, "there is a lease");
    s.fails_with("a", Retry::Dead, "").passes(9).reloads();
    assert_eq!(last(&s), Some((claimed, 20, "w1")));
    assert_eq!((s.task("a").worker(), s.task("a").claimed_at()), (&b"w1"[..], Some(Millis(claimed))));
    s.retries(&["a"]);
    assert_eq!(last(&s), None, "it is tried again");
    s.claims("a").fails_with("a", Retry::After(1), "");
    assert_eq!(last(&s), None, "it is delayed");
}

#[test]
fn the_last_attempt_of_a_task_that_stalled_ends_with_its_lease() {
    let mut s = story();
    let claimed = s.now.at.0;
    s.config("stalls", 1).push("a").claims_as("w1", 1, &["a"]);
    s.clock_shows(LEASE + 500).ticks().is_dead("a");
    assert_eq!(last(&s), Some((claimed, LEASE, "w1")));
    let mut s = story();
    s.config("stalls", 1).push("a");
    assert_eq!(s.claim(&Claim { worker: b"w1", tied: true, ..Claim::default() }), ["a"]);
    let id = s.id("a");
    s.queue.tie(7, id);
    s.clock_shows(250).closes(7).is_dead("a");
    assert_eq!(last(&s), Some((claimed, 250, "w1")), "it ended with the connection");
}

#[test]
fn a_done_task_shows_who_worked_on_it_and_for_how_long() {
    let mut s = story();
    let claimed = s.now.at.0;
    s.push("a").claims_as("w1", 1, &["a"]).passes(20).finishes("a", Some(60_000), None).reloads();
    assert_eq!(last(&s), Some((claimed, 20, "w1")));
    let copy = s.queue.copied().unwrap();
    assert_eq!(copy.task(&s.now, s.id("a")).unwrap().last, s.task("a").last);
    s.passes(60_000).is_gone("a");
    assert!(save(&s.queue).iter().all(|chunk| chunk[0] != b'a'), "nothing stays behind");
}

#[test]
fn a_late_ack_knows_the_attempt_while_the_task_is_leased_or_dead() {
    let mut s = story();
    let claimed = s.now.at.0;
    s.push("a").claims_as("w1", 1, &["a"]).clock_shows(LEASE + 5).finishes("a", Some(9), None);
    assert_eq!(last(&s), Some((claimed, LEASE + 5, "w1")), "nobody has noticed the stall");
    let mut s = story();
    s.config("stalls", 1).push("a").claims_as("w1", 1, &["a"]).passes(LEASE).is_dead("a").passes(5);
    s.finishes("a", Some(9), None);
    assert_eq!(last(&s), Some((claimed, LEASE + 5, "w1")), "it has run until the ACK");
    let mut s = story();
    s.push("a").claims_as("w1", 1, &["a"]).passes(LEASE).is_ready("a").finishes("a", Some(9), None);
    assert_eq!(last(&s), None, "it was waiting again");
}

#[test]
fn a_queue_that_retains_nothing_stores_nothing_of_attempts() {
    let mut s = story();
    s.push("a").claims_as("w1", 1, &["a"]).fails_with("a", Retry::After(1), "").passes(1).claims("a");
    assert!(save(&s.queue).iter().all(|chunk| !b"axew".contains(&chunk[0])));
    s.acks("a").is_gone("a");
}

// Stored, and of older versions

type Values = Vec<(u64, ByteBuf)>;

fn with(stored: &[Vec<u8>], kind: u8, values: &Values) -> Vec<Vec<u8>> {
    let mut chunks: Vec<Vec<u8>> = stored.iter().filter(|chunk| chunk[0] != kind).cloned().collect();
    chunks.push([&[kind], &rmp_serde::to_vec_named(values).unwrap()[..]].concat());
    chunks
}

#[test]
fn false_errors_and_attempts_are_refused() {
    let mut s = story();
    s.push_all(&["a", "b"]);
    s.claims_as("w", 1, &["a"]).fails_with("a", Retry::Dead, "no disk");
    let stored = save(&s.queue);
    let of = |order: u64, value: &[u8]| vec![(order, ByteBuf::from(value.to_vec()))];
    let error = |bytes: usize| {
        [&[1, 1, 0][..], &[(bytes as u8 & 127) | 128, (bytes >> 7) as u8], &vec![b'e'; bytes]].concat()
    };
    for (kind, right) in [
        (b'x', of(1, b"\x01\x05\x01w\x02no")),
        (b'x', of(1, &b"\x01\x05\x01w\x02no".repeat(10))),
        (b'x', of(1, &error(4096))),
        (b'a', of(0, b"\x05\x05worker")),
        (b'a', of(0, b"\x05\x00")),
    ] {
        load(&with(&stored, kind, &right)).unwrap();
    }
    for (what, kind, lie) in [
        ("an error of nobody", b'x', of(99, b"\x01\x05\x01w\x02no")),
        ("no errors", b'x', of(1, b"")),
        ("an error without a text", b'x', of(1, b"\x01\x05\x01w\x00")),
        ("an error that is cut", b'x', of(1, b"\x01\x05\x01w\x02n")),
        ("an error with more behind it", b'x', of(1, b"\x01\x05\x01w\x02no\x01")),
        ("too many errors", b'x', of(1, &b"\x01\x05\x01w\x02no".repeat(11))),
        ("an error that is too long", b'x', of(1, &error(4097))),
        ("an instant of an error", b'x', of(1, b"\x01\xff\xff\xff\xff\xff\xff\xff\x7f\x01w\x02no")),
        ("an attempt of more than 32 bits", b'x', of(1, b"\xff\xff\xff\xff\x7f\x05\x01w\x02no")),
        ("an attempt on nobody", b'a', of(99, b"\x05\x05")),
        ("an attempt on a waiting task", b'a', of(1, b"\x05\x05")),
        ("an attempt without an instant", b'a', of(0, b"")),
        ("an attempt without a span", b'a', of(0, b"\x05")),
        ("an attempt that ends never", b'a', of(0, b"\x05\xff\xff\xff\xff\xff\xff\xff\x7f")),
        ("a name that is too long", b'a', of(0, &[&[5, 5][..], &[b'w'; 257]].concat())),
    ] {
        assert!(load(&with(&stored, kind, &lie)).is_err(), "{what}");
    }
}

#[test]
fn an_error_of_an_older_version_has_a_text_only() {
    let mut s = story();
    s.push("a");
    fails_as(&mut s, "w", "no disk");
    let mut stored = save(&s.queue);
    stored.retain(|chunk| chunk[0] != b'x');
    let queue = load(&with(&stored, b'e', &vec![(0, ByteBuf::from(b"no disk".to_vec()))])).unwrap();
    let task = queue.task(&s.now, s.id("a")).unwrap();
    let old = TaskError { attempt: 0, at: Millis(0), worker: b"", text: b"no disk" };
    assert_eq!(task.errors.iter().collect::<Vec<_>>(), [old]);
    let again = load(&save(&queue)).unwrap();
    assert_eq!(digest(&again), digest(&queue));
    assert_ne!(digest(&queue), digest(&s.queue), "whose error it is is part of the digest");
    let both = with(&save(&s.queue), b'e', &vec![(0, ByteBuf::from(b"no disk".to_vec()))]);
    assert!(load(&both).is_err(), "an error in both forms");
}

#[test]
fn an_older_claim_forgets_the_progress_of_the_attempt_before() {
    let mut s = story();
    s.push("a").claims("a").requeues_at("a", "half").claims("a");
    let lease = Lease { id: s.id("a"), number: s.number("a"), nonce: 0, lease_ms: 9, deadline: s.in_ms(9) };
    let claim = Event::Claimed { at: s.now.at, worker: b"w", tied: false, leases: vec![lease] };
    let mut effect = Effect::default();
    effect.add(&claim);
    let whole = effect.seal(1, s.now.at, NAME, []);
    assert_eq!(Effect::decode(NAME, whole, &[]).unwrap().events, std::slice::from_ref(&claim));
    let mut bytes = without_checksum(whole);
    bytes[0] = 4;
    let forgets = Event::Extended { id: lease.id, deadline: lease.deadline, progress: Some(b"") };
    assert_eq!(Effect::decode(NAME, &bytes, &[]).unwrap().events, [claim, forgets]);
}

#[test]
fn older_failures_and_requeues_are_read() {
    let id = TaskId { ms: 5, seq: 1 };
    let (then, at) = (Then::Ready(Millis(7)), Millis(0));
    // A version, an event, its end, a number and an instant. Instants are twice their distance from the first one.
    let requeued = [5, 8, 10, 1, 0, 4, 1, 0, 1, 8];
    let event = Event::Requeued { id, then, back: true, progress: None };
    assert_eq!(Effect::decode(NAME, &requeued, &[]).unwrap().events, [event]);
    let failed = [4, 7, 10, 1, 0, 4, 1, b'e', 0, 1, 8];
    let event = Event::Failed { id, then, error: b"e", at, progress: None };
    assert_eq!(Effect::decode(NAME, &failed, &[]).unwrap().events, [event]);
}
