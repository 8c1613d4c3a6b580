"""Sends the metrics to a collector of OpenTelemetry by OTLP over HTTP. It needs the extra `otlp`.

The points go straight into the SDK's data classes, not through its instruments: these can't observe a histogram that
somebody else has counted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from .. import __version__
from ..integrations.packages import needs
from .exporter import Exporter
from .family import BUCKETS_MS, Buckets, Family, Measured, Point

with needs("opentelemetry", "otlp"):
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics.export import (
        AggregationTemporality,
        Gauge,
        Histogram,
        HistogramDataPoint,
        Metric,
        MetricExportResult,
        MetricsData,
        NumberDataPoint,
        ResourceMetrics,
        ScopeMetrics,
        Sum,
    )
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

log = logging.getLogger("taskslot")

UNITS = {"seconds": "s", "bytes": "By", "ratio": "1", "": ""}
PATH = "/v1/metrics"
# What the SDK logs under, whenever a message isn't taken.
SENDER = "opentelemetry.exporter.otlp.proto.http.metric_exporter"


class Push:
    """Sends the metrics at intervals, on a thread of its own, until `stop`."""

    def __init__(self, exporter: Exporter, url: str, interval_s: float) -> None:
        self._exporter = exporter
        self._interval_s = interval_s
        self._sender = OTLPMetricExporter(endpoint=endpoint(url))
        self._began_ns = time.time_ns()
        self._resource = resource()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="taskslot-otlp", daemon=True)
        self._is_failing = False
        self._reason = ""
        logging.getLogger(SENDER).addFilter(self._keep_reason)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Send no more. Waits for what is being sent."""
        self._stop.set()
        self._sender.shutdown()
        if self._thread.is_alive():
            self._thread.join(self._interval_s)
        logging.getLogger(SENDER).removeFilter(self._keep_reason)

    def _run(self) -> None:
        while True:
            self.send()
            if self._stop.wait(self._interval_s):
                return

    def send(self) -> bool:
        """Measure and send once. False if the collector did not take it; this is logged once until it works again."""
        data = metrics_data(self._exporter.measure(), self._resource, self._began_ns, time.time_ns())
        try:
            is_sent = self._sender.export(data) is MetricExportResult.SUCCESS
        except Exception as error:
            self._reason = str(error)
            is_sent = False
        if not is_sent and not self._is_failing and not self._stop.is_set():
            log.warning("metrics: the collector does not take them: %s", self._reason)
        self._is_failing = not is_sent
        return is_sent

    def _keep_reason(self, record: logging.LogRecord) -> bool:
        """Keep what the SDK would log each time, for a line that is logged once."""
        self._reason = record.getMessage()
        return False


def endpoint(url: str) -> str:
    """The address that metrics are sent to: the URL, with the usual path if it has none. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("--otlp takes the address of a collector, such as http://127.0.0.1:4318")
    return url if parts.path.strip("/") else url.rstrip("/") + PATH


def resource() -> Any:
    """What the metrics are of: OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME; the service is `taskslot` by default."""
    found = Resource.create()
    if str(found.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        found = found.merge(Resource({SERVICE_NAME: "taskslot"}))
    return found


def metrics_data(measured: Iterable[Measured], of: Any, began_ns: int, now_ns: int) -> MetricsData:
    """All families as one message."""
    made = [metric(found, began_ns, now_ns) for found in measured if found.points]
    scope = ScopeMetrics(InstrumentationScope("taskslot", __version__), made, "")
    return MetricsData([ResourceMetrics(of, [scope], "")])


def metric(measured: Measured, began_ns: int, now_ns: int) -> Metric:
    """A family as a metric. Totals and histograms are cumulative."""
    family, cumulative = measured.family, AggregationTemporality.CUMULATIVE
    data: Gauge | Sum | Histogram
    if family.kind == "histogram":
        data = Histogram(
            [histogram_point(family, one, began_ns, now_ns) for one in measured.points], cumulative
        )
    else:
        points = [number_point(family, one, began_ns, now_ns) for one in measured.points]
        data = Gauge(points) if family.kind == "gauge" else Sum(points, cumulative, is_monotonic=True)
    return Metric(f"taskslot.{family.name}", family.help, UNITS[family.unit], data)


def number_point(family: Family, point: Point, began_ns: int, now_ns: int) -> NumberDataPoint:
    """The value of a gauge or a counter."""
    attributes = dict(zip(family.labels, point.labels, strict=True))
    value = point.value
    assert not isinstance(value, Buckets)
    return NumberDataPoint(attributes, began_ns if family.kind == "counter" else 0, now_ns, value)


def histogram_point(family: Family, point: Point, began_ns: int, now_ns: int) -> HistogramDataPoint:
    """The value of a histogram. The least and the greatest duration are not known."""
    attributes = dict(zip(family.labels, point.labels, strict=True))
    value = point.value
    assert isinstance(value, Buckets)
    return HistogramDataPoint(
        attributes,
        began_ns,
        now_ns,
        count=sum(value.counts),
        sum=value.sum_s,
        bucket_counts=value.counts,
        explicit_bounds=[bound / 1000 for bound in BUCKETS_MS],
        min=None,  # type: ignore[arg-type]  # it is optional on the wire
        max=None,  # type: ignore[arg-type]
    )
