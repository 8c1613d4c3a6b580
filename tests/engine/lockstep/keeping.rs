//! What is kept of finished tasks: results, progress, and which done tasks are removed to make room.

use taskslot_engine::{Cursor, Event, Queue, Setting, TaskId, TaskState};

use super::{Lockstep, pick};

const SPANS: [Option<u64>; 6] = [None, None, Some(0), Some(1), Some(500), Some(100_000)];
const RESULTS: [Option<&[u8]>; 5] = [None, None, Some(b""), Some(b"result"), Some(&[7; 900])];

impl Lockstep {
    pub(super) fn ack(&mut self, a: u32, b: u32) {
        let handle = self.handle(a);
        let (retain_ms, result) = (pick(&SPANS, b), pick(&RESULTS, b >> 8));
        let event = self.queue.finish(self.now, &handle, retain_ms, result);
        let expected = self.model.finish(&self.now, &handle, retain_ms, result);
        let late = |event: &Event| matches!(event, Event::Acked { late: true, .. });
        assert_eq!(event.as_ref().map(late).map_err(|refusal| *refusal), expected, "an ack");
        self.apply_if(event.ok());
    }

    /// All done tasks, the oldest first.
    fn done(&self, queue: &Queue) -> Vec<TaskId> {
        let (_, tasks) = queue.list(&self.now, TaskState::Done, Cursor::default(), usize::MAX, None, None);
        tasks.iter().map(|task| task.id).collect()
    }

    /// The bytes that the queue would have without its done tasks.
    pub(super) fn bytes_without_done(&self) -> u64 {
        self.bytes_without_done_of(self.queue.clone())
    }

    /// The bytes that this queue would have without its done tasks.
    pub(super) fn bytes_without_done_of(&self, mut queue: Queue) -> u64 {
        queue.apply(&Event::Forgotten { ids: self.done(&queue) }).unwrap();
        queue.record_bytes()
    }

    /// Removes done tasks for a push or a new body that was accepted, and checks that no more are removed than
    /// necessary.
    pub(super) fn make_room(&mut self, push: &Event) {
        let bytes = |lockstep: &Lockstep| {
            let added: usize = match push {
                Event::Pushed { options, payloads, .. } => {
                    payloads.iter().map(|payload| payload.len() + options.headers.len()).sum()
                }
                Event::Replaced { .. } | Event::Edited { .. } => {
                    usize::try_from(lockstep.queue.growth(push)).unwrap_or(0)
                }
                other => panic!("a push: {other:?}"),
            };
            lockstep.queue.record_bytes() + added as u64
        };
        let max = self.queue.settings().limit(Setting::MaxBytes).unwrap_or(u64::MAX);
        while let Some(event) = self.queue.make_room(push) {
            let Event::Forgotten { ids } = &event else { panic!("room: {event:?}") };
            for &id in ids {
                assert!(bytes(self) > max, "{id} could have stayed");
                self.apply(&Event::Forgotten { ids: vec![id] });
            }
        }
        // What releases bytes is accepted in a queue that has too many.
        let is_smaller = matches!(push, Event::Edited { .. }) && self.queue.growth(push) <= 0;
        assert!(is_smaller || bytes(self) <= max, "there is room for what was accepted");
        self.model.keep_done(self.queue.count(TaskState::Done));
    }

    /// Checks an event that time caused: a done task is removed only if its retention has ended, or if there are too
    /// many tasks or bytes.
    pub(super) fn check_removal_of_done(&mut self, event: &Event) {
        let Event::Forgotten { ids } = event else { return };
        let settings = self.queue.settings();
        let (most, bytes) = (settings.limit(Setting::RetainMax), settings.limit(Setting::MaxBytes));
        let last = *ids.last().expect("a task to remove");
        let task = self.queue.task(&self.now, last).unwrap();
        let is_over = task.kept_until.expect("a done task") <= self.now.at;
        let mut before = self.queue.clone();
        before.apply(&Event::Forgotten { ids: ids[..ids.len() - 1].to_vec() }).unwrap();
        let is_too_many = most.is_some_and(|most| before.count(TaskState::Done) > most);
        let is_too_much = bytes.is_some_and(|bytes| before.record_bytes() > bytes);
        assert!(is_over || is_too_many || is_too_much, "{last} could have stayed");
    }

    /// After all due work, the bytes are within bounds, or there is nothing left to remove.
    pub(super) fn check_bytes(&mut self) {
        let bytes = self.queue.settings().limit(Setting::MaxBytes);
        let left = self.queue.count(TaskState::Done);
        assert!(bytes.is_none_or(|bytes| self.queue.record_bytes() <= bytes || left == 0));
        self.model.keep_done(left);
    }
}
