"""Samples of the last hours, kept in this process only: every 2 s for 10 minutes and every minute for 24 hours.

At most 1000 queues are kept, 42 MB: for one more, the queue that was seen longest ago is forgotten. A minute's value is
the mean of its samples; of ages and times, the largest.
"""

from __future__ import annotations

import math
import threading
from array import array
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from ...aggregate import total
from ...overview import Row
from ...replies import Info

# What samples are kept of: a queue by its key, or a logical one by its name, which can be the key of another queue.
Subject = tuple[str, bool]
# All queues together. No queue has an empty name.
ALL: Subject = ("", False)
MOST_QUEUES, MOST_MARKS, LONGEST_MARK = 1000, 200, 200
SERIES = ("ready", "in", "out", "dead", "wait_p95", "oldest")
LARGEST = frozenset({"wait_p95", "oldest"})


def subject_of(row: Row) -> Subject:
    """What the samples of a row are kept as."""
    return row.queue, row.shards > 0


def values_of(info: Info) -> tuple[float, ...]:
    """One value for each of `SERIES`. NaN is unknown."""
    ages = (math.nan if ms < 0 else float(ms) for ms in (info.wait_p95_ms, info.oldest_ready_ms))
    return (info.ready, info.in_per_second_1m, info.out_per_second_1m, info.dead, *ages)


@dataclass(frozen=True)
class Mark:
    """Something that happened, such as a deploy, to be shown in the charts."""

    at: float
    text: str


@dataclass
class Ring:
    """The samples of the last `size` steps. All queues share the steps' times."""

    step_s: int
    size: int
    most: int = MOST_QUEUES + 1  # all queues together count as one
    _newest: int = -1
    _counts: dict[Subject, int] = field(default_factory=dict)
    # The one whose last sample is oldest comes first.
    _values: OrderedDict[Subject, list[array[float]]] = field(default_factory=OrderedDict)

    def add(self, at: float, samples: dict[Subject, tuple[float, ...]]) -> None:
        """Add a sample of each queue. Queues without one keep what they had, and leave when that is too old."""
        step = int(at // self.step_s)
        if step < self._newest:
            return  # the clock was set back
        if step > self._newest:
            self._go_on(step)
        place = step % self.size
        for key, values in samples.items():
            if key not in self._values:
                self._values[key] = [array("f", [math.nan]) * self.size for _ in SERIES]
            self._values.move_to_end(key)
            if len(self._values) > self.most:
                self._values.popitem(last=False)
            count = self._counts.get(key, 0)
            for name, kept, value in zip(SERIES, self._values[key], values, strict=True):
                kept[place] = joined(name, kept[place], value, count)
            self._counts[key] = count + 1

    def _go_on(self, step: int) -> None:
        """Make room for a new step, in the place of one that is too old."""
        passed = range(max(self._newest + 1, step - self.size + 1), step + 1) if self._newest >= 0 else ()
        for key, all_kept in list(self._values.items()):
            for number in passed:
                for kept in all_kept:
                    kept[number % self.size] = math.nan
            if all(math.isnan(value) for value in all_kept[0]):
                del self._values[key]
        self._newest = step
        self._counts.clear()

    def times(self) -> list[int]:
        """The unix times in s of all steps, the oldest first."""
        return [number * self.step_s for number in range(self._newest - self.size + 1, self._newest + 1)]

    def read(self, key: Subject, name: str) -> list[float]:
        """The values at these times; NaN where there is none."""
        if key not in self._values:
            return [math.nan] * self.size
        kept = self._values[key][SERIES.index(name)]
        after = (self._newest + 1) % self.size
        return [*kept[after:], *kept[:after]]

    def recent(self, key: Subject, name: str, per: int) -> list[float]:
        """The means of each `per` steps. They end at multiples of it, so that all but the newest stay as they are."""
        values = self.read(key, name)
        first = self._newest - self.size + 1
        skipped = -first % per
        return [mean(values[at : at + per]) for at in range(skipped, self.size, per)]


def mean(values: Sequence[float]) -> float:
    """The mean of what is known; NaN for none."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def joined(name: str, kept: float, value: float, count: int) -> float:
    """The value of a step after one more sample."""
    if not count or math.isnan(kept):
        return value
    if math.isnan(value):
        return kept
    return max(kept, value) if name in LARGEST else kept + (value - kept) / (count + 1)


class History:
    """What the page remembers: samples of the queues, and marks. Its methods may be called on any thread."""

    def __init__(self) -> None:
        self.rings = {"10m": Ring(2, 300), "24h": Ring(60, 1440)}
        self._marks: deque[Mark] = deque(maxlen=MOST_MARKS)
        self._lock = threading.Lock()

    def add(self, at: float, found: Sequence[Row]) -> None:
        """Add what a look found. Of more queues than the limit, those that come first count."""
        samples = {subject_of(row): values_of(row.info) for row in found[:MOST_QUEUES]}
        if (everything := total([row.info for row in found])) is not None:
            samples[ALL] = values_of(everything)
        with self._lock:
            for ring in self.rings.values():
                ring.add(at, samples)

    def read(self, span: str, key: Subject, names: Sequence[str]) -> tuple[list[int], dict[str, list[float]]]:
        """The times of a span (`10m` or `24h`), and the values of some series at these times."""
        with self._lock:
            ring = self.rings[span]
            return ring.times(), {name: ring.read(key, name) for name in names}

    def recent(self, key: Subject, *names: str) -> list[list[float]]:
        """The last ten minutes of some series, a value for each 10 s."""
        with self._lock:
            return [self.rings["10m"].recent(key, name, 5) for name in names]

    def mark(self, at: float, text: str) -> Mark:
        """Remember that something happened. The oldest of 200 marks is forgotten."""
        made = Mark(at, text[:LONGEST_MARK])
        with self._lock:
            self._marks.append(made)
        return made

    def marks(self, since: float = 0.0) -> list[Mark]:
        """The marks from that unix time on, the oldest first."""
        with self._lock:
            return sorted((mark for mark in self._marks if mark.at >= since), key=lambda mark: mark.at)
