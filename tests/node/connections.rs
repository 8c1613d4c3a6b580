//! Which connections hold TIED leases, and when they are polled.

use std::collections::BTreeSet;

use taskslot_node::Connections;

type Table = Connections<(i32, &'static str)>;

fn set(queues: &[(i32, &'static str)]) -> BTreeSet<(i32, &'static str)> {
    queues.iter().copied().collect()
}

#[test]
fn a_connection_that_closes_leaves_the_queues_in_which_it_holds_leases() {
    let mut table = Table::new();
    for (connection, queue) in [(1, (0, "a")), (2, (0, "a")), (1, (0, "b")), (1, (0, "a"))] {
        assert!(!table.tie(connection, queue), "the server tells, so no timer is needed");
    }
    assert!(table.contains(1) && table.contains(2) && !table.contains(3));
    assert_eq!(table.remove(1), set(&[(0, "a"), (0, "b")]));
    assert!(!table.contains(1) && table.contains(2));
    assert_eq!(table.remove(1), set(&[]));
}

#[test]
fn databases_that_are_swapped_take_their_queues_along() {
    let mut table = Table::default();
    for queue in [(0, "a"), (1, "a"), (2, "a")] {
        let _ = table.tie(1, queue);
    }
    table.rename(|(db, key)| (if db < 2 { 1 - db } else { db }, key));
    assert_eq!(table.remove(1), set(&[(1, "a"), (0, "a"), (2, "a")]));
}

#[test]
fn queues_that_come_to_one_name_are_one() {
    let mut table = Table::new();
    let _ = (table.tie(1, (0, "a")), table.tie(1, (0, "b")));
    table.rename(|(db, _)| (db, "c"));
    assert_eq!(table.remove(1), set(&[(0, "c")]));
}

#[test]
fn no_connection_is_polled_where_the_server_tells() {
    let mut table = Table::new();
    let _ = table.tie(1, (0, "a"));
    assert!(table.polled().is_empty());
}

#[test]
fn the_timer_that_polls_is_set_once_and_runs_while_there_are_connections() {
    let mut table = Table::new();
    table.poll();
    assert!(table.polled().is_empty());
    assert!(table.tie(1, (0, "a")));
    assert!(!table.tie(2, (0, "a")), "it is set");
    assert_eq!(table.polled(), [1, 2]);
    table.remove(1);
    assert!(table.poll_again());
    table.remove(2);
    assert!(!table.tie(3, (0, "a")), "it is still set");
    table.remove(3);
    assert!(!table.poll_again());
    assert!(table.tie(4, (0, "a")), "it isn't any more");
}
