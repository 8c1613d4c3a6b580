"""Turns readings into the metrics of queues. It remembers which queues it shows, and their totals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..aggregate import total
from ..overview.rows import logical_queues
from ..replies import Durations, Info
from . import queue_families as queues
from .family import BUCKETS_MS, Buckets, Family, Measured, one
from .labels import label
from .reading import Reading
from .tally import Tally

# The label of what is not shown by itself.
REST = ""
SHOWN = Family("queues", "gauge", "Queues that were found; the shards of a queue are one.")
LEFT_OUT = Family(
    "queues_left_out", "gauge", 'Queues that have no metrics of their own, but are in queue="".'
)
UNREADABLE = Family(
    "queues_unreadable",
    "gauge",
    "Keys of queues that this user may not read, that were not read in time, or with too long names.",
)


class QueueMeter:
    """The metrics of queues, for one reading after the other.

    At most `most` queues have metrics of their own. A queue that has them keeps them until it is gone. All others are
    one queue with an empty name.
    """

    def __init__(self, most: int, histograms: bool = True, shards_apart: bool = False) -> None:
        self._most = most
        self._histograms = histograms
        self._shards_apart = shards_apart
        self._shown: set[str] = set()
        self._tally = Tally()

    def measure(self, reading: Reading) -> list[Measured]:
        """The families of queues."""
        named = by_label(reading.infos, self._shards_apart)
        shown = self._choose(named)
        left_out = len(named) - len(shown)
        if left_out:
            shown[REST] = [key for name, keys in named.items() if name not in shown for key in keys]
        measured = [one(SHOWN, len(named)), one(LEFT_OUT, left_out), one(UNREADABLE, reading.unreadable)]
        measured += gauges(shown, reading.infos)
        measured += self._totals(shown, reading)
        measured += self._schedules(shown, reading)
        if self._histograms:
            measured += self._durations(shown, reading)
        self._tally.end_look(is_complete=reading.is_whole and not reading.away)
        return measured

    def _choose(self, named: Mapping[str, list[str]]) -> dict[str, list[str]]:
        """The queues that are shown: those of the last time, then the first others by name."""
        stay = [name for name in named if name in self._shown]
        new = sorted(name for name in named if name not in self._shown)
        chosen = stay + new[: max(0, self._most - len(stay))]
        self._shown = set(chosen)
        return {name: named[name] for name in chosen}

    def _totals(self, shown: Mapping[str, list[str]], reading: Reading) -> list[Measured]:
        stored = [Measured(family) for family in queues.TOTAL_FAMILIES]
        of_nodes = [Measured(family) for family in queues.NODE_TOTAL_FAMILIES]
        for name, keys in shown.items():
            for key in keys:
                info, node = reading.infos[key], reading.node_of.get(key, "")
                self._tally.count(("totals", name), key, queues.totals_of(info))
                self._tally.count(("node", name), (key, node), queues.node_totals_of(info))
            spread(stored, self._tally.of(("totals", name)), name)
            spread(of_nodes, self._tally.of(("node", name)), name)
        return stored + of_nodes

    def _schedules(self, shown: Mapping[str, list[str]], reading: Reading) -> list[Measured]:
        runs, states = Measured(queues.RUNS_FAMILY), Measured(queues.SCHEDULES)
        for name, keys in shown.items():
            found = [(key, schedule) for key in keys for schedule in reading.schedules.get(key, ())]
            for key, schedule in found:
                self._tally.count(("runs", name), (key, schedule.name), queues.runs_of(schedule))
            if not found:
                continue
            for outcome, count in zip(queues.RUNS, self._tally.of(("runs", name)) or (), strict=True):
                runs.add(count, name, outcome)
            for state, count in queues.schedules_by_state([schedule for _, schedule in found]).items():
                states.add(count, name, state)
        return [runs, states]

    def _durations(self, shown: Mapping[str, list[str]], reading: Reading) -> list[Measured]:
        wait, run = Measured(queues.WAIT), Measured(queues.RUN)
        for name, keys in shown.items():
            for key in keys:
                if (times := reading.times.get(key)) is None:
                    continue
                source = key, reading.node_of.get(key, "")
                self._tally.count(("wait", name), source, counts_of(times.wait))
                self._tally.count(("run", name), source, counts_of(times.run))
            wait.add(buckets_of(self._tally.of(("wait", name))), name)
            run.add(buckets_of(self._tally.of(("run", name))), name)
        return [wait, run]


def by_label(infos: Mapping[str, Info], shards_apart: bool) -> dict[str, list[str]]:
    """The keys of each queue, by the value of its label. Names that look the same as labels are one queue."""
    together = {} if shards_apart else logical_queues(infos)
    queue_of = {key: queue for queue, keys in together.items() for key in keys}
    named: dict[str, list[str]] = {}
    for key in infos:
        named.setdefault(label(queue_of.get(key, key)), []).append(key)
    return named


def gauges(shown: Mapping[str, list[str]], infos: Mapping[str, Info]) -> list[Measured]:
    """The gauges of all queues."""
    totals = {name: total([infos[key] for key in keys]) for name, keys in shown.items()}
    measured = []
    for gauge in queues.GAUGES:
        of_all = Measured(gauge.family)
        for name, info in totals.items():
            if info is not None:
                for labels, value in gauge.values(info):
                    of_all.add(value, name, *labels)
        measured.append(of_all)
    return measured


def spread(families: Sequence[Measured], values: Iterable[int] | None, name: str) -> None:
    """Add a value of a queue to each family, in order."""
    for measured, value in zip(families, values or (), strict=True):
        measured.add(value, name)


def counts_of(durations: Durations) -> tuple[int, ...]:
    """The counts of the buckets, then the sum in ms."""
    below = durations.below_ms
    counts = [below.get(bound, 0) for bound in BUCKETS_MS]
    return *counts, sum(below.values()) - sum(counts), durations.sum_ms


def buckets_of(counts: tuple[int, ...] | None) -> Buckets | None:
    """The value of a histogram, from what `counts_of` made."""
    return None if counts is None else Buckets(counts[:-1], counts[-1] / 1000)
