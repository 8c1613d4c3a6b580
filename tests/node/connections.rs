//! The connections that hold TIED leases, and when they are polled.

use std::collections::BTreeSet;

use taskslot_node::{Connections, QueueKey};

fn queue(db: i32, name: &str) -> QueueKey {
    QueueKey::new(db, name.as_bytes())
}

fn set(queues: &[(i32, &str)]) -> BTreeSet<QueueKey> {
    queues.iter().map(|&(db, name)| queue(db, name)).collect()
}

#[test]
fn a_closed_connection_is_removed_with_the_queues_in_which_it_holds_leases() {
    let mut table = Connections::new();
    for (connection, name) in [(1, "a"), (2, "a"), (1, "b"), (1, "a")] {
        let tied = table.tie(connection, queue(0, name));
        assert!(!tied.starts_timer, "the server reports closed connections, so no timer is needed");
    }
    assert!(table.contains(1) && table.contains(2) && !table.contains(3));
    assert_eq!(table.remove(1), set(&[(0, "a"), (0, "b")]));
    assert!(!table.contains(1) && table.contains(2));
    assert_eq!(table.remove(1), set(&[]));
}

#[test]
fn a_connection_is_noted_for_at_most_twice_as_many_queues_as_it_holds_leases_in() {
    let mut table = Connections::new();
    let held = set(&[(0, "a"), (0, "m"), (0, "z")]);
    let name = |n: u64| queue(0, &format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    for n in 0..1000 {
        let noted = if n < 3 { held.iter().nth(n as usize).unwrap().clone() } else { name(n) };
        for queue in table.tie(1, noted).to_check {
            if !held.contains(&queue) {
                table.untie(1, &queue);
            }
        }
        assert_eq!(table.tie(1, queue(0, "a")).to_check, [], "it is noted already");
    }
    let left = table.remove(1);
    assert!(held.is_subset(&left) && left.len() <= 2 * held.len() + 2, "{left:?}");
}

#[test]
fn a_connection_without_leases_is_still_noted_until_it_closes() {
    let mut table = Connections::new();
    let _ = table.tie(1, queue(0, "a"));
    table.untie(1, &queue(0, "a"));
    table.untie(2, &queue(0, "a"));
    assert!(table.contains(1) && !table.contains(2));
    assert_eq!(table.remove(1), set(&[]));
}

#[test]
fn swapped_databases_swap_their_queues() {
    let mut table = Connections::default();
    for (db, name) in [(0, "a"), (1, "a"), (1, "b"), (2, "c")] {
        let _ = table.tie(1, queue(db, name));
    }
    table.swap_databases(0, 1);
    assert_eq!(table.remove(1), set(&[(1, "a"), (0, "a"), (0, "b"), (2, "c")]));
}

#[test]
fn no_connection_is_polled_if_the_server_reports_closed_ones() {
    let mut table = Connections::new();
    let _ = table.tie(1, queue(0, "a"));
    assert!(table.polled().is_empty());
}

#[test]
fn the_polling_timer_is_started_once_and_runs_while_there_are_connections() {
    let mut table = Connections::new();
    table.poll();
    assert!(table.polled().is_empty());
    assert!(table.tie(1, queue(0, "a")).starts_timer);
    assert!(!table.tie(2, queue(0, "a")).starts_timer, "it runs");
    assert_eq!(table.polled(), [1, 2]);
    table.remove(1);
    assert!(table.poll_again());
    table.remove(2);
    assert!(!table.tie(3, queue(0, "a")).starts_timer, "it still runs");
    table.remove(3);
    assert!(!table.poll_again());
    assert!(table.tie(4, queue(0, "a")).starts_timer, "it has stopped");
}
