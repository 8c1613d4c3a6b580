//! Tests of the node's values, alone and together with the engine.

mod agenda;
mod clock;
mod dice;
mod health;
mod nodes;
mod wait_queue;
mod watches;
