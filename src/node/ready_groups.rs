//! For whom a change may have made something claimable: so that ten thousand workers that wait for as many groups don't
//! change what a push into another group costs, nor as many that hold tasks what a suspect costs that none of them may
//! have.

use std::collections::BTreeSet;

use taskslot_engine::{Event, Queue, Setting};

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
    pub fn note(&mut self, queue: &Queue, event: &Event) {
        if let Event::Claimed { .. } | Event::Taken { .. } = event {
            // Nothing becomes claimable by it, unless its worker was awaited.
            return self.note_awaited(queue);
        }
        if queue.has_suspects() {
            self.note_workers(queue, event);
        } else {
            // Whose leases ended until there are suspects again, nobody notes.
            self.is_unknown = true;
        }
        let Groups::Some(_) = self.groups else { return };
        let mut is_all = false;
        let mut add = |name: &[u8]| self.groups.add(name);
        match event {
            Event::PassedOver { .. }
            | Event::Extended { .. }
            | Event::Answered { .. }
            | Event::Term { .. } => {}
            // Nothing could be claimed before what had expired was gone, whatever its group.
            Event::Expired { .. } => is_all = true,
            Event::Pushed { options, .. } => add(options.group),
            Event::Grouped { name, .. } => add(name),
            Event::Rested { names, .. } => names.iter().for_each(|name| add(name)),
            // Whatever ends a lease makes room for tasks of all groups where the queue has a limit.
            event if queue.settings().limit(Setting::Concurrency).is_none() => {
                is_all = event.for_each_task(|id| add(queue.group_of(id))).is_none();
            }
            _ => is_all = true,
        }
        if is_all {
            self.groups = Groups::All;
        }
    }

    /// Notes whose leases an event may end, and who is awaited before it.
    fn note_workers(&mut self, queue: &Queue, event: &Event) {
        self.note_awaited(queue);
        if let Event::Extended { .. } = event {
            return;
        }
        let mut add = |name: Option<&[u8]>| {
            if let Some(name) = name.filter(|name| !name.is_empty()) {
                self.workers.insert(name.into());
            }
        };
        event.for_each_task(|id| add(queue.worker_of(id)));
    }

    /// Notes who is awaited, before something that may end that.
    fn note_awaited(&mut self, queue: &Queue) {
        self.workers.extend(queue.awaited_worker().map(Box::from));
    }
}
