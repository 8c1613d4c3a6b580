//! The engine's tests, as one program: what they share is compiled and linked once, and all of them run side by side.
//! `cargo test -p taskslot-engine unique::` runs the tests of one file.

// What tests share: ways to come to be elsewhere, stories, the life of the samples, the naive model and its lockstep.
mod copies;
mod lockstep;
mod model;
mod sample;
mod story;

mod calendars;
mod clocks;
mod codec;
mod digests;
mod effects;
mod fairness;
mod leases;
mod limits;
mod many_groups;
mod memory;
mod properties;
mod results;
mod scale;
mod schedules;
mod scripts;
mod stats;
mod suspects;
mod texts;
mod ttl;
mod unique;

// The one file of the engine with a test of what it keeps to itself: it is compiled here, since the crate's own test
// build would compile the whole engine a second time.
#[allow(dead_code)]
#[path = "../../src/engine/store/histogram.rs"]
mod histogram;
