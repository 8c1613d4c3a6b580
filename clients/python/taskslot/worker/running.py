"""A task while its function runs: what the function sees of it, and how it is told to stop."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar

from ..commands import Payload
from ..errors import CancelAsked, LeaseLost
from ..replies import Task

# What the server takes of PROGRESS.
PROGRESS_BYTES = 4096

NOW: ContextVar[Running] = ContextVar("taskslot.running")


def current() -> Running:
    """The task that runs here: in a registered function, what it calls and awaits, and `asyncio.to_thread`.

    A thread that the function starts by itself doesn't know it: hand it over. Raises RuntimeError where none runs.
    """
    try:
        return NOW.get()
    except LookupError:
        raise RuntimeError(
            "no task runs here: taskslot.current() is for functions that a Worker calls"
        ) from None


class Running:
    """A task whose function runs. A function that may take long looks at it now and then, or waits with `wait`.

    The worker learns of a cancel or a lost lease with its heartbeat, within a third of the lease. A sync function is
    told by what stands here; an async one is cancelled besides (`asyncio.CancelledError`).
    """

    def __init__(self, task: Task, said: Callable[[], None]) -> None:
        self.task = task
        self.cancelled = False  # somebody cancelled the task: stop, nobody needs it any more
        self.lease_lost = False  # the lease is over: another worker may have the task by now
        self.begun_at = time.monotonic()
        self.ended_at: float | None = None  # when the function did: what is left to do is to answer
        self._pid = os.getpid()
        self._said = said  # tells the worker that there is progress
        self._told = threading.Event()
        self._lock = threading.Lock()
        self._begun = self._left = False
        self._progress: bytes | None = None
        self._stop: Callable[[], object] | None = None

    def check(self) -> None:
        """Raise `LeaseLost` or `CancelAsked` if the function should stop; it may just let them pass."""
        if self.lease_lost:
            raise LeaseLost("the lease of the task is over")
        if self.cancelled:
            raise CancelAsked("somebody cancelled the task")

    def wait(self, seconds: float) -> bool:
        """Sleep so long, but not on when the function should stop: whether it should.

        For sync functions: an async one awaits `asyncio.sleep`, which ends by itself when it is cancelled. A process
        that the function forked is told nothing, and just sleeps.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            if os.getpid() != self._pid:
                time.sleep(seconds)
                return self._told.is_set()
            return self._told.wait(seconds)
        raise RuntimeError(
            "wait() would block the event loop: await asyncio.sleep(), it ends when the task is cancelled"
        )

    def progress(self, said: Payload) -> None:
        """Tell how far the task is: at most 4096 bytes, that TASK.GET and TASK.LIST show.

        It returns at once; the worker sends it right after, the newest only if there are several. It extends the
        lease, too. Raises ValueError for what is too long, and RuntimeError in a process that the function forked, from
        which the worker hears nothing.
        """
        if os.getpid() != self._pid:
            raise RuntimeError("a forked process can't tell progress: its parent has the worker")
        said = said.encode() if isinstance(said, str) else said
        if len(said) > PROGRESS_BYTES:
            raise ValueError(f"progress takes at most {PROGRESS_BYTES} bytes, not {len(said)}")
        with self._lock:
            self._progress = said
        self._said()

    # ---- the worker's side

    def begins(self) -> bool:
        """Whether the function may be called: not if it should stop already, or the task was given back."""
        with self._lock:
            self._begun = not (self._told.is_set() or self._left)
            return self._begun

    def is_left(self) -> bool:
        """Whether the worker gave the task back: what becomes of the function is nobody's concern any more."""
        return self._left

    def leave(self, *, unless_begun: bool = False) -> bool:
        """Give the task up: whether it was so. Of a function that runs the outcome is dropped, and it is told."""
        with self._lock:
            if self._left or (unless_begun and self._begun):
                return False
            self._left = True
        self.tell(lease_lost=True)
        return True

    def tell(self, *, lease_lost: bool = False, cancelled: bool = False) -> None:
        """Tell the function that it should stop."""
        with self._lock:
            self.lease_lost |= lease_lost
            self.cancelled |= cancelled
            first, stop = not self._told.is_set(), self._stop
            self._told.set()
        if first and stop is not None:
            stop()

    def on_told(self, stop: Callable[[], object]) -> None:
        """What is to be called, from any thread, when the function is told; at once if it was."""
        with self._lock:
            self._stop = stop
            told = self._told.is_set()
        if told:
            stop()

    def has_progress(self) -> bool:
        """Whether there is progress to send."""
        return self._progress is not None

    def take_progress(self) -> bytes | None:
        """The progress to send, and it is no longer to be sent."""
        with self._lock:
            said, self._progress = self._progress, None
        return said

    def put_back(self, said: bytes) -> None:
        """Progress that couldn't be sent, unless there is newer."""
        with self._lock:
            if self._progress is None:
                self._progress = said
