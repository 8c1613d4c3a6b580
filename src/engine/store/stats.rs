//! Rates and durations of the last minutes, and all durations since the queue is in memory.

use crate::store::durations::Durations;
use crate::store::histogram::{Histogram, Percentiles};
use crate::time::Millis;

/// The span of one bucket of a ring.
const BUCKET_MS: u64 = 10_000;
/// The longest window (30 buckets) and the partial bucket before it.
const BUCKETS: usize = 31;
/// Durations are halved in weight this often.
const MINUTE_MS: u64 = 60_000;
/// Rates are computed over at least a second, so a task in the first millisecond doesn't count as a thousand a second.
const SHORTEST_MS: u64 = 1000;

/// What happened in the last minutes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Figures {
    /// Tasks pushed, each second.
    pub arrivals: Rates,
    /// Tasks finished, each second.
    pub completions: Rates,
    /// The time from ready to the claim. `None` if there were no claims lately.
    pub wait: Option<Percentiles>,
    /// The time from the claim to the ACK, of tasks acked before their lease ended. `None` if there were none lately.
    pub run: Option<Percentiles>,
    /// The mean of the same times, in ms.
    pub run_mean_ms: Option<f64>,
}

/// All wait and run times since a node began to watch a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// When it began: with the first task that it saw pushed, claimed or acked.
    pub began: Millis,
    /// The times from ready to the claim.
    pub wait: Durations,
    /// The times from the claim to the ACK, of tasks acked before their lease ended.
    pub run: Durations,
}

/// Tasks a second over two windows.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rates {
    /// Over the last minute.
    pub one_minute: f64,
    /// Over the last five.
    pub five_minutes: f64,
}

/// How fast tasks arrive and finish, and how long they wait and run: over the last minutes, and all in all.
///
/// Only this node knows it: it is neither stored nor part of a digest, and it is empty in a copy and in a loaded queue.
/// `apply` feeds it with a few increments per task. [`Stats::observe`] must set the time first; without it, as when a
/// file is replayed, nothing is counted.
///
/// Rates come from a ring of counts, one for each 10 s. A window slides over the ring and includes its oldest bucket in
/// part. For a queue that was observed for less than a window, the observed time is used.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stats {
    /// The current time, for events that don't carry it; `None` if it was never set.
    at: Option<Millis>,
    /// Created with the first count, so an empty queue pays nothing.
    window: Option<Box<Window>>,
}

#[derive(Debug, Clone)]
struct Window {
    /// The end of the newest bucket of the ring.
    until: Millis,
    /// The number of the newest bucket, counted from the epoch.
    newest: u64,
    /// The index of the newest bucket in the rings.
    index: usize,
    /// Counts by bucket number, modulo the number of buckets.
    pushed: [u32; BUCKETS],
    acked: [u32; BUCKETS],
    wait: Histogram,
    run: Histogram,
    /// All wait and run times; nothing of these is forgotten.
    times: Times,
    /// The sum of all run times and their number, halved like the histograms.
    run_ms: f64,
    runs: f64,
}

impl Stats {
    /// Sets the current time.
    #[inline]
    pub fn observe(&mut self, at: Millis) {
        self.at = Some(at);
    }

    /// What happened lately, as far as it was observed.
    pub fn figures(&self, now: Millis) -> Figures {
        self.window.as_ref().map_or_else(Figures::default, |window| window.figures(now))
    }

    /// All wait and run times that were observed. `None` if nothing was.
    pub fn times(&self) -> Option<&Times> {
        self.window.as_ref().map(|window| &window.times)
    }

    /// Counts tasks that were pushed.
    #[inline]
    pub fn pushed(&mut self, count: usize) {
        if let Some((window, _)) = self.now() {
            add(&mut window.pushed, window.index, count);
        }
    }

    /// Counts a claim at `at` of a task that was ready since `since`.
    #[inline]
    pub fn claimed(&mut self, since: Millis, at: Millis) {
        if let Some((window, _)) = self.now() {
            window.waited(at.since(since));
        }
    }

    /// Counts an ACK of a task that was claimed at `claimed_at`; `None` if its lease was over.
    #[inline]
    pub fn acked(&mut self, claimed_at: Option<Millis>) {
        let Some((window, at)) = self.now() else { return };
        add(&mut window.acked, window.index, 1);
        if let Some(claimed_at) = claimed_at {
            let ms = at.since(claimed_at);
            window.run.count(ms);
            window.times.run.count(ms);
            window.run_ms += ms as f64;
            window.runs += 1.0;
        }
    }

    /// Counts a task that was ready since `since` and was claimed without a lease (NOACK).
    pub fn taken(&mut self, since: Millis) {
        if let Some((window, at)) = self.now() {
            add(&mut window.acked, window.index, 1);
            window.waited(at.since(since));
        }
    }

    /// Bytes taken from the allocator.
    pub fn memory(&self) -> usize {
        self.window.as_ref().map_or(0, |_| size_of::<Window>())
    }

    /// The window at the current time, and that time; `None` if the time is not known.
    #[inline]
    fn now(&mut self) -> Option<(&mut Window, Millis)> {
        let at = self.at?;
        let window = self.window.get_or_insert_with(|| Window::new(at));
        if at >= window.until {
            window.advance(at);
        }
        Some((window, at))
    }
}

#[inline]
fn add(ring: &mut [u32; BUCKETS], index: usize, count: usize) {
    if let Some(counted) = ring.get_mut(index) {
        *counted = counted.saturating_add(count as u32);
    }
}

/// The index of a bucket in a ring.
fn index(bucket: u64) -> usize {
    (bucket % BUCKETS as u64) as usize
}

impl Window {
    #[cold]
    fn new(at: Millis) -> Box<Window> {
        let newest = at.0 / BUCKET_MS;
        Box::new(Window {
            until: Millis((newest + 1) * BUCKET_MS),
            newest,
            index: index(newest),
            pushed: [0; BUCKETS],
            acked: [0; BUCKETS],
            wait: Histogram::default(),
            run: Histogram::default(),
            times: Times { began: at, wait: Durations::default(), run: Durations::default() },
            run_ms: 0.0,
            runs: 0.0,
        })
    }

    #[inline]
    fn waited(&mut self, ms: u64) {
        self.wait.count(ms);
        self.times.wait.count(ms);
    }

    /// Moves on past the newest bucket: the buckets between are empty, and durations lose weight for each minute
    /// passed.
    #[cold]
    fn advance(&mut self, at: Millis) {
        let newest = at.0 / BUCKET_MS;
        let last = newest.min(self.newest.saturating_add(BUCKETS as u64));
        for bucket in self.newest + 1..=last {
            for ring in [&mut self.pushed, &mut self.acked] {
                if let Some(count) = ring.get_mut(index(bucket)) {
                    *count = 0;
                }
            }
        }
        let minutes = self.minutes_to(at);
        if minutes > 0 {
            self.wait.forget(minutes);
            self.run.forget(minutes);
            let left = 0.5_f64.powi(i32::try_from(minutes).unwrap_or(i32::MAX));
            self.run_ms *= left;
            self.runs *= left;
        }
        self.newest = newest;
        self.index = index(newest);
        self.until = Millis((newest + 1) * BUCKET_MS);
    }

    /// Minutes that began after the newest bucket did.
    fn minutes_to(&self, at: Millis) -> u64 {
        (at.0 / MINUTE_MS).saturating_sub(self.newest * BUCKET_MS / MINUTE_MS)
    }

    fn figures(&self, now: Millis) -> Figures {
        let minutes = self.minutes_to(now);
        let run = self.run.percentiles(minutes);
        Figures {
            arrivals: self.rates(&self.pushed, now),
            completions: self.rates(&self.acked, now),
            wait: self.wait.percentiles(minutes),
            run,
            // Halving does not change a mean. It is known as long as the percentiles are.
            run_mean_ms: run.filter(|_| self.runs > 0.0).map(|_| self.run_ms / self.runs),
        }
    }

    fn rates(&self, ring: &[u32; BUCKETS], now: Millis) -> Rates {
        Rates { one_minute: self.rate(ring, now, 6), five_minutes: self.rate(ring, now, 30) }
    }

    /// The rate per second over the last `buckets` · 10 s before `now`.
    fn rate(&self, ring: &[u32; BUCKETS], now: Millis, buckets: u64) -> f64 {
        let present = now.0.max(self.newest * BUCKET_MS) / BUCKET_MS;
        let count = |bucket: u64| {
            let is_kept = bucket <= self.newest && bucket + BUCKETS as u64 > self.newest;
            let count = ring.get(index(bucket)).filter(|_| is_kept);
            f64::from(count.copied().unwrap_or(0))
        };
        let whole: f64 = (0..buckets).filter_map(|back| present.checked_sub(back)).map(count).sum();
        // The window begins inside the bucket before these.
        let part = 1.0 - (now.0 % BUCKET_MS) as f64 / BUCKET_MS as f64;
        let first = present.checked_sub(buckets).map_or(0.0, count) * part;
        let known_ms = now.since(self.times.began).clamp(SHORTEST_MS, buckets * BUCKET_MS);
        (whole + first) * 1000.0 / known_ms as f64
    }
}
