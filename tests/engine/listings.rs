//! Lists in both orders, with patterns, page by page.

use taskslot_edges::{TINY, edge};
use taskslot_engine::edges::LIST_LOOKED_AT;
use taskslot_engine::{
    Claim, Cursor, Glob, GroupLimits, Headers, Limit, Listing, Options, Pattern, Push, Retry, TaskState,
};

use crate::story::{Story, story};

fn of(state: TaskState) -> Listing<'static> {
    let limit = Limit { count: 10, bytes: u64::MAX, with_payload: true };
    Listing {
        state,
        cursor: Cursor::default(),
        limit,
        worker: None,
        group: None,
        is_reversed: false,
        pattern: None,
    }
}

fn reversed(state: TaskState) -> Listing<'static> {
    Listing { is_reversed: true, ..of(state) }
}

/// All pages of a list, and how many there were.
fn pages(s: &Story, listing: &Listing<'_>, count: usize) -> (Vec<String>, usize) {
    let (mut names, mut calls, mut cursor) = (Vec::new(), 0, Cursor::default());
    loop {
        let limit = Limit { count, ..listing.limit };
        let (next, tasks) = s.queue.list_as(&s.now, &Listing { cursor, limit, ..*listing });
        names.extend(tasks.iter().map(|task| String::from_utf8_lossy(task.payload).into_owned()));
        (calls, cursor) = (calls + 1, next);
        if cursor == Cursor::default() {
            return (names, calls);
        }
    }
}

fn all(s: &Story, listing: &Listing<'_>) -> Vec<String> {
    pages(s, listing, 1000).0
}

#[test]
fn the_newest_dead_task_comes_first() {
    let mut s = story();
    s.push_all(&["a", "b", "c"]).claims_all(3, &["a", "b", "c"]);
    for name in ["b", "a", "c"] {
        s.passes(1).fails_with(name, Retry::Dead, "");
    }
    assert_eq!(all(&s, &of(TaskState::Dead)), ["b", "a", "c"]);
    assert_eq!(all(&s, &reversed(TaskState::Dead)), ["c", "a", "b"]);
    assert_eq!(pages(&s, &reversed(TaskState::Dead), 1).0, ["c", "a", "b"]);
}

#[test]
fn a_cursor_continues_while_tasks_come_and_go() {
    let mut s = story();
    s.push_all(&["a", "b", "c", "d"]).claims_all(4, &["a", "b", "c", "d"]);
    for name in ["a", "b", "c", "d"] {
        s.passes(1).fails_with(name, Retry::Dead, "");
    }
    let listing = reversed(TaskState::Dead);
    let limit = Limit { count: 2, ..listing.limit };
    let (cursor, tasks) = s.queue.list_as(&s.now, &Listing { limit, ..listing });
    assert_eq!(tasks.iter().map(|task| task.payload).collect::<Vec<_>>(), [b"d", b"c"]);
    // The task of the cursor is removed, and a newer one comes.
    s.purges("c").push("e").claims("e").passes(1).fails_with("e", Retry::Dead, "");
    let (cursor, tasks) = s.queue.list_as(&s.now, &Listing { cursor, ..listing });
    assert_eq!(tasks.iter().map(|task| task.payload).collect::<Vec<_>>(), [b"b", b"a"]);
    assert_eq!(cursor, Cursor::default());
}

#[test]
fn ready_tasks_are_reversed_by_priority_and_turn() {
    let mut s = story();
    s.push_all(&["a", "b", "c"]).push_priority("high", 5).push_priority("low", -5);
    s.claims("high").claims_all(2, &["a", "b"]).requeues_back("a").requeues("b").requeues("high");
    let forward = ["high", "b", "c", "a", "low"];
    assert_eq!(all(&s, &of(TaskState::Ready)), forward);
    for count in 1..6 {
        let mut backward = pages(&s, &reversed(TaskState::Ready), count).0;
        backward.reverse();
        assert_eq!(backward, forward, "{count} at a time");
    }
}

#[test]
fn a_task_that_came_back_among_others_is_listed_once() {
    let mut s = story();
    s.push("a").push_delayed("back", 5).push("b").passes(5);
    assert_eq!(all(&s, &of(TaskState::Ready)), ["a", "b", "back"]);
    for count in 1..4 {
        assert_eq!(pages(&s, &reversed(TaskState::Ready), count).0, ["back", "b", "a"]);
    }
}

#[test]
fn ready_tasks_of_a_group_are_reversed_among_others() {
    let mut s = story();
    for number in 0..60 {
        let group: &[u8] = [&b""[..], b"a", b"b"][number % 3];
        s.push_with(&number.to_string(), None, Options { group, ..Options::default() });
    }
    s.apply(&s.queue.set_group(b"a", GroupLimits { ordered: true, ..GroupLimits::default() }).unwrap());
    let claimed = s.claim(&Claim { count: 3, group: Some(b"b"), ..Claim::default() });
    claimed.iter().for_each(|name| _ = s.requeues(name));
    for group in [None, Some(&b"a"[..]), Some(b"b"), Some(b"unknown")] {
        let forward = all(&s, &Listing { group, ..of(TaskState::Ready) });
        for count in [1, 7, 100] {
            let mut backward = pages(&s, &Listing { group, ..reversed(TaskState::Ready) }, count).0;
            backward.reverse();
            assert_eq!(backward, forward, "{group:?}, {count} at a time");
        }
    }
}

#[test]
fn a_pattern_selects_payloads_or_the_values_of_a_header() {
    let mut s = story();
    let headers = Headers::pack(&[(b"to", b"ada"), (b"kind", b"mail")]);
    s.push("mail 1").push_with("mail 2", None, Options { headers: &headers, ..Options::default() });
    s.push("sms 1");
    let by = |pattern: &str| Glob::new(pattern.as_bytes()).unwrap();
    let glob = by("*1");
    let pattern = Some(Pattern::Payload(&glob));
    assert_eq!(all(&s, &Listing { pattern, ..of(TaskState::Ready) }), ["mail 1", "sms 1"]);
    assert_eq!(all(&s, &Listing { pattern, ..reversed(TaskState::Ready) }), ["sms 1", "mail 1"]);
    for (name, glob, expected) in
        [("to", by("a?a"), true), ("to", by("mail"), false), ("kind", by("m*"), true)]
    {
        let pattern = Some(Pattern::Header(name.as_bytes(), &glob));
        let names = all(&s, &Listing { pattern, ..of(TaskState::Ready) });
        assert_eq!(!names.is_empty(), expected, "{name}");
        assert!(names.iter().all(|name| name == "mail 2"));
    }
}

#[test]
fn a_list_with_a_pattern_stops_after_so_many_bytes_and_goes_on() {
    let mut s = story();
    let large = "x".repeat(300 << 10);
    (0..11).for_each(|number| _ = s.push(&format!("{number} {large}")));
    let glob = Glob::new(b"*y").unwrap();
    let pattern = Some(Pattern::Payload(&glob));
    for listing in [of(TaskState::Ready), reversed(TaskState::Ready)] {
        let (names, calls) = pages(&s, &Listing { pattern, ..listing }, 1000);
        assert!(names.is_empty());
        assert_eq!(calls, edge(3, 12), "4 payloads make more than a megabyte");
    }
    let glob = Glob::new(b"10 *").unwrap();
    let pattern = Some(Pattern::Payload(&glob));
    let (names, calls) = pages(&s, &Listing { pattern, ..of(TaskState::Ready) }, 1000);
    assert_eq!((names.len(), calls), (1, 1), "others are told apart by their first bytes");
}

#[test]
fn a_list_examines_a_bounded_number_of_tasks_in_both_orders() {
    let mut s = story();
    let push = Push { due: None, options: Options::default(), payloads: &[b"x" as &[u8]; 1000] };
    for _ in 0..25 {
        s.apply(&s.queue.push(s.now, &push).unwrap());
        let claim = Claim { count: 1000, worker: b"w", ..Claim::default() };
        let claimed = s.queue.claim(s.now, &mut || 7, &claim).unwrap().unwrap();
        s.apply(&claimed);
    }
    for listing in [of(TaskState::Leased), reversed(TaskState::Leased)] {
        let listing = Listing { worker: Some(b"v"), ..listing };
        assert_eq!(
            pages(&s, &listing, 1000),
            (Vec::new(), 25_000_usize.div_ceil(LIST_LOOKED_AT)),
            "25,000 tasks of another worker"
        );
    }
}

#[test]
fn leases_are_found_at_once_among_tasks_that_are_not_leased() {
    let mut s = story();
    let push = Push { due: None, options: Options::default(), payloads: &[b"x" as &[u8]; 1000] };
    s.push("first").claims("first");
    for _ in 0..25 {
        s.apply(&s.queue.push(s.now, &push).unwrap());
    }
    s.push_priority("last", 5).claims("last");
    for (listing, [one, other]) in
        [(of(TaskState::Leased), ["first", "last"]), (reversed(TaskState::Leased), ["last", "first"])]
    {
        let (names, calls) = pages(&s, &listing, 10);
        assert_eq!(names, [one, other]);
        assert!(calls == 1 || TINY, "a page without leases counts as one task");
        assert_eq!(pages(&s, &listing, 1).0, [one, other]);
    }
    s.acks("first").acks("last");
    assert!(all(&s, &of(TaskState::Leased)).is_empty() && all(&s, &reversed(TaskState::Leased)).is_empty());
}

#[test]
fn skipped_pages_count_as_examined() {
    let mut s = story();
    // Tasks of this size have a page of their own.
    let payload = vec![b'x'; 9000];
    let payloads = vec![&payload[..]; 1000];
    let push = Push { due: None, options: Options::default(), payloads: &payloads };
    for _ in 0..11 {
        s.apply(&s.queue.push(s.now, &push).unwrap());
    }
    for listing in [of(TaskState::Leased), reversed(TaskState::Leased)] {
        assert_eq!(
            pages(&s, &listing, 10),
            (Vec::new(), 11_000_usize.div_ceil(LIST_LOOKED_AT)),
            "11,000 pages"
        );
    }
}
