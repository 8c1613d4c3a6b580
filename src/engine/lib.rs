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
//! A verb ([`Queue::claim`], [`Queue::ack`], …) looks at the queue and the time and *decides*: it returns an
//! [`Event`]. [`Queue::apply`] is the only thing that changes what is stored of a queue, and it decides nothing; a replica only
//! applies. So "a replica equals its primary" is a property of the structure. Time comes in as [`Now`], random bits
//! as [`Entropy`]; [`Queue::next_due`] says when to come back and [`Queue::tick`] what is due.
//!
//! How it is stored: records lie in an id-ordered log of pages for their whole life (`log`, `page`); a task that
//! was touched has an entry of 45 bytes in its page (`entry`); the order of ready tasks is runs of numbers (`lanes`);
//! a lease costs no index, its page keeps a lower bound of its deadlines. Ready tasks stand in a lane for each priority
//! (`level`) and group (`lane`), those that may have killed their workers apart (`suspects`); where groups have tasks they
//! take turns, and `groups` counts what each may do (`limits`, `rate`). Workers' names are in `names`, those of groups in
//! a form of their own (`name`). No hash table grows with tasks. What only some tasks have stands beside: tokens
//! (`unique`), bodies that were replaced (`bodies`), times to live (`expiry`), errors, progress and results (`told`). Done
//! tasks that are kept are in `done`; schedules in `schedule`, with what was set in `plan` and the instants of cron
//! expressions in `calendar`, by the rules of `zones`. What an event adds to all this is told by `growth`, and whether two
//! copies are equal by `fingerprint`.
//!
//! Beside what is stored a queue knows of its node alone which connection holds what (`ties`) and what happened in the
//! last minutes (`stats`, `histogram`, and the `load` that follows); no digest and no copy has it.
//!
//! To read it: the words in `task`, then `event`, `queue`, `decide`, `claim`, `apply`, `standing`, `due`; then the storage from `log` down.
//! What must always hold is written in `check`.
#![forbid(unsafe_code)]

mod apply;
mod calendar;
mod check;
mod codec;
mod event;
mod mismatch;
mod outcome;
mod plan;
mod queue;
mod rate;
mod rules;
mod settings;
mod store;
mod task;
mod text;
mod time;
mod varint;
mod view;
mod zones;

pub use calendar::{BadRule, Calendar, EXPRESSION_MAX_BYTES};
pub use codec::effect::{EFFECT_VERSION, Effect, Received};
pub use codec::queue::FORMAT_VERSION;
pub use event::{End, Event, Gate, Lease, Then};
pub use mismatch::Mismatch;
pub use outcome::Outcome;
pub use plan::{Catchup, EVERY_MIN_MS, Plan, SCHEDULED_MAX_BYTES, Timing, Unplanned};
pub use queue::{Queue, Totals};
pub use rate::Rate;
pub use rules::claim::{Claim, Claiming};
pub use rules::decide::{Beginning, Entropy, PROMOTION_STEP, Push, Refusal, Retry, Term};
pub use rules::limits::{GroupView, Held};
pub use settings::{Backoff, NUMBER_MAX, RATE_MAX, Rule, SETTINGS, SPAN_MAX_MS, Setting, Settings};
pub use store::groups::{GroupLimits, WEIGHT_MAX};
pub use store::histogram::Percentiles;
pub use store::requests::{Answer, REQUEST_KEPT_MS, REQUESTS_MAX, REQUESTS_MAX_BYTES};
pub use store::schedules::{Runs, SCHEDULES_MAX, ScheduleView};
pub use store::side_table::{PROGRESS_MAX_BYTES, RESULT_MAX_BYTES};
pub use store::stats::{Figures, Rates};
pub use store::ties::Holder;
pub use task::{
    ATTEMPTS_MAX, BATCH_MAX, ERROR_MAX_BYTES, HEADERS_MAX, HEADERS_MAX_BYTES, Handle, Headers, Hold,
    LEASE_MAX_MS, LeaseNumber, NAME_MAX_BYTES, Options, State, TaskId, Unique,
};
pub use text::Text;
pub use time::{Due, Grace, Millis, Now, Stamp};
pub use view::load::{Load, Places, UTILISATION_AIM};
pub use view::task::{Cursor, LeaseView, Limit, TaskView};
pub use view::workers::WorkerView;
pub use zones::{ZONE_MAX_BYTES, Zone, Zones};
