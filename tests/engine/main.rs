//! The engine's tests, as one program: shared code is compiled and linked once, and all tests run in parallel.
//! `cargo test -p taskslot-engine unique::` runs the tests of one file.

// Shared: ways to save and replicate, stories, the life of the samples, the naive model and its lockstep.
mod copies;
mod lockstep;
mod model;
mod sample;
mod story;

mod attempts;
mod batches;
mod calendars;
mod checksums;
mod clocks;
mod codec;
mod compact;
mod dependents;
mod digests;
mod edits;
mod effects;
mod fairness;
mod gather;
mod globs;
mod leases;
mod limits;
mod listings;
mod many_groups;
mod memory;
mod properties;
mod results;
mod scale;
mod schedules;
mod scripts;
mod stats;
mod steering;
mod steps;
mod suspects;
mod texts;
mod ttl;
mod unique;
mod waits;

// The only file of the engine with tests of private functions. It is compiled here, because a test build of the crate
// itself would compile the whole engine a second time.
#[allow(dead_code)]
#[path = "../../src/engine/store/histogram.rs"]
mod histogram;
