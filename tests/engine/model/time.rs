//! What time changes in the naive model.

use taskslot_engine::{Due, Now, TaskId};

use super::{Model, Place, Task, due_at, is_over};

impl Model {
    /// Leased tasks whose lease has ended.
    pub fn over(&self, now: &Now) -> Vec<TaskId> {
        let over =
            |task: &&Task| matches!(task.place, Place::Leased { deadline, .. } if is_over(now, deadline));
        self.tasks.iter().filter(over).map(|task| task.id).collect()
    }

    /// Delayed tasks by due time.
    pub fn by_due(&self, now: &Now) -> Vec<(u64, &Task)> {
        let due =
            |task: &Task| if let Place::Delayed { due } = task.place { Some(due_at(now, due)) } else { None };
        let mut delayed: Vec<_> = self.tasks.iter().filter_map(|task| Some((due(task)?, task))).collect();
        delayed.sort_by_key(|(due, task)| (*due, task.pushed));
        delayed
    }

    /// Dead tasks by the time they died.
    pub fn by_death(&self) -> Vec<(u64, &Task)> {
        let died = |task: &Task| if let Place::Dead { at } = task.place { Some(at) } else { None };
        let mut dead: Vec<_> = self.tasks.iter().filter_map(|task| Some((died(task)?, task))).collect();
        dead.sort_by_key(|(at, task)| (*at, task.pushed));
        dead
    }

    /// Done tasks by the time they were done, each with the end of its retention.
    pub fn by_end(&self) -> Vec<(u64, u64, &Task)> {
        let done = |task: &Task| match task.place {
            Place::Done { at, until } => Some((at, until)),
            _ => None,
        };
        let done = self.tasks.iter().filter_map(|task| done(task).map(|(at, until)| (at, until, task)));
        let mut done: Vec<_> = done.collect();
        done.sort_by_key(|(at, _, task)| (*at, task.pushed));
        done
    }

    pub(super) fn comes_back(&mut self, since: u64, id: TaskId) {
        let turn = self.turn();
        let task = self.find(id).unwrap();
        task.turn = turn;
        task.place = Place::Ready { since };
    }

    /// Does all due work, except for leases that have ended.
    pub fn passes(&mut self, now: &Now) {
        // With a time to live, a task counts as ready since it was due, if that is an instant of the queue's clock.
        let since = |task: &Task| match task.place {
            Place::Delayed { due: Due::Clock(due) } if task.ttl_ms.is_some() => due.0,
            _ => now.at.0,
        };
        let due: Vec<(u64, TaskId)> = self
            .by_due(now)
            .iter()
            .take_while(|(due, _)| *due <= now.at.0)
            .map(|(_, task)| (since(task), task.id))
            .collect();
        due.into_iter().for_each(|(since, id)| self.comes_back(since, id));
        self.expire(now);
        for which in 0..2 {
            if !self.is_closed(now, which) {
                self.closed[which] = None;
            }
        }
        let (max, ttl) = (self.limit("dead-max"), self.limit("dead-ttl"));
        let dead = self.by_death();
        let surplus = max.map_or(0, |max| dead.len().saturating_sub(max as usize));
        let old = ttl.map_or(0, |ttl| dead.iter().take_while(|(at, _)| at + ttl <= now.at.0).count());
        let gone: Vec<TaskId> = dead.iter().take(surplus.max(old)).map(|(_, task)| task.id).collect();
        for id in gone {
            self.counts.dropped += 1;
            self.forget(id);
        }
        let over: Vec<TaskId> = self
            .by_end()
            .iter()
            .filter(|(_, until, _)| *until <= now.at.0)
            .map(|(_, _, task)| task.id)
            .collect();
        over.into_iter().for_each(|id| self.forget_done(id));
        let done: Vec<TaskId> = self.by_end().iter().map(|(_, _, task)| task.id).collect();
        let surplus = self.limit("retain-max").map_or(0, |max| done.len().saturating_sub(max as usize));
        done.into_iter().take(surplus).for_each(|id| self.forget_done(id));
    }

    /// Removes the oldest done tasks until only `left` remain.
    pub fn keep_done(&mut self, left: u64) {
        let done: Vec<TaskId> = self.by_end().iter().map(|(_, _, task)| task.id).collect();
        let surplus = (done.len() as u64).checked_sub(left).expect("nothing comes back from done") as usize;
        done.into_iter().take(surplus).for_each(|id| self.forget_done(id));
    }

    /// When something is due for certain, once all that is due now is done.
    pub fn next_due(&self, now: &Now) -> Option<u64> {
        let lease = self.tasks.iter().filter_map(|task| match task.place {
            Place::Leased { deadline, .. } if deadline > now.at.0 => Some(deadline),
            Place::Leased { .. } => now.grace.map(|grace| grace.until.0),
            _ => None,
        });
        let ttl = self.limit("dead-ttl");
        let old = self.by_death().first().and_then(|(at, _)| Some(at + ttl?));
        let kept = self.by_end().iter().map(|(_, until, _)| *until).min();
        let pauses = self.closed.into_iter().flatten().flatten();
        lease
            .chain(self.by_due(now).first().map(|(due, _)| *due))
            .chain(old)
            .chain(kept)
            .chain(pauses)
            .chain(self.next_end(now))
            .min()
    }
}
