//! UNIQUE, one story for each rule: which task holds a token, until when, and what a second push with it does.

use std::num::NonZeroU64;

use taskslot_engine::edges::STEP_TOKENS;
use taskslot_engine::{Claim, Due, Event, Gate, Headers, Hold, Millis, Options, Refusal, Retry, TaskState};

use crate::story::{self, Story, story, unique};

/// A way in which the task `a` can end.
type End = fn(&mut Story);

/// A story with a task `a` that holds the token `t`.
fn held(hold: Hold) -> Story {
    let mut s = story();
    s.push_unique("a", "t", hold).holds("t", "a");
    s
}

// Until the end

#[test]
fn a_second_push_with_a_held_token_finds_its_holder() {
    let mut s = held(Hold::End);
    s.finds("a", "t")
        .total(|t| t.pushed, 1)
        .push_unique("b", "T", Hold::End)
        .push("c")
        .drains(&["a", "b", "c"]);
}

#[test]
fn a_token_is_held_while_its_task_is_delayed_ready_or_leased() {
    let mut s = story();
    s.push_with("a", Some(Due::Clock(s.in_ms(500))), unique("t", Hold::End));
    s.finds("a", "t").passes(500).finds("a", "t").claims("a").finds("a", "t").requeues("a").finds("a", "t");
    s.claims("a").fails("a").finds("a", "t").passes(1000).claims("a").passes(30_000).finds("a", "t");
}

#[test]
fn a_token_is_free_when_its_task_is_done_dead_cancelled_purged_expired_or_taken() {
    let ends: [(&str, End); 8] = [
        ("acked", |s| _ = s.claims("a").acks("a")),
        ("acked late", |s| _ = s.claims_for("a", 10).passes(10).acks("a")),
        ("failed for good", |s| _ = s.claims("a").fails_with("a", Retry::Dead, "")),
        ("stalled for good", |s| _ = s.config("stalls", 1).claims("a").passes(30_000).is_dead("a")),
        ("cancelled", |s| _ = s.cancels("a")),
        ("cancelled while it was leased", |s| _ = s.claims("a").cancels("a").finds("a", "t").requeues("a")),
        ("purged", |s| _ = s.purges("a")),
        ("taken", |s| _ = s.claim(&Claim { noack: true, ..Claim::default() })),
    ];
    for (what, end) in ends {
        let mut s = held(Hold::End);
        end(&mut s);
        assert_eq!(s.queue.tokens(), 0, "{what}");
        s.holds("t", "").push_unique("b", "t", Hold::End).holds("t", "b").reloads().finds("b", "t");
    }
    let mut s = story();
    s.push_with("a", None, Options { ttl_ms: NonZeroU64::new(5), ..unique("t", Hold::End) });
    s.finds("a", "t").passes(5).is_gone("a").holds("t", "");
}

// Until the start

#[test]
fn a_token_until_the_start_is_free_at_the_first_claim() {
    let mut s = held(Hold::Start);
    s.claims("a").holds("t", "").push_unique("b", "t", Hold::Start).requeues("a").finds("b", "t");
    s.reloads().finds("b", "t").drains(&["a", "b"]).holds("t", "");
}

#[test]
fn a_hand_off_that_is_undone_gives_the_token_back_if_it_is_still_free() {
    let mut s = held(Hold::Start);
    s.claims("a").unclaims("a").finds("a", "t").reloads().finds("a", "t");
    s.claims("a").push_unique("b", "t", Hold::Start).unclaims("a").finds("b", "t").reloads().finds("b", "t");
    s.claims("a")
        .claims("b")
        .holds("t", "")
        .unclaims("a")
        .holds("t", "a")
        .unclaims("b")
        .reloads()
        .holds("t", "a");
    s.claims("a").acks("a").holds("t", "").reloads().holds("t", "");
}

#[test]
fn a_later_hand_off_that_is_undone_gives_nothing_back() {
    held(Hold::Start)
        .claims("a")
        .requeues("a")
        .claims("a")
        .unclaims("a")
        .holds("t", "")
        .reloads()
        .holds("t", "");
}

// For a time

#[test]
fn a_token_for_a_time_becomes_free_while_its_task_lives_on() {
    let mut s = story();
    s.push_unique("a", "t", Hold::AtMost(s.in_ms(1000)));
    s.next_due_in(Some(1000)).clock_shows(999).finds("a", "t").clock_shows(1).holds("t", "");
    // The tick has not freed it yet: the next task takes it over.
    s.push_unique("b", "t", Hold::End).holds("t", "b").reloads().is_ready("a").finds("b", "t");
    s.drains(&["a", "b"]).holds("t", "");
}

#[test]
fn tokens_for_a_time_are_freed_in_bounded_steps() {
    let mut s = story();
    for n in 0..300 {
        s.push_unique(&n.to_string(), &format!("t{n}"), Hold::AtMost(s.in_ms(1000)));
    }
    s.clock_shows(1000);
    let (mut pages, now) = (2, s.now);
    while let Some(event) = s.queue.tick(now, &mut || 0, &mut pages) {
        s.apply(&event);
    }
    assert_eq!(s.queue.tokens(), 300 - 2 * STEP_TOKENS as u64, "a step is bounded");
    s.ticks().next_due_in(None);
    assert_eq!(s.queue.tokens(), 0);
    assert_eq!(s.queue.len(), 300);
}

#[test]
fn a_token_for_a_time_is_free_when_its_task_ends_before() {
    let mut s = story();
    s.push_unique("a", "t", Hold::AtMost(s.in_ms(1000))).cancels("a").holds("t", "").next_due_in(None);
}

#[test]
fn a_token_that_is_kept_is_held_whatever_happens_to_its_task() {
    let ends: [End; 3] = [|s| _ = s.claims("a").acks("a"), |s| _ = s.cancels("a"), |s| _ = s.purges("a")];
    for end in ends {
        let mut s = story();
        s.push_unique("a", "t", Hold::Exactly(s.in_ms(1000))).finds("a", "t").clock_shows(10);
        end(&mut s);
        s.is_gone("a").finds("a", "t").reloads().finds("a", "t").next_due_in(Some(990));
        assert!(!s.replaces("a", "gone"));
        s.passes(989).finds("a", "t").passes(1).holds("t", "");
        assert_eq!(s.queue.tokens(), 0);
    }
}

// Dead tasks

#[test]
fn a_dead_task_that_is_retried_takes_its_token_again() {
    let mut s = held(Hold::End);
    s.claims("a").fails_with("a", Retry::Dead, "").holds("t", "").retries(&["a"]).finds("a", "t");
}

#[test]
fn a_dead_task_whose_token_another_holds_is_not_retried() {
    let mut s = held(Hold::End);
    s.claims("a").fails_with("a", Retry::Dead, "").push_unique("b", "t", Hold::End);
    s.push("c").claims_all(2, &["b", "c"]).fails_with("c", Retry::Dead, "");
    assert!(s.queue.retry(s.now, &[s.id("a")]).is_none());
    s.retries(&["a", "c"]).is_dead("a").is_ready("c").claims("c").fails_with("c", Retry::Dead, "");
    let event = s.queue.retry_oldest(s.now, 1).unwrap();
    s.apply(&event).is_dead("a").is_ready("c");
    assert!(s.queue.retry_oldest(s.now, 9).is_none());
    s.acks("b").retries(&["a"]).finds("a", "t");
}

#[test]
fn of_two_dead_tasks_with_one_token_only_the_first_is_retried() {
    let mut s = story();
    for name in ["a", "b", "c"] {
        s.push_unique(name, "t", Hold::End).claims(name).fails_with(name, Retry::Dead, "");
    }
    s.retries(&["b", "a", "b"]).is_ready("b").is_dead("a").claims("b").acks("b");
    let event = s.queue.retry_oldest(s.now, 9).unwrap();
    s.apply(&event).is_ready("a").is_dead("c").finds("a", "t");
}

#[test]
fn a_dead_task_whose_token_had_an_earlier_end_is_retried_without_it() {
    for hold in [Hold::Start, Hold::AtMost(Millis(story::START + 1000))] {
        let mut s = held(hold);
        s.claims("a").fails_with("a", Retry::Dead, "").passes(1000).push_unique("b", "t", Hold::End);
        s.retries(&["a"]).finds("b", "t").reloads().drains(&["b", "a"]);
    }
    let mut s = held(Hold::AtMost(Millis(story::START + 1000)));
    s.claims("a").fails_with("a", Retry::Dead, "").passes(999).retries(&["a"]).finds("a", "t");
    s.reloads().passes(1).holds("t", "");
}

#[test]
fn a_dead_task_keeps_a_token_that_is_kept_and_can_be_retried() {
    let mut s = held(Hold::Exactly(Millis(story::START + 1000)));
    s.claims("a").fails_with("a", Retry::Dead, "").finds("a", "t").reloads().retries(&["a"]).finds("a", "t");
}

#[test]
fn a_delayed_task_that_is_retried_keeps_its_token() {
    let mut s = story();
    s.push_with("a", Some(Due::Clock(s.in_ms(500))), unique("t", Hold::End)).retries(&["a"]).finds("a", "t");
}

// What a push replies

#[test]
fn a_pause_is_reported_before_a_found_token_and_that_before_a_full_queue() {
    let mut s = held(Hold::End);
    s.config("max-len", 1).config("max-bytes", 1).config("tokens-max", 1).finds("a", "t");
    assert_eq!(s.try_push("b", None, unique("u", Hold::End)), Err(Refusal::FullTokens));
    s.pauses(Gate::In, None);
    assert_eq!(s.try_push("b", None, unique("t", Hold::End)), Err(Refusal::Paused));
}

#[test]
fn tokens_max_bounds_the_tokens_that_are_held() {
    let mut s = story();
    let hold = Hold::AtMost(s.in_ms(10));
    s.config("tokens-max", 2).push_unique("a", "t", hold).push_unique("b", "u", Hold::End);
    let full = |s: &mut Story, token| s.try_push("x", None, unique(token, Hold::End));
    assert_eq!(full(&mut s, "v"), Err(Refusal::FullTokens));
    s.push("without").clock_shows(10);
    assert_eq!(full(&mut s, "v"), Ok(()), "one is over, though nobody has freed it yet");
    assert_eq!(full(&mut s, "w"), Err(Refusal::FullTokens));
    s.ticks();
    assert_eq!(full(&mut s, "w"), Err(Refusal::FullTokens));
    s.config("tokens-max", 0).finds("b", "u");
    assert_eq!(full(&mut s, "t"), Err(Refusal::FullTokens));
}

// REPLACE

#[test]
fn a_task_that_waits_gets_a_new_payload_and_headers() {
    let mut s = held(Hold::End);
    let bytes = s.queue.record_bytes();
    assert!(s.replaces("a", "a much longer payload than before"));
    assert_eq!(s.task("a").payload, b"a much longer payload than before");
    assert_eq!(s.queue.record_bytes(), bytes + 33, "both are counted");
    s.reloads();
    assert_eq!(s.queue.record_bytes(), bytes + 33);
    let headers = Headers::pack(&[(b"h", b"v")]);
    let event = s.queue.replace(s.id("a"), &headers, b"").unwrap().unwrap();
    s.apply(&event);
    assert_eq!((s.task("a").payload, s.task("a").options.headers), (&b""[..], &headers[..]));
    s.lists(TaskState::Ready, &[""]).claims("").finds("a", "t");
    assert!(!s.replaces("a", "too late"), "a worker has it");
    assert_eq!(s.task("a").payload, b"");
    let handle = s.handle("");
    let event = s.queue.ack(s.now, &handle).unwrap();
    s.apply(&event);
    assert_eq!(s.queue.record_bytes(), 0);
}

#[test]
fn a_delayed_task_is_replaced_and_keeps_its_time() {
    let mut s = story();
    s.push_with("a", Some(Due::Clock(s.in_ms(500))), unique("t", Hold::End));
    assert!(s.replaces("a", "b"));
    s.is_delayed("a", 500).passes(500).claims("b");
}

#[test]
fn neither_a_dead_task_nor_one_without_a_token_is_replaced() {
    let mut s = held(Hold::Exactly(Millis(story::START + 1000)));
    s.claims("a").fails_with("a", Retry::Dead, "").push("b");
    assert!(!s.replaces("a", "x") && !s.replaces("b", "x"));
}

#[test]
fn a_replacement_that_does_not_fit_is_refused() {
    let mut s = held(Hold::End);
    s.config("max-bytes", s.queue.record_bytes() as i64 + 10);
    assert!(s.replaces("a", "0123456789"));
    assert!(s.replaces("a", "9876543210"), "what was replaced before doesn't count");
    assert_eq!(s.queue.replace(s.id("a"), &[], b"0123456789x"), Err(Refusal::FullBytes));
}

// Copies

#[test]
fn a_copy_of_a_queue_holds_the_same_tokens() {
    let mut s = story();
    s.push_unique("a", "t", Hold::End).push_unique("b", "u", Hold::Start).push_unique("c", "v", Hold::End);
    s.push_unique("d", "w", Hold::Exactly(s.in_ms(100)))
        .cancels("d")
        .claims_all(3, &["a", "b", "c"])
        .cancels("c");
    let copy = s.queue.copied().unwrap();
    copy.validate().unwrap();
    let holders = [&b"t"[..], b"u", b"v", b"w"].map(|token| copy.holder(s.now.at, token));
    assert_eq!(holders, [Some(s.id("a")), None, None, Some(s.id("d"))]);
}

#[test]
fn freed_tokens_leave_no_memory_behind() {
    let mut s = held(Hold::End);
    s.replaces("a", "longer");
    s.push_unique("b", "u", Hold::Exactly(s.in_ms(10))).claims("longer").claims("b").acks("b").passes(10);
    let handle = s.handle("longer");
    let event = s.queue.ack(s.now, &handle).unwrap();
    s.apply(&event);
    assert_eq!((s.queue.tokens(), s.queue.record_bytes()), (0, 0));
    let memory = s.queue.memory();
    let mut other = story();
    other.push("a").push("b").claims("a").claims("b").acks("a").acks("b");
    assert!(memory <= other.queue.memory() + 512, "{memory} {}", other.queue.memory());
}

#[test]
fn a_freed_token_must_be_over() {
    let mut s = story();
    s.push_unique("a", "t", Hold::AtMost(s.in_ms(100))).push_unique("b", "u", Hold::End);
    for (later, token) in [(99, "t"), (1000, "u"), (1000, "x")] {
        let event = Event::Freed { at: s.in_ms(later), tokens: vec![token.as_bytes().to_vec().into()] };
        assert!(s.queue.clone().apply(&event).is_err(), "{token}");
    }
}
