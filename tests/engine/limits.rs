//! Settings, options and gates: backoff, limits of attempts and sizes, pauses, lengths of leases.

use taskslot_engine::{
    Claim, Gate, Headers, NUMBER_MAX, Options, Pause, Refusal, Retry, SETTINGS, SPAN_MAX_MS, TaskState,
};

use crate::story::{self, story};

fn with_attempts(attempts: i32) -> Options<'static> {
    Options { attempts: Some(attempts), ..Options::default() }
}

fn with_lease(lease_ms: u32) -> Options<'static> {
    Options { lease_ms: Some(lease_ms), ..Options::default() }
}

/// The delays after a number of failures in a row.
fn delays(s: &mut story::Story, failures: usize) -> Vec<u64> {
    s.push("a");
    let delay = |s: &mut story::Story| {
        let delay = s.claims("a").fails("a").task("a").instant.since(s.now.at);
        s.passes(delay);
        delay
    };
    (0..failures).map(|_| delay(s)).collect()
}

#[test]
fn exponential_backoff_doubles() {
    let mut s = story();
    s.config("backoff-base", 100).config("backoff-max", 1500);
    assert_eq!(delays(&mut s, 6), [100, 200, 400, 800, 1500, 1500]);
}

#[test]
fn linear_backoff_grows_by_its_base() {
    assert_eq!(
        delays(story().config("backoff", 1).config("backoff-max", 3500), 5),
        [1000, 2000, 3000, 3500, 3500]
    );
}

#[test]
fn fixed_backoff_stays() {
    assert_eq!(delays(story().config("backoff", 2).config("backoff-base", 70), 3), [70, 70, 70]);
}

#[test]
fn jitter_moves_a_delay_by_its_percentage_in_either_direction() {
    for (dice, delay) in [(0, 900), (u32::MAX, 1100), (1 << 30, 950), (1 << 31, 1000)] {
        let mut s = story();
        s.dice = dice;
        assert_eq!(delays(&mut s, 1), [delay]);
    }
    for (dice, delay) in [(0, 1), (u32::MAX, 2000)] {
        let mut s = story();
        s.dice = dice;
        assert_eq!(delays(s.config("backoff-jitter", 100), 1), [delay]);
    }
}

#[test]
fn jitter_stays_below_the_longest_delay() {
    let mut s = story();
    s.dice = u32::MAX;
    assert_eq!(delays(s.config("backoff-max", 1000), 1), [1000]);
    assert_eq!(delays(story().config("backoff-jitter", 0), 2), [1000, 2000]);
}

#[test]
fn no_delay_overflows_at_the_extremes() {
    for kind in 0..3 {
        for base in [1, SPAN_MAX_MS] {
            for max in [1, SPAN_MAX_MS] {
                for (jitter, dice) in [(0, 0), (100, 0), (100, u32::MAX), (10, u32::MAX)] {
                    let mut s = story();
                    s.config("backoff", kind).config("backoff-base", base).config("backoff-max", max);
                    s.config("backoff-jitter", jitter).config("attempts", -1).dice = dice;
                    for _ in 0..70 {
                        s.push("a").claims("a").fails("a");
                        let delay = s.task("a").instant.since(s.now.at);
                        assert!(
                            (1..=max as u64).contains(&delay),
                            "{kind} {base} {max} {jitter} {dice}: {delay}"
                        );
                        s.retries(&["a"]).claims("a").acks("a");
                    }
                }
            }
        }
    }
}

#[test]
fn seventy_failures_in_a_row_still_wait_the_longest_delay() {
    let mut s = story();
    s.config("attempts", -1);
    assert_eq!(delays(&mut s, 70).last(), Some(&3_600_000));
    assert_eq!(
        delays(story().config("attempts", -1).config("backoff", 1).config("backoff-base", SPAN_MAX_MS), 3)[2],
        3_600_000
    );
}

#[test]
fn a_tasks_own_attempts_go_before_the_queues() {
    story().push_with("a", None, with_attempts(1)).claims("a").fails("a").is_dead("a");
    let mut s = story();
    s.config("attempts", 1)
        .push_with("a", None, with_attempts(-1))
        .claims("a")
        .fails("a")
        .is_delayed("a", 1000);
    story().config("attempts", -1).push("a").claims("a").fails("a").is_delayed("a", 1000);
}

#[test]
fn settings_are_read_when_they_are_needed() {
    story().push("a").config("attempts", 1).claims("a").fails("a").is_dead("a");
    story().push("a").config("lease", 5).claims("a").ends_in("a", 5);
}

#[test]
fn a_lease_is_as_long_as_the_claim_the_task_or_the_queue_says() {
    story().config("lease", 7).push_with("a", None, with_lease(50)).claims_for("a", 20).ends_in("a", 20);
    story().config("lease", 7).push_with("a", None, with_lease(50)).claims("a").ends_in("a", 50);
    story().config("lease", 7).push("a").claims("a").ends_in("a", 7);
}

#[test]
fn extend_gives_the_leases_own_length_again() {
    story()
        .push("a")
        .claims_for("a", 100)
        .passes(60)
        .extends("a", None, 100)
        .passes(99)
        .extends("a", None, 100);
    story()
        .push("a")
        .claims_for("a", 100)
        .passes(60)
        .extends("a", Some(500), 500)
        .passes(499)
        .extends("a", None, 100);
}

#[test]
fn extend_never_shortens() {
    story().push("a").claims_for("a", 100).extends("a", Some(10), 100).passes(95).extends("a", Some(10), 10);
    story().push("a").claims_for("a", 100).extends("a", Some(u32::MAX), 86_400_000);
}

#[test]
fn run_max_bounds_the_whole_of_a_lease() {
    let mut s = story();
    s.config("run-max", 150).push("a").claims_for("a", 100).passes(90).extends("a", None, 60).passes(59);
    s.extends("a", None, 1).passes(1).is_ready("a");
    story().config("run-max", 150).push("a").claims_for("a", 500).ends_in("a", 150);
    story().push("a").claims_for("a", 500).config("run-max", 150).extends("a", None, 500);
}

#[test]
fn max_len_bounds_pushes() {
    let mut s = story();
    s.config("max-len", 2).push("a").push_delayed("b", 10).claims("a");
    assert_eq!(s.try_push("c", None, Options::default()), Err(Refusal::FullLen));
    s.fails_with("a", Retry::Dead, "").push("c");
    assert_eq!(story().config("max-len", 0).try_push("c", None, Options::default()), Err(Refusal::FullLen));
}

#[test]
fn max_bytes_bounds_pushes_including_headers() {
    let mut s = story();
    s.config("max-bytes", 30);
    let headers = Headers::pack(&[(b"n", &[0; 30])]);
    let heavy = Options { headers: &headers, ..Options::default() };
    assert_eq!(s.try_push("a", None, heavy), Err(Refusal::FullBytes));
    s.push("0123456789");
    assert_eq!(s.try_push("01234567890123456789", None, Options::default()), Err(Refusal::FullBytes));
    s.push("01").drains(&["0123456789", "01"]).push("01234567890123456789");
}

#[test]
fn a_claim_stops_before_its_bytes_but_takes_one_task() {
    let mut s = story();
    s.push_all(&["aaaa", "bbbb", "cccc"]);
    let bytes = |bytes| Claim { count: 10, bytes: Some(bytes), ..Claim::default() };
    assert_eq!(s.claim(&bytes(8)), ["aaaa", "bbbb"]);
    assert_eq!(s.claim(&bytes(0)), ["cccc"]);
}

#[test]
fn the_oldest_dead_tasks_are_removed_when_there_are_too_many() {
    let mut s = story();
    s.config("dead-max", 2).push_all(&["a", "b", "c"]).claims_all(3, &["a", "b", "c"]);
    for name in ["c", "a", "b"] {
        s.passes(1).fails_with(name, Retry::Dead, "");
    }
    s.next_due_in(Some(0)).ticks().lists(TaskState::Dead, &["a", "b"]).total(|t| t.dropped, 1);
    s.config("dead-max", 0)
        .ticks()
        .lists(TaskState::Dead, &[])
        .total(|t| t.dropped, 3)
        .passes(30_000)
        .next_due_in(None);
}

#[test]
fn dead_tasks_are_removed_after_dead_ttl() {
    let mut s = story();
    s.config("dead-ttl", 100).push("a").claims("a").fails_with("a", Retry::Dead, "").next_due_in(Some(100));
    s.passes(99).is_dead("a").passes(1).is_gone("a").total(|t| t.dropped, 1);
}

#[test]
fn nothing_is_claimed_while_the_queue_is_paused_outward() {
    let mut s = story();
    s.push_all(&["a", "b"]).claims("a").pauses(Gate::Out, None);
    assert_eq!(s.queue.claim(s.now, &mut || 0, &Claim::default()), Err(Refusal::Paused));
    assert!(!s.queue.is_claimable(s.now.at));
    s.extends("a", None, 30_000)
        .passes(30_000)
        .is_ready("a")
        .acks("a")
        .push("c")
        .resumes(Gate::Out)
        .claims("b");
}

#[test]
fn nothing_is_pushed_while_the_queue_is_paused_inward() {
    let mut s = story();
    s.push("a").pauses(Gate::In, None);
    assert_eq!(s.try_push("b", None, Options::default()), Err(Refusal::Paused));
    s.claims("a").fails_with("a", Retry::Dead, "").retries(&["a"]).resumes(Gate::All).push("b");
}

#[test]
fn a_pause_ends_by_itself_at_its_time() {
    let mut s = story();
    s.push("a").pauses(Gate::All, Some(50)).next_due_in(Some(50)).clock_shows(50).claims("a").ticks();
    assert_eq!(s.queue.paused(s.now.at, Gate::In), Pause::Open);
    let mut s = story();
    s.push("a").pauses(Gate::Out, Some(50)).passes(49);
    assert_eq!(s.queue.claim(s.now, &mut || 0, &Claim::default()), Err(Refusal::Paused));
    assert_eq!(s.queue.paused(s.now.at, Gate::All), Pause::Open, "only one gate is closed");
}

#[test]
fn resume_opens_one_gate_and_leaves_the_other_closed() {
    let mut s = story();
    s.push("a").pauses(Gate::All, None).resumes(Gate::Out).claims("a");
    assert_eq!(s.try_push("b", None, Options::default()), Err(Refusal::Paused));
}

#[test]
fn every_setting_has_a_default_within_its_bounds() {
    for rule in &SETTINGS {
        assert!(rule.allows(rule.default), "{}", rule.name);
        assert!(
            rule.allows(rule.min) && rule.allows(rule.max) && !rule.allows(rule.max + 1) && !rule.allows(-2)
        );
        assert_eq!(rule.allows(-1), rule.unlimited, "{}", rule.name);
        assert!(rule.max <= NUMBER_MAX);
        let text = if rule.name == "backoff" { "LINEAR" } else { "1" };
        assert_eq!(rule.parse(text.as_bytes()), Some(1), "{}", rule.name);
        for hostile in ["", "-2", " 1", "1e3", "9223372036854775808", "\u{661}", "0x1", "no"] {
            assert_eq!(rule.parse(hostile.as_bytes()), None, "{} {hostile}", rule.name);
        }
    }
}
