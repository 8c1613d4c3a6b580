//! Cron expressions and time zones: which instants an expression names.
//!
//! Five fields, `minute hour day-of-month month day-of-week`, each `*` or a list of numbers, ranges `a-b` and steps
//! `*/n`, `a-b/n`. Months and weekdays have names (`JAN`, `SUN`), Sunday is 0 or 7, `L` is the last day of a month. Where
//! both day fields are restricted a day of either will do; where one of them begins with `*`, both must fit, as ever in cron.
//!
//! In a zone whose clocks are changed:
//! - A local time that doesn't exist is shifted to the first instant after the gap; of several there is one run.
//! - One that exists twice is run at its first.
//! - An expression of *every* hour (`*/10 * * * *`) means intervals, and follows real time: it goes on through the hour
//!   that is repeated, and makes no run for the one that is left out.
//!
//! A crate for this was tried (croner 4): an expression that never comes true (`0 0 31 2,4,6,9,11 *`) held the server for
//! 62 ms, and what it does with changed clocks isn't what is said above. Zones are those of `chrono-tz`.

use chrono::{
    DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Timelike, Utc,
};
use chrono_tz::{GapInfo, Tz};

use crate::time::Millis;

/// The most bytes of an expression.
pub const EXPRESSION_MAX_BYTES: usize = 256;
/// The most bytes of a zone's name.
pub const ZONE_MAX_BYTES: usize = 64;

/// No day is further away that comes at all: a 29th of February that is a certain weekday, over a year 2100.
const HORIZON_YEARS: u32 = 41;
/// Within so many minutes every minute of the clock comes, also where clocks are changed by odd spans meanwhile.
const HOURLY_MINUTES: u32 = 180;
/// Days on which an hourly expression may find no minute at all, since the day is left out.
const DAYS_LEFT_OUT: u32 = 32;
/// Local times that are passed by since they exist twice: a day and more of minutes.
const REPEATED_MINUTES: u32 = 2000;

const MINUTE_MS: u64 = 60_000;
const EVERY_HOUR: u64 = (1 << 24) - 1;

/// What is wrong with an expression or zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadRule {
    /// Not five fields of minute, hour, day, month and weekday.
    Expression,
    /// No time zone of this build.
    Zone,
    /// A date that no calendar has.
    Never,
}

/// An expression in a zone, ready to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    minutes: u64,
    hours: u64,
    /// Bit 0 is the last day of the month.
    days: u64,
    months: u64,
    weekdays: u64,
    /// Both day fields must fit; else one of them.
    both_days: bool,
    zone: Tz,
}

impl Calendar {
    /// Reads an expression and the name of a zone, as `Europe/Berlin`, in that case. Errors: all of [`BadRule`] but `Never`.
    pub fn parse(expression: &str, zone: &str) -> Result<Calendar, BadRule> {
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
            zone: zone.parse().map_err(|_| BadRule::Zone)?,
        };
        if is_over { Ok(calendar) } else { Err(BadRule::Expression) }
    }

    /// The first instant after `after`; `None` if there is none within a queue's time.
    pub fn next_after(&self, after: Millis) -> Option<Millis> {
        // Runs are at whole minutes.
        let minute = after.0 / MINUTE_MS * MINUTE_MS;
        let after = DateTime::from_timestamp_millis(i64::try_from(minute).ok()?)?;
        let next = if self.hours == EVERY_HOUR { self.next_real(after) } else { self.next_local(after) }?;
        u64::try_from(next.timestamp_millis()).ok().map(Millis).filter(|next| *next <= Millis::MAX)
    }

    /// By the clock on the wall: the local times in order, each at its first instant, and those left out after the gap.
    /// These instants never go back while local times go on.
    fn next_local(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
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

    /// By real time: a minute after the other, whatever the local clock does.
    fn next_real(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut from = after;
        for _ in 0..DAYS_LEFT_OUT {
            for minutes in 1..=HOURLY_MINUTES {
                let instant = from.checked_add_signed(chrono::TimeDelta::minutes(i64::from(minutes)))?;
                let local = self.local(instant);
                if self.has_day(local.date()) && has(self.minutes, local.minute()) {
                    return Some(instant);
                }
            }
            // Not on this day any more: from the minute before the next, if that isn't behind us.
            let day = self.next_day(self.local(from).date().succ_opt()?)?;
            let midnight = self.instant(day.and_time(NaiveTime::MIN))?;
            from = from.max(midnight.checked_sub_signed(chrono::TimeDelta::minutes(1))?);
        }
        None
    }

    fn local(&self, instant: DateTime<Utc>) -> NaiveDateTime {
        instant.with_timezone(&self.zone).naive_local()
    }

    /// The first instant that a local time names, or where it doesn't exist, the first after the gap.
    fn instant(&self, local: NaiveDateTime) -> Option<DateTime<Utc>> {
        let earliest = self.zone.from_local_datetime(&local).earliest();
        let instant = earliest.or_else(|| GapInfo::new(&local, &self.zone)?.end)?;
        Some(instant.with_timezone(&Utc))
    }

    /// The next local time after one that the expression names.
    fn next_time(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        if self.has_day(after.date())
            && let Some(time) = self.next_in_day(after.hour() * 60 + after.minute() + 1)
        {
            return Some(after.date().and_time(time));
        }
        Some(self.next_day(after.date().succ_opt()?)?.and_time(self.next_in_day(0)?))
    }

    /// The first time of a day from a minute of it on.
    fn next_in_day(&self, from: u32) -> Option<NaiveTime> {
        let (hour, minute) = (from / 60, from % 60);
        let in_hour = (minute..60).find(|&m| has(self.hours, hour) && has(self.minutes, m));
        let (hour, minute) = match in_hour {
            Some(minute) => (hour, minute),
            None => ((hour + 1..24).find(|&h| has(self.hours, h))?, self.minutes.trailing_zeros()),
        };
        NaiveTime::from_hms_opt(hour, minute, 0)
    }

    /// The first day from this on that the expression names.
    fn next_day(&self, from: NaiveDate) -> Option<NaiveDate> {
        let end = from.checked_add_months(Months::new(12 * HORIZON_YEARS))?;
        let mut day = from;
        while day < end {
            if !has(self.months, day.month()) {
                day = day.with_day(1)?.checked_add_months(Months::new(1))?;
            } else if self.has_day(day) {
                return Some(day);
            } else {
                day = day.checked_add_days(Days::new(1))?;
            }
        }
        None
    }

    fn has_day(&self, day: NaiveDate) -> bool {
        let is_last = || day.succ_opt().is_some_and(|next| next.day() == 1);
        let in_month = has(self.days, day.day()) || (has(self.days, 0) && is_last());
        let in_week = has(self.weekdays, day.weekday().num_days_from_sunday());
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

fn has(set: u64, number: u32) -> bool {
    set.checked_shr(number).is_some_and(|rest| rest & 1 == 1)
}

/// Reads a field: numbers from `low` to `high` as bits.
fn set(text: &str, low: u32, high: u32, names: &[(&str, u32)]) -> Option<u64> {
    text.split(',').try_fold(0, |set, item| Some(set | range(item, low, high, names)?))
}

/// Reads `*`, `a` or `a-b`, the first and the last with a step.
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
        // Sunday as 7 is for lists and ranges; `*` would count it twice.
        _ if span == "*" => (low, if high == 7 { 6 } else { high }),
        Some((first, last)) => match (one(first)?, one(last)?) {
            // MON-SUN goes on to the other Sunday.
            (first, 0) if high == 7 && first > 0 => (first, 7),
            both => both,
        },
        // What `a/n` means differs from one cron to another.
        None if step.is_some() => return None,
        None => (one(span)?, one(span)?),
    };
    // The last day of the month is no end of a range.
    let is_range = first <= last && (first == last || first >= low);
    is_range.then(|| (first..=last).step_by(step.unwrap_or(1) as usize).fold(0, |set, n| set | 1 << n))
}

/// A decimal of one or two digits.
fn number(text: &str) -> Option<u32> {
    let is_plain = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}
