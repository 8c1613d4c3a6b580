//! The warnings for operators, and when the server is checked.

use taskslot_engine::Millis;
use taskslot_node::{Look, Warning, Warnings};

const AT: Millis = Millis(1_700_000_000_000);

/// A primary without warnings: it has a whole AOF and a replica, and evicts nothing.
const SAFE: Look<'_> = Look {
    policy: Some("noeviction"),
    is_primary: true,
    has_aof: true,
    is_aof_cut: false,
    replicas: Some("1"),
};

fn all(warnings: &Warnings) -> Vec<Warning> {
    warnings.all(0).collect()
}

fn seen(look: Look<'_>) -> Vec<Warning> {
    let mut warnings = Warnings::new();
    warnings.look(AT, &look);
    all(&warnings)
}

#[test]
fn there_are_no_warnings_before_the_first_check() {
    assert!(Warnings::default().is_due(Millis(0)));
    assert_eq!(all(&Warnings::new()), []);
}

#[test]
fn eviction_of_keys_without_a_time_to_live_gives_a_warning() {
    for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random"] {
        assert_eq!(seen(Look { policy: Some(policy), ..SAFE }), [Warning::Eviction], "{policy}");
    }
    for policy in ["noeviction", "volatile-lru", "volatile-ttl"] {
        assert_eq!(seen(Look { policy: Some(policy), ..SAFE }), [], "{policy}");
    }
}

#[test]
fn eviction_is_logged_when_it_begins() {
    let mut warnings = Warnings::new();
    let policies = ["allkeys-lru", "allkeys-lfu", "noeviction", "allkeys-lru"];
    let logged = policies.map(|policy| warnings.look(AT, &Look { policy: Some(policy), ..SAFE }));
    assert_eq!(logged, [true, false, false, true]);
    assert!(
        !warnings.look(AT, &Look { policy: None, ..SAFE }),
        "a policy that could not be read stays the same"
    );
    assert_eq!(all(&warnings), [Warning::Eviction]);
}

#[test]
fn a_primary_without_replica_and_aof_gives_a_warning() {
    let alone = Look { has_aof: false, replicas: Some("0"), ..SAFE };
    assert_eq!(seen(alone), [Warning::Durability]);
    for safe in [
        Look { has_aof: true, ..alone },
        Look { replicas: Some("1"), ..alone },
        Look { replicas: None, ..alone },
        Look { is_primary: false, ..alone },
    ] {
        assert_eq!(seen(safe), [], "{safe:?}");
    }
}

#[test]
fn an_aof_that_was_cut_gives_a_warning_until_it_is_rewritten() {
    let mut warnings = Warnings::new();
    warnings.look(AT, &Look { is_aof_cut: true, ..SAFE });
    assert_eq!(all(&warnings), [Warning::AofCut]);
    warnings.look(AT, &SAFE);
    assert_eq!(all(&warnings), []);
}

#[test]
fn the_warning_of_big_queues_comes_last() {
    let mut warnings = Warnings::new();
    let worst = Look {
        policy: Some("allkeys-lru"),
        is_primary: true,
        has_aof: false,
        is_aof_cut: true,
        replicas: Some("0"),
    };
    warnings.look(AT, &worst);
    let expected = [Warning::Eviction, Warning::Durability, Warning::AofCut, Warning::QueueSize(3)];
    assert_eq!(warnings.all(3).collect::<Vec<_>>(), expected);
    assert_eq!(Warnings::new().all(1).collect::<Vec<_>>(), [Warning::QueueSize(1)]);
}

#[test]
fn the_server_is_checked_every_two_seconds_and_after_the_clock_was_set_back() {
    let mut warnings = Warnings::new();
    warnings.look(AT, &SAFE);
    assert!(!warnings.is_due(AT) && !warnings.is_due(AT.plus(1999)));
    assert!(warnings.is_due(AT.plus(2000)));
    assert!(warnings.is_due(Millis(AT.0 - 1)));
}
