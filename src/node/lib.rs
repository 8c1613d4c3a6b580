//! What one node knows beside its queues, as plain values: no server, no I/O, and time and random bits come in.
//!
//! - `agenda`: what is to be done outside any client's command, and when.
//! - `args`: the arguments of a command, read from left to right.
//! - `candidates`: which blocked worker may be served next.
//! - `clock`: the clock that spans run on. It is slewed towards the wall clock, carried on from what another process wrote,
//!   and spares leases that ran out while nobody could be heard.
//! - `connections`: which connections hold TIED leases.
//! - `health`: whether a queue may be changed.
//! - `metrics`: what a node has done, and how many queues it holds.
//! - `ready_groups`: for whom a change may have made tasks claimable.
//! - [`slots`]: hash slots of a cluster.
//! - `wait_queue`, `wait_queues`: blocked workers, first come, first served.
//! - `watches`: who awaits a task's end.
//! - `warnings`: what an operator should know of the server.
//! - `zones`: which release of the time zone database a folder holds.
//!
//! What waits is a type parameter: the module puts clients of the server there, tests put names.

#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod agenda;
mod args;
mod candidates;
mod clock;
mod connections;
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

pub use agenda::{Agenda, Hint, Job};
pub use args::{ArgError, Args, OneOrMany, Shown, parse_integer};
pub use candidates::Candidates;
pub use clock::{Clock, Reading, arrived_ahead_ms, earliest};
pub use connections::Connections;
pub use health::Health;
pub use metrics::{Counters, GaugeValues, Gauges, QueueGauge};
pub use queue_key::QueueKey;
pub use ready_groups::{Groups, ReadyGroups};
pub use wait_queue::{Demand, Offer, Place, QueueAt, Ticket};
pub use wait_queues::WaitQueues;
pub use warnings::{Look, Warning, Warnings};
pub use watches::{Watch, Watches};
pub use zones::release_of_zones;
