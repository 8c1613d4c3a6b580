//! What one node knows beside its queues, as plain values: no server, no I/O, and time comes in.
//!
//! `clock` is the arithmetic of the clock that spans run on: slewed towards the wall clock, carried on from what another
//! process wrote, and spared while nobody could be heard. `args` reads the arguments of a
//! command. `connections` knows which connections hold TIED leases. `metrics` counts what a node
//! does and gauges its queues. `slots` is the arithmetic of hash slots in a cluster.

#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

pub mod args;
mod clock;
pub mod connections;
pub mod metrics;
pub mod slots;

pub use clock::{Clock, Reading, SLEW, arrived_ahead_ms};
