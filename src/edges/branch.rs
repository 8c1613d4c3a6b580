//! Counting how often a rare branch runs.

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};

/// The file that counts are appended to. If the variable is not set, nothing is written.
const FILE: &str = "TASKSLOT_EDGES";

/// A branch, and how often this process has reached it.
///
/// Tests kill servers, and servers fork. So counts are not written at the end, but when they have doubled: a process
/// writes a few lines for each branch, and their sum is at least half of the true count.
#[derive(Debug)]
pub struct Branch {
    name: &'static str,
    count: AtomicU64,
}

impl Branch {
    /// A branch that has not been reached.
    pub const fn new(name: &'static str) -> Branch {
        Branch { name, count: AtomicU64::new(0) }
    }

    /// Counts the branch once. A count that can't be written is left out.
    pub fn count(&self) {
        let count = self.count.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        if count.is_power_of_two() {
            let _ = self.append(count - count / 2);
        }
    }

    fn append(&self, more: u64) -> std::io::Result<()> {
        let Some(path) = std::env::var_os(FILE) else { return Ok(()) };
        // One write of one line: other processes write to the file too.
        let line = format!("{more}\t{}\n", self.name);
        OpenOptions::new().append(true).create(true).open(path)?.write_all(line.as_bytes())
    }
}
