//! What is shown of a queue: everything that `GET`, `LIST` and `INFO` read.

use taskslot_engine::{Cursor, Glob, Limit, Listing, Now, Pattern, Places, Queue, TaskState, Workload};

/// Reads everything once. A queue that was given up is shown too, so this must not panic on any queue.
pub fn is_shown(queue: &Queue, now: Now) {
    let any = Glob::new(b"*a*").expect("a short pattern");
    for state in TaskState::ALL {
        for is_reversed in [false, true] {
            let limit = Limit { count: 5, bytes: 4_000, with_payload: true };
            let pattern = is_reversed.then_some(Pattern::Payload(&any));
            let listing = Listing {
                state,
                cursor: Cursor::default(),
                limit,
                worker: None,
                group: None,
                is_reversed,
                pattern,
            };
            let (cursor, tasks) = queue.list_as(&now, &listing);
            let _ = queue.list_as(&now, &Listing { cursor, ..listing });
            for task in tasks {
                let found = queue.task(&now, task.id).expect("a listed task is there");
                assert_eq!((found.id, found.state), (task.id, task.state));
                let _ = (task.worker(), task.error().len(), task.claimed_at(), queue.group_of(task.id));
                let _ = queue.given(task.id);
            }
        }
        let _ = queue.count(state);
    }
    let groups: Vec<Vec<u8>> = queue.group_views(b"").take(5).map(|group| group.name.to_vec()).collect();
    for group in &groups {
        let _ = queue.list(&now, TaskState::Ready, Cursor::default(), 3, None, Some(group));
    }
    for worker in queue.workers(5) {
        let _ = queue.list(&now, TaskState::Leased, Cursor::default(), 3, Some(worker.name), None);
    }
    queue.batch_views(b"").for_each(|batch| _ = (batch.tasks(), batch.state()));
    let _ = (queue.schedules(&now).len(), queue.groups_in_turn().count(), queue.groups_behind());
    let _ = (queue.groups(), queue.groups_paused(), queue.groups_stopped(), queue.workers_busy());
    let _ = (queue.oldest_ready(), queue.next_delayed(&now), queue.next_due(&now));
    let _ = (queue.bytes(), queue.request_bytes(), queue.memory(), queue.free_effort());
    let _ = Workload::of(&queue.figures(now.at), Places { busy: 1, free: 1, workers: Some(1) }, 9);
}
