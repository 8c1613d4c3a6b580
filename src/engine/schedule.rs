//! What is set of a schedule: when it runs, what becomes of missed runs, and what each run pushes.

use serde::{Deserialize, Serialize};

use crate::bounds::SPAN_MAX_MS;
use crate::calendar::{BadRule, Calendar, EXPRESSION_MAX_BYTES};
use crate::task::{Hold, Options, Unique};
use crate::time::{Due, Millis, Now};
use crate::zones::{ZONE_MAX_BYTES, Zones};

/// The shortest interval: a tenth of what a server does in a moment anyway, and longer than what a timer is late.
pub const EVERY_MIN_MS: u64 = 100;
/// The most bytes of a schedule's payload: it travels in an event, and is kept as long as the schedule.
pub const SCHEDULED_MAX_BYTES: usize = 1 << 20;

/// When a schedule runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trigger<'a> {
    /// At intervals, the first time after one.
    #[serde(rename = "e")]
    Every(u64),
    /// At the instants of an expression, in a time zone; see `calendar`.
    #[serde(rename = "c")]
    Cron(&'a str, &'a str),
}

/// What becomes of runs that were missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Catchup {
    /// Nothing.
    #[serde(rename = "n")]
    None,
    /// One run is made, however many were missed.
    #[default]
    #[serde(rename = "o")]
    One,
}

/// What is set of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleSpec<'a> {
    /// When it runs.
    #[serde(borrow)]
    pub timing: Trigger<'a>,
    /// What becomes of missed runs.
    pub catchup: Catchup,
    /// What holds for each task. A token's hold ends so long after the run: its instant is a span here.
    #[serde(borrow)]
    pub options: Options<'a>,
    /// The payload of each task.
    #[serde(with = "serde_bytes")]
    pub payload: &'a [u8],
}

/// Why a schedule can't be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScheduleError {
    /// Its rule is none.
    Bad(BadRule),
    /// The queue holds [`crate::SCHEDULES_MAX`] others.
    TooMany,
}

/// The timing, ready to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Recurrence {
    Every(u64),
    Cron(Calendar),
    /// Of another node, which knows a zone that this doesn't.
    Unknown,
}

impl Recurrence {
    pub fn read(timing: Trigger<'_>, zones: Zones) -> Result<Recurrence, BadRule> {
        Ok(match timing {
            Trigger::Every(ms) => Recurrence::Every(ms),
            Trigger::Cron(expression, zone) => Recurrence::Cron(Calendar::parse(expression, zone, zones)?),
        })
    }

    /// The first instant after now, on from the one before in the case of intervals.
    pub fn next(&self, now: &Now, before: Option<Due>) -> Option<Due> {
        Some(match self {
            Recurrence::Every(ms) => {
                let from = before.map_or(now.at, Due::instant);
                let intervals = now.at.since(from) / (*ms).max(1) + 1;
                Due::Clock(from.plus(intervals.saturating_mul(*ms)))
            }
            Recurrence::Cron(calendar) => Due::Wall(calendar.next_after(now.wall)?),
            Recurrence::Unknown => return None,
        })
    }
}

impl<'a> ScheduleSpec<'a> {
    /// What holds for the task of a run at `at`.
    pub(crate) fn options_at(&self, at: Millis) -> Options<'a> {
        let unique = self.options.unique.map(|unique| {
            let hold = match unique.hold {
                Hold::AtMost(span) => Hold::AtMost(at.plus(span.0)),
                Hold::Exactly(span) => Hold::Exactly(at.plus(span.0)),
                hold => hold,
            };
            Unique { hold, ..unique }
        });
        Options { unique, ..self.options }
    }

    pub(crate) fn are_sizes_valid(&self) -> bool {
        let timing = match self.timing {
            Trigger::Every(ms) => (EVERY_MIN_MS..=SPAN_MAX_MS.unsigned_abs()).contains(&ms),
            Trigger::Cron(expression, zone) => {
                expression.len() <= EXPRESSION_MAX_BYTES && zone.len() <= ZONE_MAX_BYTES
            }
        };
        timing && self.options.are_valid() && self.payload.len() <= SCHEDULED_MAX_BYTES
    }
}
