//! Encodings: the stored form of a queue (`queue`), effects (`effect`) with their
//! events (`event`), checksums of what is in an AOF (`checksum`), and digests (`digest`).
//!
//! Formats outlive code: files and replicas of other versions use them. So a changed format gets a new version, the
//! reader of the old one stays, and a sample of each is loaded by a test. What is read is never trusted: it is either
//! valid or refused with [`crate::Invalid`].

mod checksum;
pub(crate) mod digest;
pub(crate) mod effect;
mod event;
pub(crate) mod queue;
