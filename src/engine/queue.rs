//! The queue as its owner sees it.

use std::cell::Cell;
use std::ops::Deref;

use crate::bounds::CLOCK_OFFSET_MAX_MS;
use crate::changes::Changes;
use crate::codec::effect::Received;
use crate::event::Event;
use crate::invalid::Invalid;
use crate::request::Entropy;
use crate::rules::due::Seen;
use crate::state::State;
use crate::store::ties::Holder;
use crate::task::TaskId;
use crate::time::{Millis, Now, Stamp};
use crate::zones::Zones;

/// A task queue as a plain value.
///
/// What it holds is a [`State`], which anybody may read and which decides: every rule is a method of `State` that takes
/// `&self` and returns an [`Event`]. It can be changed in this file alone, where it is private: by [`Queue::apply`], by
/// loading what was stored, and by what a node says of itself (its clock, its connections, its time zones).
#[derive(Debug, Clone, Default)]
pub struct Queue {
    state: State,
    /// What the clocks of the node showed that saved the queue; the node takes it when it has loaded the queue.
    saved: Cell<Option<Stamp>>,
}

impl Deref for Queue {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl Queue {
    /// An empty queue with default settings.
    pub fn new() -> Queue {
        Queue::default()
    }

    /// Changes the queue as the event says, and returns what follows from that. Errors: it doesn't fit this queue, which
    /// is to be given up then.
    pub fn apply<'e>(&mut self, event: &'e Event<'_>) -> Result<Changes<'e>, Invalid> {
        self.state.apply(event)?;
        Ok(event.changes())
    }

    /// One bounded step of what is due by now, to be applied before the next; `None` where nothing (more) is due or
    /// `pages` is used up. `pages` counts down what was looked at, a page of tasks at a time.
    pub fn tick(&mut self, now: Now, entropy: Entropy, pages: &mut usize) -> Option<Event<'static>> {
        let mut seen = Seen::default();
        let event = self.state.due(now, entropy, pages, &mut seen);
        self.state.apply_seen(&seen);
        event
    }

    /// Begins a queue from its stored head; [`Queue::load_chunk`] adds what it holds, [`State::validate`] ends it.
    pub fn load_head(bytes: &[u8]) -> Result<Queue, Invalid> {
        Ok(Queue { state: State::load_head(bytes)?, saved: Cell::default() })
    }

    /// Adds one chunk after the head. What is refused adds nothing, since a queue that was given up is kept as far as it
    /// can be read, and is to be the same when it is stored and loaded again.
    pub fn load_chunk(&mut self, bytes: &[u8]) -> Result<(), Invalid> {
        self.state.load_chunk(bytes, &self.saved)
    }

    /// A copy of the queue without schedules in which nobody holds a lease: what is leased here is ready there, in its
    /// place, or gone if it was to be cancelled. It depends on the queue alone, so that a replica copies alike.
    pub fn copied(&self) -> Result<Queue, Invalid> {
        Ok(Queue { state: self.state.copied()?, saved: Cell::default() })
    }

    /// The number of the effect that tells of a change that was just made, on the primary.
    pub fn count_effect(&mut self) -> u64 {
        self.state.effects.count()
    }

    /// Takes note of an effect that came, before its events are applied. Each has the number after the last one's, so
    /// that one which went missing, and a change that nobody told, are noticed at once. A queue that an older version
    /// stored or told of takes any number. Errors: another number than the next.
    pub fn expect_effect(&mut self, effect: &Received<'_>) -> Result<(), Invalid> {
        self.state.effects.expect(effect.stamp.map(|(number, _)| number))
    }

    /// The queue has come here, and its clock is so far ahead of this node's. The node's own knowledge, as far as it can
    /// have any, until a primary says it: see [`State::clock_told`].
    pub fn set_clock_offset(&mut self, offset_ms: i64) {
        self.state.clock_offset_ms = offset_ms.clamp(-CLOCK_OFFSET_MAX_MS, CLOCK_OFFSET_MAX_MS);
    }

    /// What the clocks showed when the queue that was loaded was saved, once; `None` of an older version.
    pub fn take_saved(&self) -> Option<Stamp> {
        self.saved.take()
    }

    /// Notes that a TIED lease hangs on a connection. The node's own knowledge: no event, not stored.
    pub fn tie(&mut self, holder: Holder, id: TaskId) {
        self.state.local.ties.tie(holder, id);
    }

    /// Tells what time it is to what the next events add to this node's own figures. Changes nothing that is stored.
    #[inline]
    pub fn observe(&mut self, at: Millis) {
        self.state.local.stats.observe(at);
    }

    /// Says what the names of time zones mean on this node, before any schedule is set or loaded.
    pub fn use_zones(&mut self, zones: Zones) {
        self.state.schedules.use_zones(zones);
    }
}
