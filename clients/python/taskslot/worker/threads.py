"""Threads that don't keep the process alive, used again for the next job."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue

Job = Callable[[], object]

log = logging.getLogger("taskslot")


class Threads:
    """As many threads as there are jobs at a time, no bound of its own.

    `concurrent.futures` would have done, but its threads are waited for when the process ends: one function that
    hangs would keep a worker from ever ending.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        # Threads that wait for a job and were not promised one yet.
        self._free = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._number = 0
        self._closed = False

    def start(self, job: Job) -> None:
        """Run a job on a thread that is free, or on a new one. What it raises is logged."""
        if self._free.acquire(blocking=False):
            self._jobs.put(job)
            return
        with self._lock:
            self._number += 1
            name = f"{self._name}-{self._number}"
        threading.Thread(target=self._live, args=(job,), name=name, daemon=True).start()

    def close(self) -> None:
        """End the threads that are free now, and the others after their job."""
        with self._lock:
            self._closed = True
            number = self._number
        for _ in range(number):
            self._jobs.put(None)

    def _live(self, job: Job | None) -> None:
        while job is not None:
            try:
                job()
            except BaseException:
                log.exception("a job of the worker raised an exception")
            job = None  # holds nothing of the last task while it waits
            if self._closed:
                return
            self._free.release()
            job = self._jobs.get()
