//! What an operator is warned of, and when the server is looked at.

use taskslot_engine::Millis;
use taskslot_node::{Look, Warning, Warnings};

const AT: Millis = Millis(1_700_000_000_000);

/// A primary that keeps its tasks: with an AOF, a replica, and no eviction.
const SAFE: Look<'_> =
    Look { policy: Some("noeviction"), is_primary: true, has_aof: true, replicas: Some("1") };

fn all(warnings: &Warnings) -> Vec<Warning> {
    warnings.all(0).collect()
}

fn seen(look: Look<'_>) -> Vec<Warning> {
    let mut warnings = Warnings::new();
    warnings.look(AT, &look);
    all(&warnings)
}

#[test]
fn nothing_is_warned_of_before_the_first_look() {
    assert!(Warnings::default().is_due(Millis(0)));
    assert_eq!(all(&Warnings::new()), []);
}

#[test]
fn eviction_of_keys_without_a_time_to_live_is_warned_of() {
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
    assert!(!warnings.look(AT, &Look { policy: None, ..SAFE }), "it couldn't be read: it is what it was");
    assert_eq!(all(&warnings), [Warning::Eviction]);
}

#[test]
fn a_primary_alone_without_an_aof_is_warned_of() {
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
fn big_queues_are_warned_of_last() {
    let mut warnings = Warnings::new();
    let worst = Look { policy: Some("allkeys-lru"), is_primary: true, has_aof: false, replicas: Some("0") };
    warnings.look(AT, &worst);
    let expected = [Warning::Eviction, Warning::Durability, Warning::QueueSize(3)];
    assert_eq!(warnings.all(3).collect::<Vec<_>>(), expected);
    assert_eq!(Warnings::new().all(1).collect::<Vec<_>>(), [Warning::QueueSize(1)]);
}

#[test]
fn the_server_is_looked_at_every_two_seconds_and_after_a_clock_was_set_back() {
    let mut warnings = Warnings::new();
    warnings.look(AT, &SAFE);
    assert!(!warnings.is_due(AT) && !warnings.is_due(AT.plus(1999)));
    assert!(warnings.is_due(AT.plus(2000)));
    assert!(warnings.is_due(Millis(AT.0 - 1)));
}
