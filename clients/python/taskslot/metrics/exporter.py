"""Measures a server when asked, for Prometheus and for OTLP, and says so if the server is away."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from .. import __version__
from ..clients import Client
from ..integrations.packages import needs
from ..overview import Nodes
from .family import Family, Measured, one
from .node_meter import measure_nodes
from .prometheus import metrics
from .queue_meter import QueueMeter
from .reader import KEYS_READ, Reader
from .sharing import Sharing

with needs("prometheus_client", "metrics"):
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.metrics_core import Metric

log = logging.getLogger("taskslot")

# A second scrape within this time gets the figures of the first one.
FRESH_S = 1.0

UP = Family("up", "gauge", "1 if a server answered, and lets this user read queues.")
BUILD = Family("exporter_info", "gauge", "The version of this program.", ("version",))
WHOLE = Family(
    "search_complete",
    "gauge",
    "1 if all queues were found and read; 0 at first, and if there are too many or the server is slow.",
)
DURATION = Family("scrape_duration", "gauge", "How long it took to read the queues.", unit="seconds")
COMMANDS = Family("scrape_commands", "gauge", "Commands that were sent to read the queues.")
ERRORS = Family("scrape_errors", "counter", "Scrapes without figures of queues; the log has the reasons.")


class Exporter:
    """The metrics of all queues and nodes that a client reaches.

    `client` is a sync client of redis-py or valkey-py, or a function that returns one; then the server can be away at
    first. Nothing is read until somebody asks. Threads that ask at the same time share one reading.

    `queues` is how many queues have metrics of their own. `timeout_s` is how long a scrape waits; then it reports that
    the server is down. `shards_apart` takes each shard for a queue. `whole` searches all keys each time; otherwise a
    queue among millions of other keys is found after some scrapes.

    It is a collector of prometheus-client: `registry.register(exporter)`. Without a registry of your own, use `answer`.
    Raises TypeError for another client, and ValueError for a number out of bounds.
    """

    def __init__(
        self,
        client: Any,
        *,
        queues: int = 500,
        histograms: bool = True,
        shards_apart: bool = False,
        whole: bool = False,
        timeout_s: float = 8.0,
    ) -> None:
        if queues < 0 or timeout_s <= 0:
            raise ValueError("queues must be at least 0, and timeout_s more than 0")
        if callable(client) and not hasattr(client, "execute_command"):
            self._connect: Callable[[], Any] = client
        else:
            Client(client).must_be(is_async=False)
            self._connect = lambda: client
        self._timeout_s = timeout_s
        self._queues = QueueMeter(queues, histograms, shards_apart)
        self._reader: Reader | None = None
        self._histograms = histograms
        self._whole = whole
        self._sharing = Sharing(self._measure, FRESH_S)
        self._errors = 0
        self._trouble = ""
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def answer(self, accept: str = "") -> tuple[str, bytes]:
        """The content type and the body for a scrape: OpenMetrics if the header Accept asks for it. Never raises."""
        encode, content_type = choose_encoder(accept)
        return content_type, encode(self.registry)

    def describe(self) -> list[Metric]:
        """Nothing: otherwise a registry would read the server when this is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The metrics as prometheus-client's."""
        return metrics(self.measure())

    def measure(self) -> list[Measured]:
        """All families. If the server can't be read, those that say so."""
        try:
            measured = self._sharing.get(self._timeout_s)
        except Exception as error:
            self._failed(str(error) or f"no figures in {self._timeout_s:g} s")
            measured = [one(UP, 0)]
        return [*measured, one(BUILD, 1, [__version__]), one(ERRORS, self._errors)]

    def close(self) -> None:
        """Close the connections."""
        if self._reader is not None:
            self._reader.close()

    def _measure(self) -> list[Measured]:
        started = time.monotonic()
        if self._reader is None:
            self._reader = Reader(
                Nodes(self._connect(), KEYS_READ), times=self._histograms, whole=self._whole
            )
        reading = self._reader.read()
        measured = measure_nodes(reading)
        if reading.trouble:
            self._failed(reading.trouble)
        else:
            self._trouble = ""
            measured += self._queues.measure(reading)
        return [
            *measured,
            one(UP, not reading.trouble),
            one(WHOLE, reading.is_whole),
            one(COMMANDS, reading.commands),
            one(DURATION, time.monotonic() - started),
        ]

    def _failed(self, text: str) -> None:
        """Count a scrape without figures, and log why, once until it changes."""
        self._errors += 1
        if text != self._trouble:
            self._trouble = text
            log.warning("metrics: %s", text)
