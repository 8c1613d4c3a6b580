"""A family of metrics and its points, without a library: the exporters turn both into their own forms. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Unit = Literal["", "seconds", "bytes", "ratio"]

# The upper bounds of the buckets, in ms: powers of two, so that they are among those of TASK.INFO key TIMES. What is
# longer than 70 minutes is in a bucket without a bound.
BOUNDS_MS = tuple(1 << power for power in range(23))


@dataclass(frozen=True)
class Family:
    """Metrics of one name. `name` is dotted and without its unit, such as `queue.oldest_ready`."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    unit: Unit = ""


class Buckets(NamedTuple):
    """The value of a histogram: how many durations each bucket has, for BOUNDS_MS and beyond, and their sum in s."""

    counts: tuple[int, ...]
    sum_s: float


class Point(NamedTuple):
    """A value of a family, with the values of its labels in order."""

    labels: tuple[str, ...]
    value: float | Buckets


@dataclass
class Measured:
    """A family with all its points at one time."""

    family: Family
    points: list[Point] = field(default_factory=list)

    def add(self, value: float | Buckets | None, *labels: str) -> None:
        """Add a point; none if the value is unknown."""
        if value is not None:
            self.points.append(Point(labels, value if isinstance(value, Buckets) else float(value)))


def known(value: float) -> float | None:
    """A figure of the server, where -1 means unknown."""
    return None if value < 0 else value


def seconds(ms: float) -> float | None:
    """A span of the server in seconds; None if it is unknown."""
    return None if ms < 0 else ms / 1000


def one(family: Family, value: float | None, labels: Sequence[str] = ()) -> Measured:
    """A family with one point."""
    measured = Measured(family)
    measured.add(value, *labels)
    return measured
