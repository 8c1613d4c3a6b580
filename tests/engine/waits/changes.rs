//! What clients change about tasks that wait, and about groups: SET, REPLACE, POSTPONE, PAUSE GROUP.

use taskslot_engine::{Event, Refusal, Set, Setting, TaskId};

use super::{GROUPS, HEADERS, PAYLOADS, World};

impl World {
    fn to(&mut self) -> Set<'static> {
        Set {
            when: self.chance(2).then(|| self.when()),
            priority: self.chance(4).then(|| self.pick(&[0, 1, -1])),
            group: self.chance(3).then(|| self.pick(&[&b""[..], b"g", b"h", b"i", b"ordered"])),
            headers: self.chance(5).then(|| self.pick(&HEADERS)),
            payload: self.chance(5).then(|| self.pick(&PAYLOADS)),
        }
    }

    /// SET, for one task or for several, which may be named twice.
    pub fn set(&mut self) {
        let ids: Vec<TaskId> = (0..1 + self.dice.below(3)).map(|_| self.id()).collect();
        let to = self.to();
        let mut after = self.oracle.clone();
        let changed = after.set(&self.now, &ids, &to);
        let group = to.group.unwrap_or_default();
        let has_room = self.oracle.has_room_for_group(group, self.limit(Setting::GroupsMax));
        match self.queue.set(self.now, &ids, &to) {
            Err(Refusal::FullBytes) => assert!(has_room && (to.payload.is_some() || to.headers.is_some())),
            Err(refusal) => assert_eq!((refusal, has_room), (Refusal::FullGroups, false)),
            Ok(None) => assert_eq!(changed, [], "SET changes nothing"),
            Ok(Some(event)) => {
                let Event::Edited { ids, .. } = &event else { panic!("{event:?}") };
                assert_eq!((ids, has_room), (&changed, true), "what SET changes");
                self.makes_room_and_applies(&event);
                self.oracle.set(&self.now, &changed, &to);
            }
        }
    }

    /// A push found that a task holds its token, and may say so: REPLACE and POSTPONE.
    pub fn finds(&mut self, id: TaskId) {
        if self.chance(2) {
            self.replace(id);
        }
        if self.chance(2) {
            self.postpone(id);
        }
    }

    fn replace(&mut self, id: TaskId) {
        let (headers, payload) = (self.pick(&HEADERS), self.pick(&PAYLOADS));
        let waits = self.oracle.tasks[&id].waits();
        match self.queue.replace(id, headers, payload) {
            Err(refusal) => assert_eq!((refusal, waits), (Refusal::FullBytes, true)),
            Ok(event) => {
                assert_eq!(event.is_some(), waits, "{id} is replaced");
                let Some(event) = event else { return };
                self.makes_room_and_applies(&event);
                let to = Set { headers: Some(headers), payload: Some(payload), ..Set::default() };
                self.oracle.set(&self.now, &[id], &to);
            }
        }
    }

    fn postpone(&mut self, id: TaskId) {
        let (when, until_ms) = (self.when(), self.pick(&[None, Some(1), Some(20), Some(60)]));
        let event = self.queue.postpone(self.now, id, when, until_ms);
        event.iter().for_each(|event| self.apply(event));
        let is_changed = self.oracle.postpone(&self.now, id, when, until_ms);
        assert_eq!(event.is_some(), is_changed, "{id} is postponed");
    }

    pub fn pause_or_resume_group(&mut self) {
        let group = self.pick(&GROUPS);
        if self.chance(3) {
            return self.resume_group(group);
        }
        let until = (!self.chance(3)).then(|| self.now.at.plus(1 + self.dice.below(60)));
        let has_room = self.oracle.has_room_for_group(group, self.limit(Setting::GroupsMax));
        match self.queue.pause_group(group, until) {
            Err(refusal) => assert_eq!((refusal, has_room), (Refusal::FullGroups, false)),
            Ok(event) => {
                assert!(has_room, "a group too many");
                self.apply(&event);
            }
        }
    }

    pub fn resume_group(&mut self, group: &[u8]) {
        let event = self.queue.resume_group(group);
        assert_eq!(event.is_some(), self.oracle.groups.has_pause(group), "whether {group:?} is resumed");
        event.iter().for_each(|event| self.apply(event));
    }
}
