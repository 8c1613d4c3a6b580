//! The task queue of taskslot as a plain value: no Redis, no clock, no I/O.
//!
//! # A task's life
//!
//! ```text
//!           push                       claim                  ack
//!  (new) ─────────▶ ready ─────────────────────▶ leased ─────────────▶ done (if retained) ─▶ removed
//!    │              ▲  ▲ ▲                        │ │ │
//!    │ due later    │  │ └──── requeue, stall ────┘ │ │
//!    └──▶ delayed ──┘  │                            │ │
//!            ▲    due  └─ retry ── dead ◀───────────┘ │  limit of failures or stalls, fail … dead
//!            └───── fail, requeue later, 2nd stall ───┘
//! ```
//! A ready task is also removed if its time to live ends before its first claim.
//!
//! # Decide, then apply
//!
//! A rule ([`State::push`], [`State::claim`], [`State::ack`], …) reads the queue and the time and *decides*: it returns
//! an [`Event`]. [`Queue::apply`] is the only way to change what a queue stores, and it decides nothing. A replica only
//! applies events, so it equals its primary by construction.
//!
//! The engine reads no clock and draws no random numbers. The time comes in as [`Now`], random bits as [`Entropy`].
//! [`State::next_due`] says when something will be due, and [`Queue::tick`] decides what is due now.
//!
//! ```
//! use taskslot_engine::{Claim, Event, Now, Options, Push, Queue, TaskState};
//!
//! let (mut queue, mut random) = (Queue::new(), || 4);
//! let push = Push { due: None, options: Options::default(), payloads: &[b"hello"] };
//! let pushed = queue.push(Now::plain(1_000), &push).unwrap(); // decides, and changes nothing
//! queue.apply(&pushed).unwrap();
//!
//! let claimed = queue.claim(Now::plain(2_000), &mut random, &Claim::default()).unwrap().unwrap();
//! queue.apply(&claimed).unwrap();
//! assert_eq!(queue.count(TaskState::Leased), 1);
//!
//! // The worker is never heard of again. Its lease of 30 seconds ends, and the task is ready.
//! assert_eq!(queue.next_due(&Now::plain(2_000)).unwrap().0, 32_000);
//! let stalled = queue.tick(Now::plain(32_000), &mut random, &mut 8).unwrap();
//! queue.apply(&stalled).unwrap();
//!
//! // The next worker gets it, with a new lease, and finishes it.
//! let claimed = queue.claim(Now::plain(33_000), &mut random, &Claim::default()).unwrap().unwrap();
//! queue.apply(&claimed).unwrap();
//! let Event::Claimed { leases, .. } = &claimed else { panic!("nothing to claim") };
//! assert_eq!(queue.task(&Now::plain(33_000), leases[0].id).unwrap().payload, b"hello");
//! let acked = queue.ack(Now::plain(34_000), &leases[0].handle()).unwrap();
//! queue.apply(&acked).unwrap();
//! assert_eq!((queue.len(), queue.totals().stalled, queue.totals().acked), (0, 1, 1));
//! ```
//!
//! # Where things are
//!
//! - `queue`: the queue, and the only ways to change it. `state`: its tables.
//! - `rules`: the decisions. A rule reads the queue and the time and returns an event, or a refusal.
//! - `event`: what can happen to a queue. `changes`: what follows from it outside the queue.
//! - `apply`: the changes, one method per event. `transition` moves a task from one state to another.
//! - `store`: the tables. Each knows only itself and the tables it is made of, never the queue.
//! - `codec`: the stored form, effects (what replicas and the AOF get) and digests.
//! - `view`: what is shown of a queue. `check`: the invariants.
//! - Values used everywhere: `task` (ids, handles, states, options), `time`, `settings`, `totals`, `limits` and `rate`
//!   (of groups and queues), `pause`, `request` (arguments, replies, refusals), `schedule`, `calendar` and `zones`,
//!   `bounds`, `numbers`, `invalid`.
//! - Encodings: `pack` (MessagePack), `varint`, `inline_str`.
//!
//! # What it costs
//!
//! The backlog is what grows, so it is stored compactly. A task's record stays in an id-ordered log of pages for its
//! whole life and is never moved or copied when the task changes state. A ready task that was never claimed takes about
//! 8 bytes besides its payload. One that was claimed or delayed has an entry of 45 bytes in its page. The order of
//! ready tasks is stored as runs of numbers.
//!
//! A lease updates no index, because each page keeps a lower bound of its deadlines. No hash table grows with the
//! tasks, because a single resize would stall the server. A queue does not pay for features it does not use.
//!
//! # What is not stored
//!
//! Three tables are known to this node only, and are part of no digest, file or copy: the connections of TIED leases
//! (`store::ties`), its rates and durations (`store::stats`), and where the searches of administrators go on
//! (`store::searches`).
#![forbid(unsafe_code)]

mod apply;
mod bounds;
mod calendar;
mod changes;
mod check;
mod codec;
mod event;
mod glob;
mod inline_str;
mod invalid;
mod limits;
mod numbers;
mod pack;
mod pause;
mod queue;
mod rate;
mod request;
mod rules;
mod schedule;
mod settings;
mod state;
mod store;
mod task;
mod time;
mod totals;
mod varint;
mod view;
mod zones;

pub mod edges {
    //! How much one step does, for tests.

    pub use crate::apply::groups::GROUPS_AT_ONCE;
    pub use crate::bounds::STEP_TASKS;
    pub use crate::rules::claim::{BEHIND_LOOKED_AT, SWEEPS};
    pub use crate::rules::groups::STEP_GROUPS;
    pub use crate::rules::purge::LOOKED_AT;
    pub use crate::rules::unique::STEP_TOKENS;
    pub use crate::store::searches::SEARCHES_MAX;
    pub use crate::view::list::LIST_LOOKED_AT;
}

pub use bounds::{
    ATTEMPTS_MAX, BATCH_MAX, CLOCK_OFFSET_MAX_MS, ERROR_MAX_BYTES, ERRORS_KEPT_MAX, HEADERS_MAX,
    HEADERS_MAX_BYTES, LEASE_MAX_MS, NAME_MAX_BYTES, NUMBER_MAX, PROGRESS_MAX_BYTES, RATE_MAX,
    RESULT_MAX_BYTES, SPAN_MAX_MS, WAITS_MAX, WEIGHT_MAX,
};
pub use calendar::{BadRule, Calendar, EXPRESSION_MAX_BYTES};
pub use changes::{Changes, Kinds, Outcome, Ready, Tasks};
pub use codec::arrival::Arrival;
pub use codec::effect::{EFFECT_VERSION, Effect, Received};
pub use codec::part::Part;
pub use codec::queue::FORMAT_VERSION;
pub use event::{End, Event, Lease, Release, Then};
pub use glob::{COMPARED_MAX_BYTES, Glob, PATTERN_MAX_BYTES};
pub use inline_str::InlineStr;
pub use invalid::Invalid;
pub use limits::{GroupLimits, GroupRate, HeldBy};
pub use pause::{Gate, Pause};
pub use queue::Queue;
pub use rate::Rate;
pub use request::{After, Answer, Beginning, Claim, Entropy, Push, Refusal, Retry, Set, Term};
pub use rules::claim::ClaimTurns;
pub use rules::gather::Claimable;
pub use schedule::{Catchup, EVERY_MIN_MS, SCHEDULED_MAX_BYTES, ScheduleError, ScheduleSpec, Trigger};
pub use settings::{Backoff, Rule, SETTINGS, Setting, Settings};
pub use state::State;
pub use store::batches::{BATCHES_MAX, BatchCounts};
pub use store::durations::Durations;
pub use store::histogram::Percentiles;
pub use store::last_attempt::LastAttempt;
pub use store::requests::{REQUEST_KEPT_MS, REQUESTS_MAX, REQUESTS_MAX_BYTES};
pub use store::schedules::{SCHEDULES_MAX, ScheduleTotals};
pub use store::searches::Stopped;
pub use store::stats::{Figures, Rates, Times};
pub use store::task_errors::{TaskError, TaskErrors};
pub use store::ties::Holder;
pub use task::{Handle, Headers, Hold, LeaseNumber, OnDead, Options, Parent, TaskId, TaskState, Unique};
pub use time::{Due, Grace, Millis, Now, Stamp, When};
pub use totals::Totals;
pub use view::batches::{BatchView, Relations};
pub use view::groups::GroupView;
pub use view::list::{Cursor, Limit, Listing, Pattern};
pub use view::load::{Places, UTILISATION_AIM, Workload};
pub use view::schedules::ScheduleView;
pub use view::task::{Given, LeaseView, TaskView};
pub use view::workers::WorkerView;
pub use zones::{ZONE_MAX_BYTES, Zone, Zones};
