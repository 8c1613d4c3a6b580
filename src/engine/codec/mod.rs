//! Encodings: the stored form of a queue (`queue`) and its parts in commands (`part`), effects (`effect`) with their
//! events (`event`), stamps of clocks (`stamp`), and digests (`digest`). What is in an AOF has checksums (`checksum`).
//!
//! Formats outlive code: files and replicas of other versions use them. So a changed format gets a new version, the
//! reader of the old one stays, and a sample of each is loaded by a test. What is read is never trusted: it is either
//! valid or refused with [`crate::Invalid`].

pub(crate) mod arrival;
mod checksum;
pub(crate) mod digest;
pub(crate) mod effect;
mod event;
pub(crate) mod part;
pub(crate) mod queue;
mod stamp;
