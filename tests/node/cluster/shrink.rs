//! A history that fails is made shorter, as long as it fails.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::step::Step;
use super::story::Story;
use super::world::World;

/// How a history ended.
pub struct Outcome {
    /// Why it failed.
    pub failure: Option<String>,
    /// How many steps were made.
    pub steps: usize,
    pub world: World,
}

/// Runs a history to its end, or to what must not happen.
pub fn run(seed: u64, steps: &[Step], story: Story) -> Outcome {
    let mut world = World::new(seed, story);
    let mut done = 0;
    let result = super::silence::quietly(|| {
        catch_unwind(AssertUnwindSafe(|| {
            for step in steps {
                world.step(*step);
                done += 1;
            }
            world.recovers();
        }))
    });
    let failure = result.err().map(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
    });
    Outcome { failure, steps: done, world }
}

/// Leaves out steps as long as the history fails: halves first, then smaller parts, at last single steps.
pub fn shrink(seed: u64, steps: &[Step]) -> Vec<Step> {
    let fails = |steps: &[Step]| {
        let outcome = run(seed, steps, Story::default());
        outcome.failure.is_some().then_some(outcome.steps)
    };
    let mut steps = steps.to_vec();
    let mut size = steps.len();
    while size > 0 {
        let (mut from, mut is_shorter) = (0, false);
        while from < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(from..(from + size).min(steps.len()));
            match fails(&fewer) {
                Some(done) => {
                    // What comes after the failure isn't needed either.
                    fewer.truncate(done + 1);
                    (steps, is_shorter) = (fewer, true);
                }
                None => from += size,
            }
        }
        if size > 1 || !is_shorter {
            size /= 2;
        }
    }
    steps
}
