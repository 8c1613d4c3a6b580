//! What clients ask: the commands of all features, at any node that serves a queue or believes to.

use std::num::NonZeroU64;

use taskslot_engine::{
    After, Answer, Catchup, Claim, Cursor, Due, Event, Gate, GroupLimits, GroupRate, Handle, Hold, Lease,
    OnDead, Options, Push, Rate, Refusal, Retry, ScheduleSpec, Set, TaskId, TaskState, Trigger, Unique, When,
};

use super::ledger::Verdict;
use super::message::Name;
use super::step::Verb;
use super::txn::Txn;
use super::world::World;
use crate::dice::Dice;

pub const SPANS_MS: [u64; 8] = [200, 200, 1500, 1500, 1500, 10_000, 10_000, 60_000];
pub const LONGEST_MS: u64 = 60_000;
pub const BATCHES: [&[u8]; 3] = [b"a", b"b", b"c"];
pub const GROUPS: [&[u8]; 3] = [b"g", b"h", b"ordered"];
pub const SCHEDULES: [&[u8]; 2] = [b"hourly", b"often"];
const TOKENS: [&[u8]; 3] = [b"t", b"u", b"v"];
const REQUESTS: [&[u8]; 4] = [b"r1", b"r2", b"r3", b"r4"];
const CONFIGS: [(&str, &[i64]); 12] = [
    ("lease", &[200, 1500, 30_000]),
    ("attempts", &[1, 2, 25]),
    ("stalls", &[1, 2, 5, 100, 100]),
    ("backoff", &[0, 1, 2]),
    ("backoff-base", &[1, 1000]),
    ("backoff-max", &[1, 10_000]),
    ("dead-max", &[0, 2, 100_000, 100_000]),
    ("dead-ttl", &[-1, -1, 2000]),
    ("max-len", &[-1, -1, -1, 12]),
    ("retain-max", &[0, 2, 10_000]),
    ("concurrency", &[-1, -1, 1, 3]),
    ("run-max", &[-1, -1, 2000]),
];

fn when(dice: &mut Dice) -> When {
    match dice.below(5) {
        0 => When::After(dice.pick(&SPANS_MS)),
        _ => When::Now,
    }
}

fn options(txn: &mut Txn) -> Options<'static> {
    let now = txn.now;
    let dice = &mut *txn.dice;
    let until = now.at.plus(dice.pick(&SPANS_MS));
    let hold = dice.pick(&[Hold::End, Hold::End, Hold::Start, Hold::AtMost(until), Hold::Exactly(until)]);
    let token = dice.pick(&TOKENS);
    Options {
        priority: dice.pick(&[0, 0, 0, 1, -1]),
        attempts: dice.pick(&[None, None, Some(1), Some(3)]),
        lease_ms: dice.pick(&[None, None, Some(1500)]),
        headers: dice.pick(&[&b""[..], b"", b"\x01\x01n\x01v"]),
        group: dice.pick(&[&b""[..], b"", b"", b"g", b"h", b"ordered"]),
        unique: (dice.below(6) == 0).then_some(Unique { token, hold }),
        ttl_ms: NonZeroU64::new(dice.pick(&[0, 0, 0, 0, 0, 1500, 10_000])),
        retain_ms: dice.pick(&[None, None, None, Some(0), Some(10_000), Some(60_000)]),
        batch: dice.pick(&[&b""[..], b"", b"", b"a", b"b", b"c"]),
    }
}

/// A task that was pushed once, mostly one that is still there.
fn task(txn: &mut Txn) -> TaskId {
    let oracle = &txn.copy.ledger.oracle;
    let living = txn.dice.below(4) > 0;
    let ids: Vec<TaskId> = match living {
        true => oracle.living().map(|(id, _)| id).collect(),
        false => oracle.tasks.keys().rev().take(20).copied().collect(),
    };
    let at = txn.dice.below(ids.len() as u64) as usize;
    ids.get(at).copied().unwrap_or(TaskId { ms: 1, seq: 1 })
}

impl World {
    /// A command at one of the nodes that serve a queue.
    fn asks<R>(&mut self, verb: Verb, queue: Name, body: impl FnOnce(&mut Txn) -> R) -> Option<R> {
        let servers = self.servers(queue);
        if servers.is_empty() {
            return None;
        }
        let at = self.dice.pick(&servers);
        self.says(|| format!("{verb:?} at node {at}, queue {queue}"));
        let before = self.nodes[at].stream.offset;
        let result = self.writes(at, queue, body);
        self.tells_what_changed(at, before);
        Some(result)
    }

    /// Does what clients do.
    pub fn client(&mut self, verb: Verb) {
        let queue = self.dice.below(super::node::QUEUES as u64) as Name;
        match verb {
            Verb::Push => self.pushes(queue),
            Verb::Claim => self.claims(queue),
            Verb::Ack | Verb::Fail | Verb::Requeue | Verb::Extend | Verb::Unclaim => self.answers(verb),
            _ => _ = self.asks(verb, queue, |txn| asks(txn, verb)),
        }
    }

    fn pushes(&mut self, queue: Name) {
        let payload = self.workers.payload();
        self.asks(Verb::Push, queue, |txn| {
            let token = (txn.dice.below(5) == 0).then(|| txn.dice.pick(&REQUESTS));
            if let Some(token) = token {
                let known = txn.copy.queue.recall_push(txn.now, token);
                let answer = known.map(|(first, count)| Answer::Pushed { first, count });
                txn.ledger().check_recall((token, false), answer.as_ref(), txn.t);
                if answer.is_some() {
                    return;
                }
            }
            let options = options(txn);
            let count = if options.unique.is_some() { 1 } else { 1 + txn.dice.below(3) as usize };
            let payloads = vec![&payload[..]; count];
            let span_ms = txn.dice.pick(&SPANS_MS);
            let due = match txn.dice.below(8) {
                0 | 1 => Some(Due::Clock(txn.now.at.plus(span_ms))),
                2 => Some(Due::Wall(txn.now.wall.plus(span_ms))),
                _ => None,
            };
            let push = Push { due, options, payloads: &payloads };
            let event = match txn.dice.below(3) {
                0 => {
                    let parents: Vec<TaskId> = (0..1 + txn.dice.below(3)).map(|_| task(txn)).collect();
                    let (when, on_dead) = (when(txn.dice), txn.dice.pick(&OnDead::ALL));
                    let after = After { parents: &parents, when, on_dead };
                    txn.copy.queue.push_after(txn.now, &push, &after)
                }
                _ => txn.copy.queue.push(txn.now, &push),
            };
            match event {
                Ok(event) => {
                    txn.commit_push(&event);
                    txn.judge.count("pushes");
                    if let (Some(token), Event::Pushed { first, count, .. }) = (token, &event) {
                        let answer = Answer::Pushed { first: *first, count: *count };
                        let event = txn.copy.queue.answered(txn.now, token, answer);
                        txn.commit(&event);
                    }
                }
                Err(Refusal::Held(id)) => finds(txn, id, &payload),
                Err(_) => {}
            }
        });
    }

    fn claims(&mut self, queue: Name) {
        let leases = self.asks(Verb::Claim, queue, |txn| {
            let token = (txn.dice.below(6) == 0).then(|| txn.dice.pick(&REQUESTS));
            if let Some(token) = token {
                let known = txn.copy.queue.recall_claim(txn.now, token);
                let answer = known.map(|handles| Answer::Claimed { handles });
                txn.ledger().check_recall((token, true), answer.as_ref(), txn.t);
                if answer.is_some() {
                    return Vec::new();
                }
            }
            let tied = txn.dice.below(4) == 0;
            let claim = Claim {
                count: 1 + txn.dice.below(3) as usize,
                lease_ms: (txn.dice.below(4) > 0).then(|| txn.dice.pick(&SPANS_MS) as u32),
                worker: txn.dice.pick(&[&b""[..], b"w1", b"w2"]),
                tied,
                noack: txn.dice.below(20) == 0,
                group: (txn.dice.below(10) == 0).then(|| txn.dice.pick(&GROUPS)),
                ..Claim::default()
            };
            let leases = txn.claims(claim);
            for lease in leases.iter().filter(|_| tied) {
                let holder = txn.dice.below(3);
                txn.copy.queue.tie(holder, lease.id);
            }
            if let Some(token) = token.filter(|_| !leases.is_empty()) {
                let handles = leases.iter().map(Lease::handle).collect();
                let event = txn.copy.queue.answered(txn.now, token, Answer::Claimed { handles });
                txn.commit(&event);
            }
            leases
        });
        for lease in leases.into_iter().flatten() {
            self.workers.get(queue, lease.handle());
        }
    }

    fn answers(&mut self, verb: Verb) {
        let Some((queue, handle)) = self.workers.handle(&mut self.dice) else { return };
        let next = self.workers.payload();
        self.says(|| format!("a worker answers with {handle}"));
        self.asks(verb, queue, |txn| answers(txn, verb, handle, &next));
    }
}

/// A push found another task with its token, and changes it.
fn finds(txn: &mut Txn, id: TaskId, payload: &[u8]) {
    let event = match txn.dice.below(3) {
        0 => txn.copy.queue.replace(id, b"", payload).ok().flatten(),
        1 => {
            let (when, until_ms) = (when(txn.dice), txn.dice.pick(&[None, Some(10_000)]));
            txn.copy.queue.postpone(txn.now, id, when, until_ms)
        }
        _ => None,
    };
    event.iter().for_each(|event| txn.commit_push(event));
}

/// A worker answers. Returns whether that was accepted.
fn answers(txn: &mut Txn, verb: Verb, handle: Handle, next: &[u8]) -> bool {
    let is_ack = verb == Verb::Ack;
    let verdict = txn.ledger().verdict(&handle, txn.t, is_ack);
    let is_cancel_asked = txn.ledger().is_cancel_asked(handle.id);
    let progress = txn.dice.pick(&[None, None, Some(&b"half"[..]), Some(b"")]);
    let span_ms = txn.dice.pick(&SPANS_MS);
    let (choice, now) = (txn.dice.below(6), txn.now);
    let Txn { copy, dice, .. } = txn;
    let queue = &copy.queue;
    let event = match verb {
        Verb::Ack => {
            let retain_ms = dice.pick(&[None, None, Some(0), Some(10_000), Some(60_000)]);
            queue.finish(now, &handle, retain_ms, dice.pick(&[None, None, Some(&b"result"[..])]))
        }
        Verb::Fail => {
            let retry =
                [Retry::Backoff, Retry::Backoff, Retry::After(span_ms), Retry::Dead][choice as usize % 4];
            queue.fail_at(now, &mut || dice.roll() as u32, &handle, retry, b"error", progress)
        }
        Verb::Requeue => {
            let delay_ms = (choice < 3).then_some(span_ms);
            queue.requeue_at(now, &handle, delay_ms, choice == 5, progress)
        }
        Verb::Extend => queue.progress(now, &handle, (choice < 4).then_some(span_ms as u32), progress),
        _ => queue.unclaim(now, &handle).ok_or(Refusal::Gone),
    };
    match (verdict, &event) {
        (_, Err(Refusal::CancelAsked)) => assert!(is_cancel_asked, "{verb:?} of {handle} says CANCELLED"),
        (Verdict::Accepted, Err(refusal)) => panic!("{verb:?} of {handle} is refused: {refusal:?}"),
        (Verdict::Refused, Ok(_)) => panic!("{verb:?} of {handle} is accepted, a stale handle"),
        _ => {}
    }
    let Ok(event) = event else { return false };
    txn.judge.count("answers");
    if is_ack && choice < 2 {
        let options = options(txn);
        let push = Push { due: None, options, payloads: &[next] };
        let parents = [handle.id];
        let after = After { parents: &parents, when: When::Now, on_dead: OnDead::Wait };
        let pushed = match choice {
            0 => txn.copy.queue.push_next(txn.now, &push, &event),
            _ => txn.copy.queue.push_next_after(txn.now, &push, &after, &event),
        };
        let Ok(pushed) = pushed else { return true };
        txn.commit(&event);
        txn.commit_push(&pushed);
        return true;
    }
    txn.commit(&event);
    true
}

/// Commands that need nothing from outside the queue.
fn asks(txn: &mut Txn, verb: Verb) {
    let name = txn.dice.pick(&BATCHES);
    let group = txn.dice.pick(&GROUPS);
    let span_ms = txn.dice.pick(&SPANS_MS);
    let until = (txn.dice.below(4) > 0).then(|| txn.now.at.plus(span_ms));
    let (id, other) = (task(txn), task(txn));
    let now = txn.now;
    let event = match verb {
        Verb::OpenBatch => {
            let (options, when) = (options(txn), when(txn.dice));
            let push = Push { due: None, options, payloads: &[b"callback"] };
            let event = txn.copy.queue.open_batch(now, name, when, &push);
            event.into_iter().flatten().for_each(|event| txn.commit_push(&event));
            return;
        }
        Verb::CloseBatch => txn.copy.queue.close_batch(now, name).ok().flatten(),
        Verb::DeleteBatch => txn.copy.queue.delete_batch(name),
        Verb::Cancel => txn.copy.queue.cancel(id).ok(),
        Verb::Retry if txn.dice.below(3) == 0 => txn.copy.queue.retry_oldest(now, 2),
        Verb::Retry => txn.copy.queue.retry(now, &[id, other]),
        Verb::Purge => {
            let state = txn.dice.pick(&TaskState::ALL);
            let (_, tasks) = txn.copy.queue.list(&now, state, Cursor::default(), 2, None, None);
            let ids: Vec<TaskId> = tasks.iter().map(|task| task.id).collect();
            txn.copy.queue.purge_ids(&now, &ids, None).iter().for_each(|event| txn.commit(event));
            return;
        }
        Verb::Set => {
            let to = Set {
                when: (txn.dice.below(2) == 0).then(|| when(txn.dice)),
                priority: (txn.dice.below(4) == 0).then_some(1),
                group: (txn.dice.below(3) == 0).then_some(group),
                headers: None,
                payload: (txn.dice.below(5) == 0).then_some(&b"edited"[..]),
            };
            let event = txn.copy.queue.set(now, &[id, other], &to).ok().flatten();
            event.iter().for_each(|event| txn.commit_push(event));
            return;
        }
        Verb::Configure => {
            let (name, values) = txn.dice.pick(&CONFIGS);
            Some(Event::Configured { values: vec![(name, txn.dice.pick(values))] })
        }
        Verb::Pause => Some(Event::Paused { gate: txn.dice.pick(&[Gate::In, Gate::Out]), until }),
        Verb::Resume => Some(Event::Resumed { gate: Gate::All }),
        Verb::Group => {
            let limits = GroupLimits {
                weight: txn.dice.pick(&[None, Some(3)]),
                concurrency: txn.dice.pick(&[None, Some(1), Some(2)]),
                rate: match txn.dice.below(3) {
                    0 => GroupRate::Limited(Rate { claims: 2, per_ms: span_ms }),
                    _ => GroupRate::OfAllGroups,
                },
                ordered: group == b"ordered",
            };
            txn.copy.queue.set_group(group, limits).ok()
        }
        Verb::PauseGroup => txn.copy.queue.pause_group(group, until).ok(),
        Verb::ResumeGroup => txn.copy.queue.resume_group(group),
        Verb::Schedule => {
            let timing = match txn.dice.below(3) {
                0 => Trigger::Cron("* * * * *", "UTC"),
                _ => Trigger::Every(span_ms.max(1500)),
            };
            let options = Options { group: txn.dice.pick(&[&b""[..], b"g"]), ..Options::default() };
            let catchup = txn.dice.pick(&[Catchup::None, Catchup::One]);
            let plan = ScheduleSpec { timing, catchup, options, payload: b"run" };
            txn.copy.queue.schedule(now, txn.dice.pick(&SCHEDULES), plan).ok()
        }
        Verb::Unschedule => txn.copy.queue.unschedule(txn.dice.pick(&SCHEDULES)),
        Verb::RunSchedule => txn.copy.queue.run_schedule(now, txn.dice.pick(&SCHEDULES)).and_then(Result::ok),
        Verb::Disconnect => {
            let holder = txn.dice.below(3);
            for id in txn.copy.queue.tied_to(holder, usize::MAX) {
                let Txn { copy, dice, now, .. } = txn;
                let event = copy.queue.abandon(*now, &mut || dice.roll() as u32, id);
                event.iter().for_each(|event| txn.abandons(event));
            }
            return;
        }
        other => unreachable!("{other:?} is not a client's"),
    };
    event.iter().for_each(|event| txn.commit(event));
}
