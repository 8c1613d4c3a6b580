"""Asks the functions of tasks to stop when their time is over."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress

from .context import TaskContext
from .threads import Threads

log = logging.getLogger("taskslot")


class Timeouts:
    """When the time of each running task is over, for those whose functions have a `timeout_ms`.

    One thread waits for all. It is started with the first such task. It asks before it logs: a log handler can raise
    anything, which must not end the time-outs of the other tasks.
    """

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._changed = threading.Condition()
        self._over_at: dict[TaskContext, float] = {}
        self._next_at = 0.0  # when the thread wakes; 0 before it is started
        self._closed = False

    def add(self, context: TaskContext, timeout_ms: int) -> None:
        """Ask the function of a task to stop after its time, unless `remove` comes first."""
        over_at = time.monotonic() + timeout_ms / 1000
        with self._changed:
            self._over_at[context] = over_at
            if not self._next_at:
                self._start(over_at)
            elif over_at < self._next_at:
                self._changed.notify()

    def remove(self, context: TaskContext) -> None:
        """Forget a task whose function has ended."""
        with self._changed:
            self._over_at.pop(context, None)

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _start(self, over_at: float) -> None:
        try:
            self._threads.start(self._live)
            self._next_at = over_at
        except RuntimeError:  # the process can't start another thread now; the next task tries again
            with suppress(BaseException):
                log.warning("no thread can be started, so no task is asked to stop when its time is over")

    def _live(self) -> None:
        while (over := self._next()) is not None:
            for context in over:
                with suppress(BaseException):
                    context.ask_to_stop(timed_out=True)
                    log.warning(
                        "task %s runs for longer than its timeout_ms: it is asked to stop", context.task.id
                    )

    def _next(self) -> list[TaskContext] | None:
        """Wait for the next tasks whose time is over. None at the end."""
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                if over := [context for context, at in self._over_at.items() if at <= now]:
                    for context in over:
                        del self._over_at[context]
                    return over
                self._next_at = min(self._over_at.values(), default=now + IDLE_S)
                self._changed.wait(self._next_at - now)
            return None


# How long the thread sleeps if no task has a time-out.
IDLE_S = 3600.0
