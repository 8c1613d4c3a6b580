//! What bounds memory: remembered requests, which events make the data grow, how much one list shows.

use taskslot_engine::{
    Answer, Catchup, Claim, Cursor, Event, GroupLimits, Handle, LeaseNumber, Limit, NAME_MAX_BYTES, Now,
    Options, Queue, REQUESTS_MAX, REQUESTS_MAX_BYTES, Retry, ScheduleSpec, TaskId, TaskState, Trigger,
};

use crate::copies::{digest, load, save};
use crate::story::{Story, story};

const HANDLE: Handle = Handle { id: TaskId { ms: 1, seq: 1 }, lease: LeaseNumber(1), nonce: 1 };

fn now() -> Now {
    Now::plain(1_000_000)
}

fn remembers(queue: &mut Queue, token: &[u8], answer: Answer) {
    let event = queue.answered(now(), token, answer);
    queue.apply(&event).unwrap();
}

// Remembered requests

#[test]
fn remembered_claims_are_bounded_in_bytes() {
    let mut queue = Queue::new();
    let push = Answer::Pushed { first: HANDLE.id, count: 1 };
    remembers(&mut queue, b"push", push);
    for n in 0..2000 {
        remembers(&mut queue, n.to_string().as_bytes(), Answer::Claimed { handles: vec![HANDLE; 1000] });
        assert!(queue.request_bytes() <= REQUESTS_MAX_BYTES);
    }
    assert!(queue.request_bytes() > REQUESTS_MAX_BYTES * 9 / 10, "as much is remembered as may be");
    assert!(queue.memory() < 2 * REQUESTS_MAX_BYTES as usize);
    assert_eq!(queue.recall_push(now(), b"push"), None, "the oldest is forgotten");
    let loaded = load(&save(&queue)).unwrap();
    assert_eq!((digest(&loaded), loaded.bytes()), (digest(&queue), queue.bytes()));
}

#[test]
fn ten_thousand_pushes_with_the_longest_tokens_are_remembered() {
    let mut queue = Queue::new();
    let token = |n: usize| format!("{n:0>NAME_MAX_BYTES$}");
    for n in 0..REQUESTS_MAX {
        remembers(&mut queue, token(n).as_bytes(), Answer::Pushed { first: HANDLE.id, count: 1 });
    }
    assert_eq!(queue.recall_push(now(), token(0).as_bytes()), Some((HANDLE.id, 1)));
}

#[test]
fn remembered_requests_count_in_bytes_but_not_towards_max_bytes() {
    let mut s = story();
    s.push("a");
    let (before, record_bytes) = (s.queue.bytes(), s.queue.record_bytes());
    remembers(&mut s.queue, b"t", Answer::Claimed { handles: vec![HANDLE; 100] });
    assert!(s.queue.bytes() >= before + 100 * 32);
    assert_eq!(s.queue.record_bytes(), record_bytes);
}

#[test]
fn a_stored_queue_with_too_many_remembered_bytes_forgets_the_oldest() {
    // An older version stored any number of bytes. This imitates it: one chunk per request, with another token in each.
    let mut queue = Queue::new();
    remembers(&mut queue, b"0000", Answer::Claimed { handles: vec![HANDLE; 1000] });
    let mut stored = save(&queue);
    let chunk = stored.pop().unwrap();
    let at = chunk.windows(4).position(|bytes| bytes == b"0000").unwrap();
    for n in 0..400 {
        let mut other = chunk.clone();
        other[at..at + 4].copy_from_slice(format!("{n:04}").as_bytes());
        stored.push(other);
    }
    let loaded = load(&stored).unwrap();
    assert!(loaded.request_bytes() <= REQUESTS_MAX_BYTES);
    assert_eq!(digest(&load(&save(&loaded)).unwrap()), digest(&loaded));
}

// Which events make the data grow

#[test]
fn an_ack_grows_by_a_retained_result_and_frees_the_rest() {
    let mut s = story();
    s.push_all(&["a", "b"]).claims("a").reports("a", "12345").claims("b");
    let ack = |retain_ms, result| s.queue.finish(s.now, &s.handle("a"), retain_ms, result).unwrap();
    assert_eq!(s.queue.growth(&ack(Some(1), Some(b"1234567"))), 2, "in place of its progress");
    assert_eq!(s.queue.growth(&ack(Some(1), Some(b"1"))), -4);
    assert_eq!(s.queue.growth(&ack(Some(1), None)), -5);
    assert!(s.queue.growth(&ack(None, Some(b"a result that nobody keeps"))) < 0);
    assert!(s.queue.growth(&ack(Some(0), Some(b"a result that nobody keeps"))) < 0);
    assert!(s.queue.growth(&ack(None, None)) < 0);
}

#[test]
fn progress_and_errors_grow_by_the_difference() {
    let mut s = story();
    s.push_all(&["a", "b"]).claims("a").fails_with("a", Retry::After(1), "123").passes(1).ticks();
    s.claims_all(2, &["b", "a"]).reports("a", "12345");
    let extend = |progress| s.queue.progress(s.now, &s.handle("a"), None, progress).unwrap();
    assert_eq!(s.queue.growth(&extend(Some(b"1234567"))), 2);
    assert_eq!(s.queue.growth(&extend(Some(b""))), -5);
    assert_eq!(s.queue.growth(&extend(None)), 0);
    let fail = |error| s.queue.fail(s.now, &mut || 0, &s.handle("a"), Retry::Dead, error).unwrap();
    assert_eq!(s.queue.growth(&fail(b"12345")), 2);
    assert_eq!(s.queue.growth(&fail(b"")), -3);
    assert_eq!(s.queue.growth(&fail(&[b'e'; 9000])), 4096 - 3, "as much as is kept");
}

#[test]
fn an_error_grows_by_what_it_takes_the_place_of() {
    let mut s = story();
    s.config("errors-kept", 2).push("a").claims("a").fails_with("a", Retry::After(1), "1234").passes(1);
    let growth = |s: &Story, error: &[u8], progress: Option<&[u8]>| {
        let handle = s.handle("a");
        s.queue.growth(&s.queue.fail_at(s.now, &mut || 0, &handle, Retry::Dead, error, progress).unwrap())
    };
    s.claims("a").reports("a", "12345");
    assert_eq!(growth(&s, b"12", None), 2, "there is room for a second one");
    assert_eq!(growth(&s, b"", None), 0);
    assert_eq!(growth(&s, b"12", Some(b"1")), -2);
    s.fails_with("a", Retry::After(1), "12").passes(1).claims("a");
    assert_eq!(growth(&s, b"123", None), -1, "the first goes");
    s.config("errors-kept", 1);
    assert_eq!(growth(&s, b"123", None), -3, "both go");
    assert_eq!(s.queue.growth(&s.queue.requeue(s.now, &s.handle("a"), None, true).unwrap()), 0);
    let requeue = |progress| s.queue.requeue_at(s.now, &s.handle("a"), None, false, progress).unwrap();
    assert_eq!(s.queue.growth(&requeue(Some(b"1234567"))), 2);
    assert_eq!(s.queue.growth(&requeue(Some(b""))), -5);
}

#[test]
fn a_group_grows_by_its_first_limits_and_a_schedule_by_the_difference() {
    let mut s = story();
    s.push_with("a", None, Options { group: b"known", ..Options::default() });
    let limits = GroupLimits { weight: Some(2), ..GroupLimits::default() };
    let set = s.queue.set_group(b"set", limits).unwrap();
    let plan = |payload| ScheduleSpec {
        timing: Trigger::Every(1000),
        catchup: Catchup::One,
        options: Options::default(),
        payload,
    };
    let schedule = s.queue.schedule(s.now, b"s", plan(b"12345")).unwrap();
    s.apply(&set).apply(&schedule);
    let growth = |name| s.queue.growth(&s.queue.set_group(name, limits).unwrap());
    assert!(growth(b"new") > growth(b"known") && growth(b"known") > 0);
    assert_eq!(growth(b"set"), 0);
    assert!(s.queue.growth(&s.queue.forget_group(b"set").unwrap()) <= 0);
    let growth = |name, payload| s.queue.growth(&s.queue.schedule(s.now, name, plan(payload)).unwrap());
    assert_eq!((growth(b"s", b"12345"), growth(b"s", b"1234567"), growth(b"s", b"123")), (0, 2, -2));
    assert!(growth(b"other", b"") > 0);
    assert!(s.queue.growth(&s.queue.unschedule(b"s").unwrap()) <= 0);
}

#[test]
fn moving_tasks_does_not_grow() {
    let mut s = story();
    s.push_all(&["a", "b"]).claims("a");
    let events = [
        s.queue.requeue(s.now, &s.handle("a"), Some(5), true).unwrap(),
        s.queue.cancel(s.id("a")).unwrap(),
        s.queue.claim(s.now, &mut || 0, &Claim::default()).unwrap().unwrap(),
        Event::Configured { values: vec![("lease", 5)] },
    ];
    assert!(events.iter().all(|event| s.queue.growth(event) <= 0));
}

// How much one list shows

/// How many tasks each call of a list returns, until its cursor is at the end.
fn calls(s: &crate::story::Story, state: TaskState, limit: Limit) -> Vec<usize> {
    let (mut cursor, mut calls, mut seen) = (Cursor::default(), Vec::new(), Vec::new());
    loop {
        let (next, tasks) = s.queue.list(&s.now, state, cursor, limit, None, None);
        calls.push(tasks.len());
        seen.extend(tasks.iter().map(|task| task.id));
        assert!(calls.len() <= 100, "a list without end");
        cursor = next;
        if cursor == Cursor::default() {
            break;
        }
    }
    seen.sort_unstable();
    assert!(seen.is_sorted_by(|a, b| a < b), "each task once");
    assert_eq!(seen.len() as u64, s.queue.count(state));
    calls
}

#[test]
fn a_list_stops_before_its_bytes_and_continues_from_there() {
    let mut s = story();
    let payload = |n: usize| format!("{n}{}", "x".repeat(10_000));
    let names: Vec<String> = (0..7).map(payload).collect();
    for (n, name) in names.iter().enumerate() {
        let due = (n % 2 == 1).then(|| taskslot_engine::Due::Clock(s.in_ms(5000 + n as u64)));
        s.push_with(name, due, Options::default());
    }
    let limit = |bytes, with_payload| Limit { count: 1000, bytes, with_payload };
    assert_eq!(calls(&s, TaskState::Ready, limit(25_000, true)), [2, 2]);
    assert_eq!(calls(&s, TaskState::Delayed, limit(25_000, true)), [2, 1]);
    assert_eq!(calls(&s, TaskState::Ready, limit(1, true)), [1, 1, 1, 1], "at least one");
    assert_eq!(calls(&s, TaskState::Ready, limit(25_000, false)), [4], "what isn't shown doesn't count");
}

#[test]
fn shown_bytes_besides_payloads_count_too() {
    let mut s = story();
    s.push_all(&["a", "b", "c"]);
    let limit = Limit { count: 1000, bytes: 8000, with_payload: false };
    assert_eq!(calls(&s, TaskState::Ready, limit), [3]);
    s.claims_all(3, &["a", "b", "c"]);
    ["a", "b", "c"].iter().for_each(|name| _ = s.reports(name, &"x".repeat(4000)));
    assert_eq!(calls(&s, TaskState::Leased, limit), [1, 1, 1]);
    ["a", "b", "c"].iter().for_each(|name| _ = s.finishes(name, Some(5000), Some(&[b'x'; 3000])));
    assert_eq!(calls(&s, TaskState::Done, limit), [3]);
    assert_eq!(calls(&s, TaskState::Done, Limit { with_payload: true, ..limit }), [2, 1]);
}
