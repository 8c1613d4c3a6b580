//! Suspects, one story for each rule: which workers can get a task that stalled twice, and that it does not starve.

use taskslot_engine::{Claim, Event, Gate, GroupLimits, Millis, Options, Retry};

use crate::copies::{digest, load, save};
use crate::story::{Story, story};

const LEASE: u64 = 30_000;

/// A story with ready suspects of these names.
fn with_suspects(suspects: &[&str]) -> Story {
    let mut s = story();
    s.push_all(suspects);
    for _ in 0..2 {
        // Each with a claim of its own, while they are not suspects yet.
        for name in suspects {
            s.claims_as("victim", 1, &[name]);
        }
        s.passes(LEASE);
    }
    s.passes(1000);
    suspects.iter().for_each(|name| _ = s.is_ready(name));
    s
}

fn ready_since(s: &mut Story, name: &str) -> Millis {
    s.task(name).instant
}

#[test]
fn a_worker_that_holds_something_gets_the_tasks_behind_a_suspect() {
    let mut s = with_suspects(&["p"]);
    s.push_priority("a", 1).push_all(&["b", "c"]).claims_as("w1", 1, &["a"]);
    s.claims_as("w1", 10, &["b", "c"]).is_ready("p");
    s.acks("a").acks("b").claims_as("w1", 10, &[]).acks("c").claims_as("w1", 10, &["p"]);
}

#[test]
fn a_worker_that_holds_a_suspect_gets_nothing_until_it_has_answered() {
    let answers: [fn(&mut Story); 5] = [
        |s| _ = s.acks("p"),
        |s| _ = s.fails("p"),
        |s| _ = s.requeues_later("p", 5),
        |s| _ = s.passes(LEASE),
        |s| _ = s.cancels("p").requeues("p"),
    ];
    for answer in answers {
        let mut s = with_suspects(&["p"]);
        s.push_all(&["a", "b"]).claims_as("w1", 10, &["p"]).claims_as("w1", 10, &[]);
        s.claims_as("w2", 1, &["a"]).acks("a");
        answer(&mut s);
        s.claims_as("w1", 10, &["b"]);
    }
}

#[test]
fn a_worker_gets_several_suspects_one_at_a_time() {
    let mut s = with_suspects(&["p", "q"]);
    s.claims_as("w1", 10, &["p"]).claims_as("w1", 10, &[]).claims_as("w2", 10, &["q"]);
    s.acks("p").claims_as("w1", 10, &[]);
}

#[test]
fn a_claim_without_a_name_gets_a_suspect_alone_in_its_reply() {
    let mut s = with_suspects(&["p", "q"]);
    s.push("a").claims_all(10, &["p"]).claims_all(10, &["q"]).claims_all(10, &["a"]);
}

#[test]
fn a_task_delivered_without_a_lease_is_held_by_nobody() {
    let mut s = with_suspects(&["p", "q"]);
    for name in ["p", "q"] {
        let claim = Claim { count: 10, noack: true, worker: b"w1", ..Claim::default() };
        assert_eq!(s.claim(&claim), [name]);
    }
}

#[test]
fn a_suspect_keeps_its_turn() {
    let mut s = with_suspects(&["p"]);
    s.push("a").push_priority("high", 5).claims_as("w1", 10, &["high"]);
    s.claims_as("w2", 10, &["p"]).requeues_back("p").claims_as("w3", 10, &["a"]).claims_as("w4", 1, &["p"]);
}

#[test]
fn a_suspect_that_is_passed_over_for_a_lease_reserves_the_next_worker() {
    let mut s = with_suspects(&["p"]);
    s.push_all(&["a", "b", "c", "d", "e", "f"]);
    s.claims_as("victim", 1, &["p"]).requeues("p");
    hold_beside(&mut s, "w1", "a");
    hold_beside(&mut s, "w2", "b");
    // It is passed over from now on.
    s.claims_as("w1", 1, &["c"]).clock_shows(LEASE - 1).claims_as("w2", 1, &["d"]);
    s.clock_shows(1).claims_as("w1", 10, &[]).claims_as("w2", 1, &["e"]);
    assert_eq!(s.queue.awaited_worker(), Some(&b"w1"[..]), "only one is reserved");
    s.acks("a").claims_as("w1", 10, &[]).acks("c").claims_as("w1", 10, &["p"]);
    assert_eq!(s.queue.awaited_worker(), None);
    s.claims_as("w2", 1, &["f"]);
}

/// Gives a worker a task while a suspect is next, without passing it over: another worker holds the suspect meanwhile.
fn hold_beside(s: &mut Story, worker: &str, name: &str) {
    s.claims_as("aside", 1, &["p"]).claims_as(worker, 1, &[name]).requeues("p");
}

/// A suspect "p", and a worker "w1" that holds "a" and is reserved for it; "b" is ready.
fn awaited() -> Story {
    let mut s = with_suspects(&["p"]);
    s.push_all(&["a", "b"]).config("lease", 1000);
    hold_beside(&mut s, "w1", "a");
    s.claims_as("w1", 0, &[]).clock_shows(1000).claims_as("w1", 1, &[]);
    assert_eq!(s.queue.awaited_worker(), Some(&b"w1"[..]));
    s
}

#[test]
fn a_reservation_ends_when_the_suspect_is_claimed_or_removed() {
    let ends: [fn(&mut Story); 4] = [
        |s| _ = s.claims_as("w2", 1, &["p"]),
        |s| _ = s.claims_all(1, &["p"]),
        |s| _ = s.cancels("p"),
        |s| _ = s.purges("p"),
    ];
    for end in ends {
        let mut s = awaited();
        end(&mut s);
        s.claims_as("w1", 1, &["b"]);
    }
}

#[test]
fn a_reserved_worker_that_dies_leaves_the_suspect_to_the_next() {
    let mut s = awaited();
    s.push_priority("high", 1).claims_as("w2", 1, &["high"]).claims_as("w2", 1, &["b"]).push("c");
    s.ticks().is_ready("a");
    assert_eq!(s.queue.awaited_worker(), None, "w1 holds nothing");
    s.claims_as("w2", 1, &[]).acks("high").claims_as("w2", 1, &[]).acks("b").claims_as("w2", 1, &["p"]);
}

#[test]
fn only_a_worker_that_could_get_a_suspect_passes_it_over() {
    let mut s = with_suspects(&["p"]);
    s.push_all(&["a", "b", "c"]).config("lease", 1000);
    hold_beside(&mut s, "w1", "a");
    let nothing_is_recorded = |s: &Story, claim: &Claim| assert_eq!(s.queue.pass_over(s.now, claim), None);
    let by_w1 = Claim { worker: b"w1", ..Claim::default() };
    nothing_is_recorded(&s, &Claim { worker: b"w2", ..by_w1 });
    nothing_is_recorded(&s, &Claim { worker: b"", ..by_w1 });
    nothing_is_recorded(&s, &Claim { group: Some(b"g"), ..by_w1 });
    s.pauses(Gate::Out, None);
    nothing_is_recorded(&s, &by_w1);
    s.resumes(Gate::Out).config("concurrency", 1);
    nothing_is_recorded(&s, &by_w1);
    s.config("concurrency", -1).push_priority("high", 1);
    nothing_is_recorded(&s, &by_w1);
    s.claims_as("w1", 1, &["high"]);
    assert!(s.queue.pass_over(s.now, &by_w1).is_some());
}

#[test]
fn a_reservation_is_stored_but_not_copied() {
    let mut s = awaited();
    s.reloads();
    assert_eq!(s.queue.awaited_worker(), Some(&b"w1"[..]));
    s.claims_as("w1", 1, &[]);
    let copy = s.queue.copied().unwrap();
    copy.validate().unwrap();
    assert_eq!(copy.awaited_worker(), None, "nobody holds anything there");
    let loaded = load(&save(&copy)).unwrap();
    assert_eq!(digest(&loaded), digest(&copy));
    s.acks("a").reloads().claims_as("w1", 1, &["p"]).claims_as("w2", 1, &["b"]);
}

#[test]
fn a_queue_without_suspects_is_stored_as_before() {
    let mut s = story();
    s.push("a").claims_as("w1", 1, &["a"]);
    let head = save(&s.queue).swap_remove(0);
    let has = |name: &str| head.windows(name.len()).any(|part| part == name.as_bytes());
    assert!(has("workers") && !has("passed_over") && !has("awaited"));
}

#[test]
fn false_events_about_suspects_are_refused() {
    let passed = |at, worker| Event::PassedOver { at, worker };
    let mut s = story();
    s.push("a").claims_as("w1", 1, &["a"]);
    assert!(s.queue.apply(&passed(s.now.at, b"")).is_err(), "there is no suspect");
    let s = awaited();
    assert!(
        s.queue.clone().apply(&passed(s.now.at, b"nobody")).is_err(),
        "a worker that holds nothing can't be reserved"
    );
    assert!(s.queue.clone().apply(&passed(Millis(u64::MAX), b"")).is_err());
    assert!(s.queue.clone().apply(&passed(s.now.at, &[b'w'; 257])).is_err());
}

// Groups

fn of_group(group: &str) -> Options<'_> {
    Options { group: group.as_bytes(), ..Options::default() }
}

#[test]
fn groups_that_have_only_suspects_cost_the_others_no_turn() {
    let mut s = story();
    for group in ["g1", "g2", "g3"] {
        s.push_with(group, None, of_group(group));
    }
    for _ in 0..2 {
        s.claims_as("victim", 1, &["g1"]).claims_as("victim", 1, &["g2"]).claims_as("victim", 1, &["g3"]);
        s.passes(LEASE);
    }
    s.passes(1000).push_with("a1", None, of_group("g2")).push_with("a2", None, of_group("g2"));
    s.push_with("b1", None, of_group("other"));
    // w1 is free and gets the first in turn. From then on it holds a suspect.
    s.claims_as("w1", 10, &["g1"]).claims_as("w1", 10, &[]);
    s.acks("g1").push("plain").claims_as("w2", 1, &["g2"]).acks("g2").claims_as("w2", 1, &["g3"]);
    s.acks("g3").claims_as("w2", 10, &["b1", "plain", "a1", "a2"]);
}

#[test]
fn a_busy_worker_gets_the_sound_tasks_of_a_group_that_has_suspects_too() {
    let mut s = story();
    s.push_with("g", None, of_group("g")).push_with("h", None, of_group("h"));
    for _ in 0..2 {
        s.claims_as("victim", 1, &["g"]).claims_as("w0", 1, &["h"]).passes(LEASE);
    }
    s.passes(1000).push_with("a", None, of_group("g")).push_with("b", None, of_group("h"));
    s.push_with("c", None, of_group("i"));
    let only = |group| Claim { count: 10, worker: b"w1", group: Some(group), ..Claim::default() };
    assert_eq!(s.claim(&only(b"i")), ["c"]);
    assert_eq!(s.claim(&only(b"h")), ["b"]);
    assert_eq!(s.claim(&only(b"g")), ["a"]);
    s.reloads().claims_as("w2", 10, &["h"]).claims_as("w3", 10, &["g"]);
}

#[test]
fn a_suspect_of_a_group_at_its_limit_is_not_passed_over() {
    let mut s = story();
    s.push_with("p", None, of_group("g"));
    for _ in 0..2 {
        s.claims_as("victim", 1, &["p"]).passes(LEASE);
    }
    s.passes(1000).push("a");
    let limits = GroupLimits { concurrency: Some(0), ..GroupLimits::default() };
    s.apply(&Event::Grouped { name: b"g", limits: Some(limits) });
    s.claims_as("w1", 1, &["a"]);
    assert_eq!(s.queue.pass_over(s.now, &Claim { worker: b"w1", ..Claim::default() }), None);
    assert!(!s.queue.is_claimable_for(s.now.at, None, b"w2"));
}

// Backoff

#[test]
fn tasks_that_stalled_together_come_back_apart() {
    let mut s = story();
    let names: Vec<String> = (0..50).map(|n| format!("t{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    s.push_all(&names).claims_as("w1", 50, &names).passes(LEASE).claims_as("w2", 50, &names);
    let (mut random, mut pages) = (0u32, usize::MAX);
    s.clock_shows(LEASE);
    while let Some(event) = s.queue.tick(
        s.now,
        &mut || {
            random = random.wrapping_add(0x9e37_79b9);
            random
        },
        &mut pages,
    ) {
        s.apply(&event);
    }
    let mut dues: Vec<u64> = names.iter().map(|name| ready_since(&mut s, name).since(s.now.at)).collect();
    dues.sort_unstable();
    assert!(dues[0] < 100 && dues[49] > 900 && dues[25].abs_diff(500) < 100, "{dues:?}");
}

#[test]
fn a_failure_has_its_own_jitter() {
    let mut s = story();
    s.dice = 0;
    s.push("a").claims("a").fails_with("a", Retry::Backoff, "").is_delayed("a", 900);
}

// The error of a task that died without a FAIL

#[test]
fn a_task_that_dies_by_stalls_says_how_often_and_where() {
    let error = |s: &Story| String::from_utf8(s.task("a").error().to_vec()).unwrap();
    let mut s = story();
    s.config("stalls", 2).push("a").claims_as("w1", 1, &["a"]).passes(LEASE).claims_as("w2", 1, &["a"]);
    s.clock_shows(LEASE + 5000).ticks().is_dead("a");
    assert_eq!(error(&s), "2 stalls, the last after 30000 ms at worker w2");
    s.retries(&["a"]).claims("a").passes(LEASE).config("run-max", 1000).claims("a").passes(1000).is_dead("a");
    assert_eq!(error(&s), "2 stalls, the last after 1000 ms (run-max)");
    s.config("stalls", 1).retries(&["a"]).claims_as("w1", 1, &["a"]).passes(1000).is_dead("a");
    assert_eq!(error(&s), "1 stall, after 1000 ms at worker w1 (run-max)");
}

#[test]
fn a_task_that_dies_with_a_connection_says_so() {
    let mut s = story();
    s.config("stalls", 1).push("a");
    let claim = Claim { worker: b"w1", tied: true, ..Claim::default() };
    assert_eq!(s.claim(&claim), ["a"]);
    let id = s.id("a");
    s.queue.tie(7, id);
    s.clock_shows(250).closes(7).is_dead("a");
    assert_eq!(s.task("a").error(), b"1 stall, after 250 ms at worker w1 (connection closed)");
}

#[test]
fn a_stall_that_is_not_the_last_leaves_the_error_of_the_last_failure() {
    let mut s = story();
    s.push("a").claims("a").fails_with("a", Retry::After(1), "boom").passes(1).claims("a").passes(LEASE);
    assert_eq!(s.task("a").error(), b"boom");
}
