//! The stored form of a queue, from an RDB file, a DUMP or another node. Each part of an input is a chunk.

use taskslot_engine::{Now, Stamp};

use crate::copies::{Dice, digest, load, load_given_up, save};
use crate::parts::split;
use crate::sample::{START, lives_on};
use crate::shown::is_shown;

/// How many random commands a queue that was accepted must survive.
const VERBS: usize = 12;

/// Loads a queue. What is refused is kept as far as it can be read. What is accepted is a queue like any other.
pub fn run(input: &[u8]) {
    let chunks: Vec<Vec<u8>> = split(input).into_iter().map(<[u8]>::to_vec).collect();
    if let Ok(kept) = load_given_up(&chunks) {
        let stored = save(&kept);
        let again = load_given_up(&stored).expect("what was kept has a head");
        assert_eq!(digest(&again), digest(&kept), "what was kept stays as it is");
        is_shown(&kept, Now::plain(START));
    }
    let Ok(queue) = load(&chunks) else { return };
    let stored = save(&queue);
    let again = load(&stored).expect("a stored queue loads");
    assert_eq!(save(&again), stored, "a loaded queue is stored as it was");
    assert_eq!(digest(&again), digest(&queue));
    let copy = queue.copied().expect("a valid queue has a copy");
    copy.validate().expect("a copy is valid");
    // Without room for more numbers, a push may be refused as it is applied.
    if queue.has_room(&Stamp::default()) {
        lives_on(queue, &mut Dice(input.len() as u64), VERBS);
    }
}
