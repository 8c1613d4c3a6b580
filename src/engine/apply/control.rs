//! Events that change the queue but none of its tasks: settings, pauses, terms, clocks, remembered replies.

use crate::bounds::{CLOCK_OFFSET_MAX_MS, NAME_MAX_BYTES};
use crate::invalid::{Applied, Invalid, ensure};
use crate::pause::{Gate, Pause};
use crate::request::Answer;
use crate::settings::Rule;
use crate::state::State;
use crate::store::requests::Request;
use crate::task::LeaseNumber;
use crate::time::{Millis, Stamp};

impl State {
    pub(crate) fn apply_answered(
        &mut self,
        token: &[u8],
        at: Millis,
        kept_until: Millis,
        answer: &Answer,
    ) -> Applied {
        ensure(token.len() <= NAME_MAX_BYTES, "a token's length")?;
        let request = Request { token: token.into(), kept_until, answer: answer.clone() };
        ensure(request.is_valid(), "a valid reply to remember")?;
        self.requests.remember(at, request);
        Ok(())
    }

    pub(crate) fn apply_term(&mut self, term: u64, floor: LeaseNumber, clocks: Option<&Stamp>) -> Applied {
        ensure(floor <= LeaseNumber::MAX, "a lease number")?;
        ensure(clocks.is_none_or(Stamp::is_valid), "clocks in bounds")?;
        if let Some(clocks) = clocks {
            // These are the clocks of the node that began the term. While a slot moves here, that can be its former owner.
            // Its clocks say nothing about this node's, so the numbers stay at least as far ahead as they arrived.
            let least_us = if self.has_arrived { self.ahead_us } else { 0 };
            self.ahead_us = least_us.max(self.ahead_of(clocks, floor));
        }
        (self.term, self.has_arrived) = (term, false);
        self.last_lease = self.last_lease.max(floor);
        Ok(())
    }

    pub(crate) fn apply_clock(&mut self, offset_ms: i64) -> Applied {
        ensure(offset_ms.unsigned_abs() <= CLOCK_OFFSET_MAX_MS as u64, "a clock's offset")?;
        self.clock_offset_ms = offset_ms;
        Ok(())
    }

    pub(crate) fn apply_configured(&mut self, values: &[(&str, i64)]) -> Applied {
        self.apply_settings(|state| {
            values.iter().try_for_each(|(name, value)| {
                let rule = Rule::named(name.as_bytes()).ok_or(Invalid("a known setting"))?;
                ensure(state.settings.set(rule, *value), "a setting's bounds")
            })
        })
    }

    pub(crate) fn apply_paused(&mut self, gate: Gate, until: Option<Millis>) -> Applied {
        ensure(until.is_none_or(|until| (Millis(1)..=Millis::MAX).contains(&until)), "an instant")?;
        self.pauses.set(gate, Pause::of(until));
        Ok(())
    }

    pub(crate) fn apply_resumed(&mut self, gate: Gate) -> Applied {
        self.pauses.set(gate, Pause::Open);
        Ok(())
    }
}
