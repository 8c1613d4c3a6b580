//! The queue as a native data type: how the server saves, loads, copies, measures and frees it.

use std::mem;

use taskslot_engine::{FORMAT_VERSION, Invalid, Millis, Now, Part, Queue};
use taskslot_node::{Health, QueueKey, earliest};

use crate::agenda;
use crate::gone::NotedUntilFreed;
use crate::metrics::QueueGauge;
use crate::replication::{LOAD, LOAD_END, LOAD_HEAD, LOAD_MORE};
use crate::{clock, zones};
use taskslot_api::datatype::{DataType, Value};
use taskslot_api::streams::{AofWriter, Digest, RdbReader, RdbWriter};
use taskslot_api::{Arg, Context, Flags, Level};

/// The data type of queues, registered when the module is loaded.
pub static QUEUES: DataType<TaskQueue> = DataType::new();

/// The value of a key: a queue, with what only this node knows about it.
#[derive(Default)]
pub struct TaskQueue {
    /// The queue itself, which is stored and replicated.
    pub queue: Queue,
    /// Whether the queue may be changed.
    pub health: Health,
    /// What the queue has noted of its hint on the agenda.
    pub noted: NotedUntilFreed,
    /// The number of pushes that this node refused.
    pub refused: u64,
    /// The number of requests that were sent again and got the same reply, on this node.
    pub duplicate: u64,
    /// What the queue adds to the node's gauges.
    pub gauge: QueueGauge,
    /// The number of pushes that found another task with their UNIQUE token, on this node.
    pub found: u64,
    /// The queue came from another node with a clock of its own, and replicas and the AOF don't have that clock yet.
    pub must_replicate_clock: bool,
}

impl TaskQueue {
    /// An empty queue.
    pub fn new() -> TaskQueue {
        let mut value = TaskQueue::default();
        value.queue.use_zones(zones::HERE);
        value
    }

    /// A queue that was loaded or copied.
    pub fn of(queue: Queue, health: Health) -> TaskQueue {
        let mut value = TaskQueue { queue, health, ..TaskQueue::default() };
        value.update_gauges();
        value
    }

    /// Marks the queue as broken or damaged: it can be read, but not changed any more. The log names the queue, which
    /// is at `key`.
    pub fn give_up(&mut self, ctx: Context<'_>, key: Arg<'_>, health: Health) {
        debug_assert!(!health.is_sound(), "a reason is given");
        let queue = QueueKey::new(ctx.selected_db(), key.as_bytes());
        ctx.log(Level::Warning, &format!("{queue} is BROKEN: {}", health.text()));
        self.health = health;
        self.update_gauges();
    }

    /// The present time on the queue's clock.
    pub fn now(&self, node: Now) -> Now {
        node.ahead_by(self.queue.clock_offset_ms())
    }

    /// A time on the queue's clock, converted to the node's clock.
    pub fn on_node_clock(&self, at: Millis) -> Millis {
        Millis(at.0.saturating_add_signed(self.queue.clock_offset_ms().saturating_neg())).min(Millis::MAX)
    }

    /// Notes on the agenda when the queue has work to do. `now` is on the node's clock.
    pub fn put_on_agenda(&self, ctx: Context<'_>, key: Arg<'_>, now: &Now) {
        if let Some(due) = self.next_due(now).filter(|_| self.health.is_sound()) {
            agenda::put(ctx, key, &self.noted, now.at, due);
        }
    }

    /// When the queue has work to do, on the node's clock.
    fn next_due(&self, now: &Now) -> Option<Millis> {
        Some(earliest(now, self.on_node_clock(self.queue.next_due(&self.now(*now))?)))
    }

    /// Updates the node's gauges. Called after each change, so that INFO needn't visit every queue.
    #[inline]
    pub fn update_gauges(&mut self) {
        self.gauge.update(self.memory(), !self.health.is_sound());
    }
}

impl Value for TaskQueue {
    const NAME: &'static std::ffi::CStr = c"taskqueue";
    const ENCODING: i32 = FORMAT_VERSION as i32;

    /// Writes why the queue is broken (empty if it is sound), then the queue's chunks, then an empty chunk.
    fn save(&self, out: &mut RdbWriter<'_>) {
        out.save_bytes(self.health.text().as_bytes());
        self.queue.save_at(clock::stamp(), &mut |chunk| out.save_bytes(chunk));
        out.save_bytes(&[]);
    }

    fn load(input: &mut RdbReader<'_>, _encoding: i32) -> Option<TaskQueue> {
        match load(input)? {
            Ok(mut value) => {
                let flags = Flags::of_server();
                if !flags.is_loading() && !flags.is_loading_beside() && !value.queue.has_room(&clock::stamp())
                {
                    input.log_error(
                        "a queue is refused: it has run out of ids, of the numbers of tasks, leases or batches, or of room in its totals",
                    );
                    return None;
                }
                if flags.is_loading_beside() {
                    // No event reports when keys that are loaded beside the data become visible.
                    value.carry_clock_on();
                } else if !flags.is_loading() {
                    value.keep_clock();
                }
                // Noted here for the same reason: after a load beside the data, no event reports the keys.
                if let Some((db, key)) = input.db().zip(input.key()) {
                    let queue = QueueKey::new(db, key.as_bytes());
                    agenda::with(|agenda| agenda.put_now(&value.noted, queue));
                }
                Some(value)
            }
            Err(Invalid(what)) => {
                input.log_error(&format!("a damaged queue is refused: it should have {what}"));
                None
            }
        }
    }

    fn rewrite(&self, out: &mut AofWriter<'_>, key: Arg<'_>) {
        let (mut number, mut written) = (0, true);
        let mut emit = |kind, chunk: &[u8]| {
            let part = Part::seal(key.as_bytes(), kind, number, chunk);
            written = written && out.emit(LOAD, key, [kind, &part]);
            number += 1;
        };
        let mut kind = LOAD_HEAD;
        self.queue.save_at(clock::stamp(), &mut |chunk| {
            emit(mem::replace(&mut kind, LOAD_MORE), chunk);
        });
        emit(LOAD_END, self.health.text().as_bytes());
    }

    fn memory(&self) -> usize {
        size_of::<TaskQueue>() - size_of::<Queue>() + self.queue.memory()
    }

    fn digest(&self, out: &mut Digest<'_>) {
        // The server's own hash computes SHA-1 twice for each part, which takes ten times as long.
        out.add_bytes(&self.queue.fingerprint());
        out.add_bytes(self.health.text().as_bytes());
        out.end_sequence();
    }

    fn free_effort(&self) -> usize {
        self.queue.free_effort()
    }

    fn copy(&self) -> Option<TaskQueue> {
        if !self.health.is_sound() {
            return None;
        }
        self.queue.copied().ok().map(|copy| TaskQueue::of(copy, Health::Sound))
    }
}

/// Reads what `save` wrote. `None` if the input ends too early.
fn load(input: &mut RdbReader<'_>) -> Option<Result<TaskQueue, Invalid>> {
    let health = Health::from_text(&input.load_bytes()?);
    let mut queue = match Queue::load_head(&input.load_bytes()?) {
        Ok(queue) => queue,
        Err(mismatch) => return Some(Err(mismatch)),
    };
    queue.use_zones(zones::HERE);
    let mut result = Ok(());
    loop {
        let chunk = input.load_bytes()?;
        if chunk.is_empty() {
            break;
        }
        if result.is_ok() {
            result = queue.load_chunk(&chunk);
        }
    }
    // A broken queue can be damaged too. It is kept as far as it can be read, for reading.
    if !health.is_sound() {
        return Some(Ok(TaskQueue::of(queue, health)));
    }
    Some(result.and_then(|()| queue.validate()).map(|()| TaskQueue::of(queue, health)))
}
