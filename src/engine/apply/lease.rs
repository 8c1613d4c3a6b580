//! Leases: how they begin, are extended and end.

use crate::apply::attempts::check_progress;
use crate::apply::transition::is_leased;
use crate::bounds::{LEASE_MAX_MS, NAME_MAX_BYTES};
use crate::event::{End, Lease, Then};
use crate::invalid::{Applied, Invalid, ensure};
use crate::settings::Setting;
use crate::state::State;
use crate::store::batches::Ended;
use crate::store::entry::{Entry, Phase};
use crate::store::log::Position;
use crate::task::{LeaseNumber, TaskId};
use crate::time::Millis;

impl State {
    pub(crate) fn apply_claimed(
        &mut self,
        at: Millis,
        worker: &[u8],
        tied: bool,
        leases: &[Lease],
    ) -> Applied {
        ensure(worker.len() <= NAME_MAX_BYTES, "a worker's name")?;
        let mut first = None;
        for lease in leases {
            let position = self.apply_lease(at, worker, tied, lease)?;
            first.get_or_insert(position);
        }
        // Who reads the tasks begins with the first.
        first.into_iter().for_each(|position| self.log.look_at(position));
        Ok(())
    }

    fn apply_lease(
        &mut self,
        at: Millis,
        worker: &[u8],
        tied: bool,
        lease: &Lease,
    ) -> Result<Position, Invalid> {
        ensure(lease.number > self.last_lease && lease.number <= LeaseNumber::MAX, "a new lease number")?;
        ensure(
            u64::from(lease.lease_ms) <= LEASE_MAX_MS && lease.deadline <= Millis::MAX,
            "a lease's length",
        )?;
        ensure(at <= lease.deadline, "a deadline after its claim")?;
        let mut task = self.detach(lease.id, |phase| matches!(phase, Phase::Ready { .. }))?;
        self.spend(task.key, at);
        self.let_go_at_start(task.position);
        if task.entry.is_suspect() {
            // No worker is reserved for a suspect any more.
            self.awaited = None;
        }
        let worker = self.workers.hold(worker, task.entry.is_suspect());
        self.last_lease = lease.number;
        self.totals.claimed += 1;
        if let Phase::Ready { since } = task.entry.phase {
            self.local.stats.claimed(since, at);
        }
        let entry = &mut task.entry;
        entry.phase = Phase::Leased { deadline: lease.deadline, claimed_at: at, worker, tied, cancel: false };
        entry.lease = lease.number;
        entry.nonce = lease.nonce;
        entry.lease_ms = lease.lease_ms;
        entry.stalled = false;
        entry.deliveries = entry.deliveries.saturating_add(1);
        self.attach(&task)?;
        Ok(task.position)
    }

    pub(crate) fn apply_acked(&mut self, id: TaskId, late: bool, end: Option<&End>) -> Applied {
        ensure(end.is_none_or(End::is_valid), "a valid result and retention")?;
        let kept = end.filter(|end| end.retain_ms > 0);
        let is_open = |entry: &Entry| !matches!(entry.phase, Phase::Done { .. });
        let is_given = |entry: &Entry| is_open(entry) && (is_leased(&entry.phase) || entry.stalled);
        if let Some(end) = kept {
            let entry = self.find(id).and_then(|found| found.entry);
            ensure(entry.as_ref().is_some_and(is_given), "a lease, or one that stalled")?;
            self.note_ack(id, end.at)?;
        }
        let mut task = self.detach_if(id, is_given)?;
        self.totals.acked += 1;
        self.totals.late += u64::from(late);
        self.local.stats.acked(claimed_at(&task.entry.phase));
        self.ends(&task, Ended::Done);
        let Some(end) = kept else { return self.remove(&task) };
        task.entry.phase = Phase::Done { at: end.at, until: end.at.plus(end.retain_ms) };
        task.entry.stalled = false;
        self.let_go(task.position);
        self.progress.forget(task.order);
        if let Some(result) = end.result {
            self.results.set(task.order, result);
        }
        self.attach(&task)
    }

    pub(crate) fn apply_unclaimed(&mut self, id: TaskId, at: Millis) -> Applied {
        ensure(at <= Millis::MAX, "an instant")?;
        let mut task = self.detach(id, is_leased)?;
        task.entry.deliveries = task.entry.deliveries.saturating_sub(1);
        task.entry.phase = Phase::Ready { since: at };
        self.give_token_back(at, task.position, &mut task.entry);
        self.totals.claimed = self.totals.claimed.saturating_sub(1);
        self.attach(&task)
    }

    pub(crate) fn apply_failed(
        &mut self,
        id: TaskId,
        then: &Then,
        error: &[u8],
        at: Millis,
        progress: Option<&[u8]>,
    ) -> Applied {
        ensure(at <= Millis::MAX, "an instant")?;
        ensure(then.is_valid() && !matches!(then, Then::Ready(_)), "a task that waits or is dead")?;
        check_progress(progress)?;
        let attempt = self.attempt(id)?;
        if let Then::Dead(at) = then {
            self.note_last(&attempt, *at)?;
        }
        self.note_error(&attempt, at, error);
        let mut task = self.detach(id, is_leased)?;
        self.note_progress(task.order, progress);
        task.entry.failures = task.entry.failures.saturating_add(1);
        self.totals.failed += 1;
        self.attach_as(task, then)
    }

    pub(crate) fn apply_requeued(
        &mut self,
        id: TaskId,
        then: &Then,
        back: bool,
        progress: Option<&[u8]>,
    ) -> Applied {
        check_progress(progress)?;
        ensure(then.is_valid() && !matches!(then, Then::Dead(_)), "a task that still waits")?;
        if back {
            self.can_draw()?;
        }
        let mut task = self.detach(id, is_leased)?;
        self.note_progress(task.order, progress);
        self.totals.requeued += 1;
        if back {
            task.entry.rank = self.draw()?.rank();
        }
        self.attach_as(task, then)
    }

    pub(crate) fn apply_extended(&mut self, id: TaskId, until: Millis, progress: Option<&[u8]>) -> Applied {
        check_progress(progress)?;
        let found = self.find(id).ok_or(Invalid("a task to extend"))?;
        let (position, order, mut entry) = (found.position, found.order, found.entry());
        let Phase::Leased { deadline, .. } = &mut entry.phase else {
            return Err(Invalid("a lease to extend"));
        };
        ensure(until >= *deadline && until <= Millis::MAX, "a later deadline")?;
        *deadline = until;
        self.log.set_entry(position, &entry, None);
        self.note_progress(order, progress);
        Ok(())
    }

    pub(crate) fn apply_stalled(&mut self, tasks: &[(TaskId, Option<Then>)]) -> Applied {
        let mut first = None;
        for (id, then) in tasks {
            ensure(then.as_ref().is_none_or(Then::is_valid), "an instant")?;
            if let Some(Then::Dead(at)) = then {
                self.note_death(*id, *at)?;
            }
            let mut task = self.detach(*id, is_leased)?;
            first.get_or_insert(task.order);
            self.totals.stalled += 1;
            task.entry.stalls = task.entry.stalls.saturating_add(1);
            task.entry.stalled = true;
            match then {
                Some(then) => self.attach_as(task, then)?,
                None => {
                    self.totals.cancelled += 1;
                    self.ends(&task, Ended::Cancelled);
                    self.remove(&task)?;
                }
            }
        }
        // Leases that end together are mostly in one page, whose bound brought the tick here.
        first.into_iter().for_each(|order| self.log.tighten(order));
        Ok(())
    }

    /// Notes the last attempt of a task that is about to die of a stall, and why it dies.
    fn note_death(&mut self, id: TaskId, at: Millis) -> Applied {
        let attempt = self.attempt(id)?;
        let (deadline, why) = self.why_dead(id, at).ok_or(Invalid("a lease that ends"))?;
        ensure(at <= Millis::MAX, "an instant")?;
        self.note_error(&attempt, at, &why);
        self.note_last(&attempt, at.min(deadline))
    }

    /// When the lease of a task was to end, and the error of a task that dies of this stall, since no FAIL left one: how
    /// often it stalled, how long the last lease lasted, at which worker, and what ended it if not its own length.
    fn why_dead(&self, id: TaskId, at: Millis) -> Option<(Millis, Vec<u8>)> {
        let entry = self.find(id)?.entry?;
        let Phase::Leased { deadline, claimed_at, worker, tied, .. } = entry.phase else { return None };
        let run_max = self.settings.limit(Setting::RunMax);
        let cause: &[u8] = match () {
            () if tied && at < deadline => b" (connection closed)",
            () if run_max.is_some_and(|run_max| claimed_at.plus(run_max) <= deadline) => b" (run-max)",
            () => b"",
        };
        let lease_lasted_ms = at.min(deadline).since(claimed_at);
        let mut why = match entry.stalls.saturating_add(1) {
            1 => format!("1 stall, after {lease_lasted_ms} ms"),
            stalls => format!("{stalls} stalls, the last after {lease_lasted_ms} ms"),
        }
        .into_bytes();
        let name = self.workers.name(worker);
        if !name.is_empty() {
            why.extend_from_slice(b" at worker ");
            why.extend_from_slice(name);
        }
        why.extend_from_slice(cause);
        Some((deadline, why))
    }

    pub(crate) fn apply_passed_over(&mut self, at: Millis, worker: &[u8]) -> Applied {
        ensure(at <= Millis::MAX && worker.len() <= NAME_MAX_BYTES, "an instant and a worker's name")?;
        ensure(self.lanes.suspects() > 0, "a suspect that is passed over")?;
        if !worker.is_empty() {
            let (number, _) = self.workers.find(worker).ok_or(Invalid("a worker that holds tasks"))?;
            self.awaited = Some(number);
        }
        self.passed_over.get_or_insert(at);
        Ok(())
    }
}

fn claimed_at(phase: &Phase) -> Option<Millis> {
    match phase {
        Phase::Leased { claimed_at, .. } => Some(*claimed_at),
        _ => None,
    }
}
