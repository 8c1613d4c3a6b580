//! Cron expressions in time zones: the instants that an expression names.
//!
//! An expression has five fields, `minute hour day-of-month month day-of-week`. Each is `*` or a list of numbers,
//! ranges `a-b` and steps `*/n`, `a-b/n`. Months and weekdays have names (`JAN`, `SUN`); Sunday is 0 or 7; `L` is the
//! last day of a month. If both day fields are restricted, a day must match one of them. If one of them begins with
//! `*`, a day must match both. This is the traditional rule of cron.
//!
//! When a zone's clocks change:
//! - A local time that is skipped runs at the first instant after the gap. If several are skipped, there is one run.
//! - A local time that occurs twice runs the first time.
//! - An expression for *every* hour (`*/10 * * * *`) means intervals and follows real time. It continues through the
//!   repeated hour, and has no run for the skipped one.
//!
//! The crate croner 4 was tried. An expression that never matches (`0 0 31 2,4,6,9,11 *`) blocked the server for 62 ms,
//! and its behaviour at clock changes differs from the above. See `zones` for where the rules of a zone come from.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::AmbiguousOffset;
use jiff::{SignedDuration, Timestamp};

use crate::time::Millis;
use crate::zones::{Zone, Zones};

/// The most bytes of an expression.
pub const EXPRESSION_MAX_BYTES: usize = 256;

/// How many years ahead to search. The rarest day is a 29th of February on a given weekday, across the year 2100.
const HORIZON_YEARS: i16 = 41;
/// Every minute of the clock occurs within this many minutes, even if the clock changes by an odd span meanwhile.
const HOURLY_MINUTES: i64 = 180;
/// How many days without a matching minute an hourly expression can have, because they were skipped.
const DAYS_LEFT_OUT: u32 = 32;
/// How many local times to skip because they occur twice: more than the minutes of a day.
const REPEATED_MINUTES: u32 = 2000;
/// A gap ends with one of this many transitions. Others in between can change only the zone's abbreviation.
const GAP_TRANSITIONS: usize = 4;

const MINUTE_MS: u64 = 60_000;
const EVERY_HOUR: u64 = (1 << 24) - 1;

/// Why an expression in a zone is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadRule {
    /// It does not have five valid fields.
    Expression,
    /// The time zone is not known here.
    Zone,
    /// It never matches: no calendar has this date.
    Never,
}

/// A parsed expression in its time zone. Each field is a set of numbers, stored as bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    minutes: u64,
    hours: u64,
    /// Days 1 to 31. Bit 0 stands for the last day of the month (`L`).
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether a day must match both day fields; otherwise one of them is enough.
    both_days: bool,
    zone: Zone,
}

impl Calendar {
    /// Parses an expression and looks up its zone in `zones`, such as `Europe/Berlin`; the name is case-sensitive.
    /// Errors: `Expression` or `Zone`.
    pub fn parse(expression: &str, zone: &str, zones: Zones) -> Result<Calendar, BadRule> {
        let mut fields = expression.split_ascii_whitespace();
        let mut next = || fields.next().ok_or(BadRule::Expression);
        let texts = [next()?, next()?, next()?, next()?, next()?];
        let is_over = fields.next().is_none() && expression.len() <= EXPRESSION_MAX_BYTES;
        let [minutes, hours, days, months, weekdays] = texts;
        let read = |text, low, high, names| set(text, low, high, names).ok_or(BadRule::Expression);
        let weekday_bits = read(weekdays, 0, 7, &WEEKDAYS)?;
        let calendar = Calendar {
            minutes: read(minutes, 0, 59, &[])?,
            hours: read(hours, 0, 23, &[])?,
            days: read(days, 1, 31, &LAST_DAY)?,
            months: read(months, 1, 12, &MONTHS)?,
            // Both 0 and 7 are Sunday.
            weekdays: (weekday_bits | weekday_bits >> 7) & 0x7f,
            both_days: days.starts_with('*') || weekdays.starts_with('*'),
            zone: zones.find(zone).ok_or(BadRule::Zone)?,
        };
        if is_over { Ok(calendar) } else { Err(BadRule::Expression) }
    }

    /// The first matching instant after `after`; `None` if there is none that a queue can store.
    pub fn next_after(&self, after: Millis) -> Option<Millis> {
        // Runs are at whole minutes.
        let minute = after.0 / MINUTE_MS * MINUTE_MS;
        let after = Timestamp::from_millisecond(i64::try_from(minute).ok()?).ok()?;
        let next = if self.hours == EVERY_HOUR { self.next_real(after) } else { self.next_local(after) }?;
        u64::try_from(next.as_millisecond()).ok().map(Millis).filter(|next| *next <= Millis::MAX)
    }

    /// The next instant by the local clock. Each matching local time counts at its first instant, and skipped ones
    /// after the gap. As local times advance, these instants never go back.
    fn next_local(&self, after: Timestamp) -> Option<Timestamp> {
        let mut local = self.local(after);
        for _ in 0..REPEATED_MINUTES {
            local = self.next_time(local)?;
            let instant = self.instant(local)?;
            if instant > after {
                return Some(instant);
            }
        }
        None
    }

    /// The next instant by real time: one minute after the other, whatever the local clock does.
    fn next_real(&self, after: Timestamp) -> Option<Timestamp> {
        let mut from = after;
        for _ in 0..DAYS_LEFT_OUT {
            for minutes in 1..=HOURLY_MINUTES {
                let instant = from.checked_add(SignedDuration::from_mins(minutes)).ok()?;
                let local = self.local(instant);
                if self.has_day(local.date()) && has(self.minutes, local.minute()) {
                    return Some(instant);
                }
            }
            // No match on this day: continue at the minute before the next matching day, unless that is in the past.
            let day = self.next_day(self.local(from).date().tomorrow().ok()?)?;
            let midnight = self.instant(day.to_datetime(Time::midnight()))?;
            from = from.max(midnight.checked_sub(SignedDuration::from_mins(1)).ok()?);
        }
        None
    }

    fn local(&self, instant: Timestamp) -> DateTime {
        self.zone.rules().to_datetime(instant)
    }

    /// The first instant that a local time names. If it is skipped, the first instant after the gap.
    fn instant(&self, local: DateTime) -> Option<Timestamp> {
        let rules = self.zone.rules();
        match rules.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(local).ok(),
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(local).ok(),
            AmbiguousOffset::Gap { after, .. } => {
                // By the clock after the gap, the local time is before the gap.
                let before = after.to_timestamp(local).ok()?;
                let mut ends = rules.following(before).take(GAP_TRANSITIONS);
                ends.find(|end| end.offset() == after).map(|end| end.timestamp())
            }
        }
    }

    /// The next matching local time after this one.
    fn next_time(&self, after: DateTime) -> Option<DateTime> {
        let next_minute = i32::from(after.hour()) * 60 + i32::from(after.minute()) + 1;
        if self.has_day(after.date())
            && let Some(time) = self.next_in_day(next_minute)
        {
            return Some(after.date().to_datetime(time));
        }
        let tomorrow = after.date().tomorrow().ok()?;
        Some(self.next_day(tomorrow)?.to_datetime(self.next_in_day(0)?))
    }

    /// The first matching time of a day, at or after the given minute of the day.
    fn next_in_day(&self, from: i32) -> Option<Time> {
        let (hour, minute) = (from / 60, from % 60);
        let in_hour = (minute..60).find(|&m| has(self.hours, hour) && has(self.minutes, m));
        let (hour, minute) = match in_hour {
            Some(minute) => (hour, minute),
            None => (
                (hour + 1..24).find(|&h| has(self.hours, h))?,
                i32::try_from(self.minutes.trailing_zeros()).ok()?,
            ),
        };
        Time::new(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, 0, 0).ok()
    }

    /// The first matching day, at or after this one.
    fn next_day(&self, from: Date) -> Option<Date> {
        let mut day = from;
        while day.year() - from.year() <= HORIZON_YEARS {
            if self.has_day(day) {
                return Some(day);
            }
            let last = if has(self.months, day.month()) { day } else { day.last_of_month() };
            day = last.tomorrow().ok()?;
        }
        None
    }

    fn has_day(&self, day: Date) -> bool {
        let is_last = || day.day() == day.days_in_month();
        let in_month = has(self.days, day.day()) || (has(self.days, 0) && is_last());
        let in_week = has(self.weekdays, day.weekday().to_sunday_zero_offset());
        let fits = if self.both_days { in_month && in_week } else { in_month || in_week };
        fits && has(self.months, day.month())
    }
}

const MONTHS: [(&str, u32); 12] = [
    ("JAN", 1),
    ("FEB", 2),
    ("MAR", 3),
    ("APR", 4),
    ("MAY", 5),
    ("JUN", 6),
    ("JUL", 7),
    ("AUG", 8),
    ("SEP", 9),
    ("OCT", 10),
    ("NOV", 11),
    ("DEC", 12),
];
const WEEKDAYS: [(&str, u32); 7] =
    [("SUN", 0), ("MON", 1), ("TUE", 2), ("WED", 3), ("THU", 4), ("FRI", 5), ("SAT", 6)];
const LAST_DAY: [(&str, u32); 1] = [("L", 0)];

fn has(set: u64, number: impl Into<i32>) -> bool {
    let rest = u32::try_from(number.into()).ok().and_then(|number| set.checked_shr(number));
    rest.is_some_and(|rest| rest & 1 == 1)
}

/// Parses a field into a set of numbers from `low` to `high`.
fn set(text: &str, low: u32, high: u32, names: &[(&str, u32)]) -> Option<u64> {
    text.split(',').try_fold(0, |set, item| Some(set | range(item, low, high, names)?))
}

/// Parses `*`, `a` or `a-b`. `*` and `a-b` can have a step.
fn range(text: &str, low: u32, high: u32, names: &[(&str, u32)]) -> Option<u64> {
    let (span, step) = match text.split_once('/') {
        Some((span, step)) => (span, Some(number(step).filter(|step| (1..=high).contains(step))?)),
        None => (text, None),
    };
    let one = |text: &str| {
        let named = names.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, number)| *number);
        named.or_else(|| number(text).filter(|number| (low..=high).contains(number)))
    };
    let (first, last) = match span.split_once('-') {
        // 7 as Sunday is for lists and ranges only; `*` would include Sunday twice.
        _ if span == "*" => (low, if high == 7 { 6 } else { high }),
        Some((first, last)) => match (one(first)?, one(last)?) {
            // MON-SUN ends with the Sunday that is 7.
            (first, 0) if high == 7 && first > 0 => (first, 7),
            both => both,
        },
        // The meaning of `a/n` differs between cron implementations.
        None if step.is_some() => return None,
        None => (one(span)?, one(span)?),
    };
    // The last day of the month can't end a range.
    let is_range = first <= last && (first == last || first >= low);
    is_range.then(|| (first..=last).step_by(step.unwrap_or(1) as usize).fold(0, |set, n| set | 1 << n))
}

/// Parses a decimal of one or two digits.
fn number(text: &str) -> Option<u32> {
    let is_plain = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}
