"""Runs a worker on a thread of its own, beside a test."""

import asyncio
import threading
import time
from queue import Queue

import taskslot.worker.claimer
import taskslot.worker.leases

from harness.server import PATIENCE_S, wait_until

# A stop waits for a claim that waits in the server, and tests stop often, so claims wait only briefly.
taskslot.worker.claimer.BLOCK_MS = 50


class WorkerThread:
    """`with WorkerThread(worker):` runs the worker during the block: `run()`, or `serve()` in an event loop."""

    def __init__(self, worker, how="run"):
        self.worker = worker
        self.how = how
        self.status = self.error = None
        self._thread = threading.Thread(target=self._live, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.worker.stop(at_once=True)
        self.ended()

    def _live(self):
        try:
            self.status = self.worker.run() if self.how == "run" else asyncio.run(self.worker.serve())
        except BaseException as error:
            self.error = error

    def is_over(self):
        """Whether it has ended."""
        return not self._thread.is_alive()

    def ended(self):
        """Wait for its end, and return its status."""
        wait_until(self.is_over, "the worker has ended")
        return self.status


class WorkerClock:
    """The clock by which workers extend leases. A test turns it on, so that its leases can be too long to be missed."""

    def __init__(self, monkeypatch):
        self._ahead_s = 0.0
        monkeypatch.setattr(taskslot.worker.leases, "time", self)

    def monotonic(self):
        """The time in seconds."""
        return time.monotonic() + self._ahead_s

    def passes(self, ms, worker):
        """Let this time pass at once for a worker that runs."""
        self.passes_for(ms, worker._runner._leases)

    def passes_for(self, ms, leases):
        """Let this time pass at once for these leases."""
        self._ahead_s += ms / 1000
        leases.wake()


class Gate:
    """A gate at which functions of tasks wait until a test opens it. `inside` returns those that arrived, in order."""

    def __init__(self):
        self._open = threading.Event()
        self._came = Queue()

    def enter(self, who=None):
        """Arrive and wait. This blocks an event loop."""
        self.come(who)
        assert self._open.wait(2 * PATIENCE_S)

    def come(self, who=None):
        """Arrive without waiting."""
        self._came.put(who)

    def inside(self):
        """Wait for the next arrival, and return it."""
        return self._came.get(timeout=PATIENCE_S)

    def open(self):
        """Open the gate for all."""
        self._open.set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.open()
