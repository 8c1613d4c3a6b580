"""Reads dead tasks on threads and groups them by error, so that a page of 100,000 of them waits for nothing.

A scan reads the newest tasks of a queue, as many as were asked for, in commands that each take the server some
milliseconds. The last scans are remembered: a page that is loaded again shows what is known.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from ... import commands
from ..._sync.wire import Wire
from ..bulk.work import AT_ONCE, BYTES_AT_ONCE
from ..queue.queue_keys import QueueKeys
from ..queue.raw_names import sendable
from ..queue.task_filter import TaskFilter
from ..site import Site
from .groups import DeadGroups

# How many tasks a scan looks at by default, and at most.
NEWEST, FURTHEST = 10_000, 200_000
# After that a result counts as old, and the next page has it read again.
OLD_S = 10.0
# The scans that are remembered, those that read at a time, and those that read or wait for that.
MOST_KEPT, MOST_ACTIVE, MOST_STARTED = 32, 2, 24
# A scan rests after each command for as long as it took.
RESTS = 1


@dataclass
class DeadScan:
    """The dead tasks of one queue, as far as they have been read: the newest `limit` of `total`."""

    queue: QueueKeys
    limit: int
    total: int = 0
    groups: DeadGroups = field(default_factory=DeadGroups)
    error: str = ""
    is_replaced: bool = False
    began: float = field(default_factory=time.monotonic)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def has_ended(self) -> bool:
        """Whether it reads no more."""
        return self.ended.is_set()

    @property
    def further(self) -> int | None:
        """How far to look next; None if there is nothing more to look at."""
        if self.total <= self.limit or self.limit >= FURTHEST:
            return None
        return min(FURTHEST, max(self.limit * 4, NEWEST))


class DeadScans:
    """The scans of one app. Requests on many threads share it."""

    def __init__(self, client: Any) -> None:
        self._wire = Wire(client, patience_ms=0)
        self._scans: OrderedDict[tuple[str, ...], DeadScan] = OrderedDict()
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(MOST_ACTIVE)
        self._started = 0

    def close(self) -> None:
        """Close the connections. A scan that is at work fails."""
        self._wire.close()

    def look(self, queue: QueueKeys, limit: int = NEWEST, wait_s: float = 1.0) -> DeadScan:
        """The scan of a queue: a new one unless there is one that is young or at work. Waits a moment for its end."""
        limit = max(1, min(limit, FURTHEST))
        with self._lock:
            scan = self._scans.get(queue.keys)
            if scan is None or not self._is_good(scan, limit):
                if scan is not None:
                    scan.is_replaced = True
                scan = self._begin(queue, limit)
            self._scans.move_to_end(queue.keys)
            while len(self._scans) > MOST_KEPT:
                self._scans.popitem(last=False)
        scan.ended.wait(wait_s)
        return scan

    def _begin(self, queue: QueueKeys, limit: int) -> DeadScan:
        """A new scan on a thread of its own; one that has failed if there are too many."""
        scan = self._scans[queue.keys] = DeadScan(queue, limit)
        if self._started >= MOST_STARTED:
            scan.error = "The page reads many queues at present. Load it again in a moment."
            scan.ended.set()
        else:
            self._started += 1
            threading.Thread(target=self._run, args=[scan], name="taskslot dead tasks", daemon=True).start()
        return scan

    def forget(self, keys: tuple[str, ...]) -> None:
        """Read a queue again with the next look, because its dead tasks were changed."""
        with self._lock:
            for known in [one for one in self._scans if set(one) & set(keys)]:
                del self._scans[known]

    def _is_good(self, scan: DeadScan, limit: int) -> bool:
        """Whether a scan is an answer to a look so far."""
        if not scan.has_ended:
            return scan.limit >= limit
        return scan.limit == limit and not scan.error and time.monotonic() - scan.began < OLD_S

    def _run(self, scan: DeadScan) -> None:
        with self._slots:
            try:
                for key in scan.queue.keys:
                    scan.total += self._wire.wait(sendable(commands.length(key, "dead")))
                for number in range(len(scan.queue.keys)):
                    self._read(scan, number, scan.limit * (number + 1) // len(scan.queue.keys))
            except Exception as error:
                scan.error = str(error) or type(error).__name__
            finally:
                with self._lock:
                    self._started -= 1
                scan.ended.set()

    def _read(self, scan: DeadScan, shard: int, until: int) -> None:
        """Read the tasks of a shard, until so many of the queue have been looked at."""
        cursor = ""
        while cursor != "0" and scan.groups.looked < until and not scan.is_replaced:
            began = time.monotonic()
            command = TaskFilter("dead").page(scan.queue.keys[shard], cursor, AT_ONCE, BYTES_AT_ONCE)
            cursor, tasks = self._wire.wait(sendable(command))
            for task in tasks[: until - scan.groups.looked]:
                scan.groups.add(task, scan.queue.id_in(shard, task.id))
            time.sleep(RESTS * (time.monotonic() - began))


def scans_of(site: Site) -> DeadScans:
    """The scans of a site."""
    return site.kept("dead scans", lambda: DeadScans(site.client))


def look_anew(site: Site, keys: tuple[str, ...]) -> None:
    """Have the site look at queues again, because their tasks were changed."""
    scans_of(site).forget(keys)
    site.sampler.look_soon()
