//! The queue, and the few ways to change it.

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
use crate::store::searches::Stopped;
use crate::store::ties::Holder;
use crate::task::TaskId;
use crate::time::{Millis, Now, Stamp};
use crate::zones::Zones;

/// A task queue as a plain value.
///
/// It derefs to its [`State`], which decides: every rule is a method of `State` that takes `&self` and returns an
/// [`Event`]. Only the methods of this type can change the state: [`Queue::apply`], loading, and the setters for what a
/// node knows by itself (its clock, its connections, its time zones).
///
/// The owner calls a rule with the present time, applies the event, and sends it to replicas. It asks
/// [`State::next_due`] when to call [`Queue::tick`].
#[derive(Debug, Clone, Default)]
pub struct Queue {
    state: State,
    /// The clocks of the node that saved this queue, until the loading node has taken them.
    saved: Cell<Option<Stamp>>,
    /// Whether a chunk was loaded that comes behind all tasks.
    has_all_tasks: bool,
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

    /// Changes the queue by one event, and returns the consequences outside it. Errors: the event does not fit this
    /// queue, which must be given up then, because it may have been changed in part.
    pub fn apply<'e>(&mut self, event: &'e Event<'_>) -> Result<Changes<'e>, Invalid> {
        self.state.apply(event)?;
        Ok(event.changes())
    }

    /// Decides one bounded step of the work that is due now. Apply the event and call again; `None` if nothing (more)
    /// is due or `pages` is used up. `pages` counts down as pages of tasks are examined.
    pub fn tick(&mut self, now: Now, entropy: Entropy, pages: &mut usize) -> Option<Event<'static>> {
        let mut seen = Seen::default();
        let event = self.state.due(now, entropy, pages, &mut seen);
        self.state.apply_seen(&seen);
        event
    }

    /// Starts a queue from its stored head. Add the other chunks with [`Queue::load_chunk`], then call
    /// [`State::validate`].
    pub fn load_head(bytes: &[u8]) -> Result<Queue, Invalid> {
        Ok(Queue { state: State::load_head(bytes)?, ..Queue::default() })
    }

    /// Adds one chunk after the head. A queue that was given up is kept as far as it can be read: up to the first chunk
    /// that is refused. It is the same when it is stored and loaded again.
    pub fn load_chunk(&mut self, bytes: &[u8]) -> Result<(), Invalid> {
        self.state.load_chunk(bytes, &self.saved, &mut self.has_all_tasks)
    }

    /// Whether a queue that arrives alone (RESTORE) has enough numbers left: of tasks, batches, leases and counts. The limit
    /// is far above what any queue uses, and a queue accepted once can load again after it has used more of them. The
    /// clocks of this node show `here`.
    pub fn has_room(&self, here: &Stamp) -> bool {
        self.state.has_room(self.saved.get().as_ref().unwrap_or(here))
    }

    /// A copy of the queue in which no task is leased and no schedule is set (COPY). A leased task is ready in the
    /// copy, at its old position in the order, or removed if it was to be cancelled. The copy depends on the queue
    /// alone, so a replica makes the same one.
    pub fn copied(&self) -> Result<Queue, Invalid> {
        Ok(Queue { state: self.state.copied()?, ..Queue::default() })
    }

    /// Counts an effect on the primary, after its changes were made, and returns its number.
    pub fn count_effect(&mut self) -> u64 {
        self.state.effects.count()
    }

    /// Counts an effect that arrived, before its events are applied. Its number must follow the last one's, so a
    /// missing effect, or a change made on this node alone, is noticed at once. A queue whose last number is unknown,
    /// because an older version stored it or sent its effects, accepts any number. Errors: it is another number.
    pub fn expect_effect(&mut self, effect: &Received<'_>) -> Result<(), Invalid> {
        self.state.effects.expect(effect.stamp.map(|(number, _)| number))
    }

    /// Sets how far the clock of a queue that arrived here is ahead of this node's. It is this node's own knowledge
    /// until a primary states it as an event: see [`State::clock_event`].
    pub fn set_clock_offset(&mut self, offset_ms: i64) {
        self.state.clock_offset_ms = offset_ms.clamp(-CLOCK_OFFSET_MAX_MS, CLOCK_OFFSET_MAX_MS);
    }

    /// The queue came here from another node, on its own. The clocks there showed `written` when it was saved, and those
    /// of this node show `here`. The queue's clock is `offset_ms` ahead of this node's from now on, and its lease numbers
    /// go on above those of the other node.
    pub fn arrive(&mut self, written: &Stamp, here: &Stamp, offset_ms: i64) {
        self.state.arrive(written, here, offset_ms);
    }

    /// Whether it came here from another node, and no term has begun since.
    pub fn has_arrived(&self) -> bool {
        self.state.has_arrived
    }

    /// What the clocks of the node showed that saved this queue; `None` if it was taken, or an older version saved it.
    pub fn saved(&self) -> Option<Stamp> {
        self.saved.get()
    }

    /// What the clocks of the node showed that saved this queue. Returned once; `None` if an older version saved it.
    pub fn take_saved(&self) -> Option<Stamp> {
        self.saved.take()
    }

    /// Ties a TIED lease to a connection. Only this node knows of it: there is no event, and it is not stored.
    pub fn tie(&mut self, holder: Holder, id: TaskId) {
        self.state.local.ties.tie(holder, id);
    }

    /// Notes where a search stopped, so that the next one goes on there. Only this node knows of it.
    pub fn note_search(&mut self, stopped: Stopped) {
        self.state.local.searches.note(stopped);
    }

    /// Sets the time for this node's own figures, before events are applied. Changes nothing that is stored.
    #[inline]
    pub fn observe(&mut self, at: Millis) {
        self.state.local.stats.observe(at);
    }

    /// Sets where this node finds time zones. Call it before a schedule is set or loaded.
    pub fn use_zones(&mut self, zones: Zones) {
        self.state.schedules.use_zones(zones);
    }
}
