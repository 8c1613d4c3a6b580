//! Times the verbs of the engine as a primary runs them: decide, apply, and encode the effect for replicas.
//!
//! Each verb is timed with a thousand and a million tasks waiting, in no group and in many. The number stays the same:
//! what a verb takes or adds is put back between the samples, which is not timed. Allocations are counted, too. They
//! depend on the code alone, so they show a change that the times of a busy machine hide.
//!
//! `make bench-engine`, or `make bench-engine ARGS=claim` for one verb.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;

use divan::{AllocProfiler, Bencher, black_box};
use taskslot_engine::{Claim, Effect, Entropy, Event, Handle, Millis, Now, Options, Push, Queue, Retry};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const PAYLOAD: &[u8] = &[b'x'; 100];
const LEASE_MS: u32 = 3_600_000;
const WORKER: &[u8] = b"w1";

/// How many tasks wait, and in how many groups; 0 for none.
struct Backlog {
    tasks: usize,
    groups: usize,
}

const BACKLOGS: [Backlog; 4] = [
    Backlog { tasks: 1_000, groups: 0 },
    Backlog { tasks: 1_000_000, groups: 0 },
    Backlog { tasks: 1_000, groups: 100 },
    Backlog { tasks: 1_000_000, groups: 1_000 },
];

impl fmt::Display for Backlog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.groups {
            0 => write!(f, "{} tasks", self.tasks),
            groups => write!(f, "{} tasks in {groups} groups", self.tasks),
        }
    }
}

/// A queue, its clock, and the leases that were timed.
struct Bench {
    queue: Queue,
    now: Now,
    buffer: Vec<u8>,
    groups: Vec<String>,
    steps: usize,
    random: u32,
    spent: VecDeque<Handle>,
}

impl Bench {
    /// A queue in which this many tasks wait.
    fn new(backlog: &Backlog) -> RefCell<Bench> {
        let mut bench = Bench {
            queue: Queue::new(),
            now: Now::plain(1_700_000_000_000),
            buffer: Vec::new(),
            groups: (0..backlog.groups).map(|n| format!("group-{n}")).collect(),
            steps: 0,
            random: 1,
            spent: VecDeque::new(),
        };
        (0..backlog.tasks).for_each(|_| bench.push());
        RefCell::new(bench)
    }

    /// Decides one event, applies it, and encodes its effect. The clock goes on by a millisecond every 64 steps.
    fn run<'e, R>(
        &mut self,
        decide: impl FnOnce(&Queue, Now, Entropy) -> Event<'e>,
        read: impl FnOnce(&Event) -> R,
    ) -> R {
        self.steps += 1;
        self.now = Now::plain(self.now.at.0 + u64::from(self.steps.is_multiple_of(64)));
        self.queue.observe(self.now.at);
        let random = &mut self.random;
        let event = decide(&self.queue, self.now, &mut || {
            *random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *random
        });
        self.queue.apply(&event).unwrap();
        let mut effect = Effect::reusing(std::mem::take(&mut self.buffer));
        effect.add(&event);
        let beside = event.changes().payloads.iter().copied();
        black_box(effect.seal(self.queue.count_effect(), Millis(self.now.at.0), b"bench", beside));
        self.buffer = effect.into_buffer();
        read(&event)
    }

    fn push(&mut self) {
        let groups = std::mem::take(&mut self.groups);
        let group = match groups.len() {
            0 => &[][..],
            count => groups[self.steps % count].as_bytes(),
        };
        let options = Options { group, ..Options::default() };
        let push = Push { due: None, options, payloads: &[PAYLOAD] };
        self.run(|queue, now, _| queue.push(now, &push).unwrap(), |_| ());
        self.groups = groups;
    }

    fn claim(&mut self) -> Handle {
        let claim = Claim { worker: WORKER, lease_ms: Some(LEASE_MS), ..Claim::default() };
        self.run(
            |queue, now, entropy| queue.claim(now, entropy, &claim).unwrap().expect("a task waits"),
            |event| match event {
                Event::Claimed { leases, .. } => leases[0].handle(),
                other => panic!("{other:?}"),
            },
        )
    }

    fn ack(&mut self, handle: &Handle) {
        self.run(|queue, now, _| queue.ack(now, handle).unwrap(), |_| ());
    }

    fn fail(&mut self, handle: &Handle) {
        let retry = Retry::After(LEASE_MS.into());
        self.run(|queue, now, entropy| queue.fail(now, entropy, handle, retry, b"no").unwrap(), |_| ());
        self.spent.push_back(*handle);
    }

    fn requeue(&mut self, handle: &Handle) {
        self.run(|queue, now, _| queue.requeue(now, handle, None, false).unwrap(), |_| ());
    }

    fn extend(&mut self, handle: &Handle) {
        self.run(|queue, now, _| queue.extend(now, handle, None).unwrap(), |_| ());
        self.spent.push_back(*handle);
    }

    /// Removes a task that failed.
    fn cancel(&mut self, failed: &Handle) {
        self.run(|queue, _, _| queue.cancel(failed.id).unwrap(), |_| ());
    }
}

#[divan::bench(args = BACKLOGS, sample_size = 64)]
fn push(bencher: Bencher, backlog: &Backlog) {
    let bench = Bench::new(backlog);
    let remove_one = || {
        let mut bench = bench.borrow_mut();
        let handle = bench.claim();
        bench.ack(&handle);
    };
    bencher.with_inputs(remove_one).bench_local_values(|()| bench.borrow_mut().push());
}

#[divan::bench(args = BACKLOGS, sample_size = 64)]
fn claim(bencher: Bencher, backlog: &Backlog) {
    let bench = Bench::new(backlog);
    let replace_one = || {
        let mut bench = bench.borrow_mut();
        bench.push();
        if let Some(handle) = bench.spent.pop_front() {
            bench.ack(&handle);
        }
    };
    bencher.with_inputs(replace_one).bench_local_values(|()| {
        let mut bench = bench.borrow_mut();
        let handle = bench.claim();
        bench.spent.push_back(handle);
    });
}

#[divan::bench(args = BACKLOGS, sample_size = 64)]
fn ack(bencher: Bencher, backlog: &Backlog) {
    let bench = Bench::new(backlog);
    bencher.with_inputs(|| leased(&bench)).bench_local_values(|handle| bench.borrow_mut().ack(&handle));
}

/// A worker finishes a task and claims the next one: an ack, then a claim.
#[divan::bench(args = BACKLOGS, sample_size = 64)]
fn next(bencher: Bencher, backlog: &Backlog) {
    let bench = Bench::new(backlog);
    let held = || {
        let mut bench = bench.borrow_mut();
        bench.push();
        match bench.spent.pop_front() {
            Some(handle) => handle,
            None => bench.claim(),
        }
    };
    bencher.with_inputs(held).bench_local_values(|handle| {
        let mut bench = bench.borrow_mut();
        bench.ack(&handle);
        let handle = bench.claim();
        bench.spent.push_back(handle);
    });
}

#[divan::bench(args = BACKLOGS, sample_size = 64)]
fn fail(bencher: Bencher, backlog: &Backlog) {
    let bench = Bench::new(backlog);
    let replaced = || {
        let spent = bench.borrow_mut().spent.pop_front();
        if let Some(failed) = spent {
            bench.borrow_mut().cancel(&failed);
        }
        leased(&bench)
    };
    bencher.with_inputs(replaced).bench_local_values(|handle| bench.borrow_mut().fail(&handle));
}

#[divan::bench(args = BACKLOGS, sample_size = 64)]
fn requeue(bencher: Bencher, backlog: &Backlog) {
    let bench = Bench::new(backlog);
    let held = || bench.borrow_mut().claim();
    bencher.with_inputs(held).bench_local_values(|handle| bench.borrow_mut().requeue(&handle));
}

#[divan::bench(args = BACKLOGS, sample_size = 64)]
fn extend(bencher: Bencher, backlog: &Backlog) {
    let bench = Bench::new(backlog);
    let held = || {
        let spent = bench.borrow_mut().spent.pop_front();
        spent.unwrap_or_else(|| leased(&bench))
    };
    bencher.with_inputs(held).bench_local_values(|handle| bench.borrow_mut().extend(&handle));
}

/// Pushes a task and claims one.
fn leased(bench: &RefCell<Bench>) -> Handle {
    let mut bench = bench.borrow_mut();
    bench.push();
    bench.claim()
}

fn main() {
    divan::main();
}
