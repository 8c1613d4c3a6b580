//! The definition of a schedule: when it runs, what happens after missed runs, and what each run pushes.

use serde::{Deserialize, Serialize};

use crate::bounds::SPAN_MAX_MS;
use crate::calendar::{BadRule, Calendar, EXPRESSION_MAX_BYTES};
use crate::task::{Hold, Options, Unique};
use crate::time::{Due, Millis, Now};
use crate::zones::{ZONE_MAX_BYTES, Zones};

/// The shortest interval in ms. It allows ten runs per second, and is well above the delay of a timer.
pub const EVERY_MIN_MS: u64 = 100;
/// The most bytes of a schedule's payload. It is part of an event and stays in memory with the schedule.
pub const SCHEDULED_MAX_BYTES: usize = 1 << 20;

/// When a schedule runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trigger<'a> {
    /// At intervals of this many ms, the first time after one interval.
    #[serde(rename = "e")]
    Every(u64),
    /// At the instants of a cron expression (first) in a time zone (second); see `calendar`.
    #[serde(rename = "c")]
    Cron(&'a str, &'a str),
}

/// What happens after runs were missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Catchup {
    /// Nothing: the next run is the next planned one.
    #[serde(rename = "n")]
    None,
    /// One run is made, however many were missed.
    #[default]
    #[serde(rename = "o")]
    One,
}

/// The definition of a schedule, as it was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleSpec<'a> {
    /// When it runs.
    #[serde(borrow)]
    pub timing: Trigger<'a>,
    /// What happens after runs were missed.
    pub catchup: Catchup,
    /// The options of each task. A token's `hold` contains a span here, counted from the run, instead of an instant.
    #[serde(borrow)]
    pub options: Options<'a>,
    /// The payload of each task, at most [`SCHEDULED_MAX_BYTES`].
    #[serde(with = "serde_bytes")]
    pub payload: &'a [u8],
}

/// Why a schedule can't be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScheduleError {
    /// Its expression or its time zone is refused.
    Bad(BadRule),
    /// The queue has [`crate::SCHEDULES_MAX`] other schedules.
    TooMany,
}

/// A parsed trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Recurrence {
    Every(u64),
    Cron(Calendar),
    /// A trigger from another node in a time zone that this node doesn't know. It has no runs here.
    Unknown,
}

impl Recurrence {
    pub fn read(timing: Trigger<'_>, zones: Zones) -> Result<Recurrence, BadRule> {
        Ok(match timing {
            Trigger::Every(ms) => Recurrence::Every(ms),
            Trigger::Cron(expression, zone) => Recurrence::Cron(Calendar::parse(expression, zone, zones)?),
        })
    }

    /// The first instant after now. Intervals are counted from `before`, the last planned instant.
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
    /// The options for the task of a run at `at`.
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
        timing
            && self.options.are_valid()
            && self.options.batch.is_empty()
            && self.payload.len() <= SCHEDULED_MAX_BYTES
    }
}
