"""The context of a task while its function runs: what the function sees of it, and how it is asked to stop."""

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

CURRENT: ContextVar[TaskContext] = ContextVar("taskslot.current")


def current() -> TaskContext:
    """The task that runs here: in a registered function, what it calls and awaits, and `asyncio.to_thread`.

    A thread that the function starts by itself doesn't know it: hand it over. Raises RuntimeError where none runs.
    """
    try:
        return CURRENT.get()
    except LookupError:
        raise RuntimeError(
            "no task runs here: taskslot.current() is for functions that a Worker calls"
        ) from None


class TaskContext:
    """A task whose function runs. A function that may take long checks it now and then, or waits with `wait`.

    The worker learns of a cancel or a lost lease with its heartbeat, within a third of the lease. A sync function
    sees it here; an async one is cancelled as well (`asyncio.CancelledError`).
    """

    def __init__(self, task: Task, on_progress: Callable[[], None]) -> None:
        self.task = task
        self.cancelled = False  # somebody cancelled the task: stop, nobody needs it any more
        self.lease_lost = False  # the lease is over: another worker may have the task by now
        self.begun_at = time.monotonic()
        self.ended_at: float | None = None  # when the function ended: only its answer is still to be sent
        self._pid = os.getpid()
        self._on_progress = on_progress
        self._should_stop = threading.Event()
        self._lock = threading.Lock()
        self._begun = self._abandoned = False
        self._progress: bytes | None = None
        self._on_stop: Callable[[], object] | None = None

    def check(self) -> None:
        """Raise `LeaseLost` or `CancelAsked` if the function should stop; it may just let them pass."""
        if self.lease_lost:
            raise LeaseLost("the task's lease has ended")
        if self.cancelled:
            raise CancelAsked("the task was cancelled")

    def wait(self, seconds: float) -> bool:
        """Sleep so long, but not on when the function should stop: whether it should.

        For sync functions: an async one awaits `asyncio.sleep`, which ends by itself when it is cancelled. A process
        that the function forked isn't asked to stop, and just sleeps.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            if os.getpid() != self._pid:
                time.sleep(seconds)
                return self._should_stop.is_set()
            return self._should_stop.wait(seconds)
        raise RuntimeError(
            "wait() would block the event loop: use await asyncio.sleep(), which ends when the task is cancelled"
        )

    def progress(self, said: Payload) -> None:
        """Tell how far the task is: at most 4096 bytes, that TASK.GET and TASK.LIST show.

        It returns at once; the worker sends it right after, the newest only if there are several. It extends the
        lease, too. Raises ValueError for what is too long, and RuntimeError in a process that the function forked, from
        which the worker hears nothing.
        """
        if os.getpid() != self._pid:
            raise RuntimeError("a forked process can't report progress: the worker runs in its parent")
        said = said.encode() if isinstance(said, str) else said
        if len(said) > PROGRESS_BYTES:
            raise ValueError(f"progress takes at most {PROGRESS_BYTES} bytes, not {len(said)}")
        with self._lock:
            self._progress = said
        self._on_progress()

    # ---- the worker's side

    def try_begin(self) -> bool:
        """Whether the function may be called: not if it should stop already, or the task was given back."""
        with self._lock:
            self._begun = not (self._should_stop.is_set() or self._abandoned)
            return self._begun

    def is_abandoned(self) -> bool:
        """Whether the worker gave the task back: the outcome of its function no longer matters."""
        return self._abandoned

    def abandon(self, *, unless_begun: bool = False) -> bool:
        """Drop the outcome of the task and ask its function to stop; False if that was done before."""
        with self._lock:
            if self._abandoned or (unless_begun and self._begun):
                return False
            self._abandoned = True
        self.ask_to_stop(lease_lost=True)
        return True

    def ask_to_stop(self, *, lease_lost: bool = False, cancelled: bool = False) -> None:
        """Ask the function to stop, for this reason."""
        with self._lock:
            self.lease_lost |= lease_lost
            self.cancelled |= cancelled
            is_first, on_stop = not self._should_stop.is_set(), self._on_stop
            self._should_stop.set()
        if is_first and on_stop is not None:
            on_stop()

    def on_stop(self, callback: Callable[[], object]) -> None:
        """Set what is called, from any thread, when the function is asked to stop; at once if it was asked before."""
        with self._lock:
            self._on_stop = callback
            should_stop = self._should_stop.is_set()
        if should_stop:
            callback()

    def has_progress(self) -> bool:
        """Whether there is progress to send."""
        return self._progress is not None

    def take_progress(self) -> bytes | None:
        """Take the progress that is to be sent."""
        with self._lock:
            progress, self._progress = self._progress, None
        return progress

    def put_back(self, progress: bytes) -> None:
        """Put back progress that couldn't be sent, unless there is newer."""
        with self._lock:
            if self._progress is None:
                self._progress = progress
