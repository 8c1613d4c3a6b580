//! Schedules: when they run, how they handle outages, clock changes and a full queue, and that no history loses or
//! doubles a run.

use std::collections::BTreeMap;

use taskslot_engine::{
    BadRule, Calendar, Catchup, Due, Event, Gate, Headers, Millis, Now, Options, Queue, SCHEDULED_MAX_BYTES,
    SCHEDULES_MAX, ScheduleError, ScheduleSpec, ScheduleTotals, TaskId, TaskState, Trigger, Zone, Zones,
};

use crate::calendars::tzif;
use crate::copies::{Dice, digest, first_effect, load, replicate, save};
use crate::story::{START, Story, story};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const EVERY_MINUTE: Trigger = Trigger::Cron("* * * * *", "UTC");

fn plan(timing: Trigger<'static>, catchup: Catchup) -> ScheduleSpec<'static> {
    ScheduleSpec { timing, catchup, options: Options::default(), payload: b"p" }
}

fn every(ms: u64) -> ScheduleSpec<'static> {
    plan(Trigger::Every(ms), Catchup::One)
}

fn cron(expression: &'static str) -> ScheduleSpec<'static> {
    plan(Trigger::Cron(expression, "UTC"), Catchup::One)
}

/// A story that begins at a full hour.
fn at_an_hour() -> Story {
    let mut s = story();
    s.now = Now::plain(START / HOUR * HOUR);
    s
}

impl Story {
    fn plans(&mut self, name: &str, plan: ScheduleSpec) -> &mut Self {
        let event = self.queue.schedule(self.now, name.as_bytes(), plan).unwrap();
        self.apply(&event)
    }

    fn unplans(&mut self, name: &str) -> &mut Self {
        let event = self.queue.unschedule(name.as_bytes()).unwrap();
        self.apply(&event)
    }

    fn runs(&self, name: &str) -> ScheduleTotals {
        self.queue.schedules(&self.now).iter().find(|s| s.name == name.as_bytes()).unwrap().runs
    }

    /// Checks the runs that were made, skipped and missed.
    fn ran(&mut self, name: &str, counts: [u64; 3]) -> &mut Self {
        let ScheduleTotals { made, skipped, missed, .. } = self.runs(name);
        assert_eq!([made, skipped, missed], counts, "made, skipped, missed of {name}");
        self
    }

    fn runs_next_in(&mut self, name: &str, ms: u64) -> &mut Self {
        let schedules = self.queue.schedules(&self.now);
        let schedule = schedules.iter().find(|s| s.name == name.as_bytes()).unwrap();
        assert_eq!(schedule.next.unwrap().0, ms, "ms until {name} runs");
        self
    }

    fn has(&mut self, tasks: u64) -> &mut Self {
        assert_eq!(self.queue.len(), tasks);
        self
    }
}

// EVERY

#[test]
fn an_interval_runs_after_each_and_never_drifts() {
    let mut s = story();
    s.plans("a", every(1000)).next_due_in(Some(1000)).passes(999).has(0).passes(1).has(1);
    // If a run is a little late, the next one is where it was planned.
    s.passes(1030).ran("a", [2, 0, 0]).runs_next_in("a", 970).passes(970).ran("a", [3, 0, 0]).has(3);
    s.lists(TaskState::Ready, &["p", "p", "p"]);
}

#[test]
fn a_task_of_a_schedule_has_its_payload_and_options() {
    let mut s = story();
    let headers = Headers::pack(&[(b"k", b"v")]);
    let options = Options {
        priority: 5,
        attempts: Some(3),
        lease_ms: Some(77),
        headers: &headers,
        ..Options::default()
    };
    let payload = b"nightly";
    let timing = Trigger::Every(1000);
    let event = s
        .queue
        .schedule(s.now, b"a", ScheduleSpec { timing, catchup: Catchup::One, options, payload })
        .unwrap();
    s.apply(&event).passes(1000);
    let (id, at) = s.runs("a").last.unwrap();
    let task = s.queue.task(&s.now, id).unwrap();
    assert_eq!((task.payload, task.options), (&payload[..], options));
    assert_eq!((at, task.state), (s.now.wall, TaskState::Ready));
}

#[test]
fn after_an_outage_there_is_one_run_whatever_was_missed() {
    let mut s = story();
    s.plans("a", every(1000))
        .passes(10_500)
        .ran("a", [1, 0, 0])
        .runs_next_in("a", 500)
        .passes(500)
        .ran("a", [2, 0, 0]);
}

#[test]
fn with_catchup_none_a_run_that_is_late_or_overtaken_is_not_made() {
    let none = |timing| plan(timing, Catchup::None);
    // The next run is due as well.
    let mut s = story();
    s.plans("a", none(Trigger::Every(1000))).passes(1999).ran("a", [1, 0, 0]).runs_next_in("a", 1);
    let mut s = story();
    s.plans("a", none(Trigger::Every(1000))).passes(2000).ran("a", [0, 0, 1]).runs_next_in("a", 1000).has(0);
    s.passes(1000).ran("a", [1, 0, 1]);
    // More than ten seconds late.
    for (late, counts) in [(10_000, [1, 0, 0]), (10_001, [0, 0, 1])] {
        story()
            .plans("a", none(Trigger::Every(HOUR)))
            .passes(HOUR + late)
            .ran("a", counts)
            .runs_next_in("a", HOUR - late);
        at_an_hour().plans("a", none(EVERY_MINUTE)).passes(MINUTE + late).ran("a", counts);
    }
    at_an_hour()
        .plans("a", none(EVERY_MINUTE))
        .passes(5 * MINUTE)
        .ran("a", [0, 0, 1])
        .runs_next_in("a", MINUTE);
}

// CRON

#[test]
fn a_calendar_runs_at_its_instants() {
    let mut s = at_an_hour();
    s.plans("a", cron("*/15 * * * *"))
        .runs_next_in("a", 15 * MINUTE)
        .passes(15 * MINUTE - 1)
        .has(0)
        .passes(1)
        .has(1);
    s.runs_next_in("a", 15 * MINUTE).passes(7 * HOUR).ran("a", [2, 0, 0]);
}

#[test]
fn a_calendar_follows_the_wall_clock_and_an_interval_does_not() {
    let mut s = at_an_hour();
    s.plans("c", cron("0 * * * *")).plans("e", every(HOUR)).wall_jumps(10 * 60_000).ticks();
    s.runs_next_in("c", 50 * MINUTE)
        .runs_next_in("e", HOUR)
        .passes(50 * MINUTE)
        .ran("c", [1, 0, 0])
        .ran("e", [0, 0, 0]);
    // Set back to a little before its instant, which has passed and isn't repeated.
    s.wall_jumps(-(HOUR as i64)).passes(MINUTE).ran("c", [1, 0, 0]).runs_next_in("c", 2 * HOUR - MINUTE);
}

#[test]
fn calendars_run_again_after_a_wall_clock_that_was_far_ahead() {
    let mut s = at_an_hour();
    let year = 365 * 24 * HOUR;
    s.plans("c", cron("0 * * * *")).wall_jumps(year as i64).ticks().ran("c", [1, 0, 0]);
    // Up to three hours count as the same clock, more count as a correction.
    s.wall_jumps(-3 * HOUR as i64).ticks().runs_next_in("c", 4 * HOUR).next_due_in(Some(4 * HOUR));
    s.wall_jumps(-1).next_due_in(Some(0)).ticks().runs_next_in("c", 1).passes(1).ran("c", [2, 0, 0]);
    s.wall_jumps(-(year as i64)).ticks().runs_next_in("c", HOUR).passes(HOUR).ran("c", [3, 0, 0]);
}

#[test]
fn intervals_run_again_on_the_clock_of_another_node_that_is_behind() {
    let mut s = at_an_hour();
    s.plans("e", every(MINUTE)).passes(MINUTE).ran("e", [1, 0, 0]);
    // If the clock is a little behind, the planned instants stay.
    s.now = Now::plain(s.now.at.0 - 30_000);
    s.ticks().runs_next_in("e", MINUTE + 30_000);
    s.now = Now::plain(s.now.at.0 - 5 * HOUR);
    s.next_due_in(Some(0)).ticks().runs_next_in("e", MINUTE).passes(MINUTE).ran("e", [2, 0, 0]);
}

#[test]
fn a_calendar_that_has_reached_the_end_of_time_has_no_more_runs() {
    let mut s = story();
    // Calendars end with the year 9999, before the last instant that a queue can store.
    let last = 253_402_207_200_000;
    s.now = Now::plain(last - MINUTE);
    s.plans("a", cron("* * * * *")).plans("e", every(HOUR)).passes(MINUTE).ran("a", [1, 0, 0]);
    s.clock_shows(MINUTE).ticks();
    assert!(s.runs("a").made < 4, "no storm at the end");
}

// New rules of a time zone

/// One node's rules for a country: its clocks are an hour ahead of UTC.
fn an_hour_ahead(name: &str) -> Option<Zone> {
    Zone::read(name, &tzif("<+01>-1"))
}

/// Another node's rules for the same country: two hours ahead.
fn two_hours_ahead(name: &str) -> Option<Zone> {
    Zone::read(name, &tzif("<+02>-2"))
}

/// The queue as another node with these zones has it.
fn elsewhere(queue: &Queue, zones: fn(&str) -> Option<Zone>) -> Queue {
    let chunks = save(queue);
    let mut copy = Queue::load_head(&chunks[0]).unwrap();
    copy.use_zones(Zones::new(zones));
    chunks[1..].iter().for_each(|chunk| copy.load_chunk(chunk).unwrap());
    copy.validate().unwrap();
    assert_eq!(digest(&copy), digest(queue), "zones are the node's, not the queue's");
    copy
}

/// A run at nine o'clock, planned with one node's zones; then another node takes over.
fn planned(by: fn(&str) -> Option<Zone>, then: fn(&str) -> Option<Zone>) -> Story {
    let mut s = story();
    s.now = Now::plain(START / DAY * DAY);
    s.queue.use_zones(Zones::new(by));
    s.plans("a", plan(Trigger::Cron("0 9 * * *", "Made/Up"), Catchup::One)).plans("e", every(DAY));
    s.queue = elsewhere(&s.queue, then);
    s
}

#[test]
fn a_run_follows_the_latest_known_rules_of_its_zone() {
    // The run comes later than planned, and not twice.
    let mut s = planned(two_hours_ahead, an_hour_ahead);
    s.runs_next_in("a", 7 * HOUR).next_due_in(Some(0)).ticks().runs_next_in("a", 8 * HOUR);
    s.passes(7 * HOUR).ran("a", [0, 0, 0]).passes(HOUR).ran("a", [1, 0, 0]).runs_next_in("a", DAY);
    // The run comes earlier than planned.
    let mut s = planned(an_hour_ahead, two_hours_ahead);
    s.runs_next_in("a", 8 * HOUR).ticks().runs_next_in("a", 7 * HOUR);
    s.passes(7 * HOUR).ran("a", [1, 0, 0]).runs_next_in("a", DAY).ran("e", [0, 0, 0]);
    // It should have run half an hour ago, so it runs at once.
    let mut s = planned(an_hour_ahead, two_hours_ahead);
    s.passes(7 * HOUR + HOUR / 2).ran("a", [1, 0, 0]).runs_next_in("a", DAY - HOUR / 2);
}

#[test]
fn a_replica_with_other_rules_applies_what_its_primary_decides_until_it_decides_itself() {
    let mut s = planned(an_hour_ahead, an_hour_ahead);
    let mut replica = elsewhere(&s.queue, two_hours_ahead);
    for _ in 0..3 {
        s.clock_shows(DAY);
        while let Some(event) = s.queue.tick(s.now, &mut || 0, &mut usize::MAX.clone()) {
            replicate(&mut s.queue.clone(), &mut replica, &event).unwrap();
            s.apply(&event);
        }
        replica.validate().unwrap();
        assert_eq!(digest(&replica), digest(&s.queue));
    }
    s.ran("a", [3, 0, 0]).runs_next_in("a", 8 * HOUR);
    s.queue = replica;
    s.ticks().runs_next_in("a", 7 * HOUR).passes(7 * HOUR).ran("a", [4, 0, 0]).runs_next_in("a", DAY);
}

#[test]
fn planning_by_new_rules_always_ends() {
    let mut dice = Dice(3);
    for _ in 0..1000 {
        let mut s = at_an_hour();
        let (next, seen) = (Millis(dice.below(1 << 48)), Millis(dice.below(1 << 48)));
        let plan = plan(Trigger::Cron("0 9 * * *", "Europe/Berlin"), Catchup::One);
        s.apply(&Event::Scheduled { name: b"a", plan: Box::new(plan), next: Due::Wall(next), seen });
        s.ticks();
        assert!(s.queue.next_due(&s.now).is_none_or(|due| due > s.now.at));
        assert!(s.runs("a").made <= 1);
    }
}

// Runs that can't push

#[test]
fn a_run_that_cannot_push_is_skipped_and_counted() {
    let mut s = story();
    s.plans("a", every(1000)).pauses(Gate::In, None).passes(1000).ran("a", [0, 1, 0]).resumes(Gate::In);
    s.config("max-len", 0).passes(1000).ran("a", [0, 2, 0]).config("max-len", -1);
    s.config("max-bytes", 0).passes(1000).ran("a", [0, 3, 0]).config("max-bytes", -1);
    s.now.is_full = true;
    s.passes(1000).ran("a", [0, 4, 0]).has(0);
    s.now.is_full = false;
    s.passes(1000).ran("a", [1, 4, 0]).pauses(Gate::Out, None).passes(1000).ran("a", [2, 4, 0]).has(2);
}

// SET, DEL

#[test]
fn a_schedule_that_is_set_again_keeps_its_next_run_and_its_counters() {
    let mut s = at_an_hour();
    s.plans("e", every(1000)).plans("c", cron("0 * * * *")).passes(1700).ran("e", [1, 0, 0]);
    s.plans("e", ScheduleSpec { payload: b"new", ..every(1000) }).runs_next_in("e", 300).ran("e", [1, 0, 0]);
    s.plans("c", ScheduleSpec { catchup: Catchup::None, ..cron("0 * * * *") }).runs_next_in("c", HOUR - 1700);
    s.passes(300).lists(TaskState::Ready, &["p", "new"]);
    // Another trigger is planned from the start, and so is another zone.
    s.plans("e", every(2000)).runs_next_in("e", 2000).ran("e", [2, 0, 0]);
    s.plans("c", plan(Trigger::Cron("0 * * * *", "Asia/Kathmandu"), Catchup::One))
        .runs_next_in("c", 30 * MINUTE - 2000);
    s.plans("c", every(500))
        .runs_next_in("c", 500)
        .plans("c", cron("* * * * *"))
        .runs_next_in("c", MINUTE - 2000);
}

#[test]
fn a_schedule_that_is_overdue_when_it_is_set_again_still_runs_once() {
    let mut s = story();
    s.plans("e", every(1000))
        .clock_shows(1500)
        .plans("e", every(1000))
        .ticks()
        .ran("e", [1, 0, 0])
        .runs_next_in("e", 500);
}

#[test]
fn a_schedule_that_is_removed_leaves_its_tasks() {
    let mut s = story();
    s.plans("a", every(1000)).passes(1000).unplans("a").passes(10_000).has(1).next_due_in(None);
    assert_eq!(s.queue.unschedule(b"a"), None);
    s.plans("a", every(1000)).ran("a", [0, 0, 0]);
}

#[test]
fn an_invalid_schedule_is_refused() {
    let mut s = story();
    let set = |s: &Story, timing| s.queue.schedule(s.now, b"a", plan(timing, Catchup::One)).map(|_| ());
    for (expression, zone, bad) in [
        ("", "UTC", BadRule::Expression),
        ("@hourly", "UTC", BadRule::Expression),
        ("* * * * *", "Mars/Olympus", BadRule::Zone),
        ("0 0 31 2 *", "UTC", BadRule::Never),
    ] {
        assert_eq!(set(&s, Trigger::Cron(expression, zone)), Err(ScheduleError::Bad(bad)));
    }
    for n in 0..SCHEDULES_MAX {
        let event = s.queue.schedule(s.now, format!("{n}").as_bytes(), every(1000)).map(|_| ());
        assert_eq!(event, Ok(()));
        let name = format!("{n}");
        let event = s.queue.schedule(s.now, name.as_bytes(), every(1000)).unwrap();
        s.queue.apply(&event).unwrap();
    }
    assert_eq!(set(&s, EVERY_MINUTE), Err(ScheduleError::TooMany));
    assert!(s.queue.schedule(s.now, b"7", every(2000)).is_ok(), "one that is there can be set again");
}

#[test]
fn a_thousand_schedules_run_in_bounded_steps() {
    let mut s = story();
    for n in 0..SCHEDULES_MAX {
        let name = format!("{n}");
        let event = s.queue.schedule(s.now, name.as_bytes(), every(1000)).unwrap();
        s.queue.apply(&event).unwrap();
    }
    s.now = Now::plain(START + 1000);
    let mut pages = 10;
    while let Some(event) = s.queue.tick(s.now, &mut || 0, &mut pages) {
        s.queue.apply(&event).unwrap();
    }
    assert_eq!((pages, s.queue.len()), (0, 10));
    let mut pages = usize::MAX;
    while let Some(event) = s.queue.tick(s.now, &mut || 0, &mut pages) {
        s.queue.apply(&event).unwrap();
    }
    assert_eq!(s.queue.len(), 1000, "each once");
    assert_eq!(s.queue.next_due(&s.now), Some(Millis(START + 2000)));
    s.queue.validate().unwrap();
}

#[test]
fn a_purge_and_a_copy_leave_schedules_where_they_are() {
    let mut s = story();
    s.plans("a", every(1000)).passes(1000);
    let ids = vec![s.runs("a").last.unwrap().0];
    s.apply(&Event::Purged { ids }).passes(1000).ran("a", [2, 0, 0]);
    let copy = s.queue.copied().unwrap();
    copy.validate().unwrap();
    assert_eq!((copy.schedules(&s.now).len(), copy.len()), (0, 1), "else each run would be made twice");
}

#[test]
fn schedules_are_in_the_queues_memory() {
    let mut s = story();
    let before = s.queue.memory();
    let payload = vec![b'x'; 100_000];
    let event = s.queue.schedule(s.now, b"a", ScheduleSpec { payload: &payload, ..every(1000) }).unwrap();
    s.queue.apply(&event).unwrap();
    assert!((100_000..110_000).contains(&(s.queue.memory() - before)));
}

// Stored and replicated

fn with_schedules() -> Story {
    let mut s = at_an_hour();
    s.plans("every", every(1000)).plans("none", plan(Trigger::Every(7777), Catchup::None));
    s.plans("daily", plan(Trigger::Cron("30 2 * * *", "Europe/Berlin"), Catchup::None));
    s.plans(
        "hourly",
        ScheduleSpec { options: Options { priority: -3, ..Options::default() }, ..cron("0 * * * *") },
    );
    s.passes(HOUR + 123).push("other").pauses(Gate::In, Some(5000)).passes(2000);
    s
}

#[test]
fn schedules_come_back_as_they_were_saved() {
    let mut s = with_schedules();
    let stored = save(&s.queue);
    let loaded = load(&stored).unwrap();
    assert_eq!((digest(&loaded), save(&loaded)), (digest(&s.queue), stored));
    s.queue = loaded;
    s.passes(HOUR).ran("hourly", [2, 0, 0]);
    // The digest distinguishes schedules.
    let before = digest(&s.queue);
    s.plans("every", ScheduleSpec { catchup: Catchup::None, ..every(1000) });
    assert_ne!(digest(&s.queue), before);
}

#[test]
fn many_large_schedules_are_stored_in_parts() {
    let mut s = story();
    for n in 0..20u8 {
        let payload = vec![n; 30_000];
        let name = [n];
        let event =
            s.queue.schedule(s.now, &name, ScheduleSpec { payload: &payload, ..every(1000) }).unwrap();
        s.queue.apply(&event).unwrap();
    }
    let stored = save(&s.queue);
    assert!(stored.len() > 5 && stored.iter().all(|chunk| chunk.len() < 128 * 1024));
    assert_eq!(digest(&load(&stored).unwrap()), digest(&s.queue));
    for at in 1..stored.len() {
        let mut twice = stored.clone();
        twice.insert(at, stored[at].clone());
        assert!(load(&twice).is_err(), "chunk {at} twice");
    }
}

/// A schedule from a build that knows more zones.
fn of_another_build(zone: &'static str) -> Event<'static> {
    let timing = Trigger::Cron("*/5 * * * *", zone);
    let next = Due::Wall(Millis(START));
    Event::Scheduled { name: b"a", plan: Box::new(plan(timing, Catchup::One)), next, seen: Millis(START) }
}

#[test]
fn a_schedule_in_an_unknown_zone_is_kept_without_running() {
    let mut s = story();
    s.apply(&of_another_build("Mars/Olympus")).plans("b", every(HOUR)).next_due_in(Some(HOUR));
    s.passes(HOUR).ran("a", [0, 0, 0]).ran("b", [1, 0, 0]);
    let loaded = load(&save(&s.queue)).unwrap();
    assert_eq!(digest(&loaded), digest(&s.queue));
    let schedules = loaded.schedules(&s.now);
    assert_eq!(
        (schedules[0].next, schedules[0].plan.timing),
        (None, Trigger::Cron("*/5 * * * *", "Mars/Olympus"))
    );
    // A primary that knows the zone can still run it, and an administrator can correct or remove it.
    let next = Due::Wall(Millis(START + HOUR));
    let id = TaskId { ms: START + 3 * HOUR, seq: 0 };
    s.apply(&Event::Fired { name: Box::from(*b"a"), id, next, at: Millis(START) }).ran("a", [1, 0, 0]);
    s.plans("a", cron("*/5 * * * *")).passes(5 * MINUTE).ran("a", [2, 0, 0]).unplans("a");
}

#[test]
fn events_that_do_not_fit_are_refused() {
    let name: Box<[u8]> = Box::from(*b"every");
    let (next, at) = (Due::Clock(Millis(START)), Millis(START));
    let id = TaskId { ms: START + 10 * HOUR, seq: 0 };
    let long = vec![b'x'; SCHEDULED_MAX_BYTES + 1];
    let text: &'static str = "* * * * *".repeat(40).leak();
    let zone: &'static str = "x".repeat(65).leak();
    let set = |name: &'static [u8], plan: ScheduleSpec<'static>| Event::Scheduled {
        name,
        plan: Box::new(plan),
        next,
        seen: at,
    };
    let long: &'static [u8] = long.leak();
    let refused = [
        set(b"", every(1000)),
        set(&[b'x'; 257], every(1000)),
        set(b"a", every(0)),
        set(b"a", every(99)),
        set(b"a", every(u64::MAX)),
        set(b"a", cron("* * * * *")),
        set(b"a", ScheduleSpec { payload: long, ..every(1000) }),
        set(
            b"a",
            ScheduleSpec { options: Options { attempts: Some(0), ..Options::default() }, ..every(1000) },
        ),
        set(
            b"a",
            ScheduleSpec { options: Options { headers: b"\xff", ..Options::default() }, ..every(1000) },
        ),
        Event::Scheduled { name: b"a", plan: Box::new(cron(text)), next: Due::Wall(at), seen: at },
        Event::Scheduled {
            name: b"a",
            plan: Box::new(plan(Trigger::Cron("* * * * *", zone), Catchup::One)),
            next: Due::Wall(at),
            seen: at,
        },
        Event::Scheduled {
            name: b"a",
            plan: Box::new(every(1000)),
            next: Due::Clock(Millis(1 << 48)),
            seen: at,
        },
        Event::Scheduled { name: b"a", plan: Box::new(every(1000)), next, seen: Millis(u64::MAX) },
        Event::Unscheduled { name: b"nobody" },
        Event::Fired { name: Box::from(*b"nobody"), id, next, at },
        Event::Fired { name: name.clone(), id: TaskId::default(), next, at },
        Event::Fired { name: name.clone(), id, next: Due::Wall(at), at },
        Event::Fired { name: name.clone(), id, next, at: Millis(1 << 48) },
        Event::Fired { name: name.clone(), id, next: Due::Clock(Millis(u64::MAX)), at },
        Event::Skipped { name: Box::from(*b""), next, at, missed: true },
        Event::Skipped { name: name.clone(), next: Due::Wall(at), at, missed: true },
        Event::Replanned { name: Box::from(*b"nobody"), next, at },
        Event::Replanned { name, next: Due::Wall(at), at },
    ];
    let queue = with_schedules().queue;
    for event in refused {
        assert!(replicate(&mut queue.clone(), &mut queue.clone(), &event).is_err(), "{event:?}");
    }
}

#[test]
fn a_counter_at_its_maximum_stays_there() {
    let mut s = with_schedules();
    let stored = save(&s.queue);
    let at = stored.iter().position(|chunk| chunk[0] == b's').unwrap();
    let made = s.runs("every").made;
    assert!(made < 128);
    // "every" is the second by name.
    let places: Vec<usize> =
        stored[at].windows(6).enumerate().filter(|(_, w)| w == b"\xa4made\x01").map(|(n, _)| n).collect();
    let place = places.last().unwrap() + 5;
    let with = |number: u64| {
        let mut changed = stored.clone();
        changed[at].splice(place..=place, [&[0xcf][..], &number.to_be_bytes()].concat());
        load(&changed)
    };
    assert!(with((1 << 53) - 1).is_ok() && with(1 << 53).is_err() && with(u64::MAX).is_err());
    s.queue = with((1 << 53) - 1).unwrap();
    let mut pages = usize::MAX;
    s.clock_shows(10 * HOUR);
    while let Some(event) = s.queue.tick(s.now, &mut || 0, &mut pages) {
        s.queue.apply(&event).unwrap();
        s.queue.validate().unwrap();
    }
}

#[test]
fn damaged_schedules_are_refused_or_live_on() {
    let mut s = with_schedules();
    s.apply(&of_another_build("Mars/Olympus"));
    let stored = save(&s.queue);
    let at = stored.iter().position(|chunk| chunk[0] == b's').unwrap();
    for length in 0..stored[at].len() {
        let mut cut = stored.clone();
        cut[at].truncate(length);
        assert!(load(&cut).is_err(), "cut to {length}");
    }
    let (mut refused, mut accepted) = (0, 0);
    for bit in 8..stored[at].len() * 8 {
        let mut flipped = stored.clone();
        flipped[at][bit / 8] ^= 1 << (bit % 8);
        let Ok(mut queue) = load(&flipped) else {
            refused += 1;
            continue;
        };
        accepted += 1;
        for now in [0, START, START + 5 * HOUR, START + 1000 * HOUR, Millis::MAX.0] {
            let now = Now::plain(now);
            let mut events = 0;
            while let Some(event) = queue.tick(now, &mut || 0, &mut usize::MAX.clone()) {
                queue.apply(&event).unwrap();
                events += 1;
                assert!(events < 100, "time has an end: {event:?}");
            }
            queue.schedules(&now);
            queue.validate().unwrap();
            assert!(queue.next_due(&now).is_none_or(|due| due > now.at || now.at == Millis::MAX));
        }
    }
    assert!(refused > 500 && accepted > 500, "{refused} refused, {accepted} accepted");
}

#[test]
fn a_run_is_small_on_the_wire() {
    let mut s = story();
    let payload = vec![b'x'; 100_000];
    let event =
        s.queue.schedule(s.now, b"nightly", ScheduleSpec { payload: &payload, ..every(1000) }).unwrap();
    s.queue.apply(&event).unwrap();
    s.clock_shows(1000);
    let event = s.queue.tick(s.now, &mut || 0, &mut usize::MAX.clone()).unwrap();
    let bytes = first_effect(&event).len();
    assert!(bytes < 80, "{bytes}");
}

// Histories

/// A naive schedule: the planned instants at which it ran, from what the clocks showed.
struct Model {
    plan: ScheduleSpec<'static>,
    next: u64,
    ran: Vec<u64>,
}

impl Model {
    fn new(plan: ScheduleSpec<'static>, now: &Now) -> Model {
        let mut model = Model { plan, next: now.at.0, ran: Vec::new() };
        model.go_on(now);
        model
    }

    fn go_on(&mut self, now: &Now) {
        match self.plan.timing {
            Trigger::Every(ms) => {
                self.next += ms;
                while self.next <= now.at.0 {
                    self.next += ms;
                }
            }
            Trigger::Cron(expression, zone) => {
                self.next = Calendar::parse(expression, zone, Zones::BUILT_IN)
                    .unwrap()
                    .next_after(now.wall)
                    .unwrap()
                    .0;
            }
        }
    }

    /// Looks at the clocks.
    fn look(&mut self, now: &Now) {
        let clock = if matches!(self.plan.timing, Trigger::Every(_)) { now.at.0 } else { now.wall.0 };
        if self.next <= clock {
            self.ran.push(self.next);
            self.go_on(now);
        }
    }
}

/// A primary and a replica that change places, and the runs of every schedule according to the events.
struct History {
    nodes: [Queue; 2],
    primary: usize,
    now: Now,
    ran: BTreeMap<String, Vec<u64>>,
}

impl History {
    fn apply(&mut self, event: &Event) {
        self.nodes[self.primary].apply(event).unwrap();
        let [a, b] = &mut self.nodes;
        let (primary, replica) = if self.primary == 0 { (a, b) } else { (b, a) };
        replicate(primary, replica, event).unwrap();
        assert_eq!(digest(&self.nodes[0]), digest(&self.nodes[1]));
    }

    /// The planned instant of a schedule's next run, on its own clock.
    fn next_of(&self, name: &[u8]) -> u64 {
        let schedules = self.nodes[self.primary].schedules(&self.now);
        let schedule = schedules.iter().find(|s| s.name == name).unwrap();
        let (in_ms, wall) = schedule.next.unwrap();
        match schedule.plan.timing {
            Trigger::Cron(..) => wall.0,
            // If it is overdue, the span says nothing.
            Trigger::Every(_) if in_ms == 0 => wall.0 + self.now.at.0 - self.now.wall.0,
            Trigger::Every(_) => self.now.at.0 + in_ms,
        }
    }

    fn tick(&mut self) {
        for step in 0.. {
            assert!(step < 100, "a moment has an end");
            let event = self.nodes[self.primary].tick(self.now, &mut || 0, &mut usize::MAX.clone());
            let Some(event) = event else { break };
            let Event::Fired { name, next, .. } = &event else { panic!("{event:?}") };
            assert!(next.on_clock(&self.now) > self.now.at, "the next is after now");
            let ran = self.next_of(name);
            self.ran.entry(String::from_utf8(name.to_vec()).unwrap()).or_default().push(ran);
            self.apply(&event);
        }
        let due = self.nodes[self.primary].next_due(&self.now);
        assert!(due.is_none_or(|due| due > self.now.at), "nothing that is due is left");
    }
}

/// Time passes in small and large steps, the wall clock is set forward and back, nodes are saved and loaded, replicas
/// are promoted, schedules are set again unchanged. Each runs once for every instant that comes, and once for an
/// outage.
#[test]
fn no_history_doubles_or_loses_a_run() {
    let plans = [
        ("e1", every(90_000)),
        ("e2", every(1_000_003)),
        ("c1", cron("*/2 * * * *")),
        ("c2", plan(Trigger::Cron("7,30 */2 * * *", "Europe/Berlin"), Catchup::One)),
        ("c3", plan(Trigger::Cron("0 * * * *", "Asia/Kathmandu"), Catchup::One)),
    ];
    let mut total = 0;
    for seed in 0..20 {
        let mut dice = Dice(seed);
        let now = Now::plain(START / HOUR * HOUR);
        let nodes = [Queue::new(), Queue::new()];
        let mut h = History { nodes, primary: 0, now, ran: BTreeMap::new() };
        let mut models: BTreeMap<&str, Model> = BTreeMap::new();
        for (name, plan) in plans {
            let event = h.nodes[0].schedule(h.now, name.as_bytes(), plan).unwrap();
            h.apply(&event);
            models.insert(name, Model::new(plan, &h.now));
        }
        for _ in 0..400 {
            match dice.below(20) {
                0 => h.primary = 1 - h.primary,
                1 => h.nodes[h.primary] = load(&save(&h.nodes[h.primary])).unwrap(),
                // The wall clock is up to an hour ahead or behind.
                2 => h.now.wall = Millis(h.now.at.0 + dice.below(2 * HOUR) - HOUR),
                3 => {
                    let ms = dice.below(9 * HOUR);
                    (h.now.at, h.now.wall) = (h.now.at.plus(ms), h.now.wall.plus(ms));
                }
                4 => {
                    let (name, plan) = plans[dice.below(5) as usize];
                    let event = h.nodes[h.primary].schedule(h.now, name.as_bytes(), plan).unwrap();
                    h.apply(&event);
                }
                _ => {
                    let ms = dice.below(3 * MINUTE);
                    (h.now.at, h.now.wall) = (h.now.at.plus(ms), h.now.wall.plus(ms));
                }
            }
            models.values_mut().for_each(|model| model.look(&h.now));
            h.tick();
        }
        for (name, Model { ran, .. }) in models {
            assert!(ran.is_sorted_by(|a, b| a < b), "{name}, seed {seed}: an instant twice");
            assert_eq!(h.ran.get(name).unwrap_or(&Vec::new()), &ran, "{name}, seed {seed}");
            total += ran.len();
        }
        assert_eq!(h.nodes[0].totals().pushed, h.ran.values().map(|ran| ran.len() as u64).sum::<u64>());
        h.nodes.iter().for_each(|queue| queue.validate().unwrap());
    }
    assert!(total > 5000, "{total} runs");
}
