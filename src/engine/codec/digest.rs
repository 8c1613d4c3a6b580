//! Digests of queues, to check whether two copies are equal.

use crate::codec::queue::{ATTEMPTS, BATCHES, ERRORS, PROGRESS, RESULTS};
use crate::numbers::Order;
use crate::pack::{encode_named, named_in};
use crate::state::State;
use crate::store::entry::{Packed, Phase};
use crate::store::task_errors::TaskErrors;
use crate::task::Options;

/// SipHash-1-3 with 128 bits (Aumasson and Bernstein, 2012), over a list of parts instead of a stream of bytes. Each
/// part is its length followed by its bytes, padded with zeros to whole words. So two different lists never give the
/// same words.
///
/// The key is fixed. The hash finds copies that have diverged, but it is no protection against somebody who wants two
/// different queues to have the same one. Nothing stores it, so it can change with a version of the module.
struct Fingerprint([u64; 4]);

impl Fingerprint {
    fn new() -> Fingerprint {
        // "somepseudorandomlygeneratedbytes" with the mark of the 128-bit variant. The key is zero.
        Fingerprint([
            0x736f_6d65_7073_6575,
            0x646f_7261_6e64_6f6d ^ 0xee,
            0x6c79_6765_6e65_7261,
            0x7465_6462_7974_6573,
        ])
    }

    fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.0;
        a = a.wrapping_add(b);
        b = b.rotate_left(13) ^ a;
        a = a.rotate_left(32);
        c = c.wrapping_add(d);
        d = d.rotate_left(16) ^ c;
        a = a.wrapping_add(d);
        d = d.rotate_left(21) ^ a;
        c = c.wrapping_add(b);
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        self.0 = [a, b, c, d];
    }

    fn word(&mut self, word: u64) {
        self.0[3] ^= word;
        self.round();
        self.0[0] ^= word;
    }

    fn part(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.word(u64::from_le_bytes(*word)));
        if !rest.is_empty() {
            let mut last = [0; 8];
            last.iter_mut().zip(rest).for_each(|(to, byte)| *to = *byte);
            self.word(u64::from_le_bytes(last));
        }
    }

    fn half(&mut self, mark: (usize, u64)) -> u64 {
        self.0[mark.0] ^= mark.1;
        (0..3).for_each(|_| self.round());
        self.0.iter().fold(0, |all, word| all ^ word)
    }

    fn finish(mut self) -> [u8; 16] {
        let (first, second) = (self.half((2, 0xee)), self.half((1, 0xdd)));
        (u128::from(first) | u128::from(second) << 64).to_le_bytes()
    }
}

impl State {
    /// Passes everything that makes two queues equal to `add`, in an order that does not depend on their memory layout.
    pub fn digest(&self, add: &mut dyn FnMut(&[u8])) {
        add(&self.head_for_digest());
        // Encoded once, or into one buffer, because the loop runs for each of perhaps a million tasks.
        let (mut state, mut named) = (Vec::new(), Vec::new());
        let usual = encode_named(&Options::default());
        for position in self.log.tasks_from(Order(0)) {
            let Some(found) = self.at(position) else { continue };
            state.clear();
            if let Some(entry) = found.entry {
                // The number of a worker's name depends on the history, the name does not.
                let worker = match entry.phase {
                    Phase::Leased { worker, .. } => self.workers.name(worker),
                    _ => &[],
                };
                Packed::new(0, &entry.without_worker()).put(&mut state);
                state.extend_from_slice(worker);
            }
            let errors = TaskErrors::stored(self.errors.get(found.order).unwrap_or_default());
            let error = errors.last_text();
            let options = match found.record.options() {
                options if options == Options::default() => &usual,
                options => named_in(&mut named, &options),
            };
            for part in [&found.order.0.to_le_bytes(), &state[..], options, found.record.payload, error] {
                add(part);
            }
            add(self.groups.name(found.record.group()));
            add(found.record.id.text().as_str().as_bytes());
            if !found.record.batch.is_none() {
                add(&[BATCHES]);
                add(&found.record.batch.0.to_le_bytes());
            }
            // Only where there is a value, since most tasks have none. No other part is a single byte like this
            // mark.
            for (kind, table) in
                [(RESULTS, &self.results), (PROGRESS, &self.progress), (ATTEMPTS, &self.attempts)]
            {
                if let Some(value) = table.get(found.order) {
                    add(&[kind]);
                    add(value);
                }
            }
            if !errors.is_empty() && !errors.is_text_only() {
                add(&[ERRORS]);
                add(errors.as_bytes());
            }
        }
        for group in self.groups.by_name() {
            add(named_in(&mut named, &group));
        }
        for (key, left) in self.lanes.turns() {
            add(self.groups.name(key.group));
            add(named_in(&mut named, &(key.priority, left)));
        }
        for request in self.requests.iter() {
            add(named_in(&mut named, &request));
        }
        for schedule in self.schedules.stored() {
            add(named_in(&mut named, &schedule));
        }
        self.tokens.all().for_each(|held| add(named_in(&mut named, &held)));
        for batch in self.batches.stored() {
            add(named_in(&mut named, &batch));
        }
        for dependent in self.dependents.stored() {
            add(named_in(&mut named, &dependent));
        }
        self.dependents.ended().for_each(|ended| add(named_in(&mut named, &ended)));
    }

    /// The digest in 16 bytes: equal queues have the same one, on every machine. It reads the whole queue once.
    pub fn fingerprint(&self) -> [u8; 16] {
        let mut fingerprint = Fingerprint::new();
        self.digest(&mut |part| fingerprint.part(part));
        fingerprint.finish()
    }
}
