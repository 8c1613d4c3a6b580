//! What one node knows besides its queues, as plain values. No server and no I/O: the caller passes in the time and
//! random bits.
//!
//! - `agenda`: the work that no client's command does, and when it is due.
//! - [`arrival`]: the clock of a queue that came to this node on its own.
//! - `args`: a parser of a command's arguments.
//! - `candidates`: the blocked workers that may be served next.
//! - `clock`: the clock for spans of time. It is slewed towards the wall clock, and continues the clock of the process
//!   that wrote the data. It also spares leases that ended while no client could be served.
//! - `connections`: the connections that hold TIED leases.
//! - `health`: whether a queue can be changed.
//! - `metrics`: counters of what a node has done, and gauges of its queues.
//! - `ready_groups`: the groups and workers for which a change may have made tasks claimable.
//! - [`slots`]: hash slots of a cluster.
//! - `wait_queue`, `wait_queues`: blocked workers, in the order in which they came.
//! - `watches`: the clients that wait for the end of a task.
//! - `warnings`: warnings about the server's configuration and state.
//! - `zones`: the release of the time zone database in a folder.
//!
//! The type of what waits is a parameter: the module uses clients of the server, tests use names.

#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod agenda;
mod args;
pub mod arrival;
mod candidates;
mod clock;
mod connections;
mod gatherers;
mod health;
mod metrics;
mod queue_key;
mod ready_groups;
pub mod slots;
mod wait_queue;
mod wait_queues;
mod warnings;
mod watches;
mod zones;

pub mod edges {
    //! How much one step does, for tests.

    pub use crate::wait_queues::{ENDS_A_STEP, POSITIONS_A_STEP};
}

pub use agenda::{Agenda, Fired, HintId, Job, Noted};
pub use args::{ArgError, Args, Named, OneOrMany, Shown, parse_integer};
pub use candidates::Candidates;
pub use clock::{Clock, Reading, arrived_ahead_ms, earliest, is_stamp_current};
pub use connections::{Connections, Tied};
pub use gatherers::Gather;
pub use health::Health;
pub use metrics::{Counters, GaugeValues, Gauges, QueueGauge};
pub use queue_key::QueueKey;
pub use ready_groups::{Groups, ReadyGroups};
pub use wait_queue::{Demand, Offer, Position, QueueAt, Ticket};
pub use wait_queues::{Gathered, WaitQueues};
pub use warnings::{Look, Warning, Warnings};
pub use watches::{Watch, Watches};
pub use zones::release_of_zones;
