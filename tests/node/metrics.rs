//! The counters of a node, and the gauges of its queues.

use std::thread;
use std::time::Duration;

use taskslot_engine::{Millis, Totals};
use taskslot_node::{Counters, GaugeValues, Gauges, QueueGauge};

const BIG: usize = 256 << 20;

/// Totals that are all 0, except the first.
fn first(total: u64) -> [u64; Totals::COUNT] {
    let mut totals = [0; Totals::COUNT];
    totals[0] = total;
    totals
}

#[test]
fn totals_are_summed_over_queues_and_can_decrease() {
    let mut counters = Counters::new();
    counters.add(&first(0), &first(3));
    counters.add(&first(100), &first(104));
    assert_eq!(counters.totals(), first(7));
    counters.add(&first(104), &first(102));
    assert_eq!(counters.totals(), first(5));
}

#[test]
fn a_total_can_fall_below_its_first_value() {
    let mut counters = Counters::new();
    counters.add(&first(1), &first(0));
    counters.add(&first(0), &first(1));
    assert_eq!(counters.totals(), first(0));
}

#[test]
fn a_tick_is_slow_from_five_milliseconds_on() {
    let mut counters = Counters::new();
    for took in [0, 4_999, 5_000, 70_000] {
        counters.add_tick(Duration::from_micros(took));
    }
    assert_eq!(counters.slow_ticks(), 2);
}

#[test]
fn the_largest_lag_is_shown_for_a_minute() {
    let mut counters = Counters::new();
    let start = Millis(1_700_000_000_000);
    counters.add_lag(start, 40);
    counters.add_lag(start.plus(1), 7);
    assert_eq!(counters.lag_ms(start), 40);
    counters.add_lag(start.plus(30_000), 12);
    assert_eq!(counters.lag_ms(start.plus(60_000)), 40);
    assert_eq!(counters.lag_ms(start.plus(70_000)), 12);
    assert_eq!(counters.lag_ms(start.plus(100_000)), 0);
}

#[test]
fn a_new_lag_replaces_one_that_is_too_old() {
    let mut counters = Counters::new();
    let start = Millis(1_700_000_000_000);
    counters.add_lag(start, 5000);
    counters.add_lag(start.plus(70_000), 3);
    assert_eq!(counters.lag_ms(start.plus(70_000)), 3);
}

#[test]
fn a_node_that_was_never_late_has_no_lag() {
    let counters = Counters::default();
    assert_eq!([Millis(0), Millis(1), Millis::MAX].map(|at| counters.lag_ms(at)), [0; 3]);
}

#[test]
fn the_latency_threshold_is_read_once_a_second() {
    let mut counters = Counters::new();
    let at = Millis(5000);
    assert_eq!(counters.threshold_ms(at), None);
    counters.set_threshold(at, 100);
    assert_eq!(counters.threshold_ms(at.plus(999)), Some(100));
    assert_eq!(counters.threshold_ms(at.plus(1000)), None);
}

#[test]
fn gauges_follow_each_queue_until_it_is_freed() {
    let gauges = Gauges::new();
    let (mut one, mut other, unused) = (QueueGauge::default(), QueueGauge::default(), QueueGauge::default());
    gauges.update(&mut one, 1000, false);
    gauges.update(&mut other, 500, true);
    assert_eq!(gauges.read(), GaugeValues { queues: 2, bytes: 1500, broken: 1, big: 0 });
    gauges.update(&mut one, 200, false);
    gauges.update(&mut other, 500, false);
    assert_eq!(gauges.read(), GaugeValues { queues: 2, bytes: 700, broken: 0, big: 0 });
    gauges.update(&mut one, 0, true);
    assert_eq!(gauges.read(), GaugeValues { queues: 2, bytes: 500, broken: 1, big: 0 });
    [one, other, unused].into_iter().for_each(|gauge| gauges.remove(gauge));
    assert_eq!(gauges.read(), GaugeValues { queues: 0, bytes: 0, broken: 0, big: 0 });
}

#[test]
fn a_queue_that_becomes_big_is_reported_each_time() {
    let gauges = Gauges::default();
    let mut gauge = QueueGauge::default();
    let became_big =
        [BIG - 1, BIG, BIG + 1, BIG - 1, BIG].map(|bytes| gauges.update(&mut gauge, bytes, false));
    assert_eq!(became_big, [false, true, false, false, true]);
    assert_eq!(gauges.read().big, 1);
    gauges.remove(gauge);
    assert_eq!(gauges.read(), Gauges::new().read());
}

#[test]
fn queues_freed_on_other_threads_leave_the_gauges() {
    let gauges = Gauges::new();
    thread::scope(|threads| {
        for nth in 0..4 {
            let gauges = &gauges;
            let mut gauge = QueueGauge::default();
            threads.spawn(move || {
                for step in 0..1000 {
                    gauges.update(&mut gauge, BIG * (step % 3) + nth, step % 2 == 0);
                }
                gauges.remove(gauge);
            });
        }
    });
    assert_eq!(gauges.read(), GaugeValues { queues: 0, bytes: 0, broken: 0, big: 0 });
}
