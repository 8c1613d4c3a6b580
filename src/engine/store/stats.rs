//! How fast tasks come and go.

use crate::store::histogram::{Histogram, Percentiles};
use crate::time::Millis;

/// The span of one count of the ring.
const BUCKET_MS: u64 = 10_000;
/// The longest window and the part of a bucket before it.
const BUCKETS: usize = 31;
/// Counts of lengths are halved this often.
const MINUTE_MS: u64 = 60_000;
/// A rate is told over a second at least: a single task in the first millisecond is not a thousand a second.
const SHORTEST_MS: u64 = 1000;

/// What happened in the last minutes, as it is told.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Figures {
    /// Tasks pushed, each second.
    pub arrivals: Rates,
    /// Tasks finished, each second.
    pub completions: Rates,
    /// From ready to the claim. `None` where nothing was claimed lately (so below).
    pub wait: Option<Percentiles>,
    /// From the claim to the ACK, of tasks acked in time.
    pub run: Option<Percentiles>,
    /// The mean of the same, in ms.
    pub run_mean_ms: Option<f64>,
}

/// Tasks a second over two windows.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rates {
    /// Over the last minute.
    pub one_minute: f64,
    /// Over the last five.
    pub five_minutes: f64,
}

/// How fast tasks come and go, and how long they wait and run: what happened in the last minutes.
///
/// It is the node's own knowledge, as ties are: neither stored nor in the digest, empty in a copy and in a queue that
/// was loaded. `apply` feeds it, a few increments a task; [`Stats::observe`] tells the time before. Where nobody
/// tells the time (a file that is replayed), nothing is counted.
///
/// Rates come from a ring of counts of 10 s each: a window slides over it, with its last bucket in part. A queue
/// that is known for a shorter time than the window is judged by that time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stats {
    /// What time it is, for events that don't say; `None` where nobody told.
    at: Option<Millis>,
    /// Made when the first thing happens: an empty queue pays nothing.
    kept: Option<Box<Window>>,
}

#[derive(Debug, Clone)]
struct Window {
    began: Millis,
    /// When the newest bucket of the ring is over.
    until: Millis,
    /// The newest bucket's number, counted from the epoch.
    newest: u64,
    /// Its place in the rings.
    place: usize,
    /// By number, modulo their number.
    pushed: [u32; BUCKETS],
    acked: [u32; BUCKETS],
    wait: Histogram,
    run: Histogram,
    /// The sum of all run times and how many they are, halved as the histograms are.
    run_ms: f64,
    runs: f64,
}

impl Stats {
    /// Tells what time it is.
    #[inline]
    pub fn observe(&mut self, at: Millis) {
        self.at = Some(at);
    }

    /// What happened lately, as far as it was seen.
    pub fn figures(&self, now: Millis) -> Figures {
        self.kept.as_ref().map_or_else(Figures::default, |kept| kept.figures(now))
    }

    /// Tasks came in.
    #[inline]
    pub fn pushed(&mut self, count: usize) {
        if let Some((kept, _)) = self.now() {
            add(&mut kept.pushed, kept.place, count);
        }
    }

    /// A task that was ready since an instant was claimed at another.
    #[inline]
    pub fn claimed(&mut self, since: Millis, at: Millis) {
        if let Some((kept, _)) = self.now() {
            kept.wait.count(at.since(since));
        }
    }

    /// A task was finished that was claimed at an instant; `None` where its lease was over.
    #[inline]
    pub fn acked(&mut self, claimed_at: Option<Millis>) {
        let Some((kept, at)) = self.now() else { return };
        add(&mut kept.acked, kept.place, 1);
        if let Some(claimed_at) = claimed_at {
            let ms = at.since(claimed_at);
            kept.run.count(ms);
            kept.run_ms += ms as f64;
            kept.runs += 1.0;
        }
    }

    /// A task that was ready since an instant was taken without a lease.
    pub fn taken(&mut self, since: Millis) {
        if let Some((kept, at)) = self.now() {
            add(&mut kept.acked, kept.place, 1);
            kept.wait.count(at.since(since));
        }
    }

    /// Bytes taken from the allocator.
    pub fn memory(&self) -> usize {
        self.kept.as_ref().map_or(0, |_| size_of::<Window>())
    }

    /// The counts at the present time, if that is known.
    #[inline]
    fn now(&mut self) -> Option<(&mut Window, Millis)> {
        let at = self.at?;
        let kept = self.kept.get_or_insert_with(|| Window::new(at));
        if at >= kept.until {
            kept.advance(at);
        }
        Some((kept, at))
    }
}

#[inline]
fn add(ring: &mut [u32; BUCKETS], place: usize, count: usize) {
    if let Some(counted) = ring.get_mut(place) {
        *counted = counted.saturating_add(count as u32);
    }
}

/// Where a bucket is counted.
fn place(bucket: u64) -> usize {
    (bucket % BUCKETS as u64) as usize
}

impl Window {
    #[cold]
    fn new(at: Millis) -> Box<Window> {
        let newest = at.0 / BUCKET_MS;
        Box::new(Window {
            began: at,
            until: Millis((newest + 1) * BUCKET_MS),
            newest,
            place: place(newest),
            pushed: [0; BUCKETS],
            acked: [0; BUCKETS],
            wait: Histogram::default(),
            run: Histogram::default(),
            run_ms: 0.0,
            runs: 0.0,
        })
    }

    /// Time has gone on past the newest bucket: those between are empty, and minutes that passed are felt.
    #[cold]
    fn advance(&mut self, at: Millis) {
        let newest = at.0 / BUCKET_MS;
        let last = newest.min(self.newest.saturating_add(BUCKETS as u64));
        for bucket in self.newest + 1..=last {
            for ring in [&mut self.pushed, &mut self.acked] {
                if let Some(count) = ring.get_mut(place(bucket)) {
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
        self.place = place(newest);
        self.until = Millis((newest + 1) * BUCKET_MS);
    }

    /// Minutes that began since the newest bucket did.
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
            // Halving leaves a mean as it is; it is known as long as the percentiles are.
            run_mean_ms: run.filter(|_| self.runs > 0.0).map(|_| self.run_ms / self.runs),
        }
    }

    fn rates(&self, ring: &[u32; BUCKETS], now: Millis) -> Rates {
        Rates { one_minute: self.rate(ring, now, 6), five_minutes: self.rate(ring, now, 30) }
    }

    /// How many each second in the last `buckets` · 10 s before `now`.
    fn rate(&self, ring: &[u32; BUCKETS], now: Millis, buckets: u64) -> f64 {
        let present = now.0.max(self.newest * BUCKET_MS) / BUCKET_MS;
        let count = |bucket: u64| {
            let is_kept = bucket <= self.newest && bucket + BUCKETS as u64 > self.newest;
            let count = ring.get(place(bucket)).filter(|_| is_kept);
            f64::from(count.copied().unwrap_or(0))
        };
        let whole: f64 = (0..buckets).filter_map(|back| present.checked_sub(back)).map(count).sum();
        // The window begins within the bucket before these.
        let part = 1.0 - (now.0 % BUCKET_MS) as f64 / BUCKET_MS as f64;
        let first = present.checked_sub(buckets).map_or(0.0, count) * part;
        let known_ms = now.since(self.began).clamp(SHORTEST_MS, buckets * BUCKET_MS);
        (whole + first) * 1000.0 / known_ms as f64
    }
}
