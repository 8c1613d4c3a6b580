//! The task queue of taskslot as a plain value: no Redis, no clock, no I/O.
//!
//! ```text
//!           push                       claim                  ack
//!  (new) ─────────▶ ready ─────────────────────▶ leased ─────────────▶ done (only if kept) ─▶ gone
//!    │              ▲  ▲ ▲                        │ │ │
//!    │ due later    │  │ └──── requeue, stall ────┘ │ │
//!    └──▶ delayed ──┘  │                            │ │
//!            ▲    due  └─ retry ── dead ◀───────────┘ │  a limit of failures or stalls, fail … dead
//!            └───── fail, requeue later, 2nd stall ───┘
//! ```
//! What is ready is gone, too, when its time to live is over before its first claim.
//!
//! A verb ([`State::claim`], [`State::ack`], …) looks at the queue and the time and *decides*: it returns an
//! [`Event`]. [`Queue::apply`] is the only thing that changes what is stored of a queue, and it decides nothing; a replica only
//! applies. So "a replica equals its primary" is a property of the structure. Time comes in as [`Now`], random bits
//! as [`Entropy`]; [`State::next_due`] says when to come back and [`Queue::tick`] what is due.
//!
//! A task's life in ten lines:
//!
//! ```
//! use taskslot_engine::{Claim, Now, Options, Push, Queue, TaskState};
//!
//! let (mut queue, now) = (Queue::new(), Now::plain(1_000));
//! let push = Push { due: None, options: Options::default(), payloads: &[b"hello"] };
//! let pushed = queue.push(now, &push).unwrap(); // decides, and changes nothing
//! queue.apply(&pushed).unwrap();
//!
//! let claimed = queue.claim(now, &mut || 7, &Claim::default()).unwrap().unwrap();
//! queue.apply(&claimed).unwrap();
//! let taskslot_engine::Event::Claimed { leases, .. } = &claimed else { panic!("a lease") };
//! assert_eq!(queue.task(&now, leases[0].id).unwrap().payload, b"hello");
//!
//! let acked = queue.ack(now, &leases[0].handle()).unwrap();
//! queue.apply(&acked).unwrap();
//! assert_eq!(queue.count(TaskState::Ready) + queue.count(TaskState::Leased), 0);
//! ```
//!
//! Where things are:
//!
//! - `queue`: the queue, and who may change it. `state`: its tables. `changes`: what follows from an event.
//! - Values that everything else speaks of: `task` (ids, handles, states, options), `time`, `settings`, `event`, `request`
//!   (what is asked, and why it is refused), `limits` of groups, `schedule` (what is set of one), `calendar` and `zones`, `bounds`.
//! - `store`: the tables, none of which knows the queue. Records lie in an id-ordered log of pages for their whole life
//!   (`log`, `page`, `record`); a task that was touched has an entry of 45 bytes in its page (`entry`); the order of
//!   ready tasks is runs of numbers (`runs`), in a lane for each priority and group (`lane`, `level`, `lanes`); a lease
//!   costs no index, its page keeps a lower bound of its deadlines. No hash table grows with tasks. What only some tasks
//!   have stands beside: tokens, bodies that were replaced, times to live, errors, progress and results.
//! - `rules`: what decides. A rule reads the queue and the time and returns an event.
//! - `apply`: what changes the queue, an event at a time. `transition` moves a task from one state to another.
//! - `codec`: the stored form, effects, digests. `view`: what is shown. `check`: what must always hold.
//!
//! Beside what is stored a queue knows of its node alone which connection holds what (`ties`) and what happened in the
//! last minutes (`stats`); no digest and no copy has it.
#![forbid(unsafe_code)]

mod apply;
mod bounds;
mod calendar;
mod changes;
mod check;
mod codec;
mod event;
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

pub use bounds::{
    ATTEMPTS_MAX, BATCH_MAX, ERROR_MAX_BYTES, HEADERS_MAX, HEADERS_MAX_BYTES, LEASE_MAX_MS, NAME_MAX_BYTES,
    NUMBER_MAX, PROGRESS_MAX_BYTES, RATE_MAX, RESULT_MAX_BYTES, SPAN_MAX_MS, WEIGHT_MAX,
};
pub use calendar::{BadRule, Calendar, EXPRESSION_MAX_BYTES};
pub use changes::{Changes, Kinds, Outcome, Ready, Tasks};
pub use codec::effect::{EFFECT_VERSION, Effect, Received};
pub use codec::queue::FORMAT_VERSION;
pub use event::{End, Event, Lease, Then};
pub use inline_str::InlineStr;
pub use invalid::Invalid;
pub use limits::{GroupLimits, GroupRate, Held};
pub use pause::{Gate, Pause};
pub use queue::Queue;
pub use rate::Rate;
pub use request::{Answer, Beginning, Claim, Entropy, Push, Refusal, Retry, Term};
pub use rules::claim::ClaimTurns;
pub use rules::term::PROMOTION_STEP;
pub use schedule::{Catchup, EVERY_MIN_MS, SCHEDULED_MAX_BYTES, ScheduleError, ScheduleSpec, Trigger};
pub use settings::{Backoff, Rule, SETTINGS, Setting, Settings};
pub use state::State;
pub use store::histogram::Percentiles;
pub use store::requests::{REQUEST_KEPT_MS, REQUESTS_MAX, REQUESTS_MAX_BYTES};
pub use store::schedules::{SCHEDULES_MAX, ScheduleTotals};
pub use store::stats::{Figures, Rates};
pub use store::ties::Holder;
pub use task::{Handle, Headers, Hold, LeaseNumber, Options, TaskId, TaskState, Unique};
pub use time::{Due, Grace, Millis, Now, Stamp};
pub use totals::Totals;
pub use view::groups::GroupView;
pub use view::list::{Cursor, Limit};
pub use view::load::{Places, UTILISATION_AIM, Workload};
pub use view::schedules::ScheduleView;
pub use view::task::{LeaseView, TaskView};
pub use view::workers::WorkerView;
pub use zones::{ZONE_MAX_BYTES, Zone, Zones};
