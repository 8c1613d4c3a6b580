//! The agenda: hints, jobs and the timer.

use taskslot_engine::{Handle, LeaseNumber, Millis, TaskId};
use taskslot_node::{Agenda, Fired, Job, Noted, QueueKey};

fn key(name: &str) -> QueueKey {
    QueueKey::new(0, name.as_bytes())
}

fn at(ms: u64) -> Millis {
    Millis(ms)
}

/// Adds the hint of a queue that has none yet.
fn note(agenda: &mut Agenda, ms: u64, queue: QueueKey) -> Noted {
    let noted = Noted::default();
    agenda.put(&noted, at(ms), queue);
    noted
}

/// The queues whose hints are due, in order.
fn due(agenda: &mut Agenda, ms: u64) -> Vec<String> {
    let mut names = Vec::new();
    while let Some(Fired { queue, .. }) = agenda.pop_due(at(ms)) {
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
    note(&mut agenda, 300, key("c"));
    note(&mut agenda, 100, key("a"));
    note(&mut agenda, 200, key("b"));
    assert_eq!(due(&mut agenda, 99), [""; 0]);
    assert_eq!(due(&mut agenda, 200), ["0:a", "0:b"]);
    assert_eq!(due(&mut agenda, 1000), ["0:c"]);
}

#[test]
fn an_earlier_hint_replaces_the_one_that_a_queue_has() {
    let (mut agenda, noted) = (Agenda::new(), Noted::default());
    for ms in [300, 200, 100] {
        assert!(!noted.is_due(at(ms)), "it is not early enough");
        agenda.put(&noted, at(ms), key("a"));
        assert!(noted.is_due(at(ms)) && noted.is_due(at(ms + 1)));
    }
    assert_eq!(due(&mut agenda, 1000), ["0:a"]);
}

#[test]
fn a_hint_that_fires_makes_room_for_a_later_one() {
    let mut agenda = Agenda::new();
    let [noted, other] = ["a", "b"].map(|name| note(&mut agenda, 100, key(name)));
    let fired = agenda.pop_due(at(100)).unwrap();
    assert_eq!((fired.due, &fired.queue), (at(100), &key("a")));
    other.fired(fired.id);
    assert!(other.is_due(at(100)), "its own hint has not fired yet");
    noted.fired(fired.id);
    assert!(!noted.is_due(at(100)));
    agenda.put(&noted, at(500), key("a"));
    assert_eq!(due(&mut agenda, 1000), ["0:b", "0:a"]);
}

#[test]
fn the_hint_of_a_queue_that_is_gone_is_removed() {
    let mut agenda = Agenda::new();
    let [gone, stays] = ["a", "a"].map(|name| note(&mut agenda, 100, key(name)));
    let id = gone.take().unwrap();
    assert!(gone.take().is_none());
    agenda.remove(id);
    agenda.remove(id);
    assert_eq!(due(&mut agenda, 1000), ["0:a"], "that of another queue at its key");
    // Also while it is put off. One that is about to fire is gone by itself.
    let late = note(&mut agenda, 100, key("b"));
    let fired = agenda.pop_due(at(100)).unwrap();
    agenda.put_off(at(100), fired);
    agenda.remove(late.take().unwrap());
    agenda.remove(stays.take().unwrap());
    assert_eq!(due(&mut agenda, 10_000), [""; 0]);
}

#[test]
fn a_hint_follows_its_queue_to_another_key() {
    let (mut agenda, noted) = (Agenda::new(), Noted::default());
    agenda.rename(&noted, key("a"));
    assert_eq!(due(&mut agenda, 1000), [""; 0], "there was none");
    agenda.put(&noted, at(100), key("a"));
    agenda.rename(&noted, QueueKey::new(2, b"b"));
    assert!(noted.is_due(at(100)));
    assert_eq!(due(&mut agenda, 1000), ["2:b"]);
    agenda.rename(&noted, key("c"));
    assert!(!noted.is_due(at(1000)), "it has fired, so a new one is needed");
}

#[test]
fn a_loaded_queue_is_due_first_and_not_late() {
    let (mut agenda, noted) = (Agenda::new(), Noted::default());
    note(&mut agenda, 1, key("old"));
    agenda.put_now(&noted, key("new"));
    assert!(noted.is_due(at(0)));
    let fired = agenda.pop_due(at(10)).unwrap();
    assert_eq!((Agenda::lag_ms(at(10), fired.due), fired.queue), (None, key("new")));
    let fired = agenda.pop_due(at(10)).unwrap();
    assert_eq!((Agenda::lag_ms(at(10), fired.due), fired.queue), (Some(9), key("old")));
}

#[test]
fn a_queue_is_served_by_one_job_however_often_it_is_added() {
    let mut agenda = Agenda::new();
    for name in ["a", "b", "a", "a", "b"] {
        agenda.add(Job::Serve(key(name)));
    }
    assert_eq!(agenda.jobs(), 2);
    assert_eq!(agenda.next_job(), Some(Job::Serve(key("a"))));
    // Tasks that become ready meanwhile are a matter for the next job.
    agenda.add(Job::Serve(key("a")));
    agenda.swap_databases(0, 3);
    agenda.add(Job::Serve(key("a")));
    assert_eq!(agenda.next_job(), Some(Job::Serve(key("b"))));
    assert_eq!(agenda.next_job(), Some(Job::Serve(key("a"))));
    assert_eq!(agenda.next_job(), None);
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
    note(&mut agenda, 1, key("a"));
    note(&mut agenda, 2, QueueKey::new(3, b"b"));
    note(&mut agenda, 3, QueueKey::new(5, b"c"));
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
    note(&mut agenda, 100, key("a"));
    agenda.begin_run(false);
    let fired = agenda.pop_due(at(100)).unwrap();
    agenda.put_off(at(100), fired);
    assert_eq!(agenda.end_run(at(100), false, false), Some(at(1100)));
    agenda.begin_run(false);
    assert_eq!(due(&mut agenda, 1099), [""; 0]);
    agenda.end_run(at(100), false, false);
    agenda.begin_run(true);
    assert_eq!(due(&mut agenda, 101), ["0:a"]);
    // Only once: a queue without due work isn't visited again in each run.
    note(&mut agenda, 500, key("b"));
    agenda.end_run(at(101), true, false);
    agenda.begin_run(true);
    assert_eq!(due(&mut agenda, 101), [""; 0]);
}

#[test]
fn there_is_a_pause_between_runs_that_did_not_finish() {
    let mut agenda = Agenda::new();
    assert_eq!(agenda.end_run(at(100), true, false), None);
    assert_eq!(agenda.end_run(at(100), true, true), Some(at(103)));
    note(&mut agenda, 50, key("a"));
    assert_eq!(agenda.end_run(at(100), true, false), Some(at(103)));
    assert_eq!(agenda.end_run(at(100), false, false), Some(at(150)));
    assert_eq!(agenda.end_run(at(100), false, true), Some(at(103)));
    let fired = agenda.pop_due(at(50)).unwrap();
    agenda.delay(at(100), fired);
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
    note(&mut agenda, 100_000, key("a"));
    note(&mut agenda, 200_000, key("b"));
    agenda.make_all_due();
    assert_eq!(due(&mut agenda, 0), ["0:a", "0:b"]);
}
