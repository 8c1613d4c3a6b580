//! What is fuzzed: everything that reads bytes of a file, a peer or a client and needs no server.
//!
//! Each target is a function that takes an input, which is a list of parts (see [`parts`]). It panics if the product
//! does, or if what it did is wrong by an independent opinion. The programs in `fuzz_targets` give the functions to
//! libFuzzer. The test program `corpus` of the crate `taskslot-node` gives them the inputs in `corpus/`.

pub mod arguments;
pub mod calendar;
pub mod effects;
pub mod glob;
pub mod parts;
pub mod stored;

mod shown;

#[cfg(test)]
mod corpus;

// Shared with the tests of the engine: how a queue is saved and loaded, and a life with every kind of event.
#[allow(dead_code)]
#[path = "../tests/engine/copies.rs"]
mod copies;
#[allow(dead_code)]
#[path = "../tests/engine/sample.rs"]
mod sample;
