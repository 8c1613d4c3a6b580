"""Metrics of all queues and nodes, for Prometheus and OpenTelemetry (docs/metrics.md). It needs the extra `metrics`.

`reader` reads a server with `taskslot.overview`. `queue_meter` and `node_meter` turn what it found into families of
points (`family`), and `tally` keeps totals from falling. `prometheus` and `otlp` bring the families into the forms of
their libraries. `exporter` puts it together.
"""

from .exporter import Exporter

__all__ = ["Exporter"]
