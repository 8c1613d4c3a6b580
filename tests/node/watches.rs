//! The clients that wait for the end of a task.

use std::rc::Rc;

use taskslot_engine::TaskId;
use taskslot_node::{QueueKey, Watch, Watches};

type Names = Watches<&'static str, &'static str>;

fn key(name: &str) -> QueueKey {
    QueueKey::new(0, name.as_bytes())
}

fn id(seq: u64) -> TaskId {
    TaskId { ms: 1, seq }
}

/// Adds a client that waits for a task.
fn wait(
    watches: &mut Names,
    queue: &str,
    seq: u64,
    who: &'static str,
) -> (Rc<Watch<&'static str, &'static str>>, u64) {
    let (watch, ticket) = watches.watch(key(queue), id(seq));
    watches.join(&watch, ticket, who);
    (watch, ticket)
}

fn woken(watches: &mut Names) -> Vec<&'static str> {
    std::iter::from_fn(|| watches.next_ended()).collect()
}

#[test]
fn all_clients_of_a_task_are_woken_in_the_order_in_which_they_came() {
    let mut watches = Names::new();
    let (watch, _) = wait(&mut watches, "q", 1, "a");
    wait(&mut watches, "q", 2, "b");
    wait(&mut watches, "q", 1, "c");
    assert_eq!(watches.total(), 3);
    watches.end(&key("q"), id(1), "done");
    assert!(watches.some_have_ended());
    assert_eq!(watch.end(), Some(&"done"));
    assert_eq!(watches.total(), 3, "until they are woken");
    assert_eq!(woken(&mut watches), ["a", "c"]);
    assert_eq!(watches.total(), 1);
    assert!(!watches.some_have_ended() && !watches.is_empty());
}

#[test]
fn the_end_of_a_task_without_clients_wakes_nobody() {
    let mut watches = Names::new();
    wait(&mut watches, "q", 1, "a");
    watches.end(&key("q"), id(2), "done");
    watches.end(&key("r"), id(1), "done");
    assert_eq!(woken(&mut watches), [""; 0]);
    assert!(watches.has(&key("q"), id(1)));
    assert!(!watches.has(&key("q"), id(2)));
}

#[test]
fn a_watch_lasts_until_its_last_client_has_left() {
    let mut watches = Names::new();
    let (watch, first) = wait(&mut watches, "q", 1, "a");
    let (_, second) = wait(&mut watches, "q", 1, "b");
    assert_eq!(watches.leave(&watch, first), Some("a"));
    assert_eq!(watches.leave(&watch, first), None, "once");
    assert!(watches.has(&key("q"), id(1)));
    assert_eq!(watches.leave(&watch, second), Some("b"));
    assert!(watches.is_empty());
    assert_eq!(watches.total(), 0);
}

#[test]
fn a_client_that_leaves_after_the_end_is_not_woken() {
    let mut watches = Names::new();
    let (watch, ticket) = wait(&mut watches, "q", 1, "a");
    wait(&mut watches, "q", 1, "b");
    watches.end(&key("q"), id(1), "done");
    assert_eq!(watches.leave(&watch, ticket), Some("a"));
    assert_eq!(woken(&mut watches), ["b"]);
    assert_eq!(watches.total(), 0);
}

#[test]
fn a_client_that_comes_after_the_end_gets_a_new_watch() {
    let mut watches = Names::new();
    let (old, _) = wait(&mut watches, "q", 1, "a");
    watches.end(&key("q"), id(1), "dead");
    let (new, _) = wait(&mut watches, "q", 1, "b");
    assert_eq!((old.end(), new.end()), (Some(&"dead"), None));
    assert_eq!(woken(&mut watches), ["a"]);
    assert!(watches.has(&key("q"), id(1)));
}

#[test]
fn a_check_continues_where_the_last_one_stopped() {
    let mut watches = Names::new();
    for (queue, seq) in [("a", 1), ("a", 2), ("a", 3), ("b", 1), ("c", 1)] {
        wait(&mut watches, queue, seq, "x");
    }
    let mut look = |limit| {
        let chosen = watches.next_to_check(limit);
        let tasks = chosen.into_iter().flat_map(|(queue, ids)| {
            ids.into_iter().map(move |id| format!("{}{}", String::from_utf8_lossy(&queue.name), id.seq))
        });
        tasks.collect::<Vec<_>>()
    };
    assert_eq!(look(2), ["a1", "a2"]);
    assert_eq!(look(2), ["a3", "b1"]);
    assert_eq!(look(2), ["c1"], "the last ones");
    assert_eq!(look(10), ["a1", "a2", "a3", "b1", "c1"]);
    assert_eq!(look(10), ["a1", "a2", "a3", "b1", "c1"]);
}
