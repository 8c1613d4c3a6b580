//! What is kept of finished tasks: how long they are retained, their results, and the progress of attempts.

use serde_bytes::ByteBuf;
use taskslot_engine::edges::STEP_TASKS;
use taskslot_engine::{
    Claim, Event, Millis, NUMBER_MAX, Options, Outcome, Queue, RESULT_MAX_BYTES, Refusal, Retry, SPAN_MAX_MS,
    TaskId, TaskState,
};

use crate::copies::{digest, load, save};
use crate::story::{Story, story};

fn keeps(retain_ms: u64) -> Options<'static> {
    Options { retain_ms: Some(retain_ms), ..Options::default() }
}

/// A queue in which these tasks are done, each a millisecond after the previous one, and retained for a minute.
fn done(names: &[&str]) -> Story {
    let mut s = story();
    s.push_all(names);
    for name in names {
        s.claims(name).finishes(name, Some(60_000), Some(b"result")).passes(1);
    }
    s
}

// How long

#[test]
fn an_acked_task_is_removed_unless_it_is_retained() {
    story().push("a").claims("a").acks("a").is_gone("a").total(|t| t.forgotten, 0);
    story().push("a").claims("a").finishes("a", None, Some(b"result")).is_gone("a").total(|t| t.acked, 1);
}

#[test]
fn retain_comes_from_the_ack_or_the_push_or_the_queue() {
    let mut s = story();
    s.config("retain", 70).push("queue").push_with("push", None, keeps(50)).push_with("ack", None, keeps(50));
    s.push_with("none", None, keeps(0)).push("zero").claims_all(5, &["queue", "push", "ack", "none", "zero"]);
    s.acks("queue").is_done("queue", None, 70);
    s.acks("push").is_done("push", None, 50);
    s.finishes("ack", Some(30), None).is_done("ack", None, 30);
    s.acks("none").is_gone("none");
    s.finishes("zero", Some(0), Some(b"lost")).is_gone("zero");
}

#[test]
fn a_retention_is_fixed_when_the_task_is_done() {
    let mut s = story();
    s.config("retain", 70).push("a").claims("a").acks("a").config("retain", 5).is_done("a", None, 70);
}

#[test]
fn a_done_task_is_removed_after_its_retention() {
    let mut s = done(&[]);
    s.push("a").claims("a").finishes("a", Some(100), Some(b"r")).next_due_in(Some(100)).passes(99);
    s.is_done("a", Some(b"r"), 1).passes(1).is_gone("a").passes(30_000).next_due_in(None);
    s.total(|t| t.forgotten, 1).total(|t| t.acked, 1).total(|t| t.dropped, 0);
    assert_eq!(s.queue.record_bytes(), 0);
}

#[test]
fn the_longest_retention_is_kept_to_the_millisecond() {
    let mut s = story();
    s.push("a").claims("a").finishes("a", Some(SPAN_MAX_MS as u64), None);
    s.is_done("a", None, SPAN_MAX_MS as u64).passes(SPAN_MAX_MS as u64 - 1).is_done("a", None, 1);
    s.passes(1).is_gone("a");
}

#[test]
fn a_late_ack_is_retained_like_any_other() {
    let mut s = story();
    s.push("a").claims_for("a", 10).passes(10).is_ready("a").finishes("a", Some(9), Some(b"late"));
    s.is_done("a", Some(b"late"), 9).total(|t| t.late, 1).claims_nothing();
}

#[test]
fn a_cancelled_task_that_is_acked_is_done() {
    let mut s = story();
    s.push("a").claims("a").cancels("a").finishes("a", Some(9), None).is_done("a", None, 9);
}

// How many

#[test]
fn the_oldest_done_tasks_are_removed_when_there_are_too_many() {
    let mut s = done(&["a", "b", "c"]);
    s.lists(TaskState::Done, &["a", "b", "c"]).config("retain-max", 2).next_due_in(Some(0)).ticks();
    s.lists(TaskState::Done, &["b", "c"]).total(|t| t.forgotten, 1);
    s.config("retain-max", 0).ticks().lists(TaskState::Done, &[]).passes(30_000).next_due_in(None);
    s.push("d").claims("d").finishes("d", Some(5), None).ticks().is_gone("d");
}

#[test]
fn the_oldest_is_the_one_done_first_whatever_its_retention() {
    let mut s = story();
    s.push_all(&["long", "short"]).claims_all(2, &["long", "short"]);
    s.finishes("long", Some(1000), None).passes(1).finishes("short", Some(10), None);
    s.config("retain-max", 1).ticks().lists(TaskState::Done, &["short"]);
}

#[test]
fn done_tasks_count_neither_for_len_nor_for_max_len() {
    let mut s = done(&["a", "b"]);
    s.config("max-len", 1).push("c");
    assert_eq!((s.queue.len(), s.queue.count(TaskState::Done)), (1, 2));
    s.claims("c").finishes("c", Some(50_000), None);
    assert!(s.queue.is_empty());
}

#[test]
fn thousands_are_removed_in_bounded_steps() {
    let mut s = story();
    let names: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    let mut queue = Queue::new();
    for name in &names {
        let push = taskslot_engine::Push { due: None, options: keeps(10), payloads: &[name.as_bytes()] };
        let event = queue.push(s.now, &push).unwrap();
        queue.apply(&event).unwrap();
    }
    let noack = Claim { count: 1000, ..Claim::default() };
    let event = queue.claim(s.now, &mut || 0, &noack).unwrap().unwrap();
    queue.apply(&event).unwrap();
    let Event::Claimed { leases, .. } = event else { panic!() };
    for lease in &leases {
        let event = queue.ack(s.now, &lease.handle()).unwrap();
        queue.apply(&event).unwrap();
    }
    s.clock_shows(10);
    let (mut steps, mut pages) = (0, usize::MAX);
    while let Some(event) = queue.tick(s.now, &mut || 0, &mut pages) {
        assert!(matches!(&event, Event::Forgotten { ids } if ids.len() <= STEP_TASKS));
        queue.apply(&event).unwrap();
        steps += 1;
    }
    assert_eq!(
        (steps, queue.count(TaskState::Done), queue.record_bytes()),
        (1000_usize.div_ceil(STEP_TASKS), 0, 0)
    );
    queue.validate().unwrap();
}

// How many bytes

#[test]
fn done_tasks_never_cause_a_push_to_be_refused() {
    let mut s = done(&["a", "b", "c"]);
    let bytes = s.queue.record_bytes() as i64;
    // There is room for one more byte, so a push of two bytes removes the oldest done task.
    s.config("max-bytes", bytes + 1).push("dd").lists(TaskState::Done, &["b", "c"]);
    s.config("max-bytes", 40).ticks().push("0123456789012345678901234").lists(TaskState::Done, &[]);
    s.total(|t| t.forgotten, 3);
}

#[test]
fn a_refused_push_removes_no_done_task() {
    let mut s = done(&["a", "b"]);
    s.push("c").config("max-bytes", 60).ticks().lists(TaskState::Done, &["a", "b"]);
    assert_eq!(s.try_push(&"x".repeat(60), None, Options::default()), Err(Refusal::FullBytes));
    s.lists(TaskState::Done, &["a", "b"]);
}

#[test]
fn results_and_progress_are_bytes_of_the_queue() {
    let mut s = story();
    s.push("a").claims("a");
    let bare = s.queue.record_bytes();
    s.reports("a", "half");
    assert_eq!(s.queue.record_bytes(), bare + 4);
    s.finishes("a", Some(9), Some(&[0; 700]));
    assert_eq!(s.queue.record_bytes(), bare + 700, "a done task is on its way no longer");
    assert!(s.queue.memory() > 700);
}

#[test]
fn the_oldest_done_tasks_are_removed_while_there_are_too_many_bytes() {
    let mut s = done(&["a", "b"]);
    let bytes = s.push("c").claims("c").queue.record_bytes() as i64;
    s.config("max-bytes", bytes + 50);
    s.finishes("c", Some(60_000), Some(&[1; 70])).next_due_in(Some(0)).ticks();
    assert!(s.queue.count(TaskState::Done) < 3 && s.queue.task(&s.now, s.id("a")).is_none());
    s.config("max-bytes", 0).ticks().lists(TaskState::Done, &[]).passes(30_000).next_due_in(None);
}

// Results

#[test]
fn an_empty_result_is_a_result() {
    let mut s = story();
    s.push_all(&["a", "b"]).claims_all(2, &["a", "b"]);
    s.finishes("a", Some(9), Some(b""))
        .finishes("b", Some(9), None)
        .is_done("a", Some(b""), 9)
        .is_done("b", None, 9);
}

#[test]
fn a_done_task_accepts_no_more_answers() {
    let mut s = done(&["a"]);
    let gone = Refusal::Gone;
    s.cannot_ack("a", gone).cannot_fail("a", gone).cannot_requeue("a", gone).cannot_extend("a", gone);
    assert_eq!(s.queue.cancel(s.id("a")), Err(Refusal::Gone));
    assert_eq!(s.queue.retry(s.now, &[s.id("a")]), None);
    assert_eq!(s.queue.retry_oldest(s.now, 9), None);
    assert_eq!(s.queue.unclaim(s.now, &s.handle("a")), None);
    s.claims_nothing();
}

#[test]
fn a_copy_keeps_done_tasks() {
    let mut s = done(&["a"]);
    s.push("b").claims("b").reports("b", "half");
    let copy = s.queue.copied().unwrap();
    copy.validate().unwrap();
    let task = copy.task(&s.now, s.id("a")).unwrap();
    assert_eq!((task.state, task.result), (TaskState::Done, Some(&b"result"[..])));
    assert_eq!(copy.task(&s.now, s.id("b")).unwrap().progress, b"half");
}

#[test]
fn a_dead_task_keeps_its_error_and_a_done_one_its_last() {
    let mut s = story();
    s.push("a").claims("a").fails_with("a", Retry::After(1), "first").passes(1).claims("a");
    s.finishes("a", Some(9), Some(b"r"));
    assert_eq!(s.task("a").error(), b"first");
}

// Progress

#[test]
fn progress_is_replaced_by_the_next_and_removed_by_an_empty_one() {
    let mut s = story();
    s.push("a").claims("a").reports("a", "one").reports("a", "two").has_progress("a", "two");
    s.extends("a", None, 30_000).has_progress("a", "two").reports("a", "").has_progress("a", "");
    assert_eq!(s.queue.record_bytes(), story().push("a").queue.record_bytes());
}

#[test]
fn progress_stays_until_the_end() {
    let mut s = story();
    s.push("a").claims_for("a", 10).reports("a", "half").passes(10).is_ready("a").has_progress("a", "half");
    s.claims("a").has_progress("a", "half").unclaims("a").has_progress("a", "half").claims("a");
    s.reports("a", "more").fails_with("a", Retry::Dead, "").is_dead("a").has_progress("a", "more");
    s.retries(&["a"]).has_progress("a", "more").claims("a").has_progress("a", "more").reloads();
    s.requeues("a").claims("a").has_progress("a", "more").finishes("a", Some(9), None).has_progress("a", "");
}

#[test]
fn a_fail_and_a_requeue_say_how_far_the_task_has_got() {
    let mut s = story();
    s.push("a").claims("a").requeues_at("a", "step=1").is_ready("a").has_progress("a", "step=1");
    s.claims("a").fails_at("a", "no net", "step=2").has_progress("a", "step=2").passes(1);
    s.claims("a").fails_with("a", Retry::After(1), "").has_progress("a", "step=2").passes(1);
    s.claims("a").requeues_at("a", "").has_progress("a", "");
    assert_eq!(s.queue.record_bytes(), story().push("a").queue.record_bytes());
}

#[test]
fn a_task_that_is_given_up_while_it_is_to_be_cancelled_leaves_no_progress() {
    let mut s = story();
    s.push_all(&["a", "b"]).claims("a").claims("b").cancels("a").cancels("b");
    s.fails_at("a", "e", "half").is_gone("a").requeues_at("b", "half").is_gone("b");
    assert_eq!(s.queue.record_bytes(), 0);
}

#[test]
fn the_next_attempt_is_given_the_progress_of_the_one_before() {
    let mut s = story();
    s.push("a").claims("a");
    assert_eq!(s.queue.given(s.id("a")).unwrap().progress, b"");
    s.requeues_at("a", "step=1").claims("a");
    assert_eq!(s.queue.given(s.id("a")).unwrap().progress, b"step=1");
}

#[test]
fn a_removed_task_leaves_no_progress() {
    let mut s = story();
    s.push("a").claims("a").reports("a", "half").cancels("a").fails("a").is_gone("a");
    assert_eq!(s.queue.record_bytes(), 0);
}

// Ends

fn ends(event: &Event) -> Vec<(TaskId, &'static str)> {
    let mut ends = Vec::new();
    event.changes().outcomes(&mut |id, outcome| ends.push((id, outcome.name())));
    ends
}

#[test]
fn an_event_lists_the_tasks_it_ends() {
    let mut s = story();
    s.push_all(&["a", "b"]).claims_for("a", 10).config("stalls", 1);
    let (a, b) = (s.id("a"), s.id("b"));
    let event = s.queue.finish(s.now, &s.handle("a"), None, Some(b"r")).unwrap();
    let mut ended = None;
    event.changes().outcomes(&mut |id, outcome| ended = Some((id, outcome)));
    assert_eq!(ended, Some((a, Outcome::Done(Some(b"r")))), "also where nothing is kept");
    let fail = |retry| s.queue.fail(s.now, &mut || 0, &s.handle("a"), retry, b"e").unwrap();
    assert_eq!(ends(&fail(Retry::Dead)), [(a, "dead")]);
    assert_eq!(ends(&fail(Retry::Backoff)), []);
    assert_eq!(ends(&s.queue.cancel(b).unwrap()), [(b, "cancelled")]);
    assert_eq!(ends(&s.queue.cancel(a).unwrap()), []);
    assert_eq!(ends(&Event::Purged { ids: vec![b] }), [(b, "purged")]);
    assert_eq!(ends(&Event::Taken { ids: vec![b], at: Millis(1) }), [(b, "done")]);
    s.clock_shows(10);
    let mut pages = 9;
    assert_eq!(ends(&s.queue.tick(s.now, &mut || 0, &mut pages).unwrap()), [(a, "dead")]);
    s.cancels("a");
    assert_eq!(ends(&s.queue.tick(s.now, &mut || 0, &mut pages).unwrap()), [(a, "cancelled")]);
}

// Stored

/// The decoded contents of a chunk.
fn values(chunk: &[u8]) -> Vec<(u64, ByteBuf)> {
    rmp_serde::from_slice(&chunk[1..]).unwrap()
}

fn with(stored: &[Vec<u8>], kind: u8, values: &[(u64, ByteBuf)]) -> Vec<Vec<u8>> {
    let mut chunks: Vec<Vec<u8>> = stored.iter().filter(|chunk| chunk[0] != kind).cloned().collect();
    chunks.push([&[kind], &rmp_serde::to_vec_named(values).unwrap()[..]].concat());
    chunks
}

#[test]
fn false_results_and_progress_are_refused() {
    let mut s = done(&["a", "b"]);
    s.push_all(&["c", "d"]).claims_all(1, &["c"]).reports("c", "half");
    let stored = save(&s.queue);
    assert_eq!(digest(&load(&stored).unwrap()), digest(&s.queue));
    let find = |kind| values(stored.iter().find(|chunk| chunk[0] == kind).unwrap());
    let (results, progress) = (find(b'd'), find(b'w'));
    assert_eq!((results.len(), progress.len()), (2, 1));
    let of = |order: u64, bytes: usize| vec![(order, ByteBuf::from(vec![1; bytes]))];
    let (kept, leased) = (results[0].0, progress[0].0);
    for (kind, right) in [(b'd', of(kept, RESULT_MAX_BYTES)), (b'w', of(leased, 4096)), (b'd', of(kept, 0))] {
        load(&with(&stored, kind, &right)).unwrap();
    }
    for (what, kind, lie) in [
        ("a result of nobody", b'd', of(99, 1)),
        ("a result of a leased task", b'd', of(leased, 1)),
        ("a result of a ready task", b'd', of(leased + 1, 1)),
        ("a result that is too long", b'd', of(kept, RESULT_MAX_BYTES + 1)),
        ("two results of a task", b'd', [of(kept, 1), of(kept, 2)].concat()),
        ("a progress of nobody", b'w', of(99, 1)),
        ("a progress of a done task", b'w', of(kept, 1)),
        ("a progress of a task never leased", b'w', of(leased + 1, 1)),
        ("an empty progress", b'w', of(leased, 0)),
        ("a progress that is too long", b'w', of(leased, 4097)),
    ] {
        assert!(load(&with(&stored, kind, &lie)).is_err(), "{what}");
    }
}

#[test]
fn an_unused_total_is_not_stored() {
    let stored = |s: &Story| save(&s.queue)[0].windows(9).any(|word| word == b"forgotten");
    let mut s = done(&["a"]);
    assert!(!stored(&s));
    assert!(stored(s.passes(60_000)));
    assert_eq!(load(&save(&s.queue)).unwrap().totals().forgotten, 1);
}

#[test]
fn a_retention_has_the_bounds_of_a_span() {
    let mut s = story();
    for retain_ms in [0, 1, SPAN_MAX_MS as u64] {
        s.push_with("a", None, keeps(retain_ms));
        assert_eq!(
            load(&save(&s.queue)).unwrap().task(&s.now, s.id("a")).unwrap().options.retain_ms,
            Some(retain_ms)
        );
    }
    let push = |retain_ms| taskslot_engine::Push { due: None, options: keeps(retain_ms), payloads: &[b"x"] };
    for retain_ms in [SPAN_MAX_MS as u64 + 1, NUMBER_MAX as u64, u64::MAX] {
        let event = s.queue.push(s.now, &push(retain_ms)).unwrap();
        assert!(s.queue.clone().apply(&event).is_err());
    }
}
