//! Which groups a queue knows: those with a task, with limits of their own, or with a pause.

use std::collections::{BTreeMap, BTreeSet};

use taskslot_engine::Millis;

use super::oracle::Oracle;

#[derive(Debug, Clone, Default)]
pub struct Groups {
    with_limits: BTreeSet<Vec<u8>>,
    /// Until when; `None` until it is resumed. One that has passed is a pause until time ends it.
    pauses: BTreeMap<Vec<u8>, Option<Millis>>,
}

impl Groups {
    /// Whether nothing may be claimed from this group.
    pub fn is_paused(&self, at: Millis, group: &[u8]) -> bool {
        self.pauses.get(group).is_some_and(|until| until.is_none_or(|until| until > at))
    }

    /// Whether a group is paused, or was so until time ends it.
    pub fn has_pause(&self, group: &[u8]) -> bool {
        self.pauses.contains_key(group)
    }

    pub fn limited(&mut self, group: &[u8]) {
        self.with_limits.insert(group.to_vec());
    }

    pub fn paused(&mut self, group: &[u8], until: Option<Millis>) {
        self.pauses.insert(group.to_vec(), until);
    }

    pub fn resumed(&mut self, group: &[u8]) {
        assert!(self.pauses.remove(group).is_some(), "a paused group");
    }

    /// Time has changed groups.
    pub fn rested(&mut self, at: Millis, groups: &[impl AsRef<[u8]>]) {
        for group in groups.iter().map(AsRef::as_ref) {
            if !self.is_paused(at, group) {
                self.pauses.remove(group);
            }
        }
    }
}

impl Oracle {
    /// The groups that the queue knows.
    pub fn known_groups(&self) -> BTreeSet<&[u8]> {
        let of_tasks = self.living().map(|(_, task)| &task.body.group[..]);
        let others = self.groups.with_limits.iter().chain(self.groups.pauses.keys()).map(Vec::as_slice);
        of_tasks.chain(others).filter(|name| !name.is_empty()).collect()
    }

    /// Whether a group is known, or one more is allowed.
    pub fn has_room_for_group(&self, name: &[u8], max: Option<u64>) -> bool {
        let known = self.known_groups();
        name.is_empty() || known.contains(name) || max.is_none_or(|max| (known.len() as u64) < max)
    }
}
