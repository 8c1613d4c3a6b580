//! The name of a queue on a node: its database and its key.

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

    /// Where the queue is after two databases were swapped.
    pub fn swapped(self, a: i32, b: i32) -> QueueKey {
        let db = match self.db {
            db if db == a => b,
            db if db == b => a,
            db => db,
        };
        QueueKey { db, ..self }
    }
}
