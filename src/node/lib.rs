//! What one node knows beside its queues, as plain values: no server, no I/O, and time comes in.
//!
//! `clock` is the arithmetic of the clock that spans run on: slewed towards the wall clock, carried on from what another
//! process wrote, and spared while nobody could be heard. `wait_queue` and `wait_queues` hold blocked workers, first come,
//! first served; `ready_groups` is for whom a change may have made tasks claimable, `candidates` who may be served next.
#![forbid(unsafe_code)]

mod candidates;
mod clock;
mod queue_key;
mod ready_groups;
mod wait_queue;
mod wait_queues;

pub use candidates::Candidates;
pub use clock::{Clock, Reading, SLEW, arrived_ahead_ms};
pub use queue_key::QueueKey;
pub use ready_groups::{Groups, ReadyGroups};
pub use wait_queue::{Demand, Offer, Place, QueueAt, Ticket};
pub use wait_queues::WaitQueues;
