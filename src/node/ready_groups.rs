//! For whom a change may have made something claimable: so that ten thousand workers that wait for as many groups don't
//! change what a push into another group costs, nor as many that hold tasks what a suspect costs that none of them may
//! have.

use std::collections::BTreeSet;

use taskslot_engine::{Changes, Queue, Ready, Setting};

/// What a write may have made claimable, and for whom.
pub struct ReadyGroups {
    /// The groups that may have become claimable.
    pub groups: Groups,
    /// Who holds less than before, or isn't awaited any more, by name: each may be given more.
    pub workers: BTreeSet<Box<[u8]>>,
    /// Who holds what isn't known: another queue may stand here.
    pub is_unknown: bool,
}

/// Groups that a write made ready.
pub enum Groups {
    /// These at most.
    Some(BTreeSet<Box<[u8]>>),
    /// It isn't known.
    All,
}

impl Groups {
    /// Notes a group; an empty name is none.
    pub fn add(&mut self, name: &[u8]) {
        if let Groups::Some(groups) = self
            && !name.is_empty()
        {
            groups.insert(name.into());
        }
    }
}

impl ReadyGroups {
    /// Nothing has happened yet. A rate fills up without an event.
    pub fn at_first(queue: &Queue) -> ReadyGroups {
        let has_rate = queue.settings().rate().is_some();
        let groups = if has_rate { Groups::All } else { Groups::Some(BTreeSet::new()) };
        ReadyGroups { groups, workers: BTreeSet::new(), is_unknown: false }
    }

    /// Nothing is known of what has happened.
    pub fn unknown() -> ReadyGroups {
        ReadyGroups { groups: Groups::All, workers: BTreeSet::new(), is_unknown: true }
    }

    /// Notes what an event is about to make ready.
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

    /// Notes whose leases an event may end.
    fn note_workers(&mut self, queue: &Queue, changes: &Changes<'_>) {
        if !queue.has_suspects() {
            // Whose leases ended until there are suspects again, nobody notes.
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
            // Whatever ends a lease makes room for tasks of all groups where the queue has a limit.
            Ready::GroupsOfTasks | Ready::All => self.groups = Groups::All,
        }
    }

    /// Notes who is awaited, before something that may end that.
    fn note_awaited(&mut self, queue: &Queue) {
        self.workers.extend(queue.awaited_worker().map(Box::from));
    }
}
