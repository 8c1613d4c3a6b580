//! Tests of the node's values, alone and together with the engine.

mod args;
mod clock;
mod connections;
mod metrics;
mod nodes;
mod slots;
mod warnings;
mod zones;
