"""Totals that only grow while the program runs, from totals that can fall.

Monitoring systems take a counter that falls for one that began again at 0, and count its whole value as new. The totals
of a queue fall where that would be wrong: after a failover that lost the last changes, when a shard's node is away for
a while, or when a figure that only one node knows is read from another one. So a tally adds up what is new in each of
the sources of a series, such as its shards. Pure.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

# A source that wasn't seen for so many looks is forgotten, and counts as new if it comes back.
LOOKS_KEPT = 100


@dataclass
class Source:
    """What was last read from a source, and in which look."""

    values: tuple[int, ...]
    look: int


class Tally:
    """Totals by series. Each value is a tuple of counts that belong together."""

    def __init__(self) -> None:
        self._totals: dict[Hashable, list[int]] = {}
        self._sources: dict[Hashable, dict[Hashable, Source]] = {}
        self._look = 0

    def count(self, series: Hashable, source: Hashable, values: Sequence[int]) -> None:
        """Add what is new in a source. A source that is new counts as a whole."""
        sources = self._sources.setdefault(series, {})
        total = self._totals.setdefault(series, [0] * len(values))
        now = tuple(values)
        source_before = sources.get(source)
        if source_before is None:
            add(total, now)
            sources[source] = Source(now, self._look)
            return
        before = source_before.values
        source_before.look = self._look
        if now == before:
            return
        if sum(now) < sum(before) / 2:
            # It began again: the queue was deleted and made anew, or the node was restarted.
            add(total, now)
        else:
            # What fell a little is a failover that lost the last changes. It counts again once it has caught up.
            now = tuple(max(pair) for pair in zip(now, before, strict=True))
            add(total, [new - old for new, old in zip(now, before, strict=True)])
        source_before.values = now

    def of(self, series: Hashable) -> tuple[int, ...] | None:
        """The totals of a series; None if nothing was counted."""
        total = self._totals.get(series)
        return None if total is None else tuple(total)

    def end_look(self, is_complete: bool) -> None:
        """Forget what wasn't seen for a long time, unless this look could not see everything."""
        if not is_complete:
            # A source that is away isn't gone.
            for sources in self._sources.values():
                for source in sources.values():
                    source.look += 1
        self._look += 1
        for series in list(self._sources):
            sources = self._sources[series]
            for name in [name for name, source in sources.items() if source.look < self._look - LOOKS_KEPT]:
                del sources[name]
            if not sources:
                del self._sources[series], self._totals[series]


def add(total: list[int], values: Sequence[int]) -> None:
    """Add values to totals in their place."""
    for at, value in enumerate(values):
        total[at] += value
