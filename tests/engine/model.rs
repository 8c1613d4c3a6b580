//! A queue that is as naive as possible, written from the contract and not from the engine: one list of tasks, linear
//! searches, no indexes. What the contract leaves to chance (nonces, jitter) is taken from the engine, within bounds.

pub mod attempts;
mod edits;
mod steering;
mod suspects;
mod time;
mod tokens;

use taskslot_engine::{Answer, Claim, Due, Gate, Handle, Hold, Now, Refusal, Retry, TaskId, TaskState};

#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    Ready { since: u64 },
    Delayed { due: Due },
    Leased { deadline: u64, claimed_at: u64, worker: Vec<u8>, tied: bool, cancel: bool },
    Dead { at: u64 },
    Done { at: u64, until: u64 },
}

#[derive(Debug, Clone)]
pub struct Task {
    pub id: TaskId,
    pub payload: Vec<u8>,
    pub priority: i8,
    pub attempts: Option<i32>,
    pub lease_ms: Option<u32>,
    pub headers: Vec<u8>,
    pub place: Place,
    /// How many tasks were pushed before it.
    pub pushed: u64,
    /// Its turn, once it has been ready.
    pub turn: u64,
    /// The number of the last lease; 0 before the first.
    pub number: u64,
    pub nonce: u32,
    pub own_ms: u32,
    /// Whether the last lease ended as a stall.
    pub stalled: bool,
    pub deliveries: u32,
    pub failures: u32,
    pub stalls: u32,
    /// The last errors, the oldest first.
    pub errors: Vec<attempts::Failure>,
    /// The last attempt of a dead or done task.
    pub last: Option<attempts::Last>,
    pub retain_ms: Option<u64>,
    /// The result of a done task.
    pub result: Option<Vec<u8>>,
    /// How far it has got, as its workers said.
    pub progress: Vec<u8>,
    pub unique: Option<(Vec<u8>, Hold)>,
    pub ttl_ms: Option<u64>,
    /// Bytes of the payload and of the headers that replaced the original ones.
    pub replaced: u64,
    pub replaced_headers: u64,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counts {
    pub pushed: u64,
    pub claimed: u64,
    pub acked: u64,
    pub late: u64,
    pub failed: u64,
    pub stalled: u64,
    pub requeued: u64,
    pub retried: u64,
    pub dead: u64,
    pub cancelled: u64,
    pub purged: u64,
    pub dropped: u64,
    pub forgotten: u64,
    pub expired: u64,
}

/// What a claim got: id, lease number, length, deadline.
pub type Given = (TaskId, u64, u32, u64);

/// What became of a task.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fate {
    Gone,
    Ready,
    Dead,
    /// Delayed until an instant between these two.
    Between(u64, u64),
}

#[derive(Debug, Clone)]
pub struct Model {
    pub tasks: Vec<Task>,
    pub counts: Counts,
    pub settings: Vec<(&'static str, i64)>,
    last_id: TaskId,
    turns: u64,
    last_number: u64,
    term: u64,
    closed: [Option<Option<u64>>; 2],
    requests: Vec<(Vec<u8>, u64, Answer)>,
    /// Since when ready suspects have been passed over.
    passed_over: Option<u64>,
    /// The worker that is reserved for a suspect.
    pub awaited: Option<Vec<u8>>,
    /// Each token, its holder, and until when it is held if it has an end.
    held: Vec<(Vec<u8>, TaskId, Option<u64>)>,
}

fn is_over(now: &Now, deadline: u64) -> bool {
    let is_spared = match now.grace {
        Some(g) => now.at.0 < g.until.0 && deadline > g.from.0 && deadline <= g.to.0,
        None => false,
    };
    deadline <= now.at.0 && !is_spared
}

/// When a task is due on the queue's clock.
fn due_at(now: &Now, due: Due) -> u64 {
    match due {
        Due::Clock(at) => at.0,
        Due::Wall(at) => (at.0 as i128 + now.at.0 as i128 - now.wall.0 as i128).max(0) as u64,
    }
}

fn gate(gate: Gate) -> &'static [usize] {
    match gate {
        Gate::In => &[0],
        Gate::Out => &[1],
        Gate::All => &[0, 1],
    }
}

impl Task {
    pub fn state(&self) -> TaskState {
        match self.place {
            Place::Ready { .. } => TaskState::Ready,
            Place::Delayed { .. } => TaskState::Delayed,
            Place::Leased { .. } => TaskState::Leased,
            Place::Dead { .. } => TaskState::Dead,
            Place::Done { .. } => TaskState::Done,
        }
    }

    fn is_cancel_asked(&self) -> bool {
        matches!(self.place, Place::Leased { cancel: true, .. })
    }

    fn is_given_as(&self, handle: &Handle) -> bool {
        self.number != 0 && self.number == handle.lease.0 && self.nonce == handle.nonce
    }
}

impl Model {
    pub fn new() -> Model {
        let settings = vec![
            ("lease", 30_000),
            ("attempts", 25),
            ("stalls", 5),
            ("backoff", 0),
            ("backoff-base", 1000),
            ("backoff-max", 3_600_000),
            ("backoff-jitter", 10),
            ("max-len", -1),
            ("max-bytes", -1),
            ("dead-max", 100_000),
            ("dead-ttl", -1),
            ("run-max", -1),
            ("retain", 0),
            ("retain-max", 10_000),
            ("tokens-max", 1_000_000),
            ("errors-kept", 1),
        ];
        Model {
            tasks: Vec::new(),
            counts: Counts::default(),
            settings,
            last_id: TaskId::default(),
            turns: 0,
            last_number: 0,
            term: 0,
            closed: [None, None],
            requests: Vec::new(),
            passed_over: None,
            awaited: None,
            held: Vec::new(),
        }
    }

    fn setting(&self, name: &str) -> i64 {
        self.settings.iter().find(|(known, _)| *known == name).unwrap().1
    }

    fn limit(&self, name: &str) -> Option<u64> {
        u64::try_from(self.setting(name)).ok()
    }

    pub fn configure(&mut self, name: &str, value: i64) {
        self.settings.iter_mut().find(|(known, _)| *known == name).unwrap().1 = value;
    }

    pub fn count(&self, state: TaskState) -> u64 {
        self.tasks.iter().filter(|task| task.state() == state).count() as u64
    }

    fn find(&mut self, id: TaskId) -> Option<&mut Task> {
        self.tasks.iter_mut().find(|task| task.id == id)
    }

    fn turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns
    }

    fn forget(&mut self, id: TaskId) {
        self.let_go(id);
        self.tasks.retain(|task| task.id != id);
    }

    fn is_closed(&self, now: &Now, which: usize) -> bool {
        self.closed[which].is_some_and(|until| until.is_none_or(|until| until > now.at.0))
    }

    pub fn pause(&mut self, which: Gate, until: Option<u64>) {
        gate(which).iter().for_each(|&i| self.closed[i] = Some(until));
    }

    pub fn resume(&mut self, which: Gate) {
        gate(which).iter().for_each(|&i| self.closed[i] = None);
    }

    /// Pushes tasks. `bytes` is the size of all tasks except done ones, according to the queue.
    pub fn push(
        &mut self,
        now: &Now,
        task: &Task,
        due: Option<Due>,
        payloads: &[&[u8]],
        bytes: u64,
    ) -> Result<TaskId, Refusal> {
        if self.is_closed(now, 0) {
            return Err(Refusal::Paused);
        }
        self.may_take(now, &task.unique)?;
        let alive = self.tasks.len() as u64 - self.count(TaskState::Dead) - self.count(TaskState::Done);
        if self.limit("max-len").is_some_and(|max| alive + payloads.len() as u64 > max) {
            return Err(Refusal::FullLen);
        }
        let added: usize = payloads.iter().map(|payload| payload.len() + task.headers.len()).sum();
        if self.limit("max-bytes").is_some_and(|max| bytes + added as u64 > max) {
            return Err(Refusal::FullBytes);
        }
        let mut first = None;
        for payload in payloads {
            let mut id = TaskId { ms: now.at.0, seq: 0 };
            if id <= self.last_id || first.is_some() {
                id = TaskId { ms: self.last_id.ms, seq: self.last_id.seq + 1 };
            }
            self.last_id = id;
            first.get_or_insert(id);
            let place = match due {
                None => Place::Ready { since: id.ms },
                Some(due) => Place::Delayed { due },
            };
            let turn = self.turn();
            let pushed = self.counts.pushed;
            self.counts.pushed += 1;
            self.tasks.push(Task { id, payload: payload.to_vec(), place, pushed, turn, ..task.clone() });
            self.take(id);
        }
        Ok(first.unwrap())
    }

    /// Ready tasks in the order of claims.
    pub fn in_turn(&self) -> Vec<&Task> {
        let mut ready: Vec<&Task> =
            self.tasks.iter().filter(|task| task.state() == TaskState::Ready).collect();
        ready.sort_by_key(|task| (-i32::from(task.priority), task.turn));
        ready
    }

    pub fn claim(&mut self, now: &Now, claim: &Claim) -> Result<Vec<Given>, Refusal> {
        if self.is_closed(now, 1) {
            return Err(Refusal::Paused);
        }
        self.expire(now);
        if self.gets_nothing(claim.worker) {
            return Ok(Vec::new());
        }
        let is_busy = self.is_busy(claim.worker);
        let mut taken: Vec<TaskId> = Vec::new();
        let mut bytes = 0;
        for task in self.in_turn() {
            if is_busy && task.is_suspect() {
                continue;
            }
            bytes += task.payload.len() as u64;
            let is_alone = task.is_suspect();
            let is_too_much = claim.bytes.is_some_and(|max| bytes > max);
            if taken.len() == claim.count || (!taken.is_empty() && (is_alone || is_too_much)) {
                break;
            }
            taken.push(task.id);
            if is_alone {
                break;
            }
        }
        let (own, run_max) = (self.setting("lease") as u32, self.limit("run-max"));
        let mut given = Vec::new();
        for id in taken {
            self.counts.claimed += 1;
            if claim.noack {
                self.counts.acked += 1;
                self.forget(id);
                given.push((id, 0, 0, 0));
                continue;
            }
            self.last_number = (self.last_number + 1).max(now.at.0 * 1000 + now.lead_us);
            let number = self.last_number;
            self.starts(id);
            if self.find(id).unwrap().is_suspect() {
                self.awaited = None;
            }
            let (worker, tied) = (claim.worker.to_vec(), claim.tied);
            let task = self.find(id).unwrap();
            let length = claim.lease_ms.or(task.lease_ms).unwrap_or(own);
            let deadline = now.at.0 + u64::from(length).min(run_max.unwrap_or(u64::MAX));
            task.place = Place::Leased { deadline, claimed_at: now.at.0, worker, tied, cancel: false };
            task.number = number;
            task.own_ms = length;
            task.stalled = false;
            task.deliveries += 1;
            given.push((id, number, length, deadline));
        }
        Ok(given)
    }

    /// Takes over the nonce that the engine drew.
    pub fn learn(&mut self, handle: &Handle) {
        self.find(handle.id).unwrap().nonce = handle.nonce;
    }

    pub fn unclaim(&mut self, now: &Now, handle: &Handle) -> Option<Fate> {
        let task = self.find(handle.id).filter(|task| task.is_given_as(handle))?;
        let Place::Leased { cancel, .. } = task.place else { return None };
        if cancel {
            return Some(self.cancelled(handle.id));
        }
        task.deliveries -= 1;
        task.place = Place::Ready { since: now.at.0 };
        self.counts.claimed -= 1;
        self.has_not_started(now, handle.id);
        Some(Fate::Ready)
    }

    fn cancelled(&mut self, id: TaskId) -> Fate {
        self.counts.cancelled += 1;
        self.forget(id);
        Fate::Gone
    }

    pub fn ack(&mut self, now: &Now, handle: &Handle) -> Result<bool, Refusal> {
        self.finish(now, handle, None, None)
    }

    pub fn finish(
        &mut self,
        now: &Now,
        handle: &Handle,
        retain_ms: Option<u64>,
        result: Option<&[u8]>,
    ) -> Result<bool, Refusal> {
        let usual = self.setting("retain") as u64;
        let task = self.find(handle.id).ok_or(Refusal::Gone)?;
        let late = match task.place {
            Place::Done { .. } => return Err(Refusal::Gone),
            Place::Leased { deadline, .. } => is_over(now, deadline),
            _ => true,
        };
        let is_welcome = matches!(task.place, Place::Leased { .. }) || task.stalled;
        if !is_welcome || !task.is_given_as(handle) {
            return Err(Refusal::Stale);
        }
        let kept_ms = retain_ms.or(task.retain_ms).unwrap_or(usual);
        self.note_last(now.at.0, handle.id);
        let task = self.find(handle.id).unwrap();
        task.place = Place::Done { at: now.at.0, until: now.at.0 + kept_ms };
        task.result = result.map(<[u8]>::to_vec);
        task.progress.clear();
        task.stalled = false;
        self.let_go(handle.id);
        self.counts.acked += 1;
        self.counts.late += u64::from(late);
        if kept_ms == 0 {
            self.forget(handle.id);
        }
        Ok(late)
    }

    fn is_held(&mut self, now: &Now, handle: &Handle) -> bool {
        self.find(handle.id).is_some_and(|task| match task.place {
            Place::Leased { deadline, .. } => !is_over(now, deadline) && task.is_given_as(handle),
            _ => false,
        })
    }

    fn held(&mut self, now: &Now, handle: &Handle) -> Result<&mut Task, Refusal> {
        if self.find(handle.id).ok_or(Refusal::Gone)?.state() == TaskState::Done {
            return Err(Refusal::Gone);
        }
        if !self.is_held(now, handle) {
            return Err(Refusal::Stale);
        }
        Ok(self.find(handle.id).unwrap())
    }

    /// The shortest and longest delay after the n-th failure.
    fn backoff(&self, n: u32) -> (u64, u64) {
        let delay = self.steady(n);
        let reach = delay * self.setting("backoff-jitter") as f64 / 100.0;
        let max = self.setting("backoff-max") as u64;
        (((delay - reach) as u64).max(1), ((delay + reach) as u64).min(max).max(1))
    }

    /// The n-th delay, without jitter.
    fn steady(&self, n: u32) -> f64 {
        let (base, max) = (self.setting("backoff-base") as f64, self.setting("backoff-max") as f64);
        let delay = match self.setting("backoff") {
            0 => base * 2f64.powi(n as i32 - 1),
            1 => base * f64::from(n),
            _ => base,
        };
        delay.min(max)
    }

    pub fn fail(
        &mut self,
        now: &Now,
        handle: &Handle,
        retry: Retry,
        error: &[u8],
        progress: Option<&[u8]>,
    ) -> Result<Fate, Refusal> {
        let usual = self.limit("attempts");
        let task = self.held(now, handle)?;
        if task.is_cancel_asked() {
            return Ok(self.cancelled(handle.id));
        }
        task.failures += 1;
        if let Some(progress) = progress {
            task.progress = progress.to_vec();
        }
        let (failures, attempts) = (task.failures, task.attempts);
        self.counts.failed += 1;
        let limit = attempts.map_or(usual, |attempts| u64::try_from(attempts).ok());
        let at = now.at.0;
        self.note_error(at, handle.id, error);
        if retry == Retry::Dead || limit.is_some_and(|limit| u64::from(failures) >= limit) {
            return Ok(self.dies(handle.id, at, at));
        }
        Ok(match retry {
            Retry::After(ms) => Fate::Between(at + ms.max(1), at + ms.max(1)),
            _ => {
                let (low, high) = self.backoff(failures);
                Fate::Between(at + low, at + high)
            }
        })
    }

    fn dies(&mut self, id: TaskId, at: u64, ended_at: u64) -> Fate {
        self.note_last(ended_at, id);
        self.let_go(id);
        self.find(id).unwrap().place = Place::Dead { at };
        self.counts.dead += 1;
        Fate::Dead
    }

    /// Takes over the instant that the engine drew for a task that is delayed now.
    pub fn delay(&mut self, id: TaskId, due: Due) {
        self.find(id).unwrap().place = Place::Delayed { due };
    }

    pub fn requeue(
        &mut self,
        now: &Now,
        handle: &Handle,
        delay_ms: u64,
        back: bool,
        progress: Option<&[u8]>,
    ) -> Result<Fate, Refusal> {
        if self.held(now, handle)?.is_cancel_asked() {
            return Ok(self.cancelled(handle.id));
        }
        self.counts.requeued += 1;
        let turn = self.turn();
        let task = self.find(handle.id).unwrap();
        if back {
            task.turn = turn;
        }
        if let Some(progress) = progress {
            task.progress = progress.to_vec();
        }
        if delay_ms > 0 {
            return Ok(Fate::Between(now.at.0 + delay_ms, now.at.0 + delay_ms));
        }
        task.place = Place::Ready { since: now.at.0 };
        Ok(Fate::Ready)
    }

    pub fn extend(
        &mut self,
        now: &Now,
        handle: &Handle,
        lease_ms: Option<u32>,
        progress: Option<&[u8]>,
    ) -> Result<u64, Refusal> {
        let run_max = self.limit("run-max");
        let task = self.held(now, handle)?;
        let own = task.own_ms;
        let Place::Leased { deadline, claimed_at, cancel, .. } = &mut task.place else { unreachable!() };
        if *cancel {
            return Err(Refusal::CancelAsked);
        }
        let last = run_max.map_or(u64::MAX, |run_max| *claimed_at + run_max);
        let wanted = (now.at.0 + u64::from(lease_ms.unwrap_or(own))).min(last);
        *deadline = wanted.max(*deadline);
        let until = *deadline;
        if let Some(progress) = progress {
            task.progress = progress.to_vec();
        }
        Ok(until)
    }

    /// Ends a lease without an answer.
    pub fn stall(&mut self, now: &Now, id: TaskId) -> Option<Fate> {
        let limit = self.limit("stalls");
        let task = self.find(id).filter(|task| matches!(task.place, Place::Leased { .. }))?;
        let is_cancelled = task.is_cancel_asked();
        task.stalls += 1;
        task.stalled = true;
        let stalls = task.stalls;
        self.counts.stalled += 1;
        if is_cancelled {
            return Some(self.cancelled(id));
        }
        if limit.is_some_and(|limit| u64::from(stalls) >= limit) {
            let why = self.why_dead(now, id);
            self.note_error(now.at.0, id, &why);
            let Place::Leased { deadline, .. } = self.find(id).unwrap().place else { unreachable!() };
            return Some(self.dies(id, now.at.0, now.at.0.min(deadline)));
        }
        if stalls == 1 {
            self.find(id).unwrap().place = Place::Ready { since: now.at.0 };
            return Some(Fate::Ready);
        }
        let longest = (self.steady(stalls - 1) as u64).max(1);
        Some(Fate::Between(now.at.0 + 1, now.at.0 + longest))
    }
}
