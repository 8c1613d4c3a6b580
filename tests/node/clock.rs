//! The node's clock: how it is slewed, continued after a restart and followed by replicas, and the grace after an
//! outage.

use taskslot_engine::{Beginning, Grace, Millis, Stamp, Term};
use taskslot_node::{Clock, Reading, arrived_ahead_ms, earliest, is_stamp_current};

const START_US: u64 = 1_700_000_000_000_000;
const SECOND: u64 = 1_000_000;
const HOUR: u64 = 3600 * SECOND;

/// A machine whose clocks are set by the test.
#[derive(Clone, Copy)]
struct Machine {
    boot: u64,
    up_us: u64,
    wall_us: u64,
}

impl Machine {
    fn new() -> Machine {
        Machine { boot: 1, up_us: 50 * SECOND, wall_us: START_US }
    }

    fn reading(&self) -> Reading {
        Reading { boot: self.boot, up_us: self.up_us }
    }

    fn passes(&mut self, us: u64) -> &mut Machine {
        self.up_us += us;
        self.wall_us += us;
        self
    }

    fn clock(&self) -> Clock {
        Clock::new(self.reading(), self.wall_us)
    }

    /// The time of the clock, in ms since the start of the test, and the present grace.
    fn asks(&self, clock: &mut Clock) -> (i64, Option<Grace>) {
        let now = clock.now(self.reading(), || self.wall_us, false, 5000);
        (now.at.0 as i64 - (START_US / 1000) as i64, now.grace)
    }

    fn at(&self, clock: &mut Clock) -> i64 {
        self.asks(clock).0
    }

    fn stamp(&self, clock: &Clock) -> Stamp {
        clock.stamp(self.reading(), self.wall_us)
    }
}

#[test]
fn a_wall_clock_that_jumps_slews_the_clock_by_a_hundredth() {
    let mut machine = Machine::new();
    let mut clock = machine.clock();
    machine.wall_us += HOUR;
    assert_eq!(machine.passes(10 * SECOND).at(&mut clock), 10_100);
    assert!(clock.was_stepped() && !clock.was_stepped());
    machine.wall_us -= 3 * HOUR;
    assert_eq!(machine.passes(10 * SECOND).at(&mut clock), 20_000);
}

#[test]
fn time_passes_while_the_machine_sleeps() {
    let mut machine = Machine::new();
    let mut clock = machine.clock();
    let (at, grace) = machine.passes(HOUR).asks(&mut clock);
    assert_eq!(at, 3_600_000);
    assert!(grace.is_some(), "no client was served meanwhile");
}

#[test]
fn a_restart_continues_the_clock_whatever_the_wall_clock_shows() {
    for step in [-2 * HOUR as i64, 0, 2 * HOUR as i64] {
        let mut machine = Machine::new();
        let mut clock = machine.clock();
        machine.wall_us = machine.wall_us.wrapping_add_signed(step);
        machine.passes(SECOND).at(&mut clock);
        let written = machine.stamp(&clock);
        machine.wall_us = machine.wall_us.wrapping_add_signed(-step / 2);
        machine.passes(3 * SECOND);
        let mut again = machine.clock();
        again.resume(machine.reading(), machine.wall_us, &written);
        let at = machine.at(&mut again);
        assert!((3_980..=4_020).contains(&at), "{at} after a step of {step}");
    }
}

#[test]
fn after_a_boot_the_wall_clock_tells_how_long_the_machine_was_off() {
    let mut machine = Machine::new();
    let mut clock = machine.clock();
    machine.wall_us += HOUR;
    machine.passes(SECOND).at(&mut clock);
    let written = machine.stamp(&clock);
    for (off, told) in [(7 * SECOND as i64, 8_010), (-(HOUR as i64), 1_010)] {
        let mut other = Machine { boot: 2, up_us: 3, wall_us: machine.wall_us.wrapping_add_signed(off) };
        let mut again = other.clock();
        again.resume(other.reading(), other.wall_us, &written);
        assert_eq!(other.at(&mut again), told, "off for {off}");
        assert_eq!(other.passes(SECOND).at(&mut again) - told, if off > 0 { 1_010 } else { 990 });
    }
}

#[test]
fn without_a_stamp_the_clock_does_not_fall_behind_the_data() {
    let machine = Machine::new();
    let mut clock = machine.clock();
    clock.served(Millis(START_US / 1000 + 9000));
    clock.on_takeover(5000);
    assert_eq!(machine.at(&mut clock), 9000);
}

#[test]
fn data_of_another_machine_continue_at_the_time_of_their_stamp() {
    let (mut far, mut here) = (Machine::new(), Machine::new());
    (far.boot, far.wall_us) = (2 << 32, far.wall_us - HOUR);
    let written = far.stamp(&far.clock());
    let mut replica = here.passes(SECOND).clock();
    replica.resume(here.reading(), here.wall_us, &written);
    assert_eq!(here.at(&mut replica), -3_600_000);
}

#[test]
fn a_replica_follows_its_primarys_clock() {
    let (mut far, mut here) = (Machine::new(), Machine::new());
    far.boot = 2;
    far.wall_us += HOUR;
    let (mut primary, mut replica) = (far.clock(), here.clock());
    replica.follow(here.reading(), here.wall_us, &far.stamp(&primary));
    assert_eq!(here.at(&mut replica), 3_600_000);
    // It isn't slewed to its own wall clock.
    far.passes(100 * SECOND).at(&mut primary);
    assert_eq!(here.passes(100 * SECOND).at(&mut replica), 3_700_000);
    // A stamp that was on its way for 30 s shows an earlier time. The clock falls back by a fiftieth only.
    let old = far.stamp(&primary);
    far.passes(30 * SECOND);
    here.passes(30 * SECOND);
    replica.follow(here.reading(), here.wall_us, &old);
    assert_eq!(here.at(&mut replica), 3_730_000 - 130_000 / 50);
    // The next stamp corrects it at once.
    far.at(&mut primary);
    replica.follow(here.reading(), here.wall_us, &far.stamp(&primary));
    assert_eq!(here.at(&mut replica), 3_730_000);
    // After a promotion the clock continues, and is slewed to its own wall clock.
    replica.on_takeover(5000);
    assert_eq!(here.passes(10 * SECOND).at(&mut replica), 3_739_900);
}

#[test]
fn the_first_stamp_of_another_primary_is_taken_as_it_is() {
    let (mut far, here) = (Machine::new(), Machine::new());
    far.boot = 2;
    far.wall_us -= HOUR;
    let mut replica = here.clock();
    replica.follow(here.reading(), here.wall_us, &far.stamp(&far.clock()));
    assert_eq!(here.at(&mut replica), -3_600_000);
}

#[test]
fn what_an_earlier_primary_showed_does_not_set_the_clock_forward_at_a_promotion() {
    let (mut machine, mut ahead, mut behind) = (Machine::new(), Machine::new(), Machine::new());
    (ahead.boot, behind.boot) = (2 << 32, 3 << 32);
    ahead.wall_us += HOUR;
    let mut clock = machine.clock();
    clock.follow(machine.reading(), machine.wall_us, &ahead.stamp(&ahead.clock()));
    assert_eq!(machine.at(&mut clock), 3_600_000);
    // It gets all data of another primary, and follows that one.
    clock.resume(machine.reading(), machine.wall_us, &behind.stamp(&behind.clock()));
    clock.on_takeover(5000);
    clock.follow(machine.reading(), machine.wall_us, &behind.stamp(&behind.clock()));
    clock.on_term(Term { id: 1, beginning: Beginning::Promotion });
    clock.on_takeover(5000);
    assert_eq!(machine.passes(SECOND).at(&mut clock), 1000);
}

#[test]
fn a_stamp_that_comes_with_a_term_is_followed_only_until_the_clock_itself_has_sent_one() {
    let (machine, mut primary, mut other) = (Machine::new(), Machine::new(), Machine::new());
    (primary.boot, other.boot) = (2 << 32, 3 << 32);
    primary.wall_us += 10 * SECOND;
    other.wall_us += HOUR;
    let mut clock = machine.clock();
    clock.follow_at_first(machine.reading(), machine.wall_us, &primary.stamp(&primary.clock()));
    assert_eq!(machine.at(&mut clock), 10_000);
    // The former owner of a slot still begins terms in its queues.
    clock.follow_at_first(machine.reading(), machine.wall_us, &other.stamp(&other.clock()));
    assert_eq!(machine.at(&mut clock), 10_000);
}

#[test]
fn a_grace_is_as_long_as_the_outage_that_the_data_shows() {
    let mut machine = Machine::new();
    let mut clock = machine.clock();
    let served = Millis(START_US / 1000);
    clock.served(served);
    machine.passes(700_000).at(&mut clock);
    clock.on_takeover(5000);
    let to = Millis(served.0 + 700);
    assert_eq!(machine.asks(&mut clock).1, Some(Grace { from: served, to, until: Millis(to.0 + 700) }));
}

#[test]
fn a_server_that_crashes_repeatedly_has_a_separate_grace_for_each_outage() {
    let mut machine = Machine::new();
    let deadline = Millis(START_US / 1000 + 200);
    let mut written = machine.stamp(&machine.clock());
    for start in 0..7 {
        machine.passes(300_000);
        let mut clock = machine.clock();
        clock.resume(machine.reading(), machine.wall_us, &written);
        clock.on_takeover(5000);
        written = machine.stamp(&clock);
        let now = clock.now(machine.reading(), || machine.wall_us, false, 5000);
        assert_eq!(now.is_over(deadline), start > 0, "start {start}");
        machine.passes(4 * SECOND);
    }
}

#[test]
fn a_demoted_primary_forgets_its_grace() {
    let mut machine = Machine::new();
    let mut clock = machine.clock();
    machine.passes(HOUR).at(&mut clock);
    clock.served(Millis((START_US + HOUR) / 1000));
    clock.on_takeover(5000);
    assert_eq!(machine.asks(&mut clock).1, None);
}

#[test]
fn a_queue_that_is_moved_here_keeps_its_clock() {
    let (mut far, mut here) = (Machine::new(), Machine::new());
    far.wall_us -= HOUR;
    let written = far.stamp(&far.clock());
    let clock = here.clock();
    here.passes(5 * SECOND);
    assert_eq!(
        arrived_ahead_ms(&written, &here.stamp(&clock)),
        -3_600_000,
        "the same machine: 5 s have passed"
    );
    far.boot = 2;
    let written = far.stamp(&far.clock());
    assert_eq!(
        arrived_ahead_ms(&written, &here.stamp(&clock)),
        -3_605_000,
        "another one: its time stood still"
    );
}

#[test]
fn a_stamp_is_out_of_date_when_a_clock_is_off_or_when_it_is_old_and_queues_have_changed() {
    let mut machine = Machine::new();
    let clock = machine.clock();
    let last = machine.stamp(&clock);
    machine.passes(60 * SECOND - 1);
    assert!(is_stamp_current(&last, &machine.stamp(&clock), true));
    machine.passes(1);
    assert!(!is_stamp_current(&last, &machine.stamp(&clock), true));
    assert!(is_stamp_current(&last, &machine.stamp(&clock), false), "nothing has changed");
    let now = machine.stamp(&clock);
    let wall_was_set = Stamp { wall_us: now.wall_us + 250_000, ..now };
    assert!(is_stamp_current(&last, &wall_was_set, false));
    assert!(!is_stamp_current(&last, &Stamp { wall_us: now.wall_us + 251_000, ..now }, false));
    // The clock and the wall clock move together against the time since the boot.
    let us = 251_000;
    let both = Stamp { at_us: now.at_us - us, wall_us: now.wall_us - us, ..now };
    assert!(!is_stamp_current(&last, &both, false));
}

#[test]
fn impossible_stamps_are_harmless() {
    let machine = Machine::new();
    let most = Millis::MAX.0 * 1000;
    for at_us in [0, most, u64::MAX] {
        for boot in [1, 2] {
            for us in [0, most, u64::MAX] {
                let stamp = Stamp { at_us, wall_us: us, boot, up_us: us, lead_us: us };
                let (mut resumed, mut followed) = (machine.clock(), machine.clock());
                resumed.resume(machine.reading(), machine.wall_us, &stamp);
                resumed.on_takeover(5000);
                followed.follow(machine.reading(), machine.wall_us, &stamp);
                for clock in [&mut resumed, &mut followed] {
                    let now = clock.now(machine.reading(), || machine.wall_us, false, u64::MAX);
                    assert!(now.at <= Millis::MAX);
                }
                arrived_ahead_ms(&stamp, &machine.stamp(&machine.clock()));
            }
        }
    }
}

#[test]
fn impossible_readings_keep_the_clock_within_bounds() {
    let mut machine = Machine::new();
    let mut clock = machine.clock();
    let absurd = Stamp { at_us: u64::MAX, wall_us: u64::MAX, boot: 1, up_us: 0, lead_us: u64::MAX };
    clock.resume(machine.reading(), machine.wall_us, &absurd);
    clock.follow(machine.reading(), machine.wall_us, &absurd);
    assert!(machine.stamp(&clock).is_valid());
    clock.served(Millis(u64::MAX));
    clock.on_takeover(5000);
    clock.on_term(Term { id: u64::MAX, beginning: Beginning::Promotion });
    assert!(machine.stamp(&clock).is_valid());
    machine.passes(SECOND);
    let now = clock.now(machine.reading(), || machine.wall_us, false, 5000);
    assert!(now.at <= Millis::MAX && now.lead_us <= Millis::MAX_US);
}

#[test]
fn a_time_without_calls_is_a_standstill_if_the_cron_runs_more_often() {
    for (hz, is_standstill) in [(10, true), (500, true), (1, false), (0, false), (-5, false)] {
        let mut machine = Machine::new();
        let mut clock = machine.clock();
        clock.on_cron(hz);
        machine.passes(1500 * 1000);
        assert_eq!(machine.asks(&mut clock).1.is_some(), is_standstill, "hz {hz}");
    }
}

#[test]
fn a_pause_of_writes_is_a_standstill() {
    let mut machine = Machine::new();
    let mut clock = machine.clock();
    let mut pauses = |us, is_paused| {
        machine.passes(us);
        clock
            .now(machine.reading(), || machine.wall_us, is_paused, 5000)
            .grace
            .map(|grace| grace.to.since(grace.from))
    };
    assert_eq!([pauses(0, true), pauses(400_000, true), pauses(50_000, false)], [None; 3], "too short");
    assert_eq!([pauses(0, true), pauses(400_000, true), pauses(400_000, true)], [None; 3]);
    assert_eq!(pauses(1000, false), Some(801));
}

#[test]
fn a_time_of_a_wall_clock_that_is_behind_comes_earlier() {
    let mut machine = Machine::new();
    let mut clock = machine.clock();
    let now =
        |machine: &Machine, clock: &mut Clock| clock.now(machine.reading(), || machine.wall_us, false, 5000);
    let due = Millis(START_US / 1000 + 60_000);
    assert_eq!(earliest(&now(&machine, &mut clock), due), due);
    machine.wall_us -= HOUR;
    machine.passes(10_000);
    let ahead = now(&machine, &mut clock);
    let earliest_ms = earliest(&ahead, due).since(ahead.at);
    assert_eq!(earliest_ms, due.since(ahead.at) * 99 / 100);
    // When the clock shows this time, a minute of the wall clock has passed, and less than a millisecond more.
    while now(&machine, &mut clock).at < ahead.at.plus(earliest_ms) {
        machine.passes(1000);
    }
    let passed_us = machine.wall_us + HOUR - START_US - 10_000;
    assert!((59_900_000..=60_010_000).contains(&passed_us), "{passed_us}");
    let over = Millis(1);
    assert_eq!(earliest(&ahead, over), over);
}

#[test]
fn a_machine_and_its_boot_have_a_number() {
    let machine = "0123456789abcdef0123456789abcdef\n";
    let start = "89ab-cdef-0000-1111\n";
    assert_eq!(Reading::boot(machine, start, "", || 7), 0x0123_4567_89ab_cdef);
    assert_eq!(Reading::boot("", "", "", || 7), 7, "no file has an id");
    assert_eq!(Reading::boot("f", start, "", || 7), 0xf_89ab_cdef);
    let container = Reading::boot(machine, start, "monotonic 5 0\n", || 7);
    assert_eq!(container >> 32, 0x0123_4567);
    assert_ne!(container, Reading::boot(machine, start, "", || 7));
}

#[test]
fn a_time_of_the_data_that_is_days_ahead_does_not_set_the_clock() {
    let machine = Machine::new();
    let mut clock = machine.clock();
    let before = machine.stamp(&clock).at();
    clock.served(Millis(before.0 + 3 * DAY_MS));
    clock.served(Millis::MAX);
    clock.on_takeover(5000);
    assert_eq!(machine.stamp(&clock).at(), before);
    clock.served(Millis(before.0 + DAY_MS / 2));
    clock.on_takeover(5000);
    assert_eq!(machine.stamp(&clock).at(), Millis(before.0 + DAY_MS / 2), "the wall clock was set back");
}

const DAY_MS: u64 = 24 * 3_600_000;
