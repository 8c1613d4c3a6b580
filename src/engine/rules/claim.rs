//! Claims: which ready tasks a worker gets, and under which leases.
//!
//! A claim proceeds turn by turn. Each event hands out at most one turn of the rotation, and is applied before the next
//! is decided, so limits and turns are always current. In a queue without groups, the whole claim is one turn.

use taskslot_edges::{edge, rare};

use crate::bounds::WAITS_MAX;
use crate::event::{Event, Lease};
use crate::numbers::{GroupNumber, Rank};
use crate::pause::Gate;
use crate::request::{Claim, Entropy, Refusal};
use crate::rules::term::CLOCK_NUMBER_MAX;
use crate::settings::Setting;
use crate::state::{Found, State};
use crate::store::lane::{Lane, Which};
use crate::task::LeaseNumber;
use crate::time::{Millis, Now};

/// A claim in progress: its options, and what it has received so far.
#[derive(Debug, Clone, Copy)]
pub struct ClaimTurns<'a> {
    claim: Claim<'a>,
    /// How many more tasks it can get.
    left: usize,
    got: usize,
    bytes: u64,
    /// How many tasks those that it got were pushed to wait for.
    parents: usize,
    /// How many more times it can remove expired tasks first.
    sweeps: usize,
    /// What its worker was allowed to get at the first turn.
    allowed: Option<Allowed>,
}

/// How many times one claim removes expired tasks, a step each. The tick removes the rest.
pub const SWEEPS: usize = edge(32, 2);

impl<'a> ClaimTurns<'a> {
    /// Starts a claim.
    pub fn new(claim: Claim<'a>) -> ClaimTurns<'a> {
        ClaimTurns { claim, left: claim.count, got: 0, bytes: 0, parents: 0, sweeps: SWEEPS, allowed: None }
    }

    /// Decides the next turn of the claim; `None` if there is nothing (more) for it. Expired tasks are removed first,
    /// so the event can also be that removal. Apply it before asking for the next turn. Ask [`State::pass_over`] before
    /// the first. Errors: `Paused`, `Exhausted`.
    pub fn turn(&mut self, state: &State, now: Now, entropy: Entropy) -> Result<Option<Event<'a>>, Refusal> {
        if self.left == 0 {
            return Ok(None);
        }
        if !state.paused(now.at, Gate::Out).is_open() {
            return Err(Refusal::Paused);
        }
        if state.is_behind(now.at) {
            let expired = state.expired_tasks(now.at).filter(|_| self.sweeps > 0);
            if self.sweeps == 0 {
                rare!("more tasks have expired than a claim removes");
            }
            self.sweeps = self.sweeps.saturating_sub(1);
            return Ok(expired);
        }
        let which = match *self.allowed.get_or_insert_with(|| state.allowed(self.claim.worker)) {
            Allowed::All => Which::All,
            Allowed::Sound => Which::Sound,
            Allowed::Nothing => return Ok(None),
        };
        let mut leases = Vec::with_capacity(self.left.min(state.lanes.ready() as usize));
        let mut allowed = state.allowance(now.at);
        for Source { lane, limit, is_turn } in state.sources(now.at, self.claim.group, which) {
            if is_turn && !leases.is_empty() {
                break;
            }
            let before = leases.len();
            self.take(state, now, entropy, (lane, which), limit.min(allowed), &mut leases)?;
            allowed -= (leases.len() - before) as u64;
            if is_turn {
                break;
            }
        }
        let Claim { worker, tied, noack, .. } = self.claim;
        Ok(match () {
            () if leases.is_empty() => None,
            () if noack => {
                Some(Event::Taken { ids: leases.iter().map(|lease| lease.id).collect(), at: now.at })
            }
            () => Some(Event::Claimed { at: now.at, worker, tied, leases }),
        })
    }

    /// Adds leases for at most `limit` tasks of a lane.
    fn take(
        &mut self,
        state: &State,
        now: Now,
        entropy: Entropy,
        (lane, which): (&Lane, Which),
        limit: u64,
        leases: &mut Vec<Lease>,
    ) -> Result<(), Refusal> {
        let limit = self.left.min(usize::try_from(limit).unwrap_or(usize::MAX));
        for (_, position) in lane.in_order(&state.log, Rank::FIRST, which).take(limit) {
            let Some(found) = state.at(position) else { break };
            let is_suspect = found.entry.is_some_and(|entry| entry.is_suspect());
            let parents = state.parents_of(found.order);
            if !self.admits(is_suspect, found.record.payload.len(), parents) {
                rare!("the next task does not fit into the reply of a claim");
                self.left = 0;
                break;
            }
            let last = leases.last().map_or(state.last_lease, |lease| lease.number);
            leases.push(self.lease(state, now, entropy, last, &found)?);
            self.got += 1;
            self.left = if is_suspect { 0 } else { self.left - 1 };
            if leases.len() == 1 {
                // Who applies the event and reads the tasks begins with this one.
                state.log.look_at(position);
            }
            if self.left == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Whether the next task fits into the reply. The first always does; a suspect is only ever the first; BYTES bounds
    /// the others, and so does the number of ids that WITHMETA shows.
    fn admits(&mut self, is_suspect: bool, bytes: usize, parents: usize) -> bool {
        self.bytes += bytes as u64;
        self.parents += parents;
        let has_many = self.parents > WAITS_MAX;
        let is_too_much = has_many || self.claim.bytes.is_some_and(|max| self.bytes > max);
        let is_first = self.got == 0;
        is_first || !(is_suspect || is_too_much)
    }

    /// A lease on a task. Its number is that of the clock, or the last one plus 1 if that is higher.
    fn lease(
        &self,
        state: &State,
        now: Now,
        entropy: Entropy,
        last: LeaseNumber,
        found: &Found,
    ) -> Result<Lease, Refusal> {
        let number = LeaseNumber((last.0 + 1).max(now.lease_number(CLOCK_NUMBER_MAX)));
        if number > LeaseNumber::MAX {
            return Err(Refusal::Exhausted);
        }
        let lease_ms = self.claim.lease_ms.or(found.record.options().lease_ms);
        let lease_ms = lease_ms.unwrap_or_else(|| state.settings.span_ms(Setting::Lease) as u32);
        let deadline = state.last_deadline(now.at).min(now.at.plus(u64::from(lease_ms)));
        Ok(Lease { id: found.record.id, number, nonce: entropy(), lease_ms, deadline })
    }
}

/// What a worker can be given, considering the leases it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// Any task.
    All,
    /// No suspect, because it holds other tasks.
    Sound,
    /// Nothing, because it holds a suspect or is about to get one.
    Nothing,
}

/// A lane that a claim can take tasks from.
pub(crate) struct Source<'q> {
    pub lane: &'q Lane,
    /// How many tasks the limits and the turn of the lane's group allow.
    limit: u64,
    /// Whether it is a turn of a rotation. After one, the next must be looked up again.
    is_turn: bool,
}

impl State {
    /// The first turn of a claim, which is the whole claim if no groups take turns. Errors: `Paused`, `Exhausted`.
    pub fn claim<'a>(
        &self,
        now: Now,
        entropy: Entropy,
        claim: &Claim<'a>,
    ) -> Result<Option<Event<'a>>, Refusal> {
        ClaimTurns::new(*claim).turn(self, now, entropy)
    }

    /// Whether a claim without a worker's name would get a task now.
    pub fn is_claimable(&self, now: Millis) -> bool {
        self.is_claimable_by(now, None)
    }

    /// Like [`State::is_claimable`], for a claim that may name one group.
    pub fn is_claimable_by(&self, now: Millis, group: Option<&[u8]>) -> bool {
        self.has_for(now, group, Which::All)
    }

    /// Like [`State::is_claimable_by`], for a worker with a name; empty for none.
    pub fn is_claimable_for(&self, now: Millis, group: Option<&[u8]>, worker: &[u8]) -> bool {
        match self.allowed(worker) {
            Allowed::All => self.has_for(now, group, Which::All),
            Allowed::Sound => self.has_for(now, group, Which::Sound),
            Allowed::Nothing => false,
        }
    }

    /// Whether every task that can be claimed now is a suspect. A worker that holds tasks gets none of them.
    pub fn has_only_suspects(&self, now: Millis, group: Option<&[u8]>) -> bool {
        self.lanes.suspects() > 0 && !self.has_for(now, group, Which::Sound)
    }

    fn has_for(&self, now: Millis, group: Option<&[u8]>, which: Which) -> bool {
        self.lanes.ready() > 0
            && !self.is_behind(now)
            && self.paused(now, Gate::Out).is_open()
            && self.allowance(now) > 0
            && self.sources(now, group, which).next().is_some()
    }

    /// The lanes that a claim can take tasks from now, in order.
    pub(crate) fn sources<'q>(
        &'q self,
        at: Millis,
        group: Option<&[u8]>,
        which: Which,
    ) -> impl Iterator<Item = Source<'q>> {
        let only = group.map(|name| self.groups.find(name).unwrap_or(UNKNOWN));
        let allowed = move |group| self.group_allowance(at, group);
        self.lanes.levels().iter().filter_map(move |level| {
            let (group, limit) = match only {
                Some(group) => (group, allowed(group)),
                None if !level.has_groups() => (GroupNumber::NONE, u64::MAX),
                None => {
                    // A group in the rotation may be unable to run if the clock went back (another node took over) or
                    // if it is behind the settings. No claim scans a million of these.
                    let most = if self.groups_behind() > 0 { BEHIND_LOOKED_AT } else { usize::MAX };
                    let mut turns = level.turns_or_all(which).take(most);
                    let first = turns.find_map(|(group, left)| {
                        Some((group, left.min(allowed(group)))).filter(|t| t.1 > 0)
                    });
                    if first.is_none() && self.groups_behind() > 0 {
                        rare!("a claim finds only groups behind that can't run");
                    }
                    first?
                }
            };
            let lane = level.lane(group).filter(|lane| limit > 0 && lane.has(which))?;
            Some(Source { lane, limit, is_turn: only.is_some() || level.has_groups() })
        })
    }
}

/// How many groups that can't run, but are still in a rotation, a claim skips. The tick takes them out.
pub const BEHIND_LOOKED_AT: usize = edge(1000, 8);

/// A number that no group has.
const UNKNOWN: GroupNumber = GroupNumber(u32::MAX);
