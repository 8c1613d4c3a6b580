//! The agenda: hints, jobs and the timer.

use taskslot_engine::{Handle, LeaseNumber, Millis, TaskId};
use taskslot_node::{Agenda, Hint, Job, QueueKey};

fn key(name: &str) -> QueueKey {
    QueueKey::new(0, name.as_bytes())
}

fn at(ms: u64) -> Millis {
    Millis(ms)
}

/// The queues whose hints are due, in order.
fn due(agenda: &mut Agenda, ms: u64) -> Vec<String> {
    let mut names = Vec::new();
    while let Some((_, queue)) = agenda.pop_due(at(ms)) {
        names.push(format!("{}:{}", queue.db, String::from_utf8_lossy(&queue.name)));
    }
    names
}

fn give_back(name: &str) -> Job {
    Job::GiveBack { queue: key(name), handles: Vec::new() }
}

#[test]
fn hints_fire_in_order_and_not_before_they_are_due() {
    let mut agenda = Agenda::new();
    agenda.hint(at(300), key("c"));
    agenda.hint(at(100), key("a"));
    agenda.hint(at(200), key("b"));
    assert_eq!(due(&mut agenda, 99), [""; 0]);
    assert_eq!(due(&mut agenda, 200), ["0:a", "0:b"]);
    assert_eq!(due(&mut agenda, 1000), ["0:c"]);
}

#[test]
fn a_queue_has_one_hint_until_it_needs_an_earlier_one() {
    let hint = Hint::default();
    assert!(hint.lower(at(200)));
    assert!(!hint.lower(at(200)));
    assert!(!hint.lower(at(300)));
    assert!(hint.lower(at(100)));
    assert!(!hint.is_due(at(99)));
    assert!(hint.is_due(at(100)));
}

#[test]
fn a_hint_that_fires_does_not_hide_an_earlier_one() {
    let hint = Hint::default();
    hint.lower(at(100));
    // For example a hint of an earlier name of the queue. The hint for 100 has not fired yet.
    hint.fired(at(50));
    assert!(!hint.lower(at(100)));
    hint.fired(at(100));
    assert!(hint.lower(at(100)));
    hint.forget();
    assert!(hint.lower(at(500)));
}

#[test]
fn a_loaded_queue_is_due_first_and_not_late() {
    let (mut agenda, hint) = (Agenda::new(), Hint::default());
    agenda.hint(at(1), key("old"));
    agenda.hint_loaded(key("new"), &hint);
    assert!(!hint.lower(at(1)));
    let (since, queue) = agenda.pop_due(at(10)).unwrap();
    assert_eq!((Agenda::lag_ms(at(10), since), queue), (None, key("new")));
    let (since, queue) = agenda.pop_due(at(10)).unwrap();
    assert_eq!((Agenda::lag_ms(at(10), since), queue), (Some(9), key("old")));
}

#[test]
fn leases_that_never_arrived_are_undone_before_all_other_jobs() {
    let mut agenda = Agenda::new();
    agenda.add(Job::Serve(key("a")));
    agenda.add(Job::Abandon { client: 1, queue: key("b") });
    agenda.add(give_back("c"));
    assert_eq!(agenda.jobs(), 3);
    assert_eq!(agenda.next_job(), Some(give_back("c")));
    assert_eq!(agenda.next_job(), Some(Job::Serve(key("a"))));
    assert_eq!(agenda.next_job(), Some(Job::Abandon { client: 1, queue: key("b") }));
    assert_eq!(agenda.next_job(), None);
}

#[test]
fn swapped_databases_swap_hints_and_leases_but_not_waiting_workers() {
    let mut agenda = Agenda::new();
    agenda.hint(at(1), key("a"));
    agenda.hint(at(2), QueueKey::new(3, b"b"));
    agenda.hint(at(3), QueueKey::new(5, b"c"));
    let handles = vec![Handle { id: TaskId::default(), lease: LeaseNumber(1), nonce: 7 }];
    agenda.add(Job::GiveBack { queue: key("a"), handles: handles.clone() });
    agenda.add(Job::Serve(key("a")));
    agenda.swap_databases(0, 3);
    assert_eq!(due(&mut agenda, 10), ["3:a", "0:b", "5:c"]);
    assert_eq!(agenda.next_job(), Some(Job::GiveBack { queue: QueueKey::new(3, b"a"), handles }));
    assert_eq!(agenda.next_job(), Some(Job::Serve(key("a"))));
}

#[test]
fn many_requests_for_a_run_start_one() {
    let mut agenda = Agenda::new();
    assert!(agenda.wants_run());
    assert!(!agenda.wants_run());
    agenda.begin_run(true);
    assert!(!agenda.wants_run(), "a run is in progress");
    agenda.end_run(at(0), true, false);
    assert!(agenda.wants_run());
}

#[test]
fn hints_that_were_put_off_are_due_as_soon_as_queues_can_be_changed() {
    let mut agenda = Agenda::new();
    agenda.hint(at(100), key("a"));
    agenda.begin_run(false);
    let (_, queue) = agenda.pop_due(at(100)).unwrap();
    agenda.put_off(at(100), queue);
    assert_eq!(agenda.end_run(at(100), false, false), Some(at(1100)));
    agenda.begin_run(false);
    assert_eq!(due(&mut agenda, 1099), [""; 0]);
    agenda.end_run(at(100), false, false);
    agenda.begin_run(true);
    assert_eq!(due(&mut agenda, 101), ["0:a"]);
    // Only once: a queue without due work isn't visited again in each run.
    agenda.hint(at(500), key("b"));
    agenda.end_run(at(101), true, false);
    agenda.begin_run(true);
    assert_eq!(due(&mut agenda, 101), [""; 0]);
}

#[test]
fn there_is_a_pause_between_runs_that_did_not_finish() {
    let mut agenda = Agenda::new();
    assert_eq!(agenda.end_run(at(100), true, false), None);
    assert_eq!(agenda.end_run(at(100), true, true), Some(at(103)));
    agenda.hint(at(50), key("a"));
    assert_eq!(agenda.end_run(at(100), true, false), Some(at(103)));
    assert_eq!(agenda.end_run(at(100), false, false), Some(at(150)));
    assert_eq!(agenda.end_run(at(100), false, true), Some(at(103)));
    due(&mut agenda, 50);
    agenda.delay(at(100), key("a"));
    assert_eq!(agenda.end_run(at(100), true, false), Some(at(150)));
    agenda.add(Job::Serve(key("a")));
    assert_eq!(agenda.end_run(at(100), true, false), Some(at(100)), "the timer adds a millisecond");
    assert_eq!(agenda.end_run(at(100), false, false), Some(at(150)));
}

#[test]
fn a_timer_is_replaced_only_by_an_earlier_one() {
    let mut agenda = Agenda::new();
    // One more, because the server counts whole milliseconds.
    assert_eq!(agenda.arm(at(100), at(150)), Some(51));
    assert_eq!(agenda.arm(at(100), at(150)), None);
    assert_eq!(agenda.arm(at(100), at(400)), None);
    assert_eq!(agenda.arm(at(100), at(20)), Some(1), "work that is already due comes at once");
    agenda.disarm();
    assert_eq!(agenda.arm(at(100), at(400)), Some(301));
}

#[test]
fn a_late_timer_is_given_up() {
    let mut agenda = Agenda::new();
    assert!(!agenda.is_timer_late(at(1000)));
    agenda.arm(at(100), at(150));
    assert!(!agenda.is_timer_late(at(170)));
    assert!(agenda.is_timer_late(at(171)));
}

#[test]
fn after_a_clock_was_set_all_hints_are_due() {
    let mut agenda = Agenda::new();
    agenda.hint(at(100_000), key("a"));
    agenda.hint(at(200_000), key("b"));
    agenda.make_all_due();
    assert_eq!(due(&mut agenda, 0), ["0:a", "0:b"]);
}
