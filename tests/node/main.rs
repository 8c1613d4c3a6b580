//! Tests of the node's values, alone and together with the engine.

mod args;
mod clock;
mod metrics;
mod nodes;
mod slots;
