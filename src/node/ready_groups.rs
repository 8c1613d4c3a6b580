//! The groups and workers for which a write may have made tasks claimable.
//!
//! A write then looks only at the workers that wait for these. So a push into one group doesn't become slower by ten thousand
//! workers that wait for other groups. And a suspect (a task that stalled twice) doesn't make writes slower by the workers
//! that can't get it because they hold other tasks.

use std::collections::BTreeSet;

use taskslot_engine::{Changes, Queue, Ready, Setting};

/// The groups and workers for which a write may have made tasks claimable.
pub struct ReadyGroups {
    /// The groups that may have become claimable.
    pub groups: Groups,
    /// The names of workers that hold fewer tasks than before, or that the queue no longer waits for. They may get tasks now that
    /// they could not get before.
    pub workers: BTreeSet<Box<[u8]>>,
    /// It isn't known which workers hold tasks, for example because another queue may have been at this key. All workers are
    /// considered.
    pub is_unknown: bool,
}

/// The groups that a write may have made claimable.
pub enum Groups {
    /// These, and no others.
    Some(BTreeSet<Box<[u8]>>),
    /// Any group, because it isn't known which.
    All,
}

impl Groups {
    /// Adds a group. An empty name stands for no group, and is ignored.
    pub fn add(&mut self, name: &[u8]) {
        if let Groups::Some(groups) = self
            && !name.is_empty()
        {
            groups.insert(name.into());
        }
    }
}

impl ReadyGroups {
    /// The state at the beginning of a write. If the queue has a rate, any group can have become claimable, because a rate fills
    /// up without an event.
    pub fn at_first(queue: &Queue) -> ReadyGroups {
        let has_rate = queue.settings().rate().is_some();
        let groups = if has_rate { Groups::All } else { Groups::Some(BTreeSet::new()) };
        ReadyGroups { groups, workers: BTreeSet::new(), is_unknown: false }
    }

    /// The state if it isn't known what has happened: all groups and workers are considered.
    pub fn unknown() -> ReadyGroups {
        ReadyGroups { groups: Groups::All, workers: BTreeSet::new(), is_unknown: true }
    }

    /// Adds the groups and workers of an event that is about to be applied.
    pub fn note(&mut self, queue: &Queue, changes: &Changes<'_>) {
        self.note_awaited(queue);
        if let Ready::Nothing = changes.ready {
            return;
        }
        self.note_workers(queue, changes);
        if let Groups::Some(_) = self.groups {
            self.note_groups(queue, changes);
        }
    }

    /// Adds the workers whose leases the event may end.
    fn note_workers(&mut self, queue: &Queue, changes: &Changes<'_>) {
        if !queue.has_suspects() {
            // Without suspects, workers are not tracked. So it isn't known who holds tasks when there are suspects again.
            self.is_unknown = true;
            return;
        }
        let workers = changes.tasks.ids().filter_map(|id| queue.worker_of(id));
        self.workers.extend(workers.filter(|name| !name.is_empty()).map(Box::from));
    }

    fn note_groups(&mut self, queue: &Queue, changes: &Changes<'_>) {
        match changes.ready {
            Ready::Nothing => {}
            Ready::Group(name) => self.groups.add(name),
            Ready::Groups(names) => names.iter().for_each(|name| self.groups.add(name)),
            Ready::GroupsOfTasks if queue.settings().limit(Setting::Concurrency).is_none() => {
                changes.tasks.ids().for_each(|id| self.groups.add(queue.group_of(id)));
            }
            // If the queue limits its leases, the end of a lease makes room for tasks of all groups.
            Ready::GroupsOfTasks | Ready::All => self.groups = Groups::All,
        }
    }

    /// Adds the worker that the queue waits for, before an event that may end that.
    fn note_awaited(&mut self, queue: &Queue) {
        self.workers.extend(queue.awaited_worker().map(Box::from));
    }
}
