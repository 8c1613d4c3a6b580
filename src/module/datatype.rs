//! The queue as a native data type: what the server asks of the value in a key.

use taskslot_engine::{FORMAT_VERSION, Invalid, Millis, Now, Queue};
use taskslot_node::{Health, Hint, QueueKey, earliest};

use crate::agenda;
use crate::metrics::QueueGauge;
use crate::replication::{LOAD, LOAD_END, LOAD_HEAD, LOAD_MORE};
use crate::{clock, zones};
use taskslot_api::datatype::{DataType, Value};
use taskslot_api::streams::{AofWriter, Digest, RdbReader, RdbWriter};
use taskslot_api::{Arg, Context, Flags, Level, log};

/// Clocks that differ by less are the same one, read in whole milliseconds and slewed a little.
const SAME_CLOCK_MS: u64 = 20;

/// The type of queues. Registered at load.
pub static QUEUES: DataType<TaskQueue> = DataType::new();

/// A queue in a key, with what only this node knows of it.
#[derive(Default)]
pub struct TaskQueue {
    /// The queue.
    pub queue: Queue,
    /// Whether the queue may be changed.
    pub health: Health,
    /// The earliest hint that is out for the queue under its present name.
    pub hint: Hint,
    /// Pushes that were refused here.
    pub refused: u64,
    /// Requests sent again with a token that was answered here.
    pub duplicate: u64,
    /// Its part in the node's gauges.
    pub gauge: QueueGauge,
    /// Pushes that found another task with their UNIQUE token here.
    pub found: u64,
    /// The queue came from elsewhere with a clock of its own, which replicas and the AOF haven't been told of.
    pub clock_untold: bool,
}

impl TaskQueue {
    /// A queue with nothing in it.
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

    /// The queue is readable only from now on.
    pub fn give_up(&mut self, health: Health) {
        debug_assert!(!health.is_sound(), "a reason is given");
        log(Level::Warning, &format!("a queue is BROKEN: {}", health.text()));
        self.health = health;
        self.update_gauges();
    }

    /// What time it is on the queue's clock.
    pub fn now(&self, node: Now) -> Now {
        node.ahead_by(self.queue.clock_offset_ms())
    }

    /// An instant of the queue's clock, told by the node's.
    pub fn on_node_clock(&self, at: Millis) -> Millis {
        Millis(at.0.saturating_add_signed(self.queue.clock_offset_ms().saturating_neg())).min(Millis::MAX)
    }

    /// The queue is part of the data that this node loads: it carries on the clock that they were written by. (A RESTORE in
    /// an AOF is no such part.)
    pub fn carry_clock_on(&self) {
        if let Some(saved) = self.queue.take_saved() {
            clock::resume(&saved);
        }
    }

    /// The queue has come alone, and its spans go on by its own clock.
    pub fn keep_clock(&mut self) {
        if let Some(saved) = self.queue.take_saved() {
            self.clock_is_ahead(self.queue.clock_offset_ms().saturating_add(clock::ahead_ms(&saved)));
            // A replica may have found another offset, so it is told also where the primary finds none.
            self.clock_untold = true;
        }
    }

    /// The queue came from elsewhere, with a clock that is so far ahead of this node's.
    pub fn clock_is_ahead(&mut self, offset_ms: i64) {
        if offset_ms.abs_diff(self.queue.clock_offset_ms()) > SAME_CLOCK_MS {
            self.queue.set_clock_offset(offset_ms);
            self.clock_untold = true;
        }
    }

    /// Notes when the queue has something to do. `now` is on the node's clock.
    pub fn put_on_agenda(&self, ctx: Context<'_>, key: Arg<'_>, now: &Now) {
        if let Some(due) = self.next_due(now).filter(|_| self.health.is_sound()) {
            agenda::hint(ctx, key, &self.hint, now.at, due);
        }
    }

    /// When the queue has something to do, on the node's clock.
    fn next_due(&self, now: &Now) -> Option<Millis> {
        Some(earliest(now, self.on_node_clock(self.queue.next_due(&self.now(*now))?)))
    }

    /// To be called after each change, so that INFO has walked no queue.
    #[inline]
    pub fn update_gauges(&mut self) {
        self.gauge.update(self.memory(), !self.health.is_sound());
    }
}

impl Value for TaskQueue {
    const NAME: &'static std::ffi::CStr = c"taskqueue";
    const ENCODING: i32 = FORMAT_VERSION as i32;

    /// Why it is broken (empty for sound), the queue's chunks, an empty chunk.
    fn save(&self, out: &mut RdbWriter<'_>) {
        out.save_bytes(self.health.text().as_bytes());
        self.queue.save_at(Some(clock::stamp()), &mut |chunk| out.save_bytes(chunk));
        out.save_bytes(&[]);
    }

    fn load(input: &mut RdbReader<'_>, _encoding: i32) -> Option<TaskQueue> {
        match load(input)? {
            Ok(mut value) => {
                let flags = Flags::of_server();
                if !flags.is_loading() && !flags.is_loading_beside() && !value.queue.has_room() {
                    input.log_error("a queue is refused that has used up its numbers");
                    return None;
                }
                if flags.is_loading_beside() {
                    // Nothing else tells when keys that are loaded so get their place.
                    value.carry_clock_on();
                } else if !flags.is_loading() {
                    value.keep_clock();
                }
                // Told here too, since a replica that loads beside its data tells nobody when keys get their place.
                if let Some((db, key)) = input.db().zip(input.key()) {
                    let queue = QueueKey::new(db, key.as_bytes());
                    agenda::with(|agenda| agenda.hint_loaded(queue, &value.hint));
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
        let mut mode = LOAD_HEAD;
        let mut written = true;
        self.queue.save_at(Some(clock::stamp()), &mut |chunk| {
            written = written && out.emit(LOAD, key, [mode, chunk]);
            mode = LOAD_MORE;
        });
        if written {
            out.emit(LOAD, key, [LOAD_END, self.health.text().as_bytes()]);
        }
    }

    fn memory(&self) -> usize {
        size_of::<TaskQueue>() - size_of::<Queue>() + self.queue.memory()
    }

    fn digest(&self, out: &mut Digest<'_>) {
        // The server's own hash, two of SHA-1 for each part, takes ten times as long.
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

/// Reads what `save` wrote: `None` where the input ends too early.
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
    // A queue that was given up may be damaged: what can be read of it is kept to be read.
    if !health.is_sound() {
        return Some(Ok(TaskQueue::of(queue, health)));
    }
    Some(result.and_then(|()| queue.validate()).map(|()| TaskQueue::of(queue, health)))
}
