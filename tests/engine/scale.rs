//! Queues that are large in the worst way: no work is quadratic, and no memory stays. Each test takes far less than a
//! second; the faults it guards against took minutes.

use std::time::{Duration, Instant};

use taskslot_edges::TINY;
use taskslot_engine::{
    Answer, Claim, Cursor, Due, Event, Handle, LeaseNumber, Millis, Now, Options, Push, Queue, REQUESTS_MAX,
    TaskId, TaskState,
};

use crate::copies::{digest, load, save};

const START: u64 = 1_700_000_000_000;
const NOW: Now = Now { at: Millis(START), wall: Millis(START), grace: None, is_full: false, lead_us: 0 };

fn push(queue: &mut Queue, due: Option<Due>, priority: i8, count: usize) -> TaskId {
    let options = Options { priority, ..Options::default() };
    let payloads: Vec<&[u8]> = vec![b"payload"; count];
    let event = queue.push(NOW, &Push { due, options, payloads: &payloads }).unwrap();
    queue.apply(&event).unwrap();
    if let Event::Pushed { first, .. } = event { first } else { unreachable!() }
}

/// The ids of tasks that are pushed together.
fn push_all(queue: &mut Queue, count: u64) -> impl Iterator<Item = TaskId> + use<> {
    let first = push(queue, None, 0, count as usize);
    (first.seq..first.seq + count).map(move |seq| TaskId { seq, ..first })
}

fn cancel(queue: &mut Queue, id: TaskId) {
    let event = queue.cancel(id).unwrap();
    queue.apply(&event).unwrap();
}

fn claim(queue: &mut Queue, claim: &Claim) -> Vec<Handle> {
    let event = queue.claim(NOW, &mut || 0, claim).unwrap().unwrap();
    queue.apply(&event).unwrap();
    let Event::Claimed { leases, .. } = event else { unreachable!() };
    leases.iter().map(|lease| Handle { id: lease.id, lease: lease.number, nonce: lease.nonce }).collect()
}

fn ack(queue: &mut Queue, handle: &Handle) {
    let event = queue.ack(NOW, handle).unwrap();
    queue.apply(&event).unwrap();
}

/// Fails if the work takes so long that it must be quadratic.
fn soon<R>(work: impl FnOnce() -> R) -> R {
    let began = Instant::now();
    let result = work();
    assert!(began.elapsed() < Duration::from_secs(20), "it took {:?}", began.elapsed());
    result
}

/// Tasks of one priority, each followed by nearly a page of tasks that were delayed. One run covers them all.
fn sparse(fresh: usize) -> (Queue, Vec<TaskId>) {
    let mut queue = Queue::new();
    let due = Some(Due::Clock(Millis(START)));
    let ids = (0..fresh)
        .map(|_| {
            let id = push(&mut queue, None, 0, 1);
            push(&mut queue, due, 0, 100);
            id
        })
        .collect();
    let mut pages = usize::MAX;
    while let Some(event) = queue.tick(NOW, &mut || 0, &mut pages) {
        queue.apply(&event).unwrap();
    }
    (queue, ids)
}

#[test]
fn claims_do_not_scan_the_numbers_of_cancelled_tasks() {
    let (mut queue, ids) = sparse(1000);
    for id in ids.iter().rev() {
        queue.apply(&Event::Cancelled { id: *id }).unwrap();
    }
    assert_eq!(queue.count(TaskState::Ready), 100_000);
    soon(|| (0..100_000).for_each(|_| _ = claim(&mut queue, &Claim::default())));
}

#[test]
fn claims_do_not_scan_a_gap_before_the_last_fresh_task() {
    let (mut queue, ids) = sparse(1000);
    // Only the last one is fresh, and its turn comes before all that were delayed.
    for id in &ids[..999] {
        queue.apply(&Event::Cancelled { id: *id }).unwrap();
    }
    soon(|| (0..100_000).for_each(|_| _ = claim(&mut queue, &Claim::default())));
    queue.validate().unwrap();
}

#[test]
fn cancelling_behind_a_gap_does_not_scan_it() {
    let (mut queue, _) = sparse(1000);
    let first = push(&mut queue, None, 0, 1000);
    for n in (0..1000).rev() {
        let event = queue.cancel(first.nth(n).unwrap()).unwrap();
        soon(|| queue.apply(&event).unwrap());
    }
    queue.validate().unwrap();
}

#[test]
fn ten_thousand_requests_load_and_come_again_quickly() {
    let mut queue = Queue::new();
    let handle = Handle { id: TaskId { ms: 1, seq: 1 }, lease: LeaseNumber(1), nonce: 1 };
    let answer = || Answer::Claimed { handles: vec![handle; 100] };
    let mut ask = |n: usize| {
        let token = (n % REQUESTS_MAX).to_string();
        let event = queue.answered(NOW, token.as_bytes(), answer());
        queue.apply(&event).unwrap();
    };
    soon(|| (0..5 * REQUESTS_MAX).for_each(&mut ask));
    let stored = save(&queue);
    let loaded = soon(|| load(&stored)).unwrap();
    assert_eq!(digest(&loaded), digest(&queue));
}

#[test]
fn a_list_of_instants_of_the_wall_clock_continues_where_it_was() {
    let mut queue = Queue::new();
    (0..50).for_each(|n| _ = push(&mut queue, Some(Due::Wall(Millis(START + 1000 + n))), 0, 1000));
    let (mut cursor, mut seen) = (Cursor::default(), 0);
    soon(|| {
        loop {
            let (next, tasks) = queue.list(&NOW, TaskState::Delayed, cursor, 10, None, None);
            seen += tasks.len();
            assert!(seen <= 50_000, "a list without end");
            cursor = next;
            if cursor == Cursor::default() {
                break;
            }
        }
    });
    assert_eq!(seen, 50_000);
}

#[test]
fn a_queue_that_was_large_gives_its_memory_back() {
    let mut queue = Queue::new();
    for n in 0..200 {
        push(&mut queue, None, (n % 5) as i8, 1000);
    }
    let full = queue.memory();
    assert!(full < 200_000 * (7 + 14) || TINY, "{full} bytes for 200,000 tasks of 7 bytes");
    let mut handles = Vec::new();
    for n in 0..200 {
        for m in 0..10 {
            let worker = format!("worker {n} {m}");
            handles.extend(claim(
                &mut queue,
                &Claim { count: 100, worker: worker.as_bytes(), ..Claim::default() },
            ));
        }
    }
    // In random order, so that pages with few tasks remain.
    handles.sort_by_key(|handle| handle.lease.0.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    handles.iter().for_each(|handle| ack(&mut queue, handle));
    queue.validate().unwrap();
    assert!(queue.memory() < 40_000, "{} bytes stay", queue.memory());
}

#[test]
fn tasks_that_stay_scattered_over_a_large_queue_are_found_and_cost_little() {
    let mut queue = Queue::new();
    let ids: Vec<TaskId> = (0..600).flat_map(|_| push_all(&mut queue, 1000)).collect();
    let (stay, go): (Vec<_>, Vec<_>) = ids.iter().enumerate().partition(|(n, _)| n % 2000 == 0);
    // In random order, so that pages are removed everywhere in the list.
    let mut go: Vec<_> = go.into_iter().collect();
    go.sort_by_key(|(n, _)| (*n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    soon(|| go.into_iter().for_each(|(_, id)| cancel(&mut queue, *id)));
    queue.validate().unwrap();
    let has = |queue: &Queue| stay.iter().all(|(_, id)| queue.task(&NOW, **id).is_some());
    assert!(has(&queue) && queue.memory() < 300 * 1000, "{} bytes for 300 tasks", queue.memory());
    (0..100).for_each(|_| _ = push(&mut queue, None, 0, 1000));
    queue.validate().unwrap();
    assert!(has(&queue) && has(&queue.clone()));
}

#[test]
fn alternating_priorities_are_claimed_in_order_at_depth() {
    let mut queue = Queue::new();
    (0..30_000).for_each(|n| _ = push(&mut queue, None, [0, 3, -2][n % 3], 1));
    let stored = save(&queue);
    let mut loaded = soon(|| load(&stored)).unwrap();
    for _ in 0..300 {
        let all = Claim { count: 100, ..Claim::default() };
        assert_eq!(claim(&mut queue, &all), claim(&mut loaded, &all));
    }
    assert_eq!(queue.count(TaskState::Leased), 30_000);
    queue.validate().unwrap();
}
