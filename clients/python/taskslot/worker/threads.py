"""A pool of daemon threads, which don't keep the process alive."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import Queue

Job = Callable[[], object]

log = logging.getLogger("taskslot")


class Threads:
    """Runs each job on a thread of its own. Threads are reused; their number has no limit here.

    `concurrent.futures` is not used because Python waits for its threads when the process ends. A function that hangs
    would then keep a worker from ending.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        # Not a SimpleQueue: if gevent replaces the threads after this file was imported, that would block all of them.
        self._jobs: Queue[Job | None] = Queue()
        # Counts the threads that wait for a job and have not been assigned one.
        self._free = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._number = 0
        self._closed = False

    def start(self, job: Job) -> None:
        """Run a job on a free thread, or on a new one. An exception of the job is logged."""
        if self._free.acquire(blocking=False):
            self._jobs.put(job)
            return
        with self._lock:
            self._number += 1
            name = f"{self._name}-{self._number}"
        threading.Thread(target=self._live, args=(job,), name=name, daemon=True).start()

    def close(self) -> None:
        """End the free threads now, and the others after their jobs."""
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
            job = None  # keep no reference to the last task while waiting
            if self._closed:
                return
            self._free.release()
            job = self._jobs.get()
