//! A cluster in one process and from one seed: two shards with replicas, each node with its queues, its clock, its term
//! and its files. Clients use all features. Meanwhile links are cut and slow, machines lose their power, wall clocks are
//! set, nodes are killed, stand still, are promoted and demoted, also so that two believe to be the primary, and queues
//! move to the other shard.
//!
//! The judge is independent of the engine: a naive oracle of the queue's rules and a ledger of spans, leases and replies
//! travel with each copy of the data, so they know what that copy must know. It checks, while faults last:
//!
//! - Copies that have had the same changes are equal, whichever way they came: effects, files, snapshots, DUMP.
//! - No lease number is given twice for a task, and numbers grow, over all primaries and all restarts.
//! - A stale handle is refused, and the holder of a lease is not.
//! - No lease, delay, TTL, pause or interval ends too early, in true time.
//! - No task is lost or appears; callbacks and dependents become ready when they must, once; limits hold; results and
//!   replies to requests are kept.
//!
//! When the faults have ended, all copies become equal, and workers finish all tasks within a bounded time.
//!
//! A history that fails is made shorter and told. `TASKSLOT_SEED=n` runs one seed, `TASKSLOT_STEPS=n` sets the number of
//! steps, `TASKSLOT_TIMES=n` makes them n times as many.

mod client;
mod disk;
mod fault;
mod judge;
mod known;
mod ledger;
mod link;
mod machine;
mod message;
mod node;
mod recovery;
mod shrink;
mod silence;
mod step;
mod story;
mod txn;
mod workers;
mod world;

// The oracle of the engine's own histories.
#[allow(dead_code)]
#[path = "../engine/waits/edits.rs"]
mod edits;
#[allow(dead_code)]
#[path = "../engine/waits/groups.rs"]
mod groups;
#[allow(dead_code)]
#[path = "../engine/waits/oracle.rs"]
mod oracle;
#[allow(dead_code)]
#[path = "../engine/waits/tokens.rs"]
mod tokens;

use std::collections::BTreeMap;

use story::Story;

/// The steps of one history.
const LENGTH: usize = 400;
/// The steps of all histories in a plain run.
const STEPS: u64 = 500_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Makes a failing history shorter and tells it.
fn tell(seed: u64) -> String {
    let steps = shrink::shrink(seed, &step::steps(seed, LENGTH));
    let outcome = shrink::run(seed, &steps, Story::told());
    let (story, failure) = (outcome.world.story.text(), outcome.failure.unwrap_or_default());
    let count = steps.len();
    format!(
        "seed {seed} fails. Its story, in {count} of {LENGTH} steps:\n{story}\n{failure}\nRun it again with TASKSLOT_SEED={seed}"
    )
}

#[test]
fn a_cluster_under_faults_keeps_its_promises() {
    let only = number("TASKSLOT_SEED");
    let steps = number("TASKSLOT_STEPS").unwrap_or(STEPS) * number("TASKSLOT_TIMES").unwrap_or(1);
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let seeds = only.map_or(0..steps.div_ceil(LENGTH as u64), |only| only..only + 1);
    for seed in seeds {
        let outcome = shrink::run(seed, &step::steps(seed, LENGTH), Story::default());
        if outcome.failure.is_some() {
            panic!("{}", tell(seed));
        }
        outcome.world.judge.counts.iter().for_each(|(what, count)| *counts.entry(what).or_default() += count);
    }
    if only.is_none() {
        println!("{counts:?}");
    }
    // The histories must contain enough of everything, otherwise they would prove nothing.
    let is_plain = only.is_none() && steps >= STEPS;
    assert!(!is_plain || counts.len() == 13 && counts.values().all(|&count| count > 100), "{counts:?}");
}
