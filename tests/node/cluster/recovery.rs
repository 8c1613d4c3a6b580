//! The end of a history: all faults end. Then all copies become equal, and within a bounded time workers finish all tasks.

use taskslot_engine::{BATCH_MAX, Claim, Event, Gate, TaskState};

use super::client::{BATCHES, GROUPS, LONGEST_MS, SCHEDULES};
use super::ledger::GRACE_MS;
use super::node::QUEUES;
use super::world::{LINK_US, NODES, World};

/// How long it can take until a task is done: the longest lease, then a delay after it, and the time of an outage that
/// clocks don't count. Tasks that wait for others take as long each, one after the other.
const BOUND_US: u64 = (2 * LONGEST_MS * 102 / 100 + 4 * GRACE_MS) * 1000;
const ROUND_US: u64 = 5_000_000;

impl World {
    pub fn recovers(&mut self) {
        self.says(|| "all faults end".to_string());
        for at in 0..NODES {
            self.nodes[at].asleep_until = 0;
            self.nodes[at].are_writes_paused = false;
            self.nodes[at].link.is_cut = false;
            self.nodes[at].link.delay_us = LINK_US;
            self.starts(at);
        }
        for shard in 0..2 {
            let first = (0..NODES).find(|&at| self.nodes[at].shard == shard).unwrap();
            if self.last_primary(shard).is_none() {
                self.promotes(first);
            }
        }
        (0..NODES).for_each(|at| self.demotes(at));
        self.passes(3_000_000);
        self.all_copies_are_equal();
        for queue in 0..QUEUES {
            self.drains(queue);
        }
        self.passes(1_000_000);
        self.all_copies_are_equal();
    }

    /// Every replica has what its primary has.
    fn all_copies_are_equal(&mut self) {
        // What is on its way arrives. Primaries do nothing meanwhile.
        self.t += LINK_US;
        (0..NODES)
            .filter(|&at| !self.nodes[at].is_primary)
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|at| self.beats(at));
        for at in 0..NODES {
            let primary = self.last_primary(self.nodes[at].shard).unwrap();
            for queue in 0..QUEUES {
                let head = |at: usize| self.nodes[at].copies[queue].as_ref().map(|copy| copy.head);
                assert_eq!(head(at), head(primary), "node {at} lacks changes of node {primary}");
                self.compares(at, queue);
                self.checks(at, queue);
            }
        }
    }

    /// Workers claim and finish tasks until none is left that can be finished.
    fn drains(&mut self, queue: usize) {
        let at = self.last_primary(self.owners[queue]).unwrap();
        if self.nodes[at].copies[queue].is_none() {
            return;
        }
        self.writes(at, queue, |txn| {
            txn.commit(&Event::Resumed { gate: Gate::All });
            let values = vec![
                ("stalls", 100),
                ("attempts", -1),
                ("dead-max", 100_000),
                ("dead-ttl", -1),
                ("concurrency", -1),
            ];
            txn.commit(&Event::Configured { values });
            for group in GROUPS {
                let events = [txn.copy.queue.resume_group(group), txn.copy.queue.forget_group(group)];
                events.iter().flatten().for_each(|event| txn.commit(event));
            }
            for name in BATCHES {
                let event = txn.copy.queue.close_batch(txn.now, name).ok().flatten();
                event.iter().for_each(|event| txn.commit(event));
            }
            for name in SCHEDULES {
                let event = txn.copy.queue.unschedule(name);
                event.iter().for_each(|event| txn.commit(event));
            }
        });
        let (mut open, mut end) = (self.open(at, queue), self.t + BOUND_US);
        while !self.is_drained(at, queue) {
            assert!(self.t < end, "tasks are left: {:?}", self.left(at, queue));
            self.passes(ROUND_US);
            self.finishes_what_is_there(at, queue);
            if self.open(at, queue) < open {
                (open, end) = (self.open(at, queue), self.t + BOUND_US);
            }
        }
        let copy = self.nodes[at].copies[queue].as_ref().unwrap();
        copy.ledger.oracle.nobody_waits_in_vain();
        self.judge.count("drained queues");
    }

    fn left(&self, at: usize, queue: usize) -> [u64; 3] {
        let queue = &self.nodes[at].copies[queue].as_ref().unwrap().queue;
        [TaskState::Ready, TaskState::Delayed, TaskState::Leased].map(|state| queue.count(state))
    }

    /// How many tasks are not done or dead.
    fn open(&self, at: usize, queue: usize) -> u64 {
        self.nodes[at].copies[queue].as_ref().unwrap().queue.len()
    }

    fn is_drained(&self, at: usize, queue: usize) -> bool {
        self.left(at, queue) == [0; 3]
    }

    fn finishes_what_is_there(&mut self, at: usize, queue: usize) {
        self.writes(at, queue, |txn| {
            let event = txn.copy.queue.retry_oldest(txn.now, BATCH_MAX);
            event.iter().for_each(|event| txn.commit(event));
            // An instant of the wall clock can be hours away.
            let by_wall = txn.ledger().delayed_by_wall();
            let event = txn.copy.queue.retry(txn.now, &by_wall);
            event.iter().for_each(|event| txn.commit(event));
            loop {
                let leases = txn.claims(Claim { count: 100, lease_ms: Some(30_000), ..Claim::default() });
                if leases.is_empty() {
                    break;
                }
                for lease in leases {
                    let event = txn.copy.queue.finish(txn.now, &lease.handle(), Some(0), None).unwrap();
                    txn.commit(&event);
                }
            }
        });
    }
}
