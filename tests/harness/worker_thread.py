"""Runs a worker on a thread of its own, beside a test."""

import asyncio
import threading
from queue import Queue

import taskslot.worker.claimer

from harness.server import wait_until

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
        wait_until(self.is_over, "the worker has ended", timeout=10)
        return self.status


class Gate:
    """A gate at which functions of tasks wait until a test opens it. `inside` returns those that arrived, in order."""

    def __init__(self):
        self._open = threading.Event()
        self._came = Queue()

    def enter(self, who=None):
        """Arrive and wait. This blocks an event loop."""
        self.come(who)
        assert self._open.wait(20)

    def come(self, who=None):
        """Arrive without waiting."""
        self._came.put(who)

    def inside(self):
        """Wait for the next arrival, and return it."""
        return self._came.get(timeout=5)

    def open(self):
        """Open the gate for all."""
        self._open.set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.open()
