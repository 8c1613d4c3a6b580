//! The name of a queue on a node: its database and its key.

use std::fmt;

use crate::args::Shown;

/// The most bytes of a key that a log line shows.
const SHOWN_BYTES: usize = 128;

/// A key in a database.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueKey {
    /// The number of the database.
    pub db: i32,
    /// The key's name.
    pub name: Box<[u8]>,
}

impl QueueKey {
    /// The key `name` in the database `db`.
    pub fn new(db: i32, name: &[u8]) -> QueueKey {
        QueueKey { db, name: name.into() }
    }

    /// Two databases were swapped, and the queue with them.
    pub fn swap_databases(&mut self, a: i32, b: i32) {
        self.db = match self.db {
            db if db == a => b,
            db if db == b => a,
            db => db,
        };
    }
}

/// How log lines name the queue: `queue 'mail' in database 0`. They show at most 128 bytes of the key, and a question
/// mark for each byte that isn't printable ASCII.
impl fmt::Display for QueueKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "queue '{}' in database {}", Shown::at_most(SHOWN_BYTES, &self.name), self.db)
    }
}
