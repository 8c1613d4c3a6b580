//! How a queue gets elsewhere: saved and loaded, or replicated by effects. Also the digest by which copies are
//! compared, and dice.

use taskslot_engine::{Effect, Event, Invalid, Millis, Queue};

/// A queue in its stored form.
pub fn save(queue: &Queue) -> Vec<Vec<u8>> {
    let mut chunks = Vec::new();
    queue.save(&mut |chunk| chunks.push(chunk.to_vec()));
    chunks
}

/// Loads a queue as a server does: head, chunks, validation.
pub fn load(chunks: &[Vec<u8>]) -> Result<Queue, Invalid> {
    let (head, rest) = chunks.split_first().ok_or(Invalid("a head"))?;
    let mut queue = Queue::load_head(head)?;
    rest.iter().try_for_each(|chunk| queue.load_chunk(chunk))?;
    queue.validate()?;
    Ok(queue)
}

/// Loads a queue that was given up: what can be read, up to the first damaged chunk.
pub fn load_given_up(chunks: &[Vec<u8>]) -> Result<Queue, Invalid> {
    let (head, rest) = chunks.split_first().ok_or(Invalid("a head"))?;
    let mut queue = Queue::load_head(head)?;
    let _ = rest.iter().try_for_each(|chunk| queue.load_chunk(chunk));
    Ok(queue)
}

/// What makes two queues equal, in 64 bits (FNV-1a over each part with its length). It never changes, because the
/// digests of the samples are written down.
pub fn digest(queue: &Queue) -> u64 {
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    queue.digest(&mut |part| {
        hash.eat(&(part.len() as u64).to_le_bytes());
        hash.eat(part);
    });
    hash.0
}

struct Fnv(u64);

impl Fnv {
    fn eat(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// The name of the queue of all effects in these tests.
pub const NAME: &[u8] = b"queue";

/// The effect of one event, as the first one of its queue.
pub fn first_effect(event: &Event) -> Vec<u8> {
    let mut effect = Effect::default();
    effect.add(event);
    effect.seal(1, Millis(1), NAME, event.changes().payloads.iter().copied()).to_vec()
}

/// The same effect in version 5, which differs in the checksum alone. With it, tests of what damage does are not only
/// tests of the checksum.
pub fn without_checksum(effect: &[u8]) -> Vec<u8> {
    assert_eq!(effect[0], 6, "the version");
    [&[5], &effect[1..effect.len() - 4]].concat()
}

/// Sends an event to a replica as a server does: encoded, numbered, with the payloads beside it, and decoded.
pub fn replicate(queue: &mut Queue, replica: &mut Queue, event: &Event) -> Result<(), Invalid> {
    let mut effect = Effect::default();
    effect.add(event);
    let (number, at) = (queue.count_effect(), Millis(1_700_000_000_000));
    let payloads = event.changes().payloads;
    let bytes = effect.seal(number, at, NAME, payloads.iter().copied());
    let received = Effect::decode(NAME, bytes, payloads)?;
    assert_eq!(received.stamp, Some((number, at)));
    assert_eq!(received.events, std::slice::from_ref(event), "an event survives its journey");
    replica.expect_effect(&received)?;
    received.events.iter().try_for_each(|event| replica.apply(event).map(drop))
}

/// Random numbers that a seed repeats (splitmix64).
#[derive(Clone)]
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.roll() % n.max(1)
    }

    pub fn words(&mut self) -> [u32; 4] {
        let (a, b) = (self.roll(), self.roll());
        [a as u32, (a >> 32) as u32, b as u32, (b >> 32) as u32]
    }
}
