//! The state of a queue: its tables and simple questions about them.

use std::collections::BTreeSet;

use crate::event::Event;
use crate::numbers::{Order, WorkerNumber};
use crate::pause::{Gate, Pause, Pauses};
use crate::rate::Spent;
use crate::settings::Settings;
use crate::store::batches::Batches;
use crate::store::delayed::Delayed;
use crate::store::dependents::Dependents;
use crate::store::done::Done;
use crate::store::edits::Edits;
use crate::store::effect_count::EffectCount;
use crate::store::entry::{Entry, Phase};
use crate::store::expiry::{Expiry, expires};
use crate::store::groups::Groups;
use crate::store::interner::Interner;
use crate::store::lanes::{LaneKey, Lanes};
use crate::store::log::{Log, Position};
use crate::store::record::Record;
use crate::store::requests::Requests;
use crate::store::schedules::Schedules;
use crate::store::searches::Searches;
use crate::store::side_table::SideTable;
use crate::store::stats::Stats;
use crate::store::ties::{Holder, Ties};
use crate::store::tokens::Tokens;
use crate::task::{LeaseNumber, TaskId, TaskState};
use crate::time::Millis;
use crate::totals::Totals;

/// Everything a queue stores, as tables; also every rule that decides about it.
///
/// Anybody who has a [`crate::Queue`] can read its state and ask its rules for events. Only `apply` and loading get it
/// to change it.
#[derive(Debug, Clone, Default)]
pub struct State {
    pub(crate) settings: Settings,
    pub(crate) totals: Totals,
    pub(crate) pauses: Pauses,
    pub(crate) last_id: TaskId,
    pub(crate) next_order: Order,
    pub(crate) effects: EffectCount,
    pub(crate) clock_offset_ms: i64,
    pub(crate) term: u64,
    pub(crate) last_lease: LeaseNumber,
    /// How far the queue's lease numbers are above those that its node's clock shows, in microseconds: it came from a
    /// node with a greater lead. It is not a part of digests, because only the next term needs it.
    pub(crate) ahead_us: u64,
    /// It came from another node, and no term has begun since.
    pub(crate) has_arrived: bool,
    pub(crate) log: Log,
    pub(crate) lanes: Lanes,
    pub(crate) groups: Groups,
    /// The use of the queue's rate.
    pub(crate) spent: Spent,
    pub(crate) delayed: Delayed,
    pub(crate) held: BTreeSet<Order>,
    pub(crate) dead: BTreeSet<(Millis, Order)>,
    pub(crate) done: Done,
    pub(crate) leased: u64,
    /// The last errors of tasks, see [`crate::store::task_errors`].
    pub(crate) errors: SideTable,
    /// The last attempts on dead and done tasks, see [`crate::store::last_attempt`].
    pub(crate) attempts: SideTable,
    /// The results of done tasks.
    pub(crate) results: SideTable,
    /// How far tasks have got, as their workers said; kept until the task is done or removed.
    pub(crate) progress: SideTable,
    pub(crate) workers: Interner,
    /// Since when ready suspects have been passed over; `None` if they have not.
    pub(crate) passed_over: Option<Millis>,
    /// The worker that is reserved for a suspect.
    pub(crate) awaited: Option<WorkerNumber>,
    pub(crate) requests: Requests,
    pub(crate) schedules: Schedules,
    pub(crate) tokens: Tokens,
    pub(crate) edits: Edits,
    pub(crate) expiry: Expiry,
    pub(crate) batches: Batches,
    pub(crate) dependents: Dependents,
    pub(crate) local: Local,
}

/// What only this node knows of a queue. It is neither stored nor part of a digest, and it is empty in a copy.
#[derive(Debug, Clone, Default)]
pub(crate) struct Local {
    /// The connections of TIED leases.
    pub ties: Ties,
    /// Rates and durations of the last minutes.
    pub stats: Stats,
    /// Where searches of administrators go on.
    pub searches: Searches,
}

/// A task as the rules see it: its position in the log, its record, and its entry if it was touched.
pub(crate) struct Found<'a> {
    pub position: Position,
    pub order: Order,
    pub record: Record<'a>,
    pub entry: Option<Entry>,
}

impl Found<'_> {
    /// The lane it belongs to.
    pub fn key(&self) -> LaneKey {
        let (priority, group) = self.record.priority_and_group();
        LaneKey { priority, group }
    }

    /// The entry. For a task that was never touched, the entry it would have: ready since its push.
    pub fn entry(&self) -> Entry {
        self.entry.unwrap_or_else(|| {
            Entry::untouched(Phase::Ready { since: Millis(self.record.id.ms) }, self.order.rank())
        })
    }
}

impl State {
    /// How far the queue's clock is ahead of its node's, in ms. It is 0 unless the queue arrived by RESTORE, or with
    /// its slot, from a node with another clock. Callers must pass the time on the queue's clock: see
    /// [`crate::Now::ahead_by`].
    pub fn clock_offset_ms(&self) -> i64 {
        self.clock_offset_ms
    }

    /// The event by which a primary states the clock of a queue that arrived there.
    pub fn clock_event(&self) -> Event<'static> {
        Event::Clock { offset_ms: self.clock_offset_ms }
    }

    /// How many tasks are in a state.
    pub fn count(&self, state: TaskState) -> u64 {
        match state {
            TaskState::Ready => self.lanes.ready(),
            TaskState::Delayed => self.delayed.len(),
            TaskState::Held => self.held.len() as u64,
            TaskState::Leased => self.leased,
            TaskState::Dead => self.dead.len() as u64,
            TaskState::Done => self.done.len(),
        }
    }

    /// How many tasks are ready, delayed, held or leased: the number that `max-len` limits.
    pub fn len(&self) -> u64 {
        let states = [TaskState::Ready, TaskState::Delayed, TaskState::Held, TaskState::Leased];
        states.into_iter().map(|state| self.count(state)).sum()
    }

    /// Whether no task is ready, delayed, held or leased.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the tables are empty that have something about few tasks. Every write asks when something is due and how
    /// much memory the queue takes, and this is the usual case.
    pub(crate) fn is_plain(&self) -> bool {
        let counts = self.delayed.len() | self.done.len();
        let sets = self.dead.len() | self.held.len() | self.expiry.len();
        let texts = self.errors.len() | self.attempts.len() | self.results.len() | self.progress.len();
        let related = self.tokens.len() | self.edits.len() | self.batches.len() | self.dependents.len();
        counts == 0 && (sets | texts | related) == 0
    }

    /// Bytes of all tasks: payloads, headers, results, progress and a few bytes each. `max-bytes` limits this number.
    pub fn record_bytes(&self) -> u64 {
        self.log.record_bytes() + self.results.bytes() + self.progress.bytes() + self.edits.bytes()
    }

    /// How many effects the queue has had; `None` if that is not known because an older version wrote it.
    pub fn effects(&self) -> Option<u64> {
        match self.effects {
            EffectCount::Counted(number) => Some(number),
            EffectCount::Unknown => None,
        }
    }

    /// The queue's settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The queue's counters since it was created.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Whether a gate is closed now, and until when.
    pub fn paused(&self, now: Millis, gate: Gate) -> Pause {
        self.pauses.of(gate, now)
    }

    /// The connections with TIED leases.
    pub fn holders(&self) -> impl Iterator<Item = Holder> + '_ {
        self.local.ties.holders()
    }

    /// The task with this id.
    #[inline(always)]
    pub(crate) fn find(&self, id: TaskId) -> Option<Found<'_>> {
        self.at(self.log.find(id)?)
    }

    /// The task with this order number.
    pub(crate) fn locate(&self, order: Order) -> Option<Found<'_>> {
        self.at(self.log.locate(order)?)
    }

    // Most callers use a part of what is found, and all of them are the way of a claim or an answer.
    #[inline(always)]
    pub(crate) fn at(&self, position: Position) -> Option<Found<'_>> {
        let (page, slot) = self.log.page(position)?;
        let order = page.order(slot);
        let record = self.edits.over(order, page.record(slot)?);
        Some(Found { position, order, record, entry: page.entry(slot) })
    }

    /// Bytes of a task: its record, and what replaced the record's payload and headers.
    pub(crate) fn task_bytes(&self, position: Position, order: Order) -> usize {
        self.log.record_len(position) + self.edits.bytes_of(order) as usize
    }
}

impl Found<'_> {
    /// When the task expires; `None` unless it is ready, has a time to live and was never claimed.
    pub fn expires(&self) -> Option<Millis> {
        expires(&self.record, self.entry.as_ref())
    }
}
