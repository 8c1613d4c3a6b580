//! Claims: which ready tasks a worker gets, and under which leases.
//!
//! A claim goes on turn by turn: each event hands out what one turn of the rotation holds, at most, and is applied
//! before the next is decided, so that limits and turns are looked at as they are. A queue without groups is one turn.

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

/// A claim that is under way.
#[derive(Debug, Clone, Copy)]
pub struct ClaimTurns<'a> {
    claim: Claim<'a>,
    /// How many more tasks it may get.
    left: usize,
    got: usize,
    bytes: u64,
    /// How often it may remove what has expired before.
    sweeps: usize,
    /// What its worker may be given, as it was at the first turn.
    allowed: Option<Allowed>,
}

/// Steps in which one claim removes tasks that have expired; the tick sees to more of them.
const SWEEPS: usize = 32;

impl<'a> ClaimTurns<'a> {
    /// The beginning of a claim.
    pub fn new(claim: Claim<'a>) -> ClaimTurns<'a> {
        ClaimTurns { claim, left: claim.count, got: 0, bytes: 0, sweeps: SWEEPS, allowed: None }
    }

    /// Hands out ready tasks of one turn; `None` where there is nothing (more) for this claim. What has expired goes
    /// first, so an event may say that instead. It is to be applied before the next turn. Before the first,
    /// [`State::pass_over`] is to be asked. Errors: `Paused`, `Exhausted`.
    pub fn turn(&mut self, state: &State, now: Now, entropy: Entropy) -> Result<Option<Event<'a>>, Refusal> {
        if !state.paused(now.at, Gate::Out).is_open() {
            return Err(Refusal::Paused);
        }
        if state.is_behind(now.at) {
            let expired = state.expired_tasks(now.at).filter(|_| self.sweeps > 0);
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

    /// Leases for at most `limit` tasks of a lane.
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
        for (_, place) in lane.in_order(&state.log, Rank::FIRST, which).take(limit) {
            let Some(found) = state.at(place) else { break };
            let is_suspect = found.entry.is_some_and(|entry| entry.is_suspect());
            if !self.admits(is_suspect, found.record.payload.len()) {
                self.left = 0;
                break;
            }
            let last = leases.last().map_or(state.last_lease, |lease| lease.number);
            leases.push(self.lease(state, now, entropy, last, &found)?);
            self.got += 1;
            self.left = if is_suspect { 0 } else { self.left - 1 };
            if self.left == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Whether the next task may come along: a suspect comes alone, and the bytes of all but the first are bounded.
    fn admits(&mut self, is_suspect: bool, bytes: usize) -> bool {
        self.bytes += bytes as u64;
        let is_too_much = self.claim.bytes.is_some_and(|max| self.bytes > max);
        let is_first = self.got == 0;
        is_first || !(is_suspect || is_too_much)
    }

    /// A lease on a task, with the number after the last one's or that of the clock.
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
        let lease_ms = self.claim.lease_ms.or(found.record.options.lease_ms);
        let lease_ms = lease_ms.unwrap_or_else(|| state.settings.span_ms(Setting::Lease) as u32);
        let deadline = state.last_deadline(now.at).min(now.at.plus(u64::from(lease_ms)));
        Ok(Lease { id: found.record.id, number, nonce: entropy(), lease_ms, deadline })
    }
}

/// What a worker may be given beside what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// Whatever is in turn.
    All,
    /// No suspect, since it holds other tasks.
    Sound,
    /// Nothing: it holds a suspect, or is to get one.
    Nothing,
}

/// Where a claim may take tasks from.
pub(crate) struct Source<'q> {
    pub lane: &'q Lane,
    /// How many, as far as the lane's group is concerned.
    limit: u64,
    /// Whether it is a turn of a rotation, after which the next is to be looked up anew.
    is_turn: bool,
}

impl State {
    /// The first turn of a claim: all of it, where no groups take turns. Errors: `Paused`, `Exhausted`.
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

    /// The same of a claim that may be for one group only.
    pub fn is_claimable_by(&self, now: Millis, group: Option<&[u8]>) -> bool {
        self.has_for(now, group, Which::All)
    }

    /// The same of a claim by a worker with a name; empty for none.
    pub fn is_claimable_for(&self, now: Millis, group: Option<&[u8]>, worker: &[u8]) -> bool {
        match self.allowed(worker) {
            Allowed::All => self.has_for(now, group, Which::All),
            Allowed::Sound => self.has_for(now, group, Which::Sound),
            Allowed::Nothing => false,
        }
    }

    /// Whether all that could be claimed now are suspects, so that no worker that holds anything gets one.
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

    /// Where a claim may take tasks from now, the first first.
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
                None => {
                    // One in the rotation may not run where the clock went back (another node took over), or if it is
                    // behind: no claim looks through a million of these.
                    let most = if self.groups_behind() > 0 { BEHIND_LOOKED_AT } else { usize::MAX };
                    let mut turns = level.turns_or_all(which).take(most);
                    turns.find_map(|(group, left)| {
                        Some((group, left.min(allowed(group)))).filter(|t| t.1 > 0)
                    })?
                }
            };
            let lane = level.lane(group).filter(|lane| limit > 0 && lane.has(which))?;
            Some(Source { lane, limit, is_turn: only.is_some() || level.has_groups() })
        })
    }
}

/// Groups that may not run and still stand in a rotation, that a claim passes over until the tick has seen to them.
const BEHIND_LOOKED_AT: usize = 1000;

/// No group has this number.
const UNKNOWN: GroupNumber = GroupNumber(u32::MAX);
