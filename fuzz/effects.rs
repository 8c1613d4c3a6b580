//! Effects, from a primary or an AOF file. The first part of an input is a queue: how many events of the sample life it
//! has lived. The second is an effect, the others are its payloads.

use std::cell::OnceCell;

use taskslot_engine::{Effect, Invalid, Millis, Now, Queue, Received, Stamp};

use crate::copies::{Dice, NAME, digest, load_given_up, save};
use crate::parts::split;
use crate::sample::{START, live, lives_on};
use crate::shown::is_shown;

/// How many random commands a queue must survive that has accepted an effect.
const VERBS: usize = 8;

thread_local! {
    /// The queue before each event of the sample life, and at its end.
    static AGES: OnceCell<Vec<Queue>> = const { OnceCell::new() };
}

fn ages() -> Vec<Queue> {
    let mut ages = Vec::new();
    let last = live(&mut |before, _| ages.push(before.clone()));
    ages.push(last);
    ages
}

/// The queue that a part names by two bytes.
fn queue(age: &[u8]) -> Queue {
    let age = age.iter().rev().fold(0, |age, byte| age << 8 | usize::from(*byte));
    AGES.with(|known| {
        let known = known.get_or_init(ages);
        known[age % known.len()].clone()
    })
}

/// Applies an effect. One that is refused leaves a queue that is given up: it can still be read and stored. One that is
/// accepted leaves a queue like any other.
pub fn run(input: &[u8]) {
    let parts = split(input);
    let [age, effect, payloads @ ..] = &parts[..] else { return };
    let Ok(received) = Effect::decode(NAME, effect, payloads) else { return };
    travels_on(&received);
    let mut queue = queue(age);
    let _ = queue.clone().expect_effect(&received);
    // Whatever its number is, the events are tried.
    let applied: Result<(), Invalid> =
        received.events.iter().try_for_each(|event| queue.apply(event).map(drop));
    is_shown(&queue, Now::plain(START + 1_000));
    if applied.is_err() {
        let _ = load_given_up(&save(&queue)).map(|again| digest(&again));
        return;
    }
    queue.validate().expect("an effect that applies leaves a valid queue");
    if queue.has_room(&Stamp::default()) {
        lives_on(queue, &mut Dice(input.len() as u64), VERBS);
    }
}

/// Checks that the events are the same when they are encoded and decoded again.
fn travels_on(received: &Received<'_>) {
    let (mut effect, mut payloads) = (Effect::default(), Vec::new());
    for event in &received.events {
        effect.add(event);
        payloads.extend_from_slice(event.changes().payloads);
    }
    let (number, at) = received.stamp.unwrap_or((1, Millis(1)));
    let sealed = effect.seal(number, at, NAME, payloads.iter().copied());
    if sealed.is_empty() {
        return;
    }
    let again = Effect::decode(NAME, sealed, &payloads).expect("an effect that was read can be sent on");
    assert_eq!(again.events, received.events);
    assert_eq!(again.stamp, Some((number, at)));
}
