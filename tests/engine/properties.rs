//! Random histories of all commands, in which a queue, its replica, what it saves and loads, and a naive model must
//! agree. `TASKSLOT_SEED=n` runs one seed. `TASKSLOT_TIMES=n` makes the seeded loops n times as long; `make test-all`
//! uses 2.

use proptest::prelude::*;

use crate::copies::Dice;
use crate::lockstep::{Depth, Lockstep};

/// Prints its seed if the history fails.
pub struct Seed(pub u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the history failed: run it again with TASKSLOT_SEED={}", self.0);
        }
    }
}

pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// How many times as long as usual the seeded loops are.
pub fn times() -> u64 {
    number("TASKSLOT_TIMES").unwrap_or(1)
}

/// The bits of a byte to flip. In a plain run two of them, which differ from byte to byte, so that each kind of field
/// meets each bit somewhere; in a longer one all.
pub fn bits_of(byte: usize) -> impl Iterator<Item = (usize, usize)> {
    let (first, count) = if times() > 1 { (0, 8) } else { (byte * 3, 2) };
    (0..count).map(move |n| (byte, (first + 5 * n) % 8))
}

/// Runs histories of `length` steps, one seed after the other, until there are `steps` in all.
fn histories(first: u64, steps: u64, length: u64, depth: Depth) {
    let only = number("TASKSLOT_SEED");
    let steps = steps * times();
    let mut done = 0;
    for seed in only.map_or(first..u64::MAX, |only| only..only + 1) {
        let _seed = Seed(seed);
        let mut dice = Dice(seed);
        let mut lockstep = Lockstep::new(depth);
        for _ in 0..length {
            lockstep.step(dice.words());
        }
        lockstep.compare_lists();
        lockstep.drain();
        done += length;
        if done >= steps {
            break;
        }
    }
}

#[test]
fn shallow_histories_agree_with_the_model() {
    histories(0, 100_000, 1000, Depth::Shallow);
}

#[test]
fn other_shallow_histories_agree_with_the_model() {
    histories(1 << 32, 100_000, 250, Depth::Shallow);
}

#[test]
fn deep_histories_agree_with_the_model() {
    histories(1 << 33, 6_000, 5000, Depth::Deep);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn short_histories_agree_with_the_model(steps in prop::collection::vec(any::<[u32; 4]>(), 1..200)) {
        let mut lockstep = Lockstep::new(Depth::Shallow);
        steps.into_iter().for_each(|words| lockstep.step(words));
        lockstep.drain();
    }
}
