//! What a queue knows of its last minutes, against counts that are kept in full; and the load, by hand.

use proptest::prelude::*;
use taskslot_engine::{
    Claim, Due, Event, Figures, Handle, Millis, Now, Options, Percentiles, Places, Push, Queue, Rates,
    WorkerView, Workload,
};

const START: u64 = 1_700_000_003_217;

/// A queue whose clock is turned by hand, which is told the time before each change.
struct Told {
    queue: Queue,
    now: u64,
    handles: Vec<Handle>,
}

impl Told {
    fn new() -> Told {
        Told { queue: Queue::new(), now: START, handles: Vec::new() }
    }

    fn apply(&mut self, event: &Event) {
        self.queue.observe(Millis(self.now));
        self.queue.apply(event).unwrap();
        self.queue.validate().unwrap();
    }

    fn passes(&mut self, ms: u64) -> &mut Told {
        self.now += ms;
        self
    }

    fn pushes(&mut self, count: usize) -> &mut Told {
        let payloads = vec![&b"p"[..]; count];
        let push = Push { due: None, options: Options::default(), payloads: &payloads };
        let event = self.queue.push(Now::plain(self.now), &push).unwrap();
        self.apply(&event);
        self
    }

    fn claims(&mut self, worker: &[u8], count: usize) -> &mut Told {
        let claim = Claim { count, worker, ..Claim::default() };
        let event = self.queue.claim(Now::plain(self.now), &mut || 7, &claim).unwrap().unwrap();
        let Event::Claimed { leases, .. } = &event else { panic!("{event:?}") };
        self.handles.extend(leases.iter().map(|lease| lease.handle()));
        self.apply(&event);
        self
    }

    fn acks(&mut self) -> &mut Told {
        let handle = self.handles.remove(0);
        let event = self.queue.ack(Now::plain(self.now), &handle).unwrap();
        self.apply(&event);
        self
    }

    fn figures(&self) -> Figures {
        self.queue.figures(Millis(self.now))
    }
}

#[test]
fn a_queue_that_nobody_used_knows_nothing() {
    let told = Told::new();
    assert_eq!(told.figures(), Figures::default());
    assert!(told.figures().wait.is_none() && told.figures().run_mean_ms.is_none());
}

#[test]
fn nothing_is_counted_where_nobody_tells_the_time() {
    let mut queue = Queue::new();
    let push = Push { due: None, options: Options::default(), payloads: &[b"p"] };
    let event = queue.push(Now::plain(START), &push).unwrap();
    queue.apply(&event).unwrap();
    assert_eq!(queue.figures(Millis(START)), Figures::default());
}

#[test]
fn a_copy_and_a_queue_that_was_loaded_know_nothing() {
    let mut told = Told::new();
    told.pushes(3).claims(b"w", 1).passes(5).acks();
    assert!(told.figures().run.is_some());
    assert_eq!(told.queue.copied().unwrap().figures(Millis(told.now)), Figures::default());
    let mut chunks = Vec::new();
    told.queue.save(&mut |chunk| chunks.push(chunk.to_vec()));
    let mut loaded = Queue::load_head(&chunks[0]).unwrap();
    chunks[1..].iter().for_each(|chunk| loaded.load_chunk(chunk).unwrap());
    assert_eq!(loaded.figures(Millis(told.now)), Figures::default());
}

#[test]
fn knowing_it_costs_little_and_an_empty_queue_nothing() {
    let mut told = Told::new();
    let empty = told.queue.memory();
    told.queue.observe(Millis(START));
    assert_eq!(told.queue.memory(), empty);
    told.apply(&Event::Configured { values: vec![("lease", 1000)] });
    assert_eq!(told.queue.memory(), empty);
    told.pushes(1);
    let size = told.queue.memory() - empty;
    // What a page takes is in it.
    assert!(size < 3200, "{size} bytes");
}

#[test]
fn a_rate_is_judged_by_the_time_that_is_known() {
    let mut told = Told::new();
    told.pushes(10);
    assert_eq!(told.figures().arrivals, Rates { one_minute: 10.0, five_minutes: 10.0 });
    told.passes(4000);
    assert_eq!(told.figures().arrivals, Rates { one_minute: 2.5, five_minutes: 2.5 });
    told.passes(96_000);
    let Rates { one_minute, five_minutes } = told.figures().arrivals;
    assert_eq!((one_minute, five_minutes), (0.0, 0.1));
}

#[test]
fn a_wait_is_from_ready_to_the_claim_and_a_run_from_there_to_the_ack() {
    let mut told = Told::new();
    told.pushes(1).passes(3).claims(b"", 1).passes(6).acks();
    let all = |ms| Some(Percentiles { p50: ms, p95: ms, p99: ms });
    let figures = told.figures();
    assert_eq!((figures.wait, figures.run, figures.run_mean_ms), (all(3), all(6), Some(6.0)));
}

#[test]
fn a_delay_is_no_wait() {
    let mut told = Told::new();
    let push = Push {
        due: Some(Due::Clock(Millis(START + 50_000))),
        options: Options::default(),
        payloads: &[b"p"],
    };
    let event = told.queue.push(Now::plain(START), &push).unwrap();
    told.apply(&event);
    told.passes(50_000);
    let event = told.queue.tick(Now::plain(told.now), &mut || 7, &mut 100).unwrap();
    told.apply(&event);
    told.passes(2).claims(b"", 1);
    assert_eq!(told.figures().wait, Some(Percentiles { p50: 2, p95: 2, p99: 2 }));
}

#[test]
fn a_task_taken_without_a_lease_waits_and_is_finished_but_has_no_run() {
    let mut told = Told::new();
    told.pushes(2).passes(2000);
    let claim = Claim { count: 2, noack: true, ..Claim::default() };
    let event = told.queue.claim(Now::plain(told.now), &mut || 7, &claim).unwrap().unwrap();
    told.apply(&event);
    let figures = told.figures();
    assert_eq!(figures.completions.one_minute, 1.0);
    assert!(figures.wait.is_some() && figures.run.is_none());
}

#[test]
fn an_ack_after_the_deadline_is_finished_but_has_no_run() {
    let mut told = Told::new();
    told.apply(&Event::Configured { values: vec![("lease", 100)] });
    told.pushes(1).claims(b"", 1).passes(2000);
    let event = told.queue.tick(Now::plain(told.now), &mut || 7, &mut 100).unwrap();
    told.apply(&event);
    told.acks();
    assert_eq!((told.queue.totals().late, told.figures().run), (1, None));
    assert_eq!(told.figures().completions.one_minute, 0.5);
}

#[test]
fn a_single_length_is_forgotten_within_five_minutes_and_a_mean_with_it() {
    let mut told = Told::new();
    told.pushes(1).claims(b"", 1).passes(700).acks();
    told.passes(3 * 60_000);
    let figures = told.figures();
    assert_eq!(figures.run_mean_ms, Some(700.0));
    assert!(figures.run.is_some_and(|run| (640..=767).contains(&run.p50)), "{figures:?}");
    told.passes(2 * 60_000);
    assert_eq!((told.figures().run, told.figures().run_mean_ms), (None, None));
    // What comes now isn't mixed with what is forgotten.
    told.pushes(1).claims(b"", 1).passes(5).acks();
    assert_eq!(told.figures().run, Some(Percentiles { p50: 5, p95: 5, p99: 5 }));
}

#[test]
fn what_is_new_outweighs_what_was() {
    let mut told = Told::new();
    for (ms, minutes) in [(4, 5), (2, 0)] {
        told.pushes(100).claims(b"", 100).passes(ms);
        (0..100).for_each(|_| _ = told.acks());
        told.passes(minutes * 60_000);
    }
    assert_eq!(told.figures().run.unwrap().p95, 2);
}

/// How many tasks are pushed or run at once, what then passes, and whether they are pushed.
fn steps() -> impl Strategy<Value = Vec<(usize, u64)>> {
    prop::collection::vec((0_usize..20, prop_oneof![0_u64..500, 0_u64..40_000, 0_u64..400_000]), 1..60)
}

/// The lengths at the three ranks of a sorted list.
fn sorted_percentiles(mut all: Vec<u64>) -> [u64; 3] {
    all.sort_unstable();
    [50, 95, 99].map(|percent| all[(all.len() * percent).div_ceil(100).max(1) - 1])
}

proptest! {
    #[test]
    fn rates_are_those_of_a_naive_count(steps in steps()) {
        let mut told = Told::new();
        let mut pushed: Vec<u64> = Vec::new();
        for (count, pause) in steps {
            if count > 0 {
                told.pushes(count);
                pushed.extend(std::iter::repeat_n(told.now, count));
            }
            told.passes(pause);
            let Some(&first) = pushed.first() else { continue };
            let rates = told.figures().arrivals;
            for (window, told_rate) in [(60_000, rates.one_minute), (300_000, rates.five_minutes)] {
                // The bucket in which the window begins counts in part: between none and all of it.
                let begin = told.now - window;
                let bucket = begin / 10_000 * 10_000;
                let from = |from: u64| pushed.iter().filter(|&&at| at >= from).count() as f64;
                let seconds = (told.now - first).clamp(1000, window) as f64 / 1000.0;
                let (least, most) = (from(bucket + 10_000) / seconds, from(bucket) / seconds);
                prop_assert!(least - 1e-6 <= told_rate && told_rate <= most + 1e-6,
                    "{least} <= {told_rate} <= {most}");
            }
        }
    }

    #[test]
    fn percentiles_are_those_of_a_sorted_list_within_their_precision(
        runs in prop::collection::vec(prop_oneof![0_u64..20, 0_u64..3000, 0_u64..20_000], 1..200)
    ) {
        let mut told = Told::new();
        // All within a minute, so that nothing is forgotten: run times are told by the ACK's clock alone.
        told.now = START / 60_000 * 60_000;
        told.pushes(runs.len()).claims(b"", runs.len());
        let began = told.now;
        let mut order: Vec<u64> = runs.clone();
        order.sort_unstable();
        for run in order {
            told.now = began + run;
            told.acks();
        }
        let figures = told.figures();
        let Percentiles { p50, p95, p99 } = figures.run.unwrap();
        for (right, told) in sorted_percentiles(runs.clone()).into_iter().zip([p50, p95, p99]) {
            prop_assert!(told.abs_diff(right) <= right / 4, "{told} for {right}");
            prop_assert!(right >= 8 || told == right, "short ones are exact");
        }
        let mean = runs.iter().sum::<u64>() as f64 / runs.len() as f64;
        prop_assert!((figures.run_mean_ms.unwrap() - mean).abs() < 1e-6);
    }
}

fn figures(arrivals: f64, completions: f64, run_mean_ms: Option<f64>) -> Figures {
    let rates = |one_minute| Rates { one_minute, five_minutes: 0.0 };
    Figures { arrivals: rates(arrivals), completions: rates(completions), run_mean_ms, ..Figures::default() }
}

fn places(busy: u64, free: u64, workers: Option<u64>) -> Places {
    Places { busy, free, workers }
}

#[test]
fn load_by_hand() {
    // 20 tasks a second of 300 ms keep 6 places busy; 10 are there, of 5 workers; 7.5 would be busy for 80 %.
    let load = Workload::of(&figures(20.0, 25.0, Some(300.0)), places(7, 3, Some(5)), 1000);
    assert_eq!(load.utilisation, Some(0.6));
    assert_eq!((load.places_needed, load.workers_needed), (Some(8), Some(4)));
    assert_eq!(load.drain_ms, Some(200_000));
    assert_eq!((load.arrival_rate, load.completion_rate), (20.0, 25.0));
    assert_eq!((load.places, load.backlog), (places(7, 3, Some(5)), 1000));
}

#[test]
fn too_few_workers_are_more_than_busy() {
    let load = Workload::of(&figures(20.0, 10.0, Some(1000.0)), places(10, 0, Some(10)), 50);
    assert_eq!((load.utilisation, load.places_needed, load.workers_needed), (Some(2.0), Some(25), Some(25)));
    assert_eq!(load.drain_ms, None, "it grows");
}

#[test]
fn a_need_that_is_a_whole_number_is_not_rounded_up() {
    for (rate, need) in [(0.8, 1), (8.0, 10), (2.4, 3), (0.1, 1)] {
        let load = Workload::of(&figures(rate, 0.0, Some(1000.0)), places(0, 0, Some(0)), 0);
        assert_eq!(load.places_needed, Some(need), "{rate}");
    }
    // 50 tasks in 11 s, of 880 ms each: five places exactly, and a bit more in floating point.
    let load = Workload::of(&figures(50.0 / 11.0, 0.0, Some(880.0)), places(0, 0, Some(0)), 0);
    assert_eq!(load.places_needed, Some(5));
    // Three workers of 7 places in all: 5 places are those of 2.14 workers.
    let load = Workload::of(&figures(50.0 / 11.0, 0.0, Some(880.0)), places(4, 3, Some(3)), 0);
    assert_eq!(load.workers_needed, Some(3));
}

#[test]
fn a_worker_with_many_places_is_busy_with_as_many_tasks() {
    // 20 tasks a second of 100 ms are two at a time, of the 50 that one worker takes.
    let load = Workload::of(&figures(20.0, 20.0, Some(100.0)), places(2, 48, Some(1)), 0);
    assert_eq!((load.utilisation, load.places_needed, load.workers_needed), (Some(0.04), Some(3), Some(1)));
}

#[test]
fn what_is_ready_needs_a_place_whatever_is_known() {
    for (rate, run_mean_ms) in [(0.0, None), (0.0, Some(5.0)), (0.0001, Some(0.0)), (1.0, None)] {
        let load = Workload::of(&figures(rate, 0.0, run_mean_ms), places(0, 0, Some(0)), 5);
        assert_eq!((load.places_needed, load.workers_needed), (Some(1), None));
        let load = Workload::of(&figures(rate, 0.0, run_mean_ms), places(0, 4, Some(2)), 5);
        assert_eq!((load.places_needed, load.workers_needed), (Some(1), Some(1)));
    }
}

#[test]
fn what_is_not_known_is_not_told() {
    let load = Workload::of(&figures(5.0, 0.0, None), places(2, 0, Some(2)), 0);
    assert_eq!((load.utilisation, load.places_needed, load.workers_needed), (None, None, None));
    assert_eq!(Workload::of(&figures(5.0, 0.0, None), places(2, 0, Some(2)), 3).drain_ms, None);
    let load = Workload::of(&figures(5.0, 0.0, Some(100.0)), places(0, 0, Some(0)), 3);
    assert_eq!((load.utilisation, load.places_needed, load.workers_needed), (None, Some(1), None));
    let load = Workload::of(&figures(5.0, 0.0, Some(100.0)), places(2, 2, None), 3);
    assert_eq!((load.places_needed, load.workers_needed), (Some(1), None), "some gave no name");
}

#[test]
fn where_nothing_arrives_nobody_is_needed() {
    let load = Workload::of(&figures(0.0, 0.0, None), places(0, 2, Some(2)), 0);
    assert_eq!((load.utilisation, load.drain_ms), (Some(0.0), Some(0)));
    assert_eq!((load.places_needed, load.workers_needed), (Some(0), Some(0)));
    let load = Workload::of(&figures(0.0, 0.0, None), places(0, 0, None), 0);
    assert_eq!((load.places_needed, load.workers_needed), (Some(0), Some(0)), "none of whatever size");
}

#[test]
fn workers_are_those_that_hold_leases() {
    let mut told = Told::new();
    told.pushes(10).claims(b"b", 2).passes(10).claims(b"a", 3).passes(5).claims(b"b", 1).claims(b"", 2);
    let view = |name, leases, ms| WorkerView { name, leases, oldest: Some(Millis(START + ms)) };
    let all: [WorkerView; 3] = [view(b"", 2, 15), view(b"a", 3, 10), view(b"b", 3, 0)];
    assert_eq!(told.queue.workers(100), all);
    assert_eq!(told.queue.workers(2), all[..2]);
    assert_eq!(told.queue.workers_busy(), 3);
    assert!(told.queue.knows_worker(b"a") && !told.queue.knows_worker(b"c") && !told.queue.all_are_named());
    // The first two handles are b's.
    told.acks().acks();
    assert_eq!(told.queue.workers(100)[2], view(b"b", 1, 15));
    (0..6).for_each(|_| _ = told.acks());
    assert!(!told.queue.knows_worker(b"a") && told.queue.all_are_named());
    assert_eq!((told.queue.workers(100), told.queue.workers_busy()), (vec![], 0));
}
