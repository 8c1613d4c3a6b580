"""The claim loop of a worker: claims as many tasks as there are free places, until the worker stops."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from ..arguments import MOST, token
from ..replies import Task
from .answers import requeue
from .options import WorkerOptions
from .outcomes import described
from .places import Places
from .retries import log_retry, passes, rests

log = logging.getLogger("taskslot")

# How long a claim waits in the server. A stop waits at most this long for the last claim.
BLOCK_MS = 1000


class Claimer:
    """Claims tasks, on a thread of its own.

    `begin` is called with each task and the time at which its claim was sent. It returns False if the worker is
    stopping; then the task is requeued.
    """

    def __init__(self, options: WorkerOptions, places: Places, begin: Callable[[Task, float], bool]) -> None:
        self._options = options
        self._places = places
        self._begin = begin
        self.has_ended = False
        self.error: Exception | None = None  # an error that another claim would meet again

    def run(self) -> None:
        """Claim until the worker stops, or until an error that ends it."""
        try:
            while free := self._places.wait_for_free():
                asked_at = time.monotonic()
                tasks = self._claim(min(free, MOST))
                requeue(self._options.queue, [task for task in tasks if not self._begin(task, asked_at)])
        except Exception as error:
            log.error("worker %s stops: %s", self._options.name, described(error))
            self.error = error
        finally:
            self.has_ended = True

    def _claim(self, count: int) -> list[Task]:
        """Claim, and again while a server is away, always with the same token: a lost reply may have had tasks."""
        queue, request = self._options.queue, token()
        for rest_s in rests():
            if self._places.is_stopping():
                break
            try:
                return queue.claim(count, block_ms=BLOCK_MS, request=request, **self._options.claim_options())
            except Exception as error:
                if not passes(queue, error):
                    raise
                log_retry(error, f"claim of {queue.name} failed")
            self._places.rest(rest_s)
        return []
