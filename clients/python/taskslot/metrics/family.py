"""A family of metrics and its points, without a library: the exporters turn both into their own forms. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, NamedTuple, TypeVar

from ..replies import BOUNDS_MS

Unit = Literal["", "seconds", "bytes", "ratio"]
T = TypeVar("T")
# Values of a gauge: the values of its other labels, and the value; None if it is unknown.
Values = Iterable[tuple[tuple[str, ...], float | None]]

# The upper bounds of the buckets, in ms: those of TASK.INFO key TIMES up to 70 minutes. What is longer is in a bucket
# without a bound.
BUCKETS_MS = BOUNDS_MS[:23]


@dataclass(frozen=True)
class Family:
    """Metrics of one name. `name` is dotted and without its unit, such as `queue.oldest_ready`."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    unit: Unit = ""


@dataclass(frozen=True)
class Gauge(Generic[T]):
    """A gauge of queues or nodes, and how its values are read."""

    family: Family
    values: Callable[[T], Values]


def gauge(name: str, help: str, value: Callable[[T], float | None], unit: Unit = "") -> Gauge[T]:
    """A gauge with one value for each queue or node. The first part of its name is its label."""
    return Gauge(Family(name, "gauge", help, (name.partition(".")[0],), unit), lambda of: [((), value(of))])


class Buckets(NamedTuple):
    """The value of a histogram: how many durations each bucket has, for BUCKETS_MS and beyond, and their sum in s."""

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
