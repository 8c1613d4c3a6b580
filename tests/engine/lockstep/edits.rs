//! Steps that change waiting tasks: SET and POSTPONE.

use taskslot_engine::{Event, Headers, Millis, Set, TaskId, When};

use super::{Lockstep, pick};

impl Lockstep {
    /// When a changed task is due.
    fn some_when(&self, word: u32) -> When {
        match word % 4 {
            0 => When::Now,
            1 => When::At(Millis(self.now.wall.0 + u64::from(word >> 2) % 900)),
            _ => When::After(u64::from(word >> 2) % 500),
        }
    }

    pub(super) fn set(&mut self, a: u32, b: u32) {
        let ids: Vec<TaskId> = (0..1 + b % 3).map(|n| self.id(a.wrapping_mul(n + 1))).collect();
        let headers = Headers::pack(&[(b"changed", b"yes")]);
        let payload = vec![b'c'; pick(&[0, 7, 40, 900], b >> 4)];
        let to = Set {
            when: (b >> 6 & 1 == 0).then(|| self.some_when(b >> 8)),
            priority: pick(&[None, None, Some(0), Some(1), Some(-1), Some(127)], b >> 10),
            group: None,
            headers: pick(&[None, None, Some(&headers[..]), Some(b"")], b >> 14),
            payload: (b >> 16 & 3 == 0).then_some(&payload[..]),
        };
        let bytes = self.bytes_without_done();
        let event = self.queue.set(self.now, &ids, &to);
        let expected = self.model.set(&self.now, &ids, &to, bytes);
        let changed = |event: &Option<Event>| match event {
            Some(Event::Edited { ids, .. }) => ids.clone(),
            _ => Vec::new(),
        };
        assert_eq!(event.as_ref().map(changed).map_err(|refusal| *refusal), expected, "a change of {ids:?}");
        let Some(event) = event.ok().flatten() else { return };
        self.make_room(&event);
        self.apply(&event);
    }

    pub(super) fn postpone(&mut self, a: u32, b: u32) {
        let (id, when) = (self.id(a), self.some_when(b));
        let until_ms = pick(&[None, Some(1), Some(300), Some(5000)], b >> 20);
        let event = self.queue.postpone(self.now, id, when, until_ms);
        let expected = self.model.postpone(&self.now, id, when, until_ms);
        assert_eq!(event.is_some(), expected, "{id} is postponed");
        self.apply_if(event);
    }
}
