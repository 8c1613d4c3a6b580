//! The stored form of a queue, for RDB files, DUMP and slot migration.
//!
//! A stored queue is a list of chunks. The first is the head (MessagePack with field names, so that later versions can
//! add fields). Then come groups, edits, pages of tasks, and whatever is stored beside the tasks. Each of
//! these chunks begins with a byte that says what it contains. Versions only grow, and old ones stay readable.
//!
//! Nothing that is read is trusted. Bounds are checked chunk by chunk; [`State::validate`] then checks the whole.

use std::cell::Cell;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_bytes::{ByteBuf, Bytes};
use taskslot_edges::{edge, rare};

use super::arrival::{ARRIVAL, Arrival, CLOCKS};
use crate::bounds::{CLOCK_OFFSET_MAX_MS, NUMBER_MAX};
use crate::invalid::{Invalid, ensure};
use crate::numbers::{BatchNumber, GroupNumber, Order};
use crate::pack::{decode, encode_named};
use crate::pause::{Pause, Pauses};
use crate::rate::Spent;
use crate::settings::{Rule, SETTINGS, Settings};
use crate::state::State;
use crate::store::batches::{Batches, StoredBatch};
use crate::store::delayed::Delayed;
use crate::store::dependents::StoredDependent;
use crate::store::edits::StoredEdit;
use crate::store::effect_count::EffectCount;
use crate::store::groups::StoredGroup;
use crate::store::interner::Interner;
use crate::store::lanes::LaneKey;
use crate::store::requests::{REQUESTS_MAX, Request};
use crate::store::schedules::StoredSchedule;
use crate::store::side_table::SideTable;
use crate::store::task_errors::{TaskError, TaskErrors};
use crate::store::tokens::StoredToken;
use crate::task::{LeaseNumber, TaskId};
use crate::time::{Millis, Stamp};
use crate::totals::Totals;

/// The version of the stored form that this build writes.
pub const FORMAT_VERSION: u16 = 4;

/// The version that digests contain. It is not raised with the stored form, so that a queue without anything new has
/// the digest that it had before.
const DIGEST_VERSION: u16 = 3;

/// Side tables, requests, tokens and edits are stored in chunks of about this many bytes.
const CHUNK_BYTES: usize = edge(64 * 1024, 2048);

/// A restored queue must have at least this many order numbers and counts left, so it never runs out.
const ROOM: u64 = 1 << 32;

/// The largest chunk of groups: 64 KiB by the writer's count. It assumes 64 bytes for a group, which can take up to six
/// times as many.
const GROUPS_CHUNK_MAX: usize = 8 * 64 * 1024;

const PAGE: u8 = b'p';
/// The last error of tasks, a text; before version 4.
const OLD_ERRORS: u8 = b'e';
/// The last errors of tasks, see [`TaskErrors`]; since version 4.
pub(crate) const ERRORS: u8 = b'x';
/// The last attempts on dead and done tasks, see [`crate::LastAttempt`]; since version 4.
pub(crate) const ATTEMPTS: u8 = b'a';
const REQUESTS: u8 = b'r';
const GROUPS: u8 = b'g';
const TURNS: u8 = b't';
const SCHEDULES: u8 = b's';
/// Results of done tasks.
pub(crate) const RESULTS: u8 = b'd';
/// How far tasks have got.
pub(crate) const PROGRESS: u8 = b'w';
const TOKENS: u8 = b'u';
/// What replaced parts of records; before version 4, payloads with headers only.
const EDITS: u8 = b'b';
/// Batches; since version 4, as the two that follow.
pub(crate) const BATCHES: u8 = b'c';
/// What tasks wait for.
const DEPENDENTS: u8 = b'h';
/// Tasks that ended, of which not all that wait for them were told yet, and whether they are done.
const ENDED: u8 = b'f';

/// Everything about a queue except its tasks and tables, in its stored form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    version: u16,
    settings: BTreeMap<String, i64>,
    totals: Totals,
    pauses: StoredPauses,
    last_id: TaskId,
    next_order: u64,
    term: u64,
    last_lease: LeaseNumber,
    /// Worker names by number; empty for a free number.
    workers: Vec<ByteBuf>,
    /// The use of the queue's rate; since version 2.
    #[serde(default)]
    spent: Spent,
    // The fields below were added in version 3.
    /// The number of the last effect; `None` if it is not known.
    #[serde(default)]
    effects: Option<u64>,
    #[serde(default)]
    clock_offset_ms: i64,
    /// Since when ready suspects have been passed over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    passed_over: Option<Millis>,
    /// The name of the worker that is reserved for a suspect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    awaited: Option<ByteBuf>,
    /// The last number of a batch; since version 4.
    #[serde(default, skip_serializing_if = "is_none")]
    last_batch: BatchNumber,
    /// How far lease numbers are above those of the stored clocks.
    #[serde(default, skip_serializing_if = "is_zero")]
    ahead_us: u64,
}

fn is_none(number: &BatchNumber) -> bool {
    number.is_none()
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// One turn of a rotation: the priority, the group's number, the tasks left of the turn.
type StoredTurn = (i8, GroupNumber, u32);

/// Until when each gate is closed: `None` for open, 0 for "until RESUME".
#[derive(Serialize, Deserialize)]
// Otherwise a damaged name would pass for an open gate.
#[serde(deny_unknown_fields)]
struct StoredPauses {
    inward: Option<u64>,
    outward: Option<u64>,
}

impl State {
    /// Writes the stored form through `put`, chunk by chunk, the head first.
    pub fn save(&self, put: &mut dyn FnMut(&[u8])) {
        self.save_chunks(&self.head(self.workers.stored()), None, put);
    }

    /// Like [`State::save`], with what the node's clocks show, so that spans keep their length and lease numbers keep
    /// growing where the queue is loaded.
    pub fn save_at(&self, saved: Stamp, put: &mut dyn FnMut(&[u8])) {
        let head = Head { ahead_us: self.ahead_us, ..self.head(self.workers.stored()) };
        self.save_chunks(&head, Some(&saved), put);
    }

    fn save_chunks(&self, head: &Head, saved: Option<&Stamp>, put: &mut dyn FnMut(&[u8])) {
        put(&encode_named(head));
        if let Some(saved) = saved {
            put(&chunk(CLOCKS, &encode_named(saved)));
        }
        put_batches(GROUPS, self.groups.stored(), |_| 64, put);
        put_batches(EDITS, self.edits.stored(), StoredEdit::stored_bytes, put);
        put_batches(BATCHES, self.batches.stored(), StoredBatch::stored_bytes, put);
        for page in self.log.stored_pages() {
            put(&chunk(PAGE, &page));
        }
        let tables = [
            (ERRORS, &self.errors),
            (ATTEMPTS, &self.attempts),
            (RESULTS, &self.results),
            (PROGRESS, &self.progress),
        ];
        for (kind, table) in tables {
            let values = table.iter().map(|(order, value)| (order.0, Bytes::new(value)));
            put_batches(kind, values, |(_, value)| value.len() + 16, put);
        }
        put_batches(REQUESTS, self.requests.iter(), |_| 128, put);
        let turns = self.lanes.turns().map(|(key, left)| (key.priority, key.group, left));
        put_batches(TURNS, turns, |_| 8, put);
        put_batches(SCHEDULES, self.schedules.stored(), StoredSchedule::size, put);
        put_batches(TOKENS, self.tokens.stored(), StoredToken::stored_bytes, put);
        put_batches(DEPENDENTS, self.dependents.stored(), StoredDependent::stored_bytes, put);
        put_batches(ENDED, self.dependents.ended(), |_| 32, put);
    }

    fn head(&self, workers: Vec<Vec<u8>>) -> Head {
        let stored = |pause: Pause| match pause {
            Pause::Open => None,
            Pause::Until(until) => Some(until.0),
            Pause::UntilResume => Some(0),
        };
        let settings = SETTINGS.iter().map(|rule| (rule.name.to_owned(), self.settings.get(rule.setting)));
        Head {
            version: FORMAT_VERSION,
            settings: settings.collect(),
            totals: self.totals,
            pauses: StoredPauses { inward: stored(self.pauses.inward), outward: stored(self.pauses.outward) },
            last_id: self.last_id,
            next_order: self.next_order.0,
            term: self.term,
            last_lease: self.last_lease,
            workers: workers.into_iter().map(ByteBuf::from).collect(),
            spent: self.spent,
            effects: self.effects(),
            clock_offset_ms: self.clock_offset_ms,
            passed_over: self.passed_over,
            awaited: self.awaited_worker().map(|name| ByteBuf::from(name.to_vec())),
            last_batch: self.batches.last,
            ahead_us: 0,
        }
    }

    /// The head for a digest. It leaves out the numbers of workers, which depend on the history, and the number of the
    /// last effect, which is not known of a queue that an older version stored. It also leaves out settings at their
    /// defaults, so that a setting which a later version adds changes no digest.
    pub(crate) fn head_for_digest(&self) -> Vec<u8> {
        let mut head = Head { version: DIGEST_VERSION, effects: None, ..self.head(Vec::new()) };
        head.settings
            .retain(|name, value| Rule::named(name.as_bytes()).is_none_or(|rule| rule.default != *value));
        encode_named(&head)
    }

    /// Starts a queue from its stored head. Add the other chunks with [`State::load_chunk`], then call
    /// [`State::validate`].
    pub(crate) fn load_head(bytes: &[u8]) -> Result<State, Invalid> {
        let head: Head = decode(bytes).ok_or(Invalid("a stored head"))?;
        ensure((1..=FORMAT_VERSION).contains(&head.version), "a known version")?;
        let mut settings = Settings::default();
        for (name, value) in &head.settings {
            let rule = Rule::named(name.as_bytes()).ok_or(Invalid("a known setting"))?;
            ensure(rule.name == name && settings.set(rule, *value), "a setting's name and bounds")?;
        }
        ensure(head.totals.are_valid(), "totals in bounds")?;
        ensure(head.spent.is_over_at() < Millis::MAX, "a valid use of a rate")?;
        ensure(head.next_order <= Order::MAX.0 && head.last_lease <= LeaseNumber::MAX, "counters in bounds")?;
        ensure(head.last_id.ms <= Millis::MAX.0, "an id in bounds")?;
        ensure(
            head.effects.is_none_or(|effects| effects <= EffectCount::MAX)
                && head.clock_offset_ms.unsigned_abs() <= CLOCK_OFFSET_MAX_MS as u64,
            "counters and clocks in bounds",
        )?;
        let pause = |stored: Option<u64>| match stored {
            None => Pause::Open,
            Some(0) => Pause::UntilResume,
            Some(until) => Pause::Until(Millis(until).min(Millis::MAX)),
        };
        let pauses = Pauses { inward: pause(head.pauses.inward), outward: pause(head.pauses.outward) };
        ensure(head.passed_over.is_none_or(|since| since <= Millis::MAX), "an instant")?;
        ensure(head.last_batch <= BatchNumber::MAX, "the number of a batch")?;
        ensure(head.ahead_us <= LeaseNumber::MAX.0, "a lease number")?;
        let workers = head.workers.into_iter().map(ByteBuf::into_vec).collect();
        let workers = Interner::load(workers).ok_or(Invalid("valid names of workers"))?;
        let awaited = head
            .awaited
            .map(|name| workers.find(&name).ok_or(Invalid("the name of the worker that is reserved")));
        let awaited = awaited.transpose()?.map(|(number, _)| number);
        Ok(State {
            settings,
            totals: head.totals,
            pauses,
            last_id: head.last_id,
            next_order: Order(head.next_order),
            term: head.term,
            last_lease: head.last_lease,
            ahead_us: head.ahead_us,
            spent: head.spent,
            effects: head.effects.map_or(EffectCount::Unknown, EffectCount::Counted),
            clock_offset_ms: head.clock_offset_ms,
            workers,
            passed_over: head.passed_over,
            awaited,
            delayed: Delayed::default(),
            batches: Batches::after(head.last_batch),
            ..State::default()
        })
    }

    /// Whether a queue that arrives alone (RESTORE) has enough numbers left. The limit is far above what any queue
    /// uses, and below that of [`crate::Queue::load_head`]: a queue accepted once must load again after it has used
    /// more of them. `clocks` are those of the node that wrote it.
    pub(crate) fn has_room(&self, clocks: &Stamp) -> bool {
        let most = NUMBER_MAX as u64 - ROOM;
        let number = self.last_lease.0.max(self.number_at(clocks).saturating_add(self.ahead_us));
        self.next_order.0 <= Order::MAX.0 - ROOM
            && self.totals.values().iter().all(|&total| total <= most)
            && number <= LeaseNumber::MAX.0 - ROOM
            && self.batches.last.0 <= BatchNumber::MAX.0 - ROOM
            && (self.last_id.ms < Millis::MAX.0 || self.last_id.seq <= u64::MAX - ROOM)
    }

    /// Adds one chunk after the head. A queue that was given up is kept as far as it can be read, and must be the same
    /// when it is stored and loaded again. Of a list that is refused, the items before the bad one stay. Of a page, a
    /// part may be indexed: it is stored behind everything that was loaded before it, because nothing behind the tasks
    /// can come before a page.
    pub(crate) fn load_chunk(
        &mut self,
        bytes: &[u8],
        saved: &Cell<Option<Stamp>>,
        has_all_tasks: &mut bool,
    ) -> Result<(), Invalid> {
        *has_all_tasks |=
            !matches!(bytes.first(), Some(&(CLOCKS | ARRIVAL | GROUPS | EDITS | BATCHES | PAGE)) | None);
        match bytes.split_first() {
            Some((&PAGE, page)) => {
                ensure(!*has_all_tasks, "all tasks before what is stored behind them")?;
                self.load_page(page)
            }
            Some((&GROUPS, groups)) => {
                // A free number takes one byte in the file and many in memory.
                ensure(groups.len() <= GROUPS_CHUNK_MAX, "groups in small chunks")?;
                let groups: Vec<StoredGroup> = decode(groups).ok_or(Invalid("stored groups"))?;
                ensure(self.log.pages() == 0, "groups before their tasks")?;
                groups.into_iter().try_for_each(|group| self.groups.load(group, &self.settings))
            }
            Some((&TURNS, turns)) => {
                let turns: Vec<StoredTurn> = decode(turns).ok_or(Invalid("stored turns"))?;
                turns.into_iter().try_for_each(|(priority, group, left)| {
                    let key = LaneKey { priority, group };
                    ensure(self.lanes.restore_turn(key, left), "a turn of a group that can run")
                })
            }
            Some((&(OLD_ERRORS | ERRORS | ATTEMPTS | RESULTS | PROGRESS), _)) if self.log.pages() == 0 => {
                Err(Invalid("tasks before their errors, attempts, results and progress"))
            }
            Some((&OLD_ERRORS, errors)) => load_side_table(&mut self.errors, errors, old_error),
            Some((&ERRORS, errors)) => load_side_table(&mut self.errors, errors, as_stored),
            Some((&ATTEMPTS, attempts)) => load_side_table(&mut self.attempts, attempts, as_stored),
            Some((&RESULTS, results)) => load_side_table(&mut self.results, results, as_stored),
            Some((&PROGRESS, progress)) => load_side_table(&mut self.progress, progress, as_stored),
            Some((&REQUESTS, requests)) => {
                let requests: Vec<Request> = decode(requests).ok_or(Invalid("stored requests"))?;
                requests.into_iter().try_for_each(|request| {
                    ensure(request.is_valid() && request.kept_until > Millis(0), "a request")?;
                    let is_new = !self.requests.holds(&request) && self.requests.len() < REQUESTS_MAX;
                    ensure(is_new, "each request once, and at most 10,000")?;
                    // A version that did not bound their bytes may have stored more: the oldest are forgotten.
                    self.requests.remember(Millis(0), request);
                    Ok(())
                })
            }
            Some((&SCHEDULES, schedules)) => {
                self.schedules.load(decode(schedules).ok_or(Invalid("stored schedules"))?)
            }
            Some((&TOKENS, tokens)) => {
                let tokens: Vec<StoredToken> = decode(tokens).ok_or(Invalid("stored tokens"))?;
                tokens.iter().try_for_each(|token| self.load_token(token))
            }
            Some((&EDITS, edits)) => {
                let edits: Vec<StoredEdit> = decode(edits).ok_or(Invalid("stored edits"))?;
                edits.iter().try_for_each(|edit| self.load_edit(edit))
            }
            Some((&BATCHES, batches)) => {
                let batches: Vec<StoredBatch> = decode(batches).ok_or(Invalid("stored batches"))?;
                ensure(self.log.pages() == 0, "batches before their tasks")?;
                batches.into_iter().try_for_each(|batch| self.batches.load(batch))
            }
            Some((&DEPENDENTS, dependents)) => {
                let dependents: Vec<StoredDependent> =
                    decode(dependents).ok_or(Invalid("stored tasks that wait for others"))?;
                dependents
                    .into_iter()
                    .try_for_each(|one| self.dependents.add(Order(one.order), &one.parents, one.on_dead))
            }
            Some((&ENDED, ended)) => {
                let ended: Vec<(TaskId, bool)> = decode(ended).ok_or(Invalid("stored tasks that ended"))?;
                ended.into_iter().try_for_each(|(id, is_done)| {
                    ensure(self.dependents.has_ended(id).is_none(), "each task that ended once")?;
                    self.dependents.load_ended(id, is_done)
                })
            }
            Some((&CLOCKS, clocks)) => {
                let stamp: Stamp = decode(clocks).ok_or(Invalid("stored clocks"))?;
                ensure(stamp.is_valid() && saved.get().is_none(), "clocks in bounds, once")?;
                saved.set(Some(stamp));
                // Older versions stored only the last number.
                self.ahead_us = self.ahead_us.max(self.ahead_of(&stamp, self.last_lease));
                Ok(())
            }
            Some((&ARRIVAL, _)) => {
                let arrival = Arrival::open(bytes).ok_or(Invalid("how it arrived"))?;
                ensure(saved.get().is_none() && !self.has_arrived, "clocks once")?;
                self.arrive(&arrival.written, &arrival.here, arrival.offset_ms);
                Ok(())
            }
            _ => Err(Invalid("a known chunk")),
        }
    }
}

/// Loads a chunk of errors, attempts, results or progress. [`State::validate`] checks which tasks they belong to, and
/// what they contain.
fn load_side_table(
    table: &mut SideTable,
    bytes: &[u8],
    value_of: impl Fn(&[u8]) -> Box<[u8]>,
) -> Result<(), Invalid> {
    let values: Vec<(u64, &Bytes)> =
        decode(bytes).ok_or(Invalid("stored errors, attempts, results or progress"))?;
    values.into_iter().try_for_each(|(order, value)| {
        ensure(table.get(Order(order)).is_none(), "one value per task")?;
        table.set(Order(order), value_of(value));
        Ok(())
    })
}

fn as_stored(value: &[u8]) -> Box<[u8]> {
    value.into()
}

/// The error of a version that stored nothing but the text of the last one. An empty one gives no errors, which are not
/// valid.
fn old_error(text: &[u8]) -> Box<[u8]> {
    rare!("an error of an old version is loaded");
    let error = TaskError { attempt: 0, at: Millis(0), worker: &[], text };
    TaskErrors::default().and(&error, 1).unwrap_or_default().into()
}

/// A chunk: its kind, followed by its contents.
fn chunk(kind: u8, bytes: &[u8]) -> Vec<u8> {
    [&[kind], bytes].concat()
}

/// Writes items in chunks of about [`CHUNK_BYTES`].
fn put_batches<T: Serialize>(
    kind: u8,
    items: impl Iterator<Item = T>,
    size: impl Fn(&T) -> usize,
    put: &mut dyn FnMut(&[u8]),
) {
    let mut batch = Vec::new();
    let mut bytes = 0;
    for item in items {
        bytes += size(&item);
        batch.push(item);
        if bytes >= CHUNK_BYTES {
            rare!("a table is stored in several chunks");
            put(&chunk(kind, &encode_named(&batch)));
            batch.clear();
            bytes = 0;
        }
    }
    if !batch.is_empty() {
        put(&chunk(kind, &encode_named(&batch)));
    }
}
