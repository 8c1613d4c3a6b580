"""Makes a value once for all threads that ask at the same time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class Sharing(Generic[T]):
    """A value that is made by one thread at a time, and given to all who ask while it is made or is still fresh."""

    def __init__(self, make: Callable[[], T], fresh_s: float) -> None:
        self._make = make
        self._fresh_s = fresh_s
        self._lock = threading.Lock()
        self._future: Future[T] | None = None
        self._stale_at = 0.0

    def get(self, timeout_s: float) -> T:
        """The value, or the error of making it. Raises TimeoutError; the work goes on, for those who ask later."""
        with self._lock:
            if self._future is None or (self._future.done() and time.monotonic() >= self._stale_at):
                self._future = Future()
                threading.Thread(
                    target=self._run, args=[self._future], name="taskslot-metrics", daemon=True
                ).start()
            future = self._future
        return future.result(timeout_s)

    def _run(self, future: Future[T]) -> None:
        try:
            value = self._make()
        except BaseException as error:
            future.set_exception(error)
            return
        self._stale_at = time.monotonic() + self._fresh_s
        future.set_result(value)
