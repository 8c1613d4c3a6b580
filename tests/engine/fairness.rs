//! Random histories of a queue with groups, checked by an independent oracle: token buckets in whole numbers, plain
//! counting, linear searches. It checks that
//!
//! - no limit is exceeded: leases at a time and claims in a span, of the queue and of each group;
//! - a claimed task is the first of its group, and no group that can run waits at a higher priority;
//! - a claim ends early only if no group can run;
//! - of two groups that could have run all the time, neither got more than one quantum above its share;
//! - an ordered group has one task leased at a time, and waits for a task that comes back.

use std::collections::BTreeMap;

use taskslot_engine::{
    Claim, ClaimTurns, Due, Event, GroupLimits, GroupRate, Handle, HeldBy, Lease, Millis, Now, Options, Push,
    Queue, Rate, Retry, TaskId, Then,
};

use crate::copies::{Dice, digest, load, replicate, save};
use crate::properties::times;

const NAMES: [&str; 6] = ["", "ada", "bob", "cy", "dot", "eve"];

#[derive(Clone, Debug, PartialEq)]
enum Place {
    Ready,
    Delayed,
    Leased(Handle),
    Dead,
}

#[derive(Clone, Debug)]
struct Task {
    group: usize,
    priority: i8,
    turn: u64,
    place: Place,
    was_claimed: bool,
}

/// A token bucket: `claims` tokens, refilled evenly in `per_ms`. A token consists of `per_ms` parts.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    rate: Option<Rate>,
    parts: u128,
    filled_at: u64,
}

impl Bucket {
    fn full(rate: Option<Rate>, at: u64) -> Bucket {
        let parts = rate.map_or(0, |rate| u128::from(rate.claims) * u128::from(rate.per_ms));
        Bucket { rate, parts, filled_at: at }
    }

    fn fill(&mut self, at: u64) {
        let Some(rate) = self.rate else { return };
        let size = u128::from(rate.claims) * u128::from(rate.per_ms);
        self.parts = size.min(self.parts + u128::from(at - self.filled_at) * u128::from(rate.claims));
        self.filled_at = at;
    }

    fn has_one(&self) -> bool {
        self.rate.is_none_or(|rate| rate.claims > 0 && self.parts >= u128::from(rate.per_ms))
    }

    fn take(&mut self) {
        if let Some(rate) = self.rate {
            self.parts -= u128::from(rate.per_ms);
        }
    }
}

#[derive(Clone, Default)]
struct Served {
    count: u64,
    /// By the other group's index: what both had got when they last did not compete.
    from: BTreeMap<usize, (u64, u64)>,
}

struct Watch {
    queue: Queue,
    replica: Queue,
    now: u64,
    dice: Dice,
    tasks: BTreeMap<TaskId, Task>,
    limits: [GroupLimits; 6],
    /// Until when each group is paused; the end of time until it is resumed.
    paused: [u64; 6],
    usual: (Option<u64>, Option<Rate>),
    own: (Option<u64>, Option<Rate>),
    buckets: [Bucket; 6],
    bucket: Bucket,
    turns: u64,
    served: BTreeMap<(i8, usize), Served>,
    claims: u64,
    limited: u64,
    /// Whether some claims are for one group. These count against its next turn, so shares are not compared then.
    has_claims_of_groups: bool,
    was_behind: bool,
    /// How often groups were behind the settings.
    passed_behind: u64,
}

impl Watch {
    fn new(seed: u64) -> Watch {
        let mut watch = Watch {
            queue: Queue::new(),
            replica: Queue::new(),
            now: 1_700_000_000_000,
            dice: Dice(seed),
            tasks: BTreeMap::new(),
            limits: [GroupLimits::default(); 6],
            paused: [0; 6],
            usual: (None, None),
            own: (None, None),
            buckets: [Bucket::full(None, 0); 6],
            bucket: Bucket::full(None, 0),
            turns: 0,
            served: BTreeMap::new(),
            claims: 0,
            limited: 0,
            has_claims_of_groups: seed.is_multiple_of(2),
            was_behind: false,
            passed_behind: 0,
        };
        if seed % 10 == 4 && seed < 300 {
            // So many groups that a setting for all groups visits none of them.
            for number in 0..1000 {
                let limits = Some(GroupLimits { weight: Some(1), ..GroupLimits::default() });
                watch.apply(&Event::Grouped { name: format!("other {number}").as_bytes(), limits });
            }
        }
        // Tasks that stalled twice would be delivered alone, which ends a claim for another reason.
        watch.apply(&Event::Configured { values: vec![("stalls", 2)] });
        watch
    }

    fn now(&self) -> Now {
        Now::plain(self.now)
    }

    fn apply(&mut self, event: &Event) {
        self.queue.apply(event).unwrap();
        replicate(&mut self.queue, &mut self.replica, event).unwrap();
    }

    fn turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns
    }

    fn weight(&self, group: usize) -> u64 {
        self.limits[group].weight.unwrap_or(1).into()
    }

    fn concurrency(&self, group: usize) -> Option<u64> {
        if group == 0 {
            return None;
        }
        let own = self.limits[group].concurrency.map(|limit| u64::try_from(limit).ok());
        let limit = own.unwrap_or(self.usual.0);
        if self.limits[group].ordered { Some(limit.map_or(1, |limit| limit.min(1))) } else { limit }
    }

    fn rate(&self, group: usize) -> Option<Rate> {
        match self.limits[group].rate {
            _ if group == 0 => None,
            GroupRate::OfAllGroups => self.usual.1,
            GroupRate::Unlimited => None,
            GroupRate::Limited(rate) => Some(rate),
        }
    }

    fn count(&self, group: Option<usize>, is: impl Fn(&Task) -> bool) -> u64 {
        self.tasks.values().filter(|t| group.is_none_or(|g| t.group == g) && is(t)).count() as u64
    }

    fn leased(&self, group: Option<usize>) -> u64 {
        self.count(group, |task| matches!(task.place, Place::Leased(_)))
    }

    /// Why a group can't run now; `None` if it can.
    fn hindrance(&mut self, group: usize) -> Option<&'static str> {
        self.buckets[group].fill(self.now);
        let returning = self.count(Some(group), |task| task.was_claimed && task.place == Place::Delayed);
        match () {
            () if self.paused[group] > self.now => Some("it is paused"),
            () if self.concurrency(group).is_some_and(|max| self.leased(Some(group)) >= max) => {
                Some("as many leases as it may have")
            }
            () if !self.buckets[group].has_one() => Some("its rate is used up"),
            () if self.limits[group].ordered && returning > 0 => Some("its head comes back"),
            () => None,
        }
    }

    fn own_hindrance(&mut self) -> Option<&'static str> {
        self.bucket.fill(self.now);
        match () {
            () if self.own.0.is_some_and(|max| self.leased(None) >= max) => Some("the queue's leases"),
            () if !self.bucket.has_one() => Some("the queue's rate"),
            () => None,
        }
    }

    /// The groups that have ready tasks at a priority and can run.
    fn competitors(&mut self, priority: i8) -> Vec<usize> {
        let is_ready = |task: &Task| task.place == Place::Ready && task.priority == priority;
        let waiting: Vec<usize> = (0..6).filter(|&group| self.count(Some(group), is_ready) > 0).collect();
        waiting.into_iter().filter(|&group| self.hindrance(group).is_none()).collect()
    }

    /// Restarts the comparison of all groups that don't compete with each other now.
    fn look(&mut self) {
        for priority in [1, 0] {
            let all = self.competitors(priority);
            let counts: Vec<u64> =
                (0..6).map(|group| self.served.entry((priority, group)).or_default().count).collect();
            for group in 0..6 {
                for other in 0..6 {
                    if !(all.contains(&group) && all.contains(&other)) {
                        let served = self.served.get_mut(&(priority, group)).unwrap();
                        served.from.insert(other, (counts[group], counts[other]));
                    }
                }
            }
        }
    }

    /// Restarts the comparison of a group whose share has changed.
    fn forget(&mut self, group: usize) {
        for priority in [1, 0] {
            let counts: Vec<u64> =
                (0..6).map(|other| self.served.entry((priority, other)).or_default().count).collect();
            for other in 0..6 {
                let (mine, others) = (counts[group], counts[other]);
                self.served.get_mut(&(priority, group)).unwrap().from.insert(other, (mine, others));
                self.served.get_mut(&(priority, other)).unwrap().from.insert(group, (others, mine));
            }
        }
    }

    fn shares_are_fair(&self, priority: i8) {
        for (group, name) in NAMES.iter().enumerate() {
            let served = &self.served[&(priority, group)];
            for (&other, &(mine, others)) in &served.from {
                let got = served.count - mine;
                let other_got = self.served[&(priority, other)].count - others;
                let (weight, other_weight) = (self.weight(group), self.weight(other));
                assert!(
                    got * other_weight <= (other_got + other_weight) * weight,
                    "{name:?} got {got} by weight {weight}, {:?} {other_got} by {other_weight}",
                    NAMES[other],
                );
            }
        }
    }

    fn step(&mut self) {
        let span = [0, 0, 0, 0, 1, 3, 20, 150, 2000][self.dice.below(9) as usize];
        // Groups that are behind the settings can stay so for a while; the oracle doesn't know about that.
        if !self.is_behind() || self.dice.below(3) == 0 {
            self.now += span;
            self.tick();
            self.passed_behind += u64::from(self.was_behind);
            self.was_behind = false;
        }
        self.look();
        match self.dice.below(100) {
            0..38 => self.push(),
            38..70 => self.claim(),
            70..82 => self.answer(),
            82..90 => self.set_group(),
            90..94 => self.configure(),
            94..96 => self.cancel_or_retry(),
            96..97 => self.pause_or_resume(),
            97..98 => self.reload(),
            _ => std::mem::swap(&mut self.queue, &mut self.replica),
        }
        self.look();
    }

    /// Whether groups wait to be visited. Until then, some that could run may be passed over.
    fn is_behind(&mut self) -> bool {
        let is_behind = self.queue.groups_behind() > 0;
        if is_behind {
            self.was_behind = true;
            (0..6).for_each(|group| self.forget(group));
        }
        is_behind
    }

    fn tick(&mut self) {
        let mut pages = usize::MAX;
        loop {
            let mut dice = self.dice.clone();
            let event = self.queue.tick(self.now(), &mut || dice.roll() as u32, &mut pages);
            self.dice = dice;
            let Some(event) = event else { break };
            match &event {
                Event::BecameReady { ids, .. } => ids.iter().for_each(|&id| self.comes_back(id)),
                Event::Stalled { tasks } => {
                    for (id, then) in tasks {
                        let task = self.tasks.get_mut(id).unwrap();
                        task.place = place_of(then.unwrap());
                    }
                }
                Event::Rested { .. } => {}
                Event::Dropped { .. } => unreachable!(),
                other => panic!("{other:?}"),
            }
            self.apply(&event);
        }
    }

    /// A delayed task is ready: at the back, unless its group is ordered.
    fn comes_back(&mut self, id: TaskId) {
        let turn = self.turn();
        let task = self.tasks.get_mut(&id).unwrap();
        assert_eq!(task.place, Place::Delayed);
        if !(task.was_claimed && self.limits[task.group].ordered) {
            task.turn = turn;
        }
        task.place = Place::Ready;
    }

    fn push(&mut self) {
        let group = self.dice.below(6) as usize;
        let priority = i8::from(self.dice.below(5) == 0);
        let due = (self.dice.below(8) == 0).then(|| Due::Clock(Millis(self.now + 1 + self.dice.below(300))));
        let count = 1 + self.dice.below(6) as usize;
        let payloads: Vec<&[u8]> = vec![b"x"; count];
        let options = Options { priority, group: NAMES[group].as_bytes(), ..Options::default() };
        let push = Push { due, options, payloads: &payloads };
        let event = self.queue.push(self.now(), &push).unwrap();
        self.apply(&event);
        let Event::Pushed { first, .. } = event else { panic!() };
        for nth in 0..count as u64 {
            let (turn, place) = (self.turn(), if due.is_some() { Place::Delayed } else { Place::Ready });
            let task = Task { group, priority, turn, place, was_claimed: false };
            self.tasks.insert(first.nth(nth).unwrap(), task);
        }
    }

    fn claim(&mut self) {
        let only =
            (self.dice.below(5) == 0 && self.has_claims_of_groups).then(|| 1 + self.dice.below(5) as usize);
        let count = [1, 1, 2, 5, 30][self.dice.below(5) as usize];
        let lease_ms = Some([5, 100, 10_000][self.dice.below(3) as usize]);
        let noack = self.dice.below(10) == 0;
        let group = only.map(|group| NAMES[group].as_bytes());
        let claim = Claim { count, group, lease_ms, noack, ..Claim::default() };
        let mut claiming = ClaimTurns::new(claim);
        let (mut got, mut rolls) = (0, self.dice.clone());
        while let Some(event) = claiming.turn(&self.queue, self.now(), &mut || rolls.roll() as u32).unwrap() {
            match &event {
                Event::Claimed { leases, .. } => {
                    leases.iter().for_each(|lease| self.claimed(lease.id, Some(lease), only));
                    got += leases.len();
                }
                Event::Taken { ids, .. } => {
                    ids.iter().for_each(|&id| self.claimed(id, None, only));
                    got += ids.len();
                }
                other => panic!("{other:?}"),
            }
            self.apply(&event);
        }
        self.dice = rolls;
        assert!(got <= count);
        if got < count && !self.is_behind() && self.own_hindrance().is_none() {
            for priority in [1, 0] {
                let mut left = self.competitors(priority);
                left.retain(|&group| only.is_none_or(|only| group == only));
                assert_eq!(left, [0; 0], "a claim of {count} got {got}, and these could run");
            }
        }
    }

    fn claimed(&mut self, id: TaskId, lease: Option<&Lease>, only: Option<usize>) {
        self.claims += 1;
        assert_eq!(self.own_hindrance(), None, "a claim over a limit of the queue");
        let Task { group, priority, turn, .. } = self.tasks[&id].clone();
        assert_eq!(self.hindrance(group), None, "a claim over a limit of {:?}", NAMES[group]);
        assert_eq!(self.tasks[&id].place, Place::Ready);
        assert!(only.is_none_or(|only| only == group));
        let earlier =
            |task: &Task| task.place == Place::Ready && task.priority == priority && task.turn < turn;
        assert_eq!(self.count(Some(group), earlier), 0, "the first of its group");
        if priority == 0 && !self.is_behind() {
            let mut above = self.competitors(1);
            above.retain(|&group| only.is_none_or(|only| group == only));
            assert_eq!(above, [0; 0], "a higher priority goes first");
        }
        self.limited += u64::from((1..6).any(|group| self.hindrance(group).is_some()));
        let task = self.tasks.get_mut(&id).unwrap();
        task.was_claimed = true;
        match lease {
            Some(lease) => task.place = Place::Leased(lease.handle()),
            None => {
                self.tasks.remove(&id);
            }
        }
        self.bucket.take();
        self.buckets[group].take();
        self.served.get_mut(&(priority, group)).unwrap().count += 1;
        if !self.has_claims_of_groups && !self.is_behind() {
            self.shares_are_fair(priority);
        }
        self.look();
    }

    fn answer(&mut self) {
        let held: Vec<(TaskId, Handle)> = self
            .tasks
            .iter()
            .filter_map(
                |(id, task)| if let Place::Leased(handle) = task.place { Some((*id, handle)) } else { None },
            )
            .collect();
        if held.is_empty() {
            return;
        }
        for _ in 0..1 + self.dice.below(4) {
            let (id, handle) = held[self.dice.below(held.len() as u64) as usize];
            if !self.tasks.get(&id).is_some_and(|task| task.place == Place::Leased(handle)) {
                continue;
            }
            let event = match self.dice.below(6) {
                0 => self
                    .queue
                    .fail(self.now(), &mut || 7, &handle, Retry::After(1 + u64::from(handle.nonce % 90)), b"")
                    .unwrap(),
                1 => self.queue.fail(self.now(), &mut || 7, &handle, Retry::Dead, b"").unwrap(),
                2 => self
                    .queue
                    .requeue(self.now(), &handle, Some(u64::from(handle.nonce % 50)), false)
                    .unwrap(),
                3 => self.queue.requeue(self.now(), &handle, None, handle.nonce % 2 == 0).unwrap(),
                4 => self.queue.unclaim(self.now(), &handle).unwrap(),
                _ => self.queue.ack(self.now(), &handle).unwrap(),
            };
            let task = self.tasks.get_mut(&id).unwrap();
            match &event {
                Event::Failed { then, .. } | Event::Requeued { then, .. } => task.place = place_of(*then),
                // A deviation: an undone lease still counts against the rates.
                Event::Unclaimed { .. } => task.place = Place::Ready,
                Event::Acked { .. } => _ = self.tasks.remove(&id),
                other => panic!("{other:?}"),
            }
            if let Event::Requeued { back: true, .. } = &event {
                let turn = self.turn();
                self.tasks.get_mut(&id).unwrap().turn = turn;
            }
            if matches!(event, Event::Unclaimed { .. }) {
                // If this was the only claim, the task counts as never claimed.
                let deliveries = self.queue.task(&self.now(), id).unwrap().deliveries;
                self.tasks.get_mut(&id).unwrap().was_claimed = deliveries > 1;
            }
            self.apply(&event);
        }
    }

    fn a_rate(&mut self) -> Option<Rate> {
        let claims = [0, 1, 1, 2, 3, 7][self.dice.below(6) as usize];
        let per_ms = [1, 3, 10, 100, 700][self.dice.below(5) as usize];
        (self.dice.below(3) > 0).then_some(Rate { claims, per_ms })
    }

    fn set_group(&mut self) {
        let group = 1 + self.dice.below(5) as usize;
        let before = self.rate(group);
        let mut limits = self.limits[group];
        match self.dice.below(6) {
            0 => limits.weight = Some(1 + self.dice.below(5) as u32),
            1 => {
                limits.concurrency = [None, Some(-1), Some(0), Some(1), Some(3)][self.dice.below(5) as usize]
            }
            2 => limits.rate = self.a_rate().map_or(GroupRate::Unlimited, GroupRate::Limited),
            3 => limits.ordered = !limits.ordered,
            4 => limits.rate = GroupRate::OfAllGroups,
            _ => limits = GroupLimits::default(),
        }
        self.limits[group] = limits;
        let name = NAMES[group].as_bytes();
        let event = match limits == GroupLimits::default() {
            true => self.queue.forget_group(name),
            false => Some(self.queue.set_group(name, limits).unwrap()),
        };
        event.iter().for_each(|event| self.apply(event));
        self.forget(group);
        if self.rate(group) != before {
            self.buckets[group] = Bucket::full(self.rate(group), self.now);
        }
    }

    fn pause_or_resume(&mut self) {
        let group = 1 + self.dice.below(5) as usize;
        let name = NAMES[group].as_bytes();
        if self.paused[group] > self.now && self.dice.below(2) == 0 {
            self.paused[group] = 0;
            let event = self.queue.resume_group(name).expect("a group that is paused");
            return self.apply(&event);
        }
        let until = (self.dice.below(3) > 0).then(|| self.now + 1 + self.dice.below(300));
        self.paused[group] = until.unwrap_or(u64::MAX);
        let event = self.queue.pause_group(name, until.map(Millis)).unwrap();
        self.apply(&event);
        let view = self.queue.group_views(b"").find(|view| view.name == name);
        assert_eq!(view.and_then(|view| view.held_by), Some(HeldBy::Pause));
    }

    fn configure(&mut self) {
        let before: Vec<Option<Rate>> = (0..6).map(|group| self.rate(group)).collect();
        let own = self.own.1;
        let limit = [-1, -1, 0, 1, 2, 6][self.dice.below(6) as usize];
        let rate = self.a_rate();
        let (claims, per) = (rate.map_or(-1, |r| r.claims.into()), rate.map_or(1000, |r| r.per_ms as i64));
        let values = match self.dice.below(4) {
            0 => vec![("group-concurrency", limit)],
            1 => vec![("concurrency", limit)],
            2 => vec![("group-rate", claims), ("group-rate-per", per)],
            _ => vec![("rate", claims), ("rate-per", per)],
        };
        match values[0].0 {
            "group-concurrency" => self.usual.0 = u64::try_from(limit).ok(),
            "concurrency" => self.own.0 = u64::try_from(limit).ok(),
            "group-rate" => self.usual.1 = rate,
            _ => self.own.1 = rate,
        }
        self.apply(&Event::Configured { values });
        for (group, before) in before.into_iter().enumerate() {
            if self.rate(group) != before {
                self.buckets[group] = Bucket::full(self.rate(group), self.now);
            }
        }
        if self.own.1 != own {
            self.bucket = Bucket::full(self.own.1, self.now);
        }
    }

    fn cancel_or_retry(&mut self) {
        let dead: Vec<TaskId> =
            self.tasks.iter().filter(|(_, t)| t.place == Place::Dead).map(|(id, _)| *id).collect();
        if self.dice.below(2) == 0 && !dead.is_empty() {
            let event = self.queue.retry(self.now(), &dead).unwrap();
            for id in dead {
                let turn = self.turn();
                let task = self.tasks.get_mut(&id).unwrap();
                (task.turn, task.place) = (turn, Place::Ready);
            }
            return self.apply(&event);
        }
        let some: Vec<TaskId> = self
            .tasks
            .iter()
            .filter(|(_, t)| matches!(t.place, Place::Ready | Place::Delayed))
            .map(|(id, _)| *id)
            .collect();
        if !some.is_empty() {
            let id = some[self.dice.below(some.len() as u64) as usize];
            let event = self.queue.cancel(id).unwrap();
            self.apply(&event);
            self.tasks.remove(&id);
        }
    }

    fn reload(&mut self) {
        let loaded = load(&save(&self.queue)).unwrap();
        assert_eq!(digest(&loaded), digest(&self.queue), "what is loaded equals what was saved");
        self.queue = loaded;
    }
}

fn place_of(then: Then) -> Place {
    match then {
        Then::Ready(_) => Place::Ready,
        Then::Delayed(_) => Place::Delayed,
        Then::Dead(_) => Place::Dead,
    }
}

#[test]
fn nobody_is_over_a_limit_and_shares_are_fair_in_any_history() {
    let seeds = 60 * times();
    let (mut claims, mut limited, mut behind) = (0, 0, 0);
    for seed in 0..seeds {
        let mut watch = Watch::new(seed);
        for step in 0..300 {
            watch.step();
            if step % 17 == 0 {
                watch.queue.validate().unwrap_or_else(|mismatch| panic!("seed {seed}: {mismatch:?}"));
                assert_eq!(digest(&watch.queue), digest(&watch.replica), "seed {seed}, step {step}");
            }
        }
        claims += watch.claims;
        limited += watch.limited;
        behind += watch.passed_behind;
    }
    assert!(behind > seeds.min(300) / 4, "{behind} times behind");
    assert!(claims > 50 * seeds && limited > 10 * seeds, "{claims} claims, {limited} beside limits");
}

#[test]
fn a_weight_that_changes_all_the_time_holds_nobody_up() {
    let mut watch = Watch::new(1);
    for group in ["ada", "bob"] {
        let options = Options { group: group.as_bytes(), ..Options::default() };
        let push = Push { due: None, options, payloads: &[b"x" as &[u8]; 12] };
        let event = watch.queue.push(watch.now(), &push).unwrap();
        watch.apply(&event);
    }
    let mut of_bob = 0;
    for step in 0..12 {
        let limits = GroupLimits { weight: Some(2 + step % 2), ..GroupLimits::default() };
        let event = watch.queue.set_group(b"ada", limits).unwrap();
        watch.apply(&event);
        let event = watch.queue.claim(watch.now(), &mut || 7, &Claim::default()).unwrap().unwrap();
        let Event::Claimed { leases, .. } = &event else { panic!("{event:?}") };
        of_bob += u32::from(watch.queue.group_of(leases[0].id) == b"bob");
        watch.apply(&event);
    }
    assert!(of_bob >= 3, "bob got {of_bob} of 12");
}
