//! Loading what was stored.

use crate::apply::transition::Detached;
use crate::bounds::NAME_MAX_BYTES;
use crate::invalid::{Applied, Invalid, ensure};
use crate::numbers::{BatchNumber, Order};
use crate::state::State;
use crate::store::edits::{StoredEdit, is_valid_body};
use crate::store::entry::{Entry, Phase};
use crate::store::log::Position;
use crate::store::page::Page;
use crate::store::tokens::StoredToken;
use crate::time::Millis;

impl State {
    /// Adds a stored page of tasks.
    pub(crate) fn load_page(&mut self, bytes: &[u8]) -> Result<(), Invalid> {
        let page = Page::load(bytes)?;
        let (first, slots) = (page.first(), page.slots() as u64);
        ensure(self.log.append(page), "pages in order")?;
        let end = Order(first.0 + slots);
        let positions: Vec<_> =
            self.log.tasks_from(first).take_while(|&position| self.log.order(position) < end).collect();
        positions.into_iter().try_for_each(|position| self.index(position))
    }

    /// Adds a loaded task to the structures of its state, which follows from its entry or from having none.
    fn index(&mut self, position: Position) -> Applied {
        let found = self.at(position).ok_or(Invalid("a loaded task"))?;
        let (order, key, since) = (found.order, found.key(), Millis(found.record.id.ms));
        let (entry, found_batch) = (found.entry, found.record.batch);
        ensure(key.group.is_none() || self.groups.get(key.group).is_some(), "a task's group")?;
        self.count_task_in_group(key.group, 1);
        self.index_batch(found_batch, entry.as_ref())?;
        let Some(entry) = entry else {
            self.lanes.push_fresh(key, self.running(key.group), order);
            self.count_in_group(key.group, &Phase::Ready { since }, 0, 1);
            self.index_expiry(position, order, None);
            return self.index_token(position);
        };
        if let Phase::Leased { worker, .. } = entry.phase {
            ensure(self.workers.hold_number(worker, entry.is_suspect()), "a worker's name")?;
        }
        let was_dead = self.totals.dead;
        self.attach(&Detached { position, order, key, entry })?;
        self.totals.dead = was_dead;
        self.index_token(position)
    }

    /// Counts a loaded task in its batch, if it has not ended.
    fn index_batch(&mut self, number: BatchNumber, entry: Option<&Entry>) -> Applied {
        ensure(number <= self.batches.last, "the number of a batch that was opened")?;
        let has_ended =
            entry.is_some_and(|entry| matches!(entry.phase, Phase::Dead { .. } | Phase::Done { .. }));
        if !number.is_none() && !has_ended {
            self.batches.add(number, 1);
        }
        Ok(())
    }

    /// Notes the token of a loaded task, if it holds one that follows from the task.
    fn index_token(&mut self, position: Position) -> Result<(), Invalid> {
        let found = self.log.record(position).and_then(|record| Some((record, record.options().unique?)));
        let Some((record, unique)) = found else { return Ok(()) };
        let entry = self.log.entry(position);
        if entry.is_none_or(|entry| unique.is_held_by(&entry)) && unique.hold.until().is_none() {
            ensure(self.tokens.get(unique.token).is_none(), "a token that no other task holds")?;
            self.tokens.hold(unique.token, record.id, None);
        }
        Ok(())
    }

    /// Adds a stored edit. Edits come before their tasks, which are indexed by what they have.
    pub(crate) fn load_edit(&mut self, stored: &StoredEdit) -> Result<(), Invalid> {
        ensure(self.log.pages() == 0, "edits before their tasks")?;
        let headers = stored.headers.as_ref().map_or(&[][..], |headers| headers);
        let payload = stored.payload.as_ref().map_or(&[][..], |payload| payload);
        ensure(is_valid_body(headers, payload), "a body's size")?;
        ensure(self.edits.load(stored), "one edit per task, which changes something")
    }

    /// Adds a stored token, one that does not follow from the tasks.
    pub(crate) fn load_token(&mut self, stored: &StoredToken) -> Result<(), Invalid> {
        let StoredToken { token, id, until } = stored;
        ensure((1..=NAME_MAX_BYTES).contains(&token.len()) && *until <= Millis::MAX, "a token's bounds")?;
        ensure(self.tokens.get(token).is_none(), "each token once")?;
        self.tokens.hold(token, *id, Some(*until));
        Ok(())
    }
}
