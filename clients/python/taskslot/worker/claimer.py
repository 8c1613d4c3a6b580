"""The claim loop of a worker: as many tasks as there are free places, until the stop."""

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

# How long a claim waits in the server, and so how long a stop may wait for it.
BLOCK_MS = 1000


class Claimer:
    """Claims, on a thread of its own. `begin` is given each task with the time at which its claim was sent.

    It returns False for a task that came after the stop, which then goes back.
    """

    def __init__(self, options: WorkerOptions, places: Places, begin: Callable[[Task, float], bool]) -> None:
        self._options = options
        self._places = places
        self._begin = begin
        self.has_ended = False
        self.error: Exception | None = None  # what the server refuses: to claim again would not help

    def run(self) -> None:
        """Claim until the stop, or an error that ends the worker."""
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
        """Claim, again and again while a server is away: with one token, since a claim may have been done unheard."""
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
