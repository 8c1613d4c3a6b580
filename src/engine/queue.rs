//! The queue: what it holds, and what can be asked of it at a glance.
//!
//! Verbs are in `decide.rs`, `claim.rs` and `limits.rs`, the only mutator in `apply.rs` (with `standing.rs`), what time
//! does in `due.rs`, who may have a suspect in `suspects.rs`, what is shown in `view.rs`, what must hold in `check.rs`, the
//! stored form in `codec.rs`, what replicas are told in `effect.rs`.

use std::cell::Cell;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::event::{Event, Gate};
use crate::rate::Spent;
use crate::settings::{NUMBER_MAX, Settings};
use crate::store::bodies::Bodies;
use crate::store::delayed::Delayed;
use crate::store::done::Done;
use crate::store::entry::{Entry, Order, Phase, WorkerNumber};
use crate::store::expiry::Expiry;
use crate::store::groups::Groups;
use crate::store::interner::Names;
use crate::store::lanes::{LaneKey, Lanes};
use crate::store::log::{Log, Place};
use crate::store::page::Record;
use crate::store::requests::Requests;
use crate::store::schedules::Schedules;
use crate::store::side_table::Told;
use crate::store::stats::Stats;
use crate::store::ties::{Holder, Ties};
use crate::store::tokens::Tokens;
use crate::task::{LeaseNumber, State, TaskId};
use crate::time::{Millis, Stamp};

/// A queue's clock is at most so far from its node's, 69 years: a node that believes it is 1970 is no further off. So no
/// queue that comes from elsewhere has a clock at the end of all instants.
pub(crate) const CLOCK_OFFSET_MAX_MS: i64 = 1 << 41;

/// How often what happened, since the queue came to be. They are stored and equal on every copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
// Else a damaged name would pass for a total of an older version.
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// Tasks that came in.
    pub pushed: u64,
    /// Deliveries, NOACK included.
    pub claimed: u64,
    /// Tasks finished, NOACK included.
    pub acked: u64,
    /// Those of them finished after their lease was over.
    pub late: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Leases that ended without an answer.
    pub stalled: u64,
    /// Tasks given back.
    pub requeued: u64,
    /// Dead or delayed tasks made ready by RETRY.
    pub retried: u64,
    /// Times a task became dead.
    pub dead: u64,
    /// Tasks cancelled.
    pub cancelled: u64,
    /// Tasks removed by PURGE.
    pub purged: u64,
    /// Dead tasks removed for being too old or too many.
    pub dropped: u64,
    // What follows came with version 2 of the stored form.
    /// Tasks that nobody claimed within their TTL.
    #[serde(default)]
    pub expired: u64,
    /// Done tasks that were kept and are no longer. They are counted as acked before.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub forgotten: u64,
}

/// A total that most queues never see isn't stored, nor part of a digest, until it is needed.
fn is_zero(total: &u64) -> bool {
    *total == 0
}

impl Totals {
    /// How many totals there are.
    pub const COUNT: usize = 14;

    /// The names under which they are shown.
    pub const NAMES: [&'static str; Totals::COUNT] = [
        "pushed",
        "claimed",
        "acked",
        "late",
        "failed",
        "stalled",
        "requeued",
        "retried",
        "died",
        "cancelled",
        "purged",
        "dropped",
        "forgotten",
        "expired",
    ];

    /// The totals, in the order of their names.
    pub fn values(&self) -> [u64; Totals::COUNT] {
        let t = self;
        [
            t.pushed,
            t.claimed,
            t.acked,
            t.late,
            t.failed,
            t.stalled,
            t.requeued,
            t.retried,
            t.dead,
            t.cancelled,
            t.purged,
            t.dropped,
            t.forgotten,
            t.expired,
        ]
    }

    /// Whether no counter is so large that it could overflow while any server lives.
    pub(crate) fn are_valid(&self) -> bool {
        let t = self;
        let gone = [t.acked, t.late, t.cancelled, t.purged, t.dropped, t.expired, t.forgotten];
        let told = [t.pushed, t.claimed, t.failed, t.stalled, t.requeued, t.retried, t.dead];
        gone.into_iter().chain(told).all(|total| total <= NUMBER_MAX as u64)
    }
}

/// Until when a gate is closed: `None` inside is "until RESUME".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Pauses {
    pub inward: Option<Option<Millis>>,
    pub outward: Option<Option<Millis>>,
}

/// How many effects have told of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effects {
    /// So many, at most [`Effects::MAX`].
    Counted(u64),
    /// An older version stored it or told of it.
    Unknown,
}

impl Default for Effects {
    fn default() -> Self {
        Effects::Counted(0)
    }
}

impl Effects {
    /// A number has six bytes; no server lives to see the last.
    pub const MAX: u64 = (1 << 48) - 1;

    /// The number of the next one. The last is given again, on the primary as on its replicas.
    pub fn next(self) -> u64 {
        match self {
            Effects::Counted(last) => (last + 1).min(Self::MAX),
            Effects::Unknown => 1,
        }
    }
}

/// A task queue as a plain value.
#[derive(Debug, Clone, Default)]
pub struct Queue {
    pub(crate) settings: Settings,
    pub(crate) totals: Totals,
    pub(crate) pauses: Pauses,
    pub(crate) last_id: TaskId,
    pub(crate) next_order: Order,
    pub(crate) effects: Effects,
    pub(crate) clock_offset_ms: i64,
    /// What the clocks of the node showed that saved the queue; the node takes it when it has loaded the queue.
    pub(crate) saved: Cell<Option<Stamp>>,
    pub(crate) term: u64,
    pub(crate) last_lease: LeaseNumber,
    pub(crate) log: Log,
    pub(crate) lanes: Lanes,
    pub(crate) groups: Groups,
    /// What is used of the queue's rate.
    pub(crate) spent: Spent,
    pub(crate) delayed: Delayed,
    pub(crate) dead: BTreeSet<(Millis, Order)>,
    pub(crate) done: Done,
    pub(crate) leased: u64,
    /// What a worker said at a task's last failure, or why it died without one.
    pub(crate) errors: Told,
    /// What came of done tasks.
    pub(crate) results: Told,
    /// How far workers have come; kept until the task's next lease or its end.
    pub(crate) progress: Told,
    pub(crate) workers: Names,
    /// Since when ready suspects have been passed over.
    pub(crate) passed_over: Option<Millis>,
    /// Which worker is to get one.
    pub(crate) awaited: Option<WorkerNumber>,
    pub(crate) requests: Requests,
    pub(crate) ties: Ties,
    pub(crate) stats: Stats,
    pub(crate) schedules: Schedules,
    pub(crate) tokens: Tokens,
    pub(crate) bodies: Bodies,
    pub(crate) expiry: Expiry,
}

/// A task as the queue's own files see it: where it lies, what was pushed, what is known since.
pub(crate) struct Found<'a> {
    pub place: Place,
    pub order: Order,
    pub record: Record<'a>,
    pub entry: Option<Entry>,
}

impl Found<'_> {
    /// The lane it belongs in.
    pub fn key(&self) -> LaneKey {
        LaneKey { priority: self.record.options.priority, group: self.record.group }
    }

    /// The entry, or what it would be: a task that was never touched is ready since its push.
    pub fn entry(&self) -> Entry {
        self.entry.unwrap_or_else(|| {
            Entry::untouched(Phase::Ready { since: Millis(self.record.id.ms) }, self.order)
        })
    }
}

impl Queue {
    /// An empty queue with default settings.
    pub fn new() -> Queue {
        Queue::default()
    }

    /// How far the queue's clock is ahead of its node's, in ms: not 0 only for a queue that came by RESTORE or with its
    /// slot from a node with another clock. Whoever calls says what time it is on the queue's clock; see
    /// [`crate::Now::ahead_by`].
    pub fn clock_offset_ms(&self) -> i64 {
        self.clock_offset_ms
    }

    /// The queue has come here, and its clock is so far ahead of this node's. The node's own knowledge, as far as it can
    /// have any, until a primary says it: see [`Queue::clock_told`].
    pub fn set_clock_offset(&mut self, offset_ms: i64) {
        self.clock_offset_ms = offset_ms.clamp(-CLOCK_OFFSET_MAX_MS, CLOCK_OFFSET_MAX_MS);
    }

    /// What a primary says of the clock of a queue that has come to it.
    pub fn clock_told(&self) -> Event<'static> {
        Event::Clock { offset_ms: self.clock_offset_ms }
    }

    /// What the clocks showed when the queue that was loaded was saved, once; `None` of an older version.
    pub fn take_saved(&self) -> Option<Stamp> {
        self.saved.take()
    }

    /// How many tasks are in a state.
    pub fn count(&self, state: State) -> u64 {
        match state {
            State::Ready => self.lanes.ready(),
            State::Delayed => self.delayed.len(),
            State::Leased => self.leased,
            State::Dead => self.dead.len() as u64,
            State::Done => self.done.len(),
        }
    }

    /// How many tasks wait or are worked on: ready, delayed and leased. What `max-len` bounds.
    pub fn len(&self) -> u64 {
        self.count(State::Ready) + self.count(State::Delayed) + self.count(State::Leased)
    }

    /// Whether no task waits or is worked on.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of all tasks: payloads and headers with a few bytes each, results and progress. What `max-bytes` bounds.
    pub fn record_bytes(&self) -> u64 {
        self.log.record_bytes() + self.results.bytes() + self.progress.bytes() + self.bodies.bytes()
    }

    /// Bytes of all tasks, and of what is remembered of requests: what users see as the queue's bytes. What is remembered
    /// doesn't count for `max-bytes`, since it is bounded by itself and a full queue would have to wait for its end.
    pub fn bytes(&self) -> u64 {
        self.record_bytes() + self.requests.bytes()
    }

    /// Bytes that are remembered of requests.
    pub fn request_bytes(&self) -> u64 {
        self.requests.bytes()
    }

    /// Bytes taken from the allocator: exact for the tasks, estimated for what is small beside them.
    pub fn memory(&self) -> usize {
        size_of::<Queue>()
            + self.log.memory()
            + self.lanes.memory()
            + self.groups.memory()
            + self.delayed.memory()
            + self.dead.len() * 24
            + self.errors.memory()
            + self.done.memory()
            + self.results.memory()
            + self.progress.memory()
            + self.workers.memory()
            + self.requests.memory()
            + self.ties.memory()
            + self.stats.memory()
            + self.schedules.memory()
            + self.tokens.memory()
            + self.bodies.memory()
            + self.expiry.memory()
    }

    /// Blocks that freeing the queue gives back, about: what decides whether it is freed in the background.
    pub fn free_effort(&self) -> usize {
        let indexed = self.delayed.len() + self.done.len() + (self.dead.len() + self.expiry.len()) as u64;
        let told = self.errors.len() + self.results.len() + self.progress.len();
        let named = self.tokens.len() + self.bodies.len() + self.schedules.len() + self.groups.len();
        self.log.pages() + indexed as usize / 8 + told + named
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How often what happened.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Whether a gate is closed now, and until when if that is known.
    pub fn paused(&self, now: Millis, gate: Gate) -> Option<Option<Millis>> {
        let closed =
            |pause: Option<Option<Millis>>| pause.filter(|until| until.is_none_or(|until| until > now));
        match gate {
            Gate::In => closed(self.pauses.inward),
            Gate::Out => closed(self.pauses.outward),
            Gate::All => closed(self.pauses.inward).and(closed(self.pauses.outward)),
        }
    }

    /// Notes that a TIED lease hangs on a connection. The node's own knowledge: no event, not stored.
    pub fn tie(&mut self, holder: Holder, id: TaskId) {
        self.ties.tie(holder, id);
    }

    /// The connections that TIED leases hang on.
    pub fn holders(&self) -> impl Iterator<Item = Holder> + '_ {
        self.ties.holders()
    }

    /// A task by id.
    pub(crate) fn find(&self, id: TaskId) -> Option<Found<'_>> {
        self.at(self.log.find(id)?)
    }

    /// A task by its number at the push.
    pub(crate) fn locate(&self, order: Order) -> Option<Found<'_>> {
        self.at(self.log.locate(order)?)
    }

    pub(crate) fn at(&self, place: Place) -> Option<Found<'_>> {
        let order = self.log.order(place);
        let record = self.bodies.over(order, self.log.record(place)?);
        Some(Found { place, order, record, entry: self.log.entry(place) })
    }
}
