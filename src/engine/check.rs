//! The invariants of a queue, in one place for files, peers and tests.

use std::collections::{BTreeMap, BTreeSet};

use crate::bounds::{LEASE_MAX_MS, PROGRESS_MAX_BYTES, RESULT_MAX_BYTES, SPAN_MAX_MS};
use crate::invalid::{Invalid, ensure};
use crate::numbers::{BatchNumber, GroupNumber, Order};
use crate::state::{Found, State};
use crate::store::entry::{Entry, Phase};
use crate::store::interner::Holds;
use crate::store::lanes::ReadyTasks;
use crate::store::last_attempt::LastAttempt;
use crate::store::side_table::SideTable;
use crate::store::task_errors::TaskErrors;
use crate::store::tokens::Holding;
use crate::task::{Hold, LeaseNumber, OnDead, TaskState};
use crate::time::{Due, Millis};

impl State {
    /// Checks all invariants and returns the first that does not hold. O(tasks): for loading and for tests.
    ///
    /// - Each task is in the structures of its state and in no others. States are counted correctly.
    /// - pushed = ready + delayed + held + leased + dead + acked + cancelled + purged + dropped + expired.
    /// - Done tasks and forgotten ones count as acked: done + forgotten ≤ acked.
    /// - Ids and order numbers ascend together, and were given by this queue.
    /// - No two tasks have the same rank or the same lease number.
    /// - The table of worker names counts the leases of each name, and the suspects among them.
    /// - Nothing is recorded about passed-over suspects unless a suspect is ready.
    /// - No lease ends before the bound of its page.
    /// - Groups and their tasks are counted. A group that can run has a turn wherever it has ready tasks.
    /// - Each token is held at most once, by a task that has or had it.
    /// - Tasks that can expire are indexed. What replaced parts of a record belongs to a task.
    /// - A task is held exactly if it waits for other tasks, or if it is the callback of a batch that is not over.
    /// - Each batch counts its tasks. No task waits for one that is done, unless it is about to be told.
    pub fn validate(&self) -> Result<(), Invalid> {
        self.log.validate()?;
        self.schedules.validate()?;
        let mut census = Census::default();
        for position in self.log.tasks_from(Order(0)) {
            census.see(self, &self.at(position).ok_or(Invalid("a record for every task"))?)?;
        }
        self.validate_lanes(&mut census)?;
        self.validate_groups(census.groups)?;
        self.validate_times(census.delayed, census.dead)?;
        ensure(
            self.done.holds(&census.done, census.done_bytes),
            "an index of all done tasks, and a correct count of their bytes",
        )?;
        self.validate_side_tables()?;
        self.validate_suspects()?;
        self.validate_tokens(census.holders)?;
        ensure(self.expiry.holds(&census.expiring), "an index of all tasks that can expire")?;
        self.validate_edits()?;
        self.batches.validate(&census.batches)?;
        ensure(self.held.iter().copied().eq(census.held), "an index of all held tasks")?;
        self.validate_waits()?;
        ensure(self.leased == census.leased, "a correct count of leased tasks")?;
        let workers: BTreeMap<_, _> = self.workers.all().collect();
        ensure(workers == census.workers, "a correct count of the workers' leases")?;
        self.validate_totals()
    }

    /// Checks that the lanes contain exactly the ready tasks, and that ranks and lease numbers are unique.
    fn validate_lanes(&self, census: &mut Census) -> Result<(), Invalid> {
        let Census { ready, ranks, numbers, .. } = census;
        ensure(are_unique(ranks) && are_unique(numbers), "each rank and each lease number given once")?;
        for tasks in ready.values_mut() {
            tasks.returned.sort_unstable();
            tasks.suspects.sort_unstable();
        }
        self.lanes.validate(ready, |group| self.running(group), &self.log)
    }

    fn validate_groups(&self, mut groups: BTreeMap<GroupNumber, [u64; 4]>) -> Result<(), Invalid> {
        groups.remove(&GroupNumber::NONE);
        self.groups.validate(&groups, &self.settings)?;
        ensure(self.spent.is_valid(self.settings.rate()), "a valid use of the queue's rate")
    }

    fn validate_times(
        &self,
        mut delayed: Vec<(Due, Order)>,
        mut dead: Vec<(Millis, Order)>,
    ) -> Result<(), Invalid> {
        delayed.sort_unstable();
        dead.sort_unstable();
        ensure(self.delayed.all().eq(delayed), "an index of all delayed tasks")?;
        ensure(self.dead.iter().copied().eq(dead), "an index of all dead tasks")
    }

    fn validate_totals(&self) -> Result<(), Invalid> {
        let counted = TaskState::ALL.into_iter().map(|state| self.count(state)).sum::<u64>();
        ensure(counted == self.log.tasks(), "a state for each task")?;
        let t = &self.totals;
        let gone = [t.acked, t.cancelled, t.purged, t.dropped, t.expired];
        let unfinished = counted.saturating_sub(self.count(TaskState::Done));
        let all = gone.into_iter().try_fold(unfinished, u64::checked_add);
        ensure(all == Some(t.pushed), "each pushed task in a state or counted as removed")?;
        let finished = self.count(TaskState::Done).checked_add(t.forgotten);
        ensure(finished.is_some_and(|finished| finished <= t.acked), "done tasks counted as acked")
    }

    /// Checks that errors belong to tasks, last attempts to dead and done tasks, results to done tasks, and progress to
    /// tasks that were leased and aren't done.
    fn validate_side_tables(&self) -> Result<(), Invalid> {
        for (order, errors) in self.errors.iter() {
            let fits = TaskErrors::stored(errors).are_valid();
            ensure(fits && self.log.locate(order).is_some(), "a task for each error")?;
        }
        let phase = |order| self.locate(order).and_then(|found| found.entry).map(|entry| entry.phase);
        for (order, last) in self.attempts.iter() {
            let is_over = matches!(phase(order), Some(Phase::Dead { .. } | Phase::Done { .. }));
            let fits = LastAttempt::read(last).is_some_and(|last| last.is_valid());
            ensure(is_over && fits, "a dead or done task for each last attempt")?;
        }
        for (order, result) in self.results.iter() {
            let is_done = matches!(phase(order), Some(Phase::Done { .. }));
            ensure(is_done && result.len() <= RESULT_MAX_BYTES, "a done task for each result")?;
        }
        for (order, text) in self.progress.iter() {
            let is_open = phase(order).is_some_and(|phase| !matches!(phase, Phase::Done { .. }));
            let fits = (1..=PROGRESS_MAX_BYTES).contains(&text.len());
            ensure(is_open && fits, "a task that was leased for each progress")?;
        }
        ensure(
            [&self.errors, &self.attempts, &self.results, &self.progress]
                .into_iter()
                .all(SideTable::is_counted),
            "a correct count of the bytes of errors, attempts, results and progress",
        )
    }

    /// Checks that the token which a task holds is in the table. Returns how many it holds: 1 or 0.
    fn validate_token(&self, found: &Found) -> Result<u64, Invalid> {
        let unique = found.record.options().unique;
        let Some(unique) = unique.filter(|unique| unique.is_held_by(&found.entry())) else { return Ok(0) };
        let held = Holding { id: found.record.id, until: None };
        ensure(self.tokens.get(unique.token) == Some(&held), "a token for each task that holds one")?;
        Ok(1)
    }

    /// Checks the table of tokens. It contains the tokens of `holders` tasks, counted by [`State::validate_token`], and
    /// the tokens with an end. Each of those belongs to a task that has it, or is kept for a task that was removed.
    fn validate_tokens(&self, holders: u64) -> Result<(), Invalid> {
        self.tokens.validate(holders)?;
        for (token, held) in self.tokens.with_end() {
            let Some(found) = self.find(held.id) else {
                ensure(held.id <= self.last_id, "a token of a task that was pushed")?;
                continue;
            };
            let unique = found.record.options().unique.filter(|unique| unique.token == token);
            let unique = unique.filter(|unique| unique.hold.until() == held.until);
            let unique = unique.ok_or(Invalid("a task's own token"))?;
            let is_kept = matches!(unique.hold, Hold::Exactly(_));
            let is_dead = matches!(found.entry().phase, Phase::Dead { .. });
            let is_done = matches!(found.entry().phase, Phase::Done { .. });
            ensure(is_kept || !(is_dead || is_done), "no token held by a finished task")?;
        }
        Ok(())
    }

    /// Checks that every edit belongs to a task, and that their bytes are counted.
    fn validate_edits(&self) -> Result<(), Invalid> {
        ensure(self.edits.tasks().all(|order| self.log.locate(order).is_some()), "a task for each edit")?;
        ensure(self.edits.are_valid(), "edits that change something, and a correct count of their bytes")
    }

    /// Checks that a task is held if it waits for something, and only then, and that what it waits for can still end.
    fn validate_waits(&self) -> Result<(), Invalid> {
        self.dependents.validate()?;
        let is_held = |order| self.held.contains(&order);
        for (number, batch) in self.batches.iter() {
            ensure(number <= self.batches.last, "the number of a batch that was opened")?;
            ensure(self.log.locate(batch.callback).is_some(), "a callback for each batch")?;
            ensure(
                is_held(batch.callback) != batch.is_over,
                "a callback that is held until its batch is over",
            )?;
            ensure(
                self.dependents.get(batch.callback).is_none(),
                "a callback that waits for its batch only",
            )?;
        }
        for (order, dependent) in self.dependents.iter() {
            ensure(self.log.locate(order).is_some(), "a task for each list of tasks to wait for")?;
            ensure(is_held(order) == (dependent.open > 0), "a task that is held as long as it waits")?;
            let last = dependent.parents.last().map(|parent| parent.id);
            ensure(last.is_none_or(|last| last <= self.last_id), "tasks to wait for that were pushed")?;
        }
        let waits = |order| self.dependents.get(order).is_some() || self.batches.of_callback(order).is_some();
        ensure(self.held.iter().all(|&order| waits(order)), "something to wait for, for each held task")?;
        self.validate_edges()
    }

    fn validate_edges(&self) -> Result<(), Invalid> {
        for (parent, on_dead, _) in self.dependents.edges() {
            let phase = self.find(parent).map(|found| found.entry().phase);
            let is_done = match phase {
                None => self.dependents.has_ended(parent),
                Some(Phase::Done { .. }) => Some(true),
                Some(Phase::Dead { .. }) => Some(false),
                Some(_) => {
                    ensure(
                        self.dependents.has_ended(parent).is_none(),
                        "tasks that ended among those to tell of",
                    )?;
                    continue;
                }
            };
            // With WAIT, a task is told only when the other is done.
            let is_told = is_done == Some(true) || on_dead != OnDead::Wait;
            let has_ended = self.dependents.has_ended(parent);
            ensure(
                !is_told || has_ended == is_done && is_done.is_some(),
                "each ended task among those to tell of",
            )?;
        }
        Ok(())
    }

    /// Checks that what is recorded about suspects matches the tasks.
    fn validate_suspects(&self) -> Result<(), Invalid> {
        let is_recorded = self.passed_over.is_some() || self.awaited.is_some();
        ensure(!is_recorded || self.lanes.suspects() > 0, "a ready suspect that is passed over")?;
        let is_held = |number| !self.workers.name(number).is_empty();
        ensure(self.awaited.is_none_or(is_held), "leases of the worker that is reserved")
    }
}

/// What the tables should contain, collected task by task.
#[derive(Default)]
struct Census<'q> {
    ready: ReadyTasks,
    delayed: Vec<(Due, Order)>,
    dead: Vec<(Millis, Order)>,
    /// Done since, retained until, order number.
    done: Vec<(Millis, Millis, Order)>,
    done_bytes: u64,
    held: Vec<Order>,
    leased: u64,
    /// The open, done and dead tasks of each batch.
    batches: BTreeMap<BatchNumber, [u64; 3]>,
    /// The rank of every task, and every lease number.
    ranks: Vec<u64>,
    numbers: Vec<u64>,
    /// The tasks of each group: in any state, ready, leased, returning.
    groups: BTreeMap<GroupNumber, [u64; 4]>,
    /// How many tasks hold a token without an end.
    holders: u64,
    expiring: BTreeSet<(Millis, Order)>,
    workers: BTreeMap<&'q [u8], Holds>,
}

impl<'q> Census<'q> {
    /// Counts a task. Errors: something about it is impossible in this queue.
    fn see(&mut self, state: &'q State, found: &Found) -> Result<(), Invalid> {
        let is_given = found.order < state.next_order && found.record.id <= state.last_id;
        ensure(is_given, "numbers that the queue has given")?;
        self.holders += state.validate_token(found)?;
        self.expiring.extend(found.expires().map(|at| (at, found.order)));
        self.see_in_group(found);
        self.see_in_batch(state, found)?;
        match &found.entry {
            Some(entry) => self.see_entry(state, found, entry),
            None => {
                self.ready.entry(found.key()).or_default().fresh.push(found.order);
                self.ranks.push(found.order.0);
                Ok(())
            }
        }
    }

    fn see_in_group(&mut self, found: &Found) {
        let entry = found.entry();
        let [tasks, ready, leased, returning] = self.groups.entry(found.key().group).or_default();
        *tasks += 1;
        match entry.phase {
            Phase::Ready { .. } => *ready += 1,
            Phase::Leased { .. } => *leased += 1,
            Phase::Delayed { .. } => *returning += u64::from(entry.deliveries > 0),
            Phase::Held { .. } | Phase::Dead { .. } | Phase::Done { .. } => {}
        }
    }

    fn see_in_batch(&mut self, state: &State, found: &Found) -> Result<(), Invalid> {
        let number = found.record.batch;
        if number.is_none() {
            return Ok(());
        }
        ensure(number <= state.batches.last, "the number of a batch that was opened")?;
        let [open, done, dead] = self.batches.entry(number).or_default();
        match found.entry().phase {
            Phase::Done { .. } => *done += 1,
            Phase::Dead { .. } => *dead += 1,
            Phase::Ready { .. } | Phase::Delayed { .. } | Phase::Held { .. } | Phase::Leased { .. } => {
                *open += 1
            }
        }
        Ok(())
    }

    /// Counts a touched task.
    fn see_entry(&mut self, state: &'q State, found: &Found, entry: &Entry) -> Result<(), Invalid> {
        let is_given = entry.rank < state.next_order.rank() && entry.lease <= state.last_lease;
        ensure(is_given, "numbers that the queue has given")?;
        ensure(u64::from(entry.lease_ms) <= LEASE_MAX_MS, "a lease's length")?;
        self.ranks.push(entry.rank.0);
        self.numbers.extend((entry.lease.0 != 0).then_some(entry.lease.0));
        match entry.phase {
            Phase::Ready { .. } => {
                let tasks = self.ready.entry(found.key()).or_default();
                let tasks = if entry.is_suspect() { &mut tasks.suspects } else { &mut tasks.returned };
                tasks.push((entry.rank, found.order));
            }
            Phase::Delayed { due } => self.delayed.push((due, found.order)),
            Phase::Held { .. } => {
                ensure(entry.deliveries == 0 && !entry.stalled, "a held task that was never claimed")?;
                self.held.push(found.order);
            }
            Phase::Dead { at } => self.dead.push((at, found.order)),
            Phase::Done { at, until } => {
                ensure(!entry.stalled, "no late answer to a done task")?;
                ensure(until.since(at) <= SPAN_MAX_MS as u64, "a retention's length")?;
                self.done.push((at, until, found.order));
                self.done_bytes += state.task_bytes(found.position, found.order) as u64;
            }
            Phase::Leased { worker, .. } => {
                ensure(entry.lease != LeaseNumber(0), "a lease with a number")?;
                self.leased += 1;
                let name = state.workers.name(worker);
                if !name.is_empty() {
                    self.workers.entry(name).or_default().change(entry.is_suspect(), 1);
                }
            }
        }
        Ok(())
    }
}

fn are_unique(numbers: &mut [u64]) -> bool {
    numbers.sort_unstable();
    numbers.is_sorted_by(|a, b| a < b)
}
