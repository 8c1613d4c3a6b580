//! What a queue knows of the last minutes, and of all wait and run times, compared with full counts; and the load,
//! computed by hand.

use proptest::prelude::*;
use taskslot_engine::{
    Claim, Due, Durations, Event, Figures, Handle, Millis, Now, Options, Percentiles, Places, Push, Queue,
    Rates, WorkerView, Workload,
};

const START: u64 = 1_700_000_003_217;

/// A queue with a clock turned by hand, which gets the time before each change.
struct Observed {
    queue: Queue,
    now: u64,
    handles: Vec<Handle>,
}

impl Observed {
    fn new() -> Observed {
        Observed { queue: Queue::new(), now: START, handles: Vec::new() }
    }

    fn apply(&mut self, event: &Event) {
        self.queue.observe(Millis(self.now));
        self.queue.apply(event).unwrap();
        self.queue.validate().unwrap();
    }

    fn passes(&mut self, ms: u64) -> &mut Observed {
        self.now += ms;
        self
    }

    fn pushes(&mut self, count: usize) -> &mut Observed {
        let payloads = vec![&b"p"[..]; count];
        let push = Push { due: None, options: Options::default(), payloads: &payloads };
        let event = self.queue.push(Now::plain(self.now), &push).unwrap();
        self.apply(&event);
        self
    }

    fn claims(&mut self, worker: &[u8], count: usize) -> &mut Observed {
        let claim = Claim { count, worker, ..Claim::default() };
        let event = self.queue.claim(Now::plain(self.now), &mut || 7, &claim).unwrap().unwrap();
        let Event::Claimed { leases, .. } = &event else { panic!("{event:?}") };
        self.handles.extend(leases.iter().map(|lease| lease.handle()));
        self.apply(&event);
        self
    }

    fn acks(&mut self) -> &mut Observed {
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
fn an_unused_queue_has_no_figures() {
    let observed = Observed::new();
    assert_eq!(observed.figures(), Figures::default());
    assert!(observed.figures().wait.is_none() && observed.figures().run_mean_ms.is_none());
}

#[test]
fn nothing_is_counted_while_the_time_is_not_known() {
    let mut queue = Queue::new();
    let push = Push { due: None, options: Options::default(), payloads: &[b"p"] };
    let event = queue.push(Now::plain(START), &push).unwrap();
    queue.apply(&event).unwrap();
    assert_eq!((queue.figures(Millis(START)), queue.times()), (Figures::default(), None));
}

#[test]
fn a_copy_and_a_loaded_queue_have_no_figures() {
    let mut observed = Observed::new();
    observed.pushes(3).claims(b"w", 1).passes(5).acks();
    assert!(observed.figures().run.is_some());
    assert_eq!(observed.queue.copied().unwrap().figures(Millis(observed.now)), Figures::default());
    let mut chunks = Vec::new();
    observed.queue.save(&mut |chunk| chunks.push(chunk.to_vec()));
    let mut loaded = Queue::load_head(&chunks[0]).unwrap();
    chunks[1..].iter().for_each(|chunk| loaded.load_chunk(chunk).unwrap());
    assert_eq!(loaded.figures(Millis(observed.now)), Figures::default());
    assert_eq!((loaded.times(), observed.queue.copied().unwrap().times()), (None, None));
}

#[test]
fn figures_take_little_memory_and_none_in_an_empty_queue() {
    let mut observed = Observed::new();
    let empty = observed.queue.memory();
    observed.queue.observe(Millis(START));
    assert_eq!(observed.queue.memory(), empty);
    observed.apply(&Event::Configured { values: vec![("lease", 1000)] });
    assert_eq!(observed.queue.memory(), empty);
    observed.pushes(1);
    let size = observed.queue.memory() - empty;
    // This includes a page.
    assert!(size < 3800, "{size} bytes");
}

#[test]
fn a_rate_is_over_the_observed_time() {
    let mut observed = Observed::new();
    observed.pushes(10);
    assert_eq!(observed.figures().arrivals, Rates { one_minute: 10.0, five_minutes: 10.0 });
    observed.passes(4000);
    assert_eq!(observed.figures().arrivals, Rates { one_minute: 2.5, five_minutes: 2.5 });
    observed.passes(96_000);
    let Rates { one_minute, five_minutes } = observed.figures().arrivals;
    assert_eq!((one_minute, five_minutes), (0.0, 0.1));
}

#[test]
fn a_wait_is_from_ready_to_the_claim_and_a_run_from_there_to_the_ack() {
    let mut observed = Observed::new();
    observed.pushes(1).passes(3).claims(b"", 1).passes(6).acks();
    let all = |ms| Some(Percentiles { p50: ms, p95: ms, p99: ms });
    let figures = observed.figures();
    assert_eq!((figures.wait, figures.run, figures.run_mean_ms), (all(3), all(6), Some(6.0)));
}

#[test]
fn a_delay_does_not_count_as_waiting() {
    let mut observed = Observed::new();
    let push = Push {
        due: Some(Due::Clock(Millis(START + 50_000))),
        options: Options::default(),
        payloads: &[b"p"],
    };
    let event = observed.queue.push(Now::plain(START), &push).unwrap();
    observed.apply(&event);
    observed.passes(50_000);
    let event = observed.queue.tick(Now::plain(observed.now), &mut || 7, &mut 100).unwrap();
    observed.apply(&event);
    observed.passes(2).claims(b"", 1);
    assert_eq!(observed.figures().wait, Some(Percentiles { p50: 2, p95: 2, p99: 2 }));
}

#[test]
fn a_task_taken_without_a_lease_waits_and_is_finished_but_has_no_run() {
    let mut observed = Observed::new();
    observed.pushes(2).passes(2000);
    let claim = Claim { count: 2, noack: true, ..Claim::default() };
    let event = observed.queue.claim(Now::plain(observed.now), &mut || 7, &claim).unwrap().unwrap();
    observed.apply(&event);
    let figures = observed.figures();
    assert_eq!(figures.completions.one_minute, 1.0);
    assert!(figures.wait.is_some() && figures.run.is_none());
    let times = observed.queue.times().unwrap();
    assert_eq!((shown(&times.wait), times.run.total()), ((2, 4000, vec![(Some(2048), 2)]), 0));
}

#[test]
fn an_ack_after_the_deadline_is_finished_but_has_no_run() {
    let mut observed = Observed::new();
    observed.apply(&Event::Configured { values: vec![("lease", 100)] });
    observed.pushes(1).claims(b"", 1).passes(2000);
    let event = observed.queue.tick(Now::plain(observed.now), &mut || 7, &mut 100).unwrap();
    observed.apply(&event);
    observed.acks();
    assert_eq!((observed.queue.totals().late, observed.figures().run), (1, None));
    assert_eq!(observed.queue.times().unwrap().run.total(), 0);
    assert_eq!(observed.figures().completions.one_minute, 0.5);
}

#[test]
fn a_single_duration_is_forgotten_within_five_minutes_and_a_mean_with_it() {
    let mut observed = Observed::new();
    observed.pushes(1).claims(b"", 1).passes(700).acks();
    observed.passes(3 * 60_000);
    let figures = observed.figures();
    assert_eq!(figures.run_mean_ms, Some(700.0));
    assert!(figures.run.is_some_and(|run| (640..=767).contains(&run.p50)), "{figures:?}");
    observed.passes(2 * 60_000);
    assert_eq!((observed.figures().run, observed.figures().run_mean_ms), (None, None));
    // New durations are not mixed with forgotten ones.
    observed.pushes(1).claims(b"", 1).passes(5).acks();
    assert_eq!(observed.figures().run, Some(Percentiles { p50: 5, p95: 5, p99: 5 }));
}

/// How many durations there are, their sum, and those in each bucket.
fn shown(durations: &Durations) -> (u64, u64, Vec<(Option<u64>, u64)>) {
    (durations.total(), durations.sum_ms(), durations.buckets().collect())
}

#[test]
fn all_times_are_kept_since_the_first_task() {
    let mut observed = Observed::new();
    observed.queue.observe(Millis(START));
    assert_eq!(observed.queue.times(), None, "nothing happened yet");
    observed.passes(1000).pushes(2).passes(5).claims(b"", 1).passes(90).acks();
    observed.passes(86_400_000).claims(b"", 1).acks();
    assert!(observed.figures().wait.is_some(), "of the last claim");
    let times = observed.queue.times().unwrap();
    assert_eq!(times.began, Millis(START + 1000));
    // A day and 95 ms is below 2^27 ms.
    assert_eq!(shown(&times.wait), (2, 86_400_100, vec![(Some(8), 1), (Some(1 << 27), 1)]));
    assert_eq!(shown(&times.run), (2, 90, vec![(Some(1), 1), (Some(128), 1)]));
}

#[test]
fn recent_durations_outweigh_old_ones() {
    let mut observed = Observed::new();
    for (ms, minutes) in [(4, 5), (2, 0)] {
        observed.pushes(100).claims(b"", 100).passes(ms);
        (0..100).for_each(|_| _ = observed.acks());
        observed.passes(minutes * 60_000);
    }
    assert_eq!(observed.figures().run.unwrap().p95, 2);
}

/// For each step, how many tasks are pushed, and how many ms pass afterwards.
fn steps() -> impl Strategy<Value = Vec<(usize, u64)>> {
    prop::collection::vec((0_usize..20, prop_oneof![0_u64..500, 0_u64..40_000, 0_u64..400_000]), 1..60)
}

/// The values at the three ranks of a sorted list.
fn sorted_percentiles(mut all: Vec<u64>) -> [u64; 3] {
    all.sort_unstable();
    [50, 95, 99].map(|percent| all[(all.len() * percent).div_ceil(100).max(1) - 1])
}

proptest! {
    #[test]
    fn rates_are_those_of_a_naive_count(steps in steps()) {
        let mut observed = Observed::new();
        let mut pushed: Vec<u64> = Vec::new();
        for (count, pause) in steps {
            if count > 0 {
                observed.pushes(count);
                pushed.extend(std::iter::repeat_n(observed.now, count));
            }
            observed.passes(pause);
            let Some(&first) = pushed.first() else { continue };
            let rates = observed.figures().arrivals;
            for (window, rate) in [(60_000, rates.one_minute), (300_000, rates.five_minutes)] {
                // The bucket in which the window begins counts in part: between none and all of it.
                let begin = observed.now - window;
                let bucket = begin / 10_000 * 10_000;
                let from = |from: u64| pushed.iter().filter(|&&at| at >= from).count() as f64;
                let seconds = (observed.now - first).clamp(1000, window) as f64 / 1000.0;
                let (least, most) = (from(bucket + 10_000) / seconds, from(bucket) / seconds);
                prop_assert!(least - 1e-6 <= rate && rate <= most + 1e-6,
                    "{least} <= {rate} <= {most}");
            }
        }
    }

    #[test]
    fn percentiles_are_those_of_a_sorted_list_within_their_precision(
        runs in prop::collection::vec(prop_oneof![0_u64..20, 0_u64..3000, 0_u64..20_000], 1..200)
    ) {
        let mut observed = Observed::new();
        // All within a minute, so that nothing is forgotten: run times depend on the clock at the ACK only.
        observed.now = START / 60_000 * 60_000;
        observed.pushes(runs.len()).claims(b"", runs.len());
        let began = observed.now;
        let mut order: Vec<u64> = runs.clone();
        order.sort_unstable();
        for run in order {
            observed.now = began + run;
            observed.acks();
        }
        let figures = observed.figures();
        let Percentiles { p50, p95, p99 } = figures.run.unwrap();
        for (right, observed) in sorted_percentiles(runs.clone()).into_iter().zip([p50, p95, p99]) {
            prop_assert!(observed.abs_diff(right) <= right / 4, "{observed} for {right}");
            prop_assert!(right >= 8 || observed == right, "short ones are exact");
        }
        let mean = runs.iter().sum::<u64>() as f64 / runs.len() as f64;
        prop_assert!((figures.run_mean_ms.unwrap() - mean).abs() < 1e-6);
        let times = observed.queue.times().unwrap();
        prop_assert_eq!((times.run.total(), times.run.sum_ms()), (runs.len() as u64, runs.iter().sum()));
        let mut left: Vec<u64> = runs;
        for (bound, count) in times.run.buckets() {
            let before = left.len();
            left.retain(|&ms| ms >= bound.unwrap());
            prop_assert_eq!(before - left.len(), count as usize, "below {:?}", bound);
        }
        prop_assert!(left.is_empty());
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
    // 20 tasks a second of 300 ms keep 6 places busy. There are 10, of 5 workers; 7.5 would be busy for 80 %.
    let load = Workload::of(&figures(20.0, 25.0, Some(300.0)), places(7, 3, Some(5)), 1000);
    assert_eq!(load.utilisation, Some(0.6));
    assert_eq!((load.places_needed, load.workers_needed), (Some(8), Some(4)));
    assert_eq!(load.drain_ms, Some(200_000));
    assert_eq!((load.arrival_rate, load.completion_rate), (20.0, 25.0));
    assert_eq!((load.places, load.backlog), (places(7, 3, Some(5)), 1000));
}

#[test]
fn too_few_workers_have_a_utilisation_above_one() {
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
    // 50 tasks in 11 s, of 880 ms each: exactly five places, and slightly more in floating point.
    let load = Workload::of(&figures(50.0 / 11.0, 0.0, Some(880.0)), places(0, 0, Some(0)), 0);
    assert_eq!(load.places_needed, Some(5));
    // Three workers with 7 places in all: 5 places are those of 2.14 workers.
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
fn a_ready_task_needs_a_place_whatever_is_known() {
    for (rate, run_mean_ms) in [(0.0, None), (0.0, Some(5.0)), (0.0001, Some(0.0)), (1.0, None)] {
        let load = Workload::of(&figures(rate, 0.0, run_mean_ms), places(0, 0, Some(0)), 5);
        assert_eq!((load.places_needed, load.workers_needed), (Some(1), None));
        let load = Workload::of(&figures(rate, 0.0, run_mean_ms), places(0, 4, Some(2)), 5);
        assert_eq!((load.places_needed, load.workers_needed), (Some(1), Some(1)));
    }
}

#[test]
fn unknown_figures_are_none() {
    let load = Workload::of(&figures(5.0, 0.0, None), places(2, 0, Some(2)), 0);
    assert_eq!((load.utilisation, load.places_needed, load.workers_needed), (None, None, None));
    assert_eq!(Workload::of(&figures(5.0, 0.0, None), places(2, 0, Some(2)), 3).drain_ms, None);
    let load = Workload::of(&figures(5.0, 0.0, Some(100.0)), places(0, 0, Some(0)), 3);
    assert_eq!((load.utilisation, load.places_needed, load.workers_needed), (None, Some(1), None));
    let load = Workload::of(&figures(5.0, 0.0, Some(100.0)), places(2, 2, None), 3);
    assert_eq!((load.places_needed, load.workers_needed), (Some(1), None), "some gave no name");
}

#[test]
fn without_arrivals_nobody_is_needed() {
    let load = Workload::of(&figures(0.0, 0.0, None), places(0, 2, Some(2)), 0);
    assert_eq!((load.utilisation, load.drain_ms), (Some(0.0), Some(0)));
    assert_eq!((load.places_needed, load.workers_needed), (Some(0), Some(0)));
    let load = Workload::of(&figures(0.0, 0.0, None), places(0, 0, None), 0);
    assert_eq!((load.places_needed, load.workers_needed), (Some(0), Some(0)), "none of whatever size");
}

#[test]
fn workers_are_those_that_hold_leases() {
    let mut observed = Observed::new();
    observed.pushes(10).claims(b"b", 2).passes(10).claims(b"a", 3).passes(5).claims(b"b", 1).claims(b"", 2);
    let view = |name, leases, ms| WorkerView { name, leases, oldest: Some(Millis(START + ms)) };
    let all: [WorkerView; 3] = [view(b"", 2, 15), view(b"a", 3, 10), view(b"b", 3, 0)];
    assert_eq!(observed.queue.workers(100), all);
    assert_eq!(observed.queue.workers(2), all[..2]);
    assert_eq!(observed.queue.workers_busy(), 3);
    assert!(
        observed.queue.knows_worker(b"a")
            && !observed.queue.knows_worker(b"c")
            && !observed.queue.all_are_named()
    );
    // The first two handles are those of worker b.
    observed.acks().acks();
    assert_eq!(observed.queue.workers(100)[2], view(b"b", 1, 15));
    (0..6).for_each(|_| _ = observed.acks());
    assert!(!observed.queue.knows_worker(b"a") && observed.queue.all_are_named());
    assert_eq!((observed.queue.workers(100), observed.queue.workers_busy()), (vec![], 0));
}
