//! ACKs that push the next step: what the push finds free, and that a refused push leaves everything as it was.

use taskslot_engine::{
    After, Event, GroupLimits, Hold, OnDead, Options, Push, Refusal, TaskId, TaskState, When,
};

use crate::story::{Story, story, unique};

/// Finishes a task and pushes its next step, or refuses both.
fn step(
    s: &mut Story,
    name: &str,
    retain_ms: Option<u64>,
    next: &str,
    options: Options,
) -> Result<(), Refusal> {
    let acked = s.queue.finish(s.now, &s.handle(name), retain_ms, None)?;
    let payloads: [&[u8]; 1] = [next.as_bytes()];
    let pushed = s.queue.push_next(s.now, &Push { due: None, options, payloads: &payloads }, &acked)?;
    s.apply(&acked);
    while let Some(room) = s.queue.make_room(&pushed) {
        s.apply(&room);
    }
    s.apply(&pushed);
    Ok(())
}

fn grouped(group: &str) -> Options<'_> {
    Options { group: group.as_bytes(), ..Options::default() }
}

#[test]
fn a_step_finds_the_room_of_the_task_before_it_in_a_full_queue() {
    let mut s = story();
    s.push_all(&["a", "b"]).config("max-len", 2).claims("a");
    assert_eq!(s.try_push("c", None, Options::default()), Err(Refusal::FullLen));
    step(&mut s, "a", None, "a2", Options::default()).unwrap();
    s.claims("b");
    step(&mut s, "b", Some(1000), "b2", Options::default()).unwrap();
    assert_eq!((s.queue.len(), s.queue.count(TaskState::Done)), (2, 1));
}

#[test]
fn a_task_that_died_leaves_no_room_because_it_took_none() {
    let mut s = story();
    s.config("stalls", 1).push("a").claims("a").passes(30_000);
    assert_eq!(s.queue.count(TaskState::Dead), 1);
    s.push("b").config("max-len", 1);
    assert_eq!(step(&mut s, "a", None, "a2", Options::default()), Err(Refusal::FullLen));
    assert_eq!(s.queue.count(TaskState::Dead), 1, "the refused step has not finished it");
}

#[test]
fn a_step_finds_the_bytes_of_the_task_before_it() {
    let mut s = story();
    let long = "x".repeat(500);
    s.push_with("a", None, Options { retain_ms: Some(60_000), ..Options::default() });
    s.push(&long).claims_all(2, &["a", &long]);
    let full = i64::try_from(s.queue.record_bytes()).unwrap();
    s.config("max-bytes", full);
    let longer = "y".repeat(600);
    assert_eq!(step(&mut s, &long, None, &longer, Options::default()), Err(Refusal::FullBytes));
    assert_eq!(s.queue.count(TaskState::Leased), 2, "nothing has changed");
    // Of a retained task the bytes stay until a push needs them.
    step(&mut s, &long, Some(60_000), &long, Options::default()).unwrap();
    assert_eq!((s.queue.count(TaskState::Done), s.queue.count(TaskState::Ready)), (0, 1));
    // What it had reported goes with it.
    let mut s = story();
    s.push("a").claims("a").reports("a", &"z".repeat(100));
    let full = i64::try_from(s.queue.record_bytes()).unwrap();
    s.config("max-bytes", full);
    step(&mut s, "a", None, &"y".repeat(101), Options::default()).unwrap();
}

#[test]
fn a_step_takes_the_token_of_the_task_before_it_unless_that_keeps_it() {
    let mut s = story();
    s.push_unique("a", "t", Hold::End).config("tokens-max", 1).claims("a");
    step(&mut s, "a", None, "a2", unique("t", Hold::End)).unwrap();
    assert_eq!(s.try_push("?", None, unique("u", Hold::End)), Err(Refusal::FullTokens));
    let holder = s.queue.holder(s.now.at, b"t").unwrap();
    assert_eq!(s.queue.task(&s.now, holder).unwrap().payload, b"a2");
    // Another token, in the place of this one.
    s.claims_all(1, &["a2"]);
    step(&mut s, "a2", None, "a3", unique("u", Hold::End)).unwrap();
    assert_eq!(s.queue.holder(s.now.at, b"t"), None);

    let mut s = story();
    s.push_unique("a", "t", Hold::Exactly(s.in_ms(5000))).claims("a");
    let held = Err(Refusal::Held(s.id("a")));
    assert_eq!(step(&mut s, "a", None, "a2", unique("t", Hold::End)), held);
}

#[test]
fn a_task_that_keeps_its_token_is_not_replaced_by_its_own_step() {
    let mut s = story();
    s.push_unique("a", "t", Hold::Exactly(s.in_ms(60_000))).claims("a").passes(30_000);
    assert_eq!(s.queue.count(TaskState::Ready), 1, "it stalled");
    let acked = s.queue.ack(s.now, &s.handle("a")).unwrap();
    let replaced = s.queue.replace_next(s.now, s.id("a"), (b"", b"new"), &acked);
    assert_eq!(replaced, Ok(None));
    assert!(matches!(s.queue.replace(s.id("a"), b"", b"new"), Ok(Some(Event::Replaced { .. }))));
}

#[test]
fn a_step_goes_into_the_group_of_the_task_before_it_or_takes_its_place() {
    let mut s = story();
    s.push_with("a", None, grouped("g")).config("groups-max", 1).claims("a");
    assert_eq!(s.try_push("?", None, grouped("h")), Err(Refusal::FullGroups));
    step(&mut s, "a", None, "a2", grouped("g")).unwrap();
    s.claims_all(1, &["a2"]);
    // The group g goes with its last task, unless that is retained or the group has limits.
    assert_eq!(step(&mut s, "a2", Some(1000), "a3", grouped("h")), Err(Refusal::FullGroups));
    step(&mut s, "a2", None, "a3", grouped("h")).unwrap();
    s.claims_all(1, &["a3"]);
    let event = s.queue.set_group(b"h", GroupLimits { weight: Some(2), ..GroupLimits::default() }).unwrap();
    s.apply(&event);
    assert_eq!(step(&mut s, "a3", None, "a4", grouped("g")), Err(Refusal::FullGroups));
    s.config("groups-max", 0);
    step(&mut s, "a3", None, "a4", grouped("h")).unwrap();
}

#[test]
fn a_step_grows_the_data_unless_it_is_smaller_than_the_task_before_it() {
    let mut s = story();
    let long = "x".repeat(500);
    s.push(&long).claims_all(1, &[&long]);
    let growth = |s: &Story, retain_ms, next: &[u8]| {
        let acked = s.queue.finish(s.now, &s.handle(&long), retain_ms, None).unwrap();
        let push = Push { due: None, options: Options::default(), payloads: &[next] };
        let pushed = s.queue.push_next(s.now, &push, &acked).unwrap();
        s.queue.growth_of_step(&acked, &pushed)
    };
    assert!(growth(&s, None, b"short") < 0);
    assert!(growth(&s, None, long.as_bytes()) > 0);
    assert!(growth(&s, Some(1000), b"short") > 0);
}

#[test]
fn a_step_into_the_batch_of_its_task_keeps_the_batch_open() {
    let mut s = story();
    let callback = Push { due: None, options: Options::default(), payloads: &[b"callback"] };
    let opened = s.queue.open_batch(s.now, b"b", When::Now, &callback).unwrap().unwrap();
    s.apply(&opened);
    let of_batch = Options { batch: b"b", ..Options::default() };
    s.push_with("a", None, of_batch);
    let closed = s.queue.close_batch(s.now, b"b").unwrap().unwrap();
    s.apply(&closed);
    s.claims("a");
    step(&mut s, "a", None, "a2", of_batch).unwrap();
    assert!(!s.queue.has_news(), "the callback still waits");
    s.claims_all(1, &["a2"]).acks("a2");
    assert!(s.queue.has_news(), "nothing is left in the batch");
    assert_eq!(s.try_push("?", None, of_batch), Err(Refusal::ClosedBatch));
}

fn waits_for(parents: &[TaskId]) -> After<'_> {
    After { parents, when: When::Now, on_dead: OnDead::Wait }
}

#[test]
fn a_step_that_waits_for_its_own_task_does_not_wait() {
    let mut s = story();
    s.push_all(&["a", "b"]).claims("a");
    let acked = s.queue.ack(s.now, &s.handle("a")).unwrap();
    let push = Push { due: None, options: Options::default(), payloads: &[b"next"] };
    let (a, b) = (s.id("a"), s.id("b"));
    for (after, state) in [(vec![a], TaskState::Ready), (vec![b, a], TaskState::Held)] {
        let mut queue = s.queue.clone();
        let pushed = queue
            .push_next_after(
                s.now,
                &push,
                &After { parents: &after, on_dead: OnDead::Wait, when: When::Now },
                &acked,
            )
            .unwrap();
        assert!(queue.growth_of_step(&acked, &pushed) > 0);
        let before = queue.count(state);
        queue.apply(&acked).unwrap();
        queue.apply(&pushed).unwrap();
        queue.validate().unwrap();
        assert_eq!(queue.count(state), before + 1);
    }
    let never = TaskId { ms: u64::MAX, seq: 0 };
    let pushed = s.queue.push_next_after(s.now, &push, &waits_for(&[never]), &acked);
    assert_eq!(pushed.err(), Some(Refusal::NeverPushed));
}
