"""The metrics in the form of prometheus-client. The library writes the text: of Prometheus or of OpenMetrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate

from ..integrations.packages import needs
from .family import BUCKETS_MS, Buckets, Family, Measured

with needs("prometheus_client", "metrics"):
    from prometheus_client.metrics_core import Metric
    from prometheus_client.samples import Sample

LE = "le"
# The bounds in seconds, as texts.
BOUNDS = (*(repr(float(bound / 1000)) for bound in BUCKETS_MS), "+Inf")


def prometheus_name(family: Family) -> str:
    """The name of a family, without the suffix `_total` of counters."""
    return "_".join(["taskslot", *family.name.split("."), *([family.unit] if family.unit else [])])


def metrics(measured: Iterable[Measured]) -> Iterator[Metric]:
    """The families as the library's metrics. Those without points are left out."""
    for found in measured:
        if not found.points:
            continue
        name = prometheus_name(found.family)
        metric = Metric(name, found.family.help, found.family.kind, found.family.unit)
        for labels, value in found.points:
            named = dict(zip(found.family.labels, labels, strict=True))
            if isinstance(value, Buckets):
                metric.samples.extend(samples_of(name, named, value))
            else:
                suffix = "_total" if found.family.kind == "counter" else ""
                metric.samples.append(Sample(name + suffix, named, value))
        yield metric


def samples_of(name: str, labels: dict[str, str], value: Buckets) -> Iterator[Sample]:
    """The lines of a histogram: each bucket counts all that is at most its bound."""
    counts = list(accumulate(value.counts))
    for bound, count in zip(BOUNDS, counts, strict=True):
        yield Sample(f"{name}_bucket", {**labels, LE: bound}, count)
    yield Sample(f"{name}_count", labels, counts[-1])
    yield Sample(f"{name}_sum", labels, value.sum_s)
