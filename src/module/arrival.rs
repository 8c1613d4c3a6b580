//! The clock of a queue that comes to this node from elsewhere: from a file, another node or a tool.
//!
//! A queue is stored with what the clocks of its node showed (`Queue::saved`). There are two ways to go on from there. If
//! the queue is part of this node's own data, or of its primary's, this node's clock *continues* that clock. If the queue
//! came on its own, it *keeps* that clock, as an offset to this node's, and its lease numbers go on above those of the
//! other node.
//!
//! | it comes by | when | its clock |
//! |---|---|---|
//! | RDB, of this node or its primary | loading | is continued, on the event `loaded` ([`TaskQueue::carry_clock_on`]) |
//! | RDB, beside the data that is served | loading | is continued at once, because no event follows |
//! | RESTORE | live | is kept ([`TaskQueue::keep_clock`]) |
//! | RESTORE in the AOF | loading | is kept by the first write after the load; its numbers at once ([`TaskQueue::keep_numbers`]) |
//! | `TASK._LOAD` in the AOF | loading | is continued at its end; if a slot had brought the queue, the clock of the node that it came to |
//! | `TASK._LOAD` with a slot, or of a tool | live, primary | is kept, and the part that is sent on says how ([`TaskQueue::arrival`]) |
//! | `TASK._LOAD` of the primary | live, replica | is kept as that part says; if the queue came with a slot, or from an older primary, at its end: then the primary's first write corrects it |
//! | `TASK._APPLY` of the slot's former owner | live, primary | is as far ahead as its changes show ([`TaskQueue::clock_is_ahead`]) |
//! | `TASK._APPLY` of the primary | live, replica | is what the primary says, so the stored one is dropped |
//! | `TASK._APPLY` in the AOF | loading | the same; this node's clock continues the clocks of a term, but not of the first one after an arrival: they can be those of the slot's former owner |
//!
//! A primary tells its replicas and its AOF how far ahead a clock is that was kept: with its next write
//! (`must_replicate_clock`), if the part that it sent on did not say so. Until then, each node goes by what it found itself.

use taskslot_engine::Arrival;
use taskslot_node::arrival;

use crate::clock;
use crate::datatype::TaskQueue;

impl TaskQueue {
    /// Continues the clock by which the queue was written. For a queue that is part of the data which this node loads,
    /// but not for a RESTORE in an AOF.
    pub fn carry_clock_on(&self) {
        if let Some(saved) = self.queue.take_saved() {
            clock::resume(&saved);
        }
    }

    /// Keeps the clock by which the queue was written, as an offset to the node's clock. For a queue that came on its
    /// own, for example by RESTORE.
    pub fn keep_clock(&mut self) {
        // A replica can have found another offset, so it gets the primary's even if that is 0.
        self.must_replicate_clock |= arrival::keep_clock(&mut self.queue, clock::stamp);
    }

    /// Keeps how high the lease numbers were where the queue was written. For a RESTORE in an AOF that is being loaded:
    /// what follows there can raise this node's numbers, and its clock is not known yet.
    pub fn keep_numbers(&mut self) {
        arrival::keep_numbers(&mut self.queue, clock::stamp);
    }

    /// What this node makes of a chunk that shows the clocks of the node which the queue comes from; `None` if it is
    /// another chunk.
    pub fn arrival(&self, chunk: &[u8]) -> Option<Arrival> {
        arrival::arrival(&self.queue, chunk, clock::stamp)
    }

    /// Sets how far the queue's clock is ahead of this node's, if that is more than the inaccuracy of a clock.
    pub fn clock_is_ahead(&mut self, offset_ms: i64) {
        self.must_replicate_clock |= arrival::set_ahead(&mut self.queue, offset_ms);
    }
}
