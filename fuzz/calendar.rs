//! Cron expressions and files of time zones. The parts of an input: an expression, the name of a zone, the contents of
//! the zone's file (empty for the built-in zone), and an instant in eight bytes.

use std::cell::RefCell;

use taskslot_engine::{Calendar, EXPRESSION_MAX_BYTES, Millis, Zone, Zones};

use crate::parts::split;

const MINUTE_MS: u64 = 60_000;
const DAY_MINUTES: u64 = 24 * 60;
/// How many days the oracle searches: as many as there are in the years that the calendar must search.
const DAYS: u64 = 40 * 365;
/// An instant in the year 9900. Behind it a search can end with the calendar.
const LATE_MS: u64 = 250_000_000_000_000;

thread_local! {
    /// The zone of the file that is read.
    static FROM_FILE: RefCell<Option<Zone>> = const { RefCell::new(None) };
}

/// Where the zone of the file is found by every name.
const FILE: Zones = Zones::new(|_| FROM_FILE.with_borrow(Clone::clone));

/// Searches runs of an expression in a zone. In UTC they are compared with those of the oracle.
pub fn run(input: &[u8]) {
    let parts = split(input);
    let [expression, name, file, instant, ..] = parts[..] else { return };
    let (Ok(expression), Ok(name)) = (std::str::from_utf8(expression), std::str::from_utf8(name)) else {
        return;
    };
    let instant = instant.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    let after = Millis(instant % (Millis::MAX.0 + 1));
    let zone = Zone::read(name, file);
    let zones = if zone.is_some() { FILE } else { Zones::BUILT_IN };
    let is_invented = zone.is_some();
    FROM_FILE.set(zone);
    if Zone::is_name(name) {
        assert!(!name.contains("..") && !name.starts_with('/'), "no name leads out of a folder");
    }
    let Ok(calendar) = Calendar::parse(expression, name, zones) else { return };
    assert!(expression.len() <= EXPRESSION_MAX_BYTES);
    let next = calendar.next_after(after);
    goes_on(&calendar, after, next, is_invented);
    if !is_invented && name == "UTC" && after.0 < LATE_MS {
        assert_eq_to_oracle(expression, after, next);
    }
}

/// Checks the next runs: each is later than the one before, and stays the next until it is over.
fn goes_on(calendar: &Calendar, mut after: Millis, mut next: Option<Millis>, is_invented: bool) {
    for _ in 0..4 {
        let Some(run) = next else { return };
        assert!(run <= Millis::MAX);
        // Runs are searched from a whole minute on.
        assert!(run.0 > after.0 / MINUTE_MS * MINUTE_MS, "{run:?} after {after:?}");
        if !is_invented {
            for between in [after.0 + (run.0.saturating_sub(after.0)) / 2, run.0 - 1] {
                let between = Millis(between.max(after.0));
                assert_eq!(calendar.next_after(between), Some(run), "still next at {between:?}");
            }
        }
        after = run;
        next = calendar.next_after(run);
    }
}

/// Compares a run with the one that is found by trying all days, then all minutes of one.
fn assert_eq_to_oracle(expression: &str, after: Millis, next: Option<Millis>) {
    let expected = oracle(expression, after);
    match (next, expected) {
        // The calendar may search further than the oracle.
        (Some(next), None) => {
            assert!(next.0 / MINUTE_MS / DAY_MINUTES > after.0 / MINUTE_MS / DAY_MINUTES + DAYS)
        }
        _ => assert_eq!(next, expected, "{expression} after {after:?}"),
    }
}

/// The next run in UTC, of a valid expression.
fn oracle(expression: &str, after: Millis) -> Option<Millis> {
    let fields: Vec<&str> = expression.split_ascii_whitespace().collect();
    let [minutes, hours, days, months, weekdays] = fields[..] else { panic!("five fields") };
    let (minutes, hours) = (numbers(minutes, 0, 59), numbers(hours, 0, 23));
    let (in_month, in_week) = (numbers(days, 1, 31), numbers(weekdays, 0, 6));
    let of_year = numbers(months, 1, 12);
    let both = days.starts_with('*') || weekdays.starts_with('*');
    let first = after.0 / MINUTE_MS + 1;
    for day in first / DAY_MINUTES..=first / DAY_MINUTES + DAYS {
        let (month, date, last) = civil(day);
        // The first of January 1970 was a Thursday.
        let weekday = (day + 4) % 7;
        let is_in_month = in_month.contains(&date) || date == last && has_last(days);
        let is_in_week = in_week.contains(&weekday) || weekday == 0 && in_week.contains(&7);
        let fits = if both { is_in_month && is_in_week } else { is_in_month || is_in_week };
        if !fits || !of_year.contains(&month) {
            continue;
        }
        let minute = (day * DAY_MINUTES..(day + 1) * DAY_MINUTES).find(|&minute| {
            let of_day = minute % DAY_MINUTES;
            minute >= first && hours.contains(&(of_day / 60)) && minutes.contains(&(of_day % 60))
        });
        if let Some(minute) = minute {
            return Some(Millis(minute * MINUTE_MS)).filter(|run| *run <= Millis::MAX);
        }
    }
    None
}

fn has_last(days: &str) -> bool {
    days.split(',').any(|item| item.eq_ignore_ascii_case("L") || item.eq_ignore_ascii_case("L-L"))
}

/// The numbers that a field names.
fn numbers(field: &str, low: u64, high: u64) -> Vec<u64> {
    let mut numbers = Vec::new();
    for item in field.split(',') {
        let (span, step) = item.split_once('/').unwrap_or((item, "1"));
        let step: usize = step.parse().expect("a step");
        if span == "*" {
            numbers.extend((low..=high).step_by(step));
            continue;
        }
        let (first, last) = span.split_once('-').unwrap_or((span, span));
        let (Some(first), Some(last)) = (number(first), number(last)) else { continue };
        // A range of weekdays can end with the Sunday that is 7.
        let last = if high == 6 && last == 0 && first > 0 { 7 } else { last };
        numbers.extend((first..=last).step_by(step));
    }
    numbers
}

/// The number of a text or a name; `None` for the last day of a month.
fn number(text: &str) -> Option<u64> {
    const NAMES: [&str; 19] = [
        "SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL",
        "AUG", "SEP", "OCT", "NOV", "DEC",
    ];
    let named = NAMES.iter().position(|name| name.eq_ignore_ascii_case(text));
    let named = named.map(|at| if at < 7 { at } else { at - 6 } as u64);
    if text.eq_ignore_ascii_case("L") {
        None
    } else {
        Some(named.unwrap_or_else(|| text.parse().expect("a number")))
    }
}

/// The month, the day and the number of days of the month, of a day since the first of January 1970.
fn civil(mut day: u64) -> (u64, u64, u64) {
    const CYCLE_DAYS: u64 = 146_097; // 400 years
    day %= CYCLE_DAYS;
    let mut year = 1970;
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let of_year = |year| if is_leap(year) { 366 } else { 365 };
    while day >= of_year(year) {
        day -= of_year(year);
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    for (month, length) in (1..).zip([31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) {
        if day < length {
            return (month, day + 1, length);
        }
        day -= length;
    }
    unreachable!("a year has no more days")
}
