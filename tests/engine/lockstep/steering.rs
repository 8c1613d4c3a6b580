//! Steps that no worker takes: administration, time, faults, reloads.

use taskslot_edges::TINY;
use taskslot_engine::{Beginning, Cursor, Event, Gate, Grace, Millis, Rule, TaskId, TaskState, Term};

use super::{CONFIGS, Lockstep, ids_of, pick};
use crate::copies::{digest, load, save};
use crate::model::{Fate, Model, Place};

impl Lockstep {
    pub(super) fn cancel(&mut self, a: u32) {
        let id = self.id(a);
        let event = self.queue.cancel(id);
        let expected = self.model.cancel(id);
        let is_gone = |event: &Event| matches!(event, Event::Cancelled { .. });
        assert_eq!(event.as_ref().map(is_gone).map_err(|refusal| *refusal), expected, "a cancellation");
        self.apply_if(event.ok());
    }

    pub(super) fn retry(&mut self, a: u32, b: u32) {
        let count = 1 + (b % 3) as usize;
        let event = if b & 8 == 0 {
            let ids: Vec<TaskId> = (0..count as u32).map(|i| self.id(a.wrapping_mul(i + 1))).collect();
            let event = self.queue.retry(self.now, &ids);
            let mut wanted = ids.clone();
            wanted.dedup();
            let expected = self.model.retry(&self.now, &wanted);
            assert_eq!(ids_of(&event), expected, "a retry of {ids:?}");
            event
        } else {
            let event = self.queue.retry_oldest(self.now, count);
            assert_eq!(ids_of(&event), self.model.retry_oldest(&self.now, count), "a retry of the oldest");
            event
        };
        self.apply_if(event);
    }

    pub(super) fn purge(&mut self, a: u32, b: u32) {
        let state = pick(&[TaskState::Ready, TaskState::Delayed, TaskState::Dead, TaskState::Done], a);
        let (count, older_ms) = (1 + b as usize % 4, u64::from(b >> 8) % 300);
        let events = match a / 4 % 3 {
            0 => self.purge_first(state, count),
            1 => {
                let (event, stopped) = self.queue.purge(&self.now, state, Some(older_ms), count);
                let old = self.model.old_of(&self.now, state, older_ms);
                let removed = purged(event.as_slice());
                if TINY {
                    // A search goes on where it stopped, so it can begin in the middle.
                    assert!(
                        removed.iter().all(|id| old.contains(id)),
                        "{} tasks of {older_ms} ms",
                        state.name()
                    );
                    assert!(removed.len() <= count, "{count} tasks");
                } else {
                    assert_eq!(stopped, None, "all tasks were looked at");
                    let expected: Vec<TaskId> = old.into_iter().take(count).collect();
                    assert_eq!(removed, expected, "{} tasks of {older_ms} ms", state.name());
                }
                stopped.into_iter().for_each(|stopped| self.queue.note_search(stopped));
                event.into_iter().collect()
            }
            _ => {
                let ids: Vec<TaskId> = (0..count as u32).map(|i| self.id(b.wrapping_mul(i + 1))).collect();
                let older_ms = (b & 128 == 0).then_some(older_ms);
                let events = self.queue.purge_ids(&self.now, &ids, older_ms);
                let mut removed = purged(&events);
                removed.sort_unstable();
                let old = [TaskState::Ready, TaskState::Delayed, TaskState::Dead, TaskState::Done];
                let old =
                    old.map(|state| self.model.old_of(&self.now, state, older_ms.unwrap_or(0))).concat();
                let mut expected: Vec<TaskId> = ids.into_iter().filter(|id| old.contains(id)).collect();
                expected.sort_unstable();
                expected.dedup();
                assert_eq!(removed, expected, "a purge by ids");
                events
            }
        };
        for event in events {
            event.changes().tasks.ids().for_each(|id| match event {
                Event::Forgotten { .. } => self.model.forget_done(id),
                _ => self.model.purge(id),
            });
            self.apply(&event);
        }
    }

    fn purge_first(&self, state: TaskState, count: usize) -> Vec<Event<'static>> {
        let (_, tasks) = self.queue.list(&self.now, state, Cursor::default(), count, None, None);
        let (event, stopped) = self.queue.purge(&self.now, state, None, count);
        assert_eq!(stopped, None, "nothing is searched");
        assert_eq!(purged(event.as_slice()), tasks.iter().map(|task| task.id).collect::<Vec<_>>());
        event.into_iter().collect()
    }

    pub(super) fn unclaim(&mut self, a: u32) {
        let handle = self.handle(a);
        let event = self.queue.unclaim(self.now, &handle);
        let fate = self.model.unclaim(&self.now, &handle);
        match &event {
            None => assert_eq!(fate, None, "a claim that is undone"),
            Some(Event::Cancelled { .. }) => assert_eq!(fate, Some(Fate::Gone)),
            Some(_) => assert_eq!(fate, Some(Fate::Ready)),
        }
        self.apply_if(event);
    }

    pub(super) fn disconnect(&mut self, holder: u64) {
        let leased = |model: &Model, id: TaskId| {
            model
                .tasks
                .iter()
                .any(|task| task.id == id && matches!(task.place, Place::Leased { tied: true, .. }))
        };
        let model = &self.model;
        self.ties.retain(|&id, _| leased(model, id));
        let ids = self.queue.tied_to(holder, usize::MAX);
        let expected: Vec<TaskId> =
            self.ties.iter().filter(|(_, by)| **by == holder).map(|(id, _)| *id).collect();
        assert_eq!(ids, expected, "tasks tied to a connection");
        for id in ids {
            let event = self.decide(|queue, now, entropy| queue.abandon(now, entropy, id)).unwrap();
            self.stalled(&event);
            self.apply(&event);
        }
        assert!(self.queue.holders().all(|other| other != holder));
    }

    pub(super) fn stalled(&mut self, event: &Event) {
        let Event::Stalled { tasks } = event else { panic!("leases that end: {event:?}") };
        for (id, then) in tasks {
            let fate = self.model.stall(&self.now, *id).unwrap();
            self.settle(*id, *then, fate);
        }
    }

    pub(super) fn configure(&mut self, a: u32, b: u32) {
        let (name, values) = pick(&CONFIGS, a);
        let value = pick(values, b);
        assert!(Rule::named(name.as_bytes()).unwrap().allows(value));
        self.model.configure(name, value);
        self.apply(&Event::Configured { values: vec![(name, value)] });
    }

    pub(super) fn pause(&mut self, a: u32, b: u32) {
        let gate = pick(&[Gate::In, Gate::Out, Gate::All], a);
        let until = (b & 1 == 0).then(|| self.now.at.0 + 1 + u64::from(b >> 1) % 500);
        self.model.pause(gate, until);
        self.apply(&Event::Paused { gate, until: until.map(Millis) });
    }

    pub(super) fn resume(&mut self, a: u32) {
        let gate = pick(&[Gate::In, Gate::Out, Gate::All, Gate::All], a);
        self.model.resume(gate);
        self.apply(&Event::Resumed { gate });
    }

    pub(super) fn begin_term(&mut self, a: u32) {
        let beginning = if a & 4 == 0 { Beginning::Promotion } else { Beginning::Start };
        let term = Term { id: u64::from(a % 3), beginning };
        let event = self.queue.begin_term(self.now, term);
        assert_eq!(event.is_some(), self.model.begin_term(&self.now, term));
        self.apply_if(event);
    }

    pub(super) fn wall_is_corrected(&mut self, a: u32) {
        self.now.wall = Millis(self.now.wall.0 + u64::from(a % 4000) - 2000);
    }

    /// The server is stalled for a while.
    pub(super) fn grace(&mut self, a: u32) {
        let (from, span) = (self.now.at, 500 + u64::from(a % 5000));
        self.set_now(from.0 + span);
        let (to, until) = (self.now.at, self.now.at.plus(span.min(5000)));
        self.now.grace = Some(Grace { from, to, until });
    }

    pub(super) fn reload(&mut self) {
        let loaded = load(&save(&self.queue)).unwrap();
        assert_eq!(digest(&loaded), digest(&self.queue), "what is loaded equals what was saved");
        assert_eq!(loaded.record_bytes(), self.queue.record_bytes());
        self.queue = loaded;
        self.ties.clear();
    }

    pub(super) fn copy(&mut self) {
        self.queue = self.queue.copied().unwrap();
        self.replica = self.replica.copied().unwrap();
        self.model = self.model.copied();
        assert_eq!(self.queue.holders().count(), 0);
    }

    /// Does all due work. With few pages at a time it takes more calls, and has the same result.
    pub(super) fn tick(&mut self, pages: usize) {
        loop {
            let mut left = pages;
            while let Some(event) = self.decide(|queue, now, entropy| queue.tick(now, entropy, &mut left)) {
                if let Event::Stalled { .. } = event {
                    self.stalled(&event);
                }
                self.check_removal_of_done(&event);
                self.apply(&event);
            }
            if left > 0 || (self.now.grace.is_some() && pages < usize::MAX) {
                break;
            }
        }
        if pages < usize::MAX {
            return self.tick(usize::MAX);
        }
        assert_eq!(self.model.over(&self.now), [], "no ended lease is left");
        self.model.passes(&self.now);
        self.check_bytes();
        assert_eq!(self.queue.tokens(), self.model.tokens(&self.now), "expired tokens are removed");
        let next = self.queue.next_due(&self.now);
        assert!(next.is_none_or(|next| next > self.now.at), "all due work is done");
        if let Some(certain) = self.model.next_due(&self.now) {
            // During a grace, pages are examined every 10 ms.
            let slack = if self.now.grace.is_some() { 10 } else { 0 };
            assert!(
                next.is_some_and(|next| next.0 <= certain + slack),
                "{next:?} isn't later than {certain}"
            );
        }
    }
}

fn purged(events: &[Event<'_>]) -> Vec<TaskId> {
    events.iter().flat_map(|event| event.changes().tasks.ids()).collect()
}
