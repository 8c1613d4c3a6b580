"""One thread that looks at all queues, for all viewers: the load of the server doesn't grow with them.

It starts with the first request at the latest: an app that is mounted in another one gets no start event. While
somebody looks, it takes a snapshot every 2 s, otherwise every 10 s.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...clients import is_lost
from ...overview import Nodes, Row, Seen, rows
from ...overview.notes import shut
from ...overview.rows import logical_queues, shard_of_key
from ..queue.queue_keys import QueueKeys
from .history import History

log = logging.getLogger("taskslot.web")

# The time between two looks while somebody looks at the page and while nobody does, and how long ago "looks" may be.
INTERVAL_S, IDLE_INTERVAL_S, LOOKED_AT_S = 2.0, 10.0, 60.0
# How long a node may take to reply. Then it counts as away.
PATIENCE_S = 2.0
# The most queues of the page.
MOST_QUEUES = 1000


@dataclass(frozen=True)
class Snapshot:
    """What the last look found. If it failed, `failed` says why, and the rest is what the last good one found."""

    rows: Sequence[Row] = ()
    seen: Seen = field(default_factory=Seen)
    looked_at: float = 0.0
    number: int = 0
    failed: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether no look has succeeded yet."""
        return self.looked_at == 0.0

    def queue_of(self, row: Row) -> QueueKeys:
        """The queue of a row. A logical one has one shard more than the number of the last that is there."""
        if not row.shards:
            return QueueKeys(row.queue)
        keys = logical_queues(self.seen.infos).get(row.queue, set())
        numbers = [found[1] for key in keys if (found := shard_of_key(key)) is not None]
        return QueueKeys(row.queue, max(numbers, default=0) + 1)


class Sampler:
    """Looks at the queues on a daemon thread, and publishes what it sees. Its methods may be called on any thread."""

    def __init__(self, client: Callable[[], Any], history: History, limit: int = MOST_QUEUES) -> None:
        self._client = client
        self._history = history
        self._limit = limit
        self._snapshot = Snapshot()
        self._changed = threading.Condition()
        self._listeners: set[Callable[[], None]] = set()
        self._nodes: Nodes | None = None
        self._process = 0
        self._looked_at = 0.0
        self._wake = threading.Event()
        self._stopped = False

    # ---- for viewers

    def snapshot(self, wait_s: float = PATIENCE_S) -> Snapshot:
        """The newest snapshot. The first request of all waits for the first one."""
        self.start()
        with self._changed:
            self._changed.wait_for(lambda: self._snapshot.number > 0 or self._stopped, wait_s)
            return self._snapshot

    def listen(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Have a function called on the sampler's thread after each look. Returns what ends that."""
        self.start()
        with self._changed:
            self._listeners.add(changed)

        def leave() -> None:
            with self._changed:
                self._listeners.discard(changed)

        return leave

    def start(self) -> None:
        """Start the thread in this process. Under a pre-forking server, each child has its own."""
        self._looked_at = time.monotonic()
        with self._changed:
            if self._process == os.getpid() or self._stopped:
                return
            self._process, self._nodes = os.getpid(), None
        threading.Thread(target=self._run, name="taskslot-web-sampler", daemon=True).start()

    def look_soon(self) -> None:
        """Look at once, because something was changed."""
        self._wake.set()

    def stop(self) -> None:
        """End the thread."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._wake.set()

    # ---- the thread

    def _run(self) -> None:
        while not self._stopped:
            self._publish(self._look())
            is_watched = bool(self._listeners) or time.monotonic() - self._looked_at < LOOKED_AT_S
            self._wake.wait(INTERVAL_S if is_watched else IDLE_INTERVAL_S)
            self._wake.clear()
        if self._nodes is not None:
            self._nodes.close()

    def _look(self) -> Snapshot:
        """A new snapshot. Never raises."""
        last = self._snapshot
        try:
            if self._nodes is None:
                self._nodes = Nodes(self._client(), self._limit, PATIENCE_S)
            seen = self._nodes.look()
            # A server can also go away in the middle of a look, after it has said what it is.
            if seen.away and not any(one.is_primary and one.address not in seen.away for one in seen.nodes):
                failed = f"The server doesn't answer: {', '.join(seen.away)}."
                return replace(last, number=last.number + 1, failed=failed)
            if why := shut(seen):
                failed = f"The queues can't be read: {why}."
                return replace(last, number=last.number + 1, failed=failed)
            found = rows(seen.infos)
        except Exception as error:
            failed = words(error)
            if failed != last.failed:
                log.warning("can't look at the queues: %s", error)
            return replace(last, number=last.number + 1, failed=failed)
        now = time.time()
        self._history.add(now, found)
        return Snapshot(found, seen, now, last.number + 1)

    def _publish(self, snapshot: Snapshot) -> None:
        with self._changed:
            self._snapshot = snapshot
            self._changed.notify_all()
            listeners = list(self._listeners)
        for changed in listeners:
            changed()


def words(error: Exception) -> str:
    """Why the queues can't be read, for people."""
    text = str(error).rstrip(".") or type(error).__name__
    return f"The server doesn't answer: {text}." if is_lost(error) else f"The queues can't be read: {text}."
