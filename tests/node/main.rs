//! Tests of the crate `taskslot-node`: each of its values alone, and several nodes together with the engine.

mod agenda;
mod args;
mod arrival;
mod clock;
mod cluster;
mod connections;
mod dice;
mod health;
mod metrics;
mod slots;
mod wait_queue;
mod warnings;
mod watches;
mod zones;
