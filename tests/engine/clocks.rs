//! Time and what depends on it: corrections of the wall clock, grace, TIED leases, requests sent again, copies.

use taskslot_engine::edges::STEP_TASKS;
use taskslot_engine::{
    Answer, Claim, Cursor, Due, Event, Millis, Now, Options, Push, Queue, REQUESTS_MAX, Refusal, Retry,
    TaskId, TaskState,
};

use crate::copies::{digest, load, save};
use crate::story::{START, Story, story};

fn push_at(s: &mut Story, name: &str, wall: u64) {
    s.push_with(name, Some(Due::Wall(Millis(wall))), Options::default());
}

#[test]
fn an_instant_of_the_wall_clock_follows_its_corrections() {
    let mut s = story();
    push_at(&mut s, "a", START + 1000);
    s.push_delayed("span", 1000).wall_jumps(400).is_delayed("a", 600).is_delayed("span", 1000);
    s.next_due_in(Some(600)).lists(TaskState::Delayed, &["a", "span"]);
    s.wall_jumps(-900)
        .is_delayed("a", 1500)
        .next_due_in(Some(1000))
        .lists(TaskState::Delayed, &["span", "a"]);
    s.passes(1000).is_ready("span").is_delayed("a", 500).passes(500).is_ready("a");
}

#[test]
fn an_instant_that_has_passed_is_due_at_once() {
    let mut s = story();
    push_at(&mut s, "a", 0);
    s.next_due_in(Some(0)).ticks().claims("a");
}

#[test]
fn an_instant_beyond_the_last_becomes_the_last() {
    let mut s = story();
    push_at(&mut s, "a", u64::MAX);
    s.push_with("b", Some(Due::Clock(Millis(u64::MAX))), Options::default());
    assert_eq!([s.task("a").instant, s.task("b").instant], [Millis::MAX, Millis::MAX]);
    s.passes(1 << 40).lists(TaskState::Delayed, &["a", "b"]);
}

#[test]
fn a_lease_that_ends_while_the_server_is_stalled_gets_that_time_again() {
    let mut s = story();
    s.push_all(&["a", "b"]).claims_for("a", 1000).claims_for("b", 1000).stands_still(3000);
    s.is_leased("a").extends("a", None, 1000).passes(2999).is_leased("b").passes(1).is_ready("b");
}

#[test]
fn a_late_ack_in_a_grace_is_not_late() {
    story().push("a").claims_for("a", 1000).stands_still(3000).acks("a").total(|t| t.late, 0);
    story().push("a").claims_for("a", 1000).clock_shows(3000).acks("a").total(|t| t.late, 1);
}

#[test]
fn a_grace_spares_only_what_ended_in_it() {
    let mut s = story();
    s.push_all(&["before", "after"]).claims_for("before", 10).clock_shows(10).claims_for("after", 3100);
    s.stands_still(3000).is_ready("before").is_leased("after").passes(100).is_ready("after");
}

#[test]
fn other_due_work_does_not_wait_for_a_grace() {
    let mut s = story();
    let names: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    names.iter().for_each(|name| _ = s.push(name));
    s.claim(&Claim { count: 1000, lease_ms: Some(1000), ..Claim::default() });
    s.push_delayed("due", 2000).clock_shows(3000);
    let (from, to) = (Millis(START), s.now.at);
    s.now.grace = Some(taskslot_engine::Grace { from, to, until: to.plus(3000) });
    let mut pages = 4;
    while let Some(event) = s.queue.tick(s.now, &mut || 0, &mut pages) {
        s.apply(&event);
    }
    s.is_ready("due").is_leased("7");
}

#[test]
fn a_tick_moves_no_more_than_its_pages() {
    let mut s = story();
    (0..1000).for_each(|n| _ = s.push_delayed(&n.to_string(), 10));
    s.clock_shows(10);
    let mut pages = 2;
    while let Some(event) = s.queue.tick(s.now, &mut || 0, &mut pages) {
        s.apply(&event);
    }
    assert_eq!((pages, s.queue.count(TaskState::Ready)), (0, 2 * STEP_TASKS as u64));
    assert_eq!(s.queue.tick(s.now, &mut || 0, &mut pages), None);
}

#[test]
fn there_is_nothing_due_in_a_quiet_queue() {
    story()
        .next_due_in(None)
        .push("a")
        .next_due_in(None)
        .claims("a")
        .next_due_in(Some(30_000))
        .acks("a")
        .passes(30_000)
        .next_due_in(None);
}

#[test]
fn extended_leases_are_examined_once() {
    let mut s = story();
    s.push("a").claims_for("a", 100).passes(50).extends("a", None, 100).next_due_in(Some(50)).passes(50);
    s.next_due_in(Some(50)).is_leased("a").passes(50).is_ready("a");
}

fn claims_tied(s: &mut Story, holder: u64, name: &str) {
    assert_eq!(s.claim(&Claim { tied: true, ..Claim::default() }), [name]);
    s.queue.tie(holder, s.id(name));
}

#[test]
fn a_tied_lease_stalls_when_its_connection_closes() {
    let mut s = story();
    s.push_all(&["a", "b", "c"]);
    claims_tied(&mut s, 1, "a");
    claims_tied(&mut s, 2, "b");
    s.claims("c").closes(1).is_ready("a").counts("a", [1, 0, 1]).is_leased("b").is_leased("c").closes(1);
    assert_eq!(s.queue.holders().collect::<Vec<_>>(), [2]);
    s.acks("b").closes(2).total(|t| t.stalled, 1);
    assert_eq!(s.queue.holders().count(), 0);
}

#[test]
fn a_lease_that_ended_is_not_tied_to_a_connection_any_more() {
    let mut s = story();
    s.push("a");
    claims_tied(&mut s, 1, "a");
    s.passes(30_000).claims("a").closes(1).is_leased("a");
    assert_eq!(s.queue.abandon(s.now, &mut || 0, TaskId::default()), None);
}

#[test]
fn a_push_sent_again_within_five_minutes_gets_the_same_reply() {
    let mut s = story();
    s.push("a");
    let answer = Answer::Pushed { first: s.id("a"), count: 1 };
    let event = s.queue.answered(s.now, b"token", answer);
    s.apply(&event).passes(299_999);
    assert_eq!(s.queue.recall_push(s.now, b"token"), Some((s.id("a"), 1)));
    assert_eq!(s.queue.recall_push(s.now, b"other"), None);
    assert_eq!(s.queue.recall_claim(s.now, b"token"), None);
    s.passes(1);
    assert_eq!(s.queue.recall_push(s.now, b"token"), None);
}

#[test]
fn a_claim_sent_again_gets_the_tasks_that_are_still_leased() {
    let mut s = story();
    s.push_all(&["a", "b"]);
    s.claim(&Claim { count: 2, lease_ms: Some(400_000), ..Claim::default() });
    let handles = vec![s.handle("a"), s.handle("b")];
    let event = s.queue.answered(s.now, b"token", Answer::Claimed { handles: handles.clone() });
    s.apply(&event);
    assert_eq!(s.queue.recall_claim(s.now, b"token"), Some(handles.clone()));
    s.acks("a").passes(399_999);
    assert_eq!(s.queue.recall_claim(s.now, b"token"), Some(vec![handles[1]]), "longer than five minutes");
    s.passes(1);
    assert_eq!(s.queue.recall_claim(s.now, b"token"), None);
    assert_eq!(s.queue.recall_push(s.now, b"token"), None);
}

#[test]
fn a_push_and_a_claim_can_have_the_same_token() {
    let mut s = story();
    s.push("a").claims("a");
    for answer in
        [Answer::Pushed { first: s.id("a"), count: 1 }, Answer::Claimed { handles: vec![s.handle("a")] }]
    {
        let event = s.queue.answered(s.now, b"token", answer);
        s.apply(&event);
    }
    assert_eq!(s.queue.recall_push(s.now, b"token"), Some((s.id("a"), 1)));
    assert_eq!(s.queue.recall_claim(s.now, b"token"), Some(vec![s.handle("a")]));
    assert_eq!(digest(&load(&save(&s.queue)).unwrap()), digest(&s.queue));
}

#[test]
fn at_most_ten_thousand_tokens_are_remembered() {
    let mut queue = Queue::new();
    let now = Now::plain(START);
    let answer = Answer::Pushed { first: TaskId { ms: 1, seq: 0 }, count: 1 };
    for n in 0..REQUESTS_MAX + 5 {
        let token = n.to_string();
        let event = queue.answered(now, token.as_bytes(), answer.clone());
        queue.apply(&event).unwrap();
    }
    // A repeated request becomes the youngest, and takes no second entry.
    let event = queue.answered(now, b"5", answer.clone());
    queue.apply(&event).unwrap();
    let known = |queue: &Queue, n: usize| queue.recall_push(now, n.to_string().as_bytes()).is_some();
    assert!(!known(&queue, 4) && known(&queue, 5) && known(&queue, REQUESTS_MAX + 4));
    let loaded = load(&save(&queue)).unwrap();
    assert_eq!(digest(&loaded), digest(&queue));
    // Expired ones are forgotten with the next request.
    let later = Now::plain(START + 300_000);
    let event = queue.answered(later, b"new", answer);
    queue.apply(&event).unwrap();
    assert!(queue.memory() < 10_000, "{} bytes stay", queue.memory());
}

#[test]
fn a_copy_holds_no_leases() {
    let mut s = story();
    s.push_all(&["a", "b", "c", "d"]).claims("a").claims("b").claims("c").cancels("c").passes(10);
    s.fails_with("b", Retry::Dead, "x");
    let mut copy = s.queue.copied().unwrap();
    copy.validate().unwrap();
    assert_eq!(TaskState::ALL.map(|state| copy.count(state)), [2, 0, 0, 0, 1, 0]);
    assert_eq!(copy.task(&s.now, s.id("a")).unwrap().instant, Millis(START), "ready since its claim");
    assert_eq!(copy.task(&s.now, s.id("c")).map(|_| ()), None, "it was to be cancelled");
    assert_eq!(copy.ack(s.now, &s.handle("a")), Err(Refusal::Stale), "the lease is the original's");
    let event = copy.claim(s.now, &mut || 0, &Claim { count: 9, ..Claim::default() }).unwrap().unwrap();
    let Event::Claimed { leases, .. } = &event else { panic!() };
    assert_eq!(leases.iter().map(|lease| lease.id).collect::<Vec<_>>(), [s.id("a"), s.id("d")]);
    copy.apply(&event).unwrap();
    copy.validate().unwrap();
    s.acks("a");
}

#[test]
fn a_late_answer_finishes_the_task_where_it_was_claimed_and_not_in_a_copy() {
    let mut s = story();
    s.push("a").claims("a").passes(30_000);
    let copy = s.queue.copied().unwrap();
    assert_eq!(copy.ack(s.now, &s.handle("a")), Err(Refusal::Stale));
    s.acks("a").total(|t| t.late, 1);
}

#[test]
fn a_copy_of_leased_tasks_in_pages_with_gaps_counts_its_own_memory() {
    let mut s = story();
    (0..300).for_each(|n| _ = s.push(&n.to_string()));
    let names = s.claim(&Claim { count: 300, ..Claim::default() });
    names.iter().filter(|name| name.len() < 3).for_each(|name| _ = s.acks(name));
    s.queue.copied().unwrap().validate().unwrap();
}

#[test]
fn any_cursor_of_a_list_is_harmless() {
    let mut s = story();
    s.push_priority("first", 127).push_priority("last", -128).push("a").push_delayed("d", 10);
    push_at(&mut s, "w", 0);
    s.push("l").claims("first").push("x").claims("a").fails_with("a", Retry::Dead, "");
    let hostile = [
        0,
        1,
        2,
        127,
        128,
        129,
        255,
        256,
        257,
        1 << 31,
        (1 << 48) - 1,
        1 << 48,
        i64::MAX as u64,
        u64::MAX - 1,
        u64::MAX,
    ];
    for state in TaskState::ALL {
        for major in hostile {
            for minor in hostile {
                s.queue.list(&s.now, state, Cursor(major, minor), 2, None, None);
            }
        }
    }
    s.lists(TaskState::Ready, &["l", "x", "last"]);
}

#[test]
fn a_list_one_by_one_shows_every_task_once() {
    let mut queue = Queue::new();
    let now = Now::plain(0);
    let options = |priority| Options { priority, ..Options::default() };
    let payloads: [&[u8]; 3] = [b"", b"", b""];
    for (due, priority) in [
        (Some(Due::Wall(Millis(0))), 0),
        (Some(Due::Clock(Millis(0))), 0),
        (None, 127),
        (None, 127),
        (None, -128),
    ] {
        let event = queue.push(now, &Push { due, options: options(priority), payloads: &payloads }).unwrap();
        queue.apply(&event).unwrap();
    }
    for (state, count) in [(TaskState::Ready, 9), (TaskState::Delayed, 6)] {
        let (mut cursor, mut seen) = (Cursor::default(), Vec::new());
        loop {
            let (next, tasks) = queue.list(&now, state, cursor, 1, None, None);
            seen.extend(tasks.iter().map(|task| task.id));
            assert!(seen.len() <= count, "a list without end");
            cursor = next;
            if cursor == Cursor::default() {
                break;
            }
        }
        assert_eq!(seen.len(), count, "{}", state.name());
    }
}

#[test]
fn leases_can_be_listed_by_worker() {
    let mut s = story();
    s.push_all(&["a", "b", "c"]);
    for worker in [b"w1", b"w2", b"w1"] {
        s.claim(&Claim { worker, ..Claim::default() });
    }
    let (_, tasks) = s.queue.list(&s.now, TaskState::Leased, Cursor::default(), 10, Some(b"w1"), None);
    assert_eq!(tasks.iter().map(|task| task.id).collect::<Vec<_>>(), [s.id("a"), s.id("c")]);
    assert_eq!(tasks[0].lease.unwrap().worker, b"w1");
    assert_eq!(s.queue.list(&s.now, TaskState::Leased, Cursor::default(), 10, Some(b""), None).1.len(), 0);
}
