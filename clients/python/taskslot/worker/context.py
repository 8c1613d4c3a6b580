"""The context of a running task: what its function can learn, and how the function is asked to stop."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Unpack, cast

from .._sync.base_queue import BaseQueue
from .._sync.batch import Batch
from ..arguments import handle, several, token
from ..commands import Payload, PushOptions, Step, in_meta, push_words
from ..errors import CancelAsked, LeaseLost, TaskslotError, TimedOut, UnknownTask
from ..flows import Step as FlowStep
from ..printable import printable
from ..replies import BatchCounts, Meta, Task, TaskView
from .relations import Relations

# The server's limit for PROGRESS.
PROGRESS_BYTES = 4096

CURRENT: ContextVar[TaskContext] = ContextVar("taskslot.current")


def progress_bytes(said: Payload) -> bytes:
    """A progress as bytes. Raises ValueError if it is too long."""
    said = said.encode() if isinstance(said, str) else said
    if len(said) > PROGRESS_BYTES:
        raise ValueError(f"progress takes at most {PROGRESS_BYTES} bytes, not {len(said)}")
    return said


def current() -> TaskContext:
    """The context of the task that runs here: in a registered function, what it calls or awaits, `asyncio.to_thread`.

    A thread that the function starts doesn't have it, so pass it along. Raises RuntimeError if no task runs here.
    """
    try:
        return CURRENT.get()
    except LookupError:
        raise RuntimeError(
            "no task runs here: taskslot.current() is for functions that a Worker calls"
        ) from None


class TaskContext:
    """A running task. A function that can take long should check it now and then, or sleep with `wait`.

    The worker learns with its heartbeat that a task was cancelled or its lease lost, within a third of the lease. A
    sync function sees it here. An async function is cancelled too (`asyncio.CancelledError`).
    """

    def __init__(
        self,
        task: Task,
        on_progress: Callable[[], None],
        *,
        is_kept: bool = False,
        meta: Any = None,
        relations: Relations | None = None,
    ) -> None:
        self.task = task
        self.cancelled = False  # the task was cancelled: stop working on it
        self.lease_lost = False  # the lease has ended: another worker may have the task
        self.timed_out = False  # the function has taken longer than its `timeout_ms`
        self.name = ""  # the name of the function that runs
        self.timeout_ms: int | None = None
        self.is_kept = (
            is_kept  # whether the push or the queue's setting says how long the finished task is kept
        )
        self.step: Step | None = None  # what to push when the task is finished
        self.begun_at = time.monotonic()
        self.started_at: float | None = None  # when the function was called
        self.ended_at: float | None = None  # when the function ended; its outcome may not be sent yet
        self.missing: UnknownTask | None = None  # raised by `results`, which can never succeed then
        self._pid = os.getpid()
        self._on_progress = on_progress
        self._should_stop = False
        self._stop: threading.Event | None = None  # made when a function waits for it, which few do
        self._lock = threading.Lock()
        self._begun = self._abandoned = False
        self._progress: bytes | None = None
        self._has_said = False  # whether the function has reported progress
        self._on_stop: Callable[[], object] | None = None
        self._meta = meta  # as the claim's reply has it; few functions look at it
        self._relations = relations

    @property
    def log_name(self) -> str:
        """The task in a line of the log: its id, and its queue if the worker has several."""
        if self._relations is None or self._relations.is_only:
            return self.task.id
        return f"{self.task.id} of {printable(self._relations.queue.name)}"

    @property
    def queue(self) -> BaseQueue:
        """The queue from which the task was claimed. Raises RuntimeError if no worker claimed it."""
        return self._related().queue

    def check(self) -> None:
        """Raise `LeaseLost`, `CancelAsked` or `TimedOut` if the function should stop. It need not catch them."""
        if self.lease_lost:
            raise LeaseLost("the task's lease has ended")
        if self.cancelled:
            raise CancelAsked("the task was cancelled")
        if self.timed_out:
            raise TimedOut(f"timed out after {self.timeout_ms} ms")

    def wait(self, seconds: float) -> bool:
        """Sleep, but only until the function should stop. Returns True if it should.

        This is for sync functions. An async function awaits `asyncio.sleep`, which a cancel ends. A process that the
        function forked is never asked to stop, so it sleeps for the whole time.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            if os.getpid() != self._pid:
                time.sleep(seconds)
                return self._should_stop
            return self._wait(seconds)
        raise RuntimeError(
            "wait() would block the event loop: use await asyncio.sleep(), which ends when the task is cancelled"
        )

    @property
    def last_progress(self) -> bytes | None:
        """What the attempt before said about how far the task has got; None if there is nothing.

        These are bytes, also if the progress was a str. A worker with `retain_ms` set for each of its functions asks
        the server, unless it has the option `meta=True`. Then read it before you report progress; afterwards this
        raises RuntimeError, because the server has only the newest.
        """
        if self._meta is None and self._has_said:
            raise RuntimeError(
                "read last_progress before you report progress, or give the worker the option meta=True"
            )
        return self._known().progress

    def progress(self, said: Payload) -> None:
        """Report how far the task has got: at most 4096 bytes, which TASK.GET and TASK.LIST show.

        It stays until the task is done: the next attempt gets it as `last_progress`. It returns at once. The worker
        sends the text soon after, or with the failure; of several, only the newest. That extends the lease as well.
        Raises ValueError if the text is too long, and RuntimeError in a process that the function forked, which has no
        worker.
        """
        if os.getpid() != self._pid:
            raise RuntimeError("a forked process can't report progress: the worker runs in its parent")
        encoded = progress_bytes(said)
        with self._lock:
            self._progress, self._has_said = encoded, True
        self._on_progress()

    def then(self, payload: Payload | FlowStep, **options: Unpack[PushOptions]) -> None:
        """Push the next step together with the end of this task: `current().then(resize.call(url), group="images")`.

        With a function of an app, that is `current().then(resize.step(url))`, which has the function's options.

        It is pushed only if the function returns and its task counts as finished; not if it raises, or if another
        worker has the task by then. While the queue accepts no pushes, the worker keeps the task, and tries again. One
        task has one next step. Raises ValueError for a second one, TypeError for unknown options, and RuntimeError in a
        process that the function forked.
        """
        if os.getpid() != self._pid:
            raise RuntimeError("a forked process can't name the next step: the worker runs in its parent")
        if isinstance(payload, FlowStep):
            payload.check_key(self.task.key)
            options = cast(PushOptions, {**payload.options, **options})
            payload = payload.payload
        if "after" in options:
            options["after"] = several(options["after"])
            if not all(is_beside(one, self.task) for one in options["after"]):
                raise ValueError("the next step of a task can only wait for tasks of the same key")
        push_words(options, None)  # checks them
        options["request"] = options.get("request") or token()
        with self._lock:
            if self.step is not None:
                raise ValueError("the task has a next step already")
            self.step = Step(payload, options)

    # ---- other tasks

    @property
    def batch(self) -> Batch | None:
        """The batch that the task counts in; None if it counts in none.

        A task can push into its batch while it runs, even if the batch is closed: `current().batch.push(…)`. These
        calls wait for the server, so an async function makes them with `asyncio.to_thread`.
        """
        name = self._known().batch
        return self._related().batch(name) if name is not None else None

    @property
    def counts(self) -> BatchCounts | None:
        """If the task is the callback of a batch, how many tasks the batch had, and how they ended. Otherwise None."""
        return self._known().counts

    @property
    def headers(self) -> Mapping[str, str]:
        """The task's headers as texts. Like `last_progress`, this asks the server unless the worker's claim had them.

        A value that is not UTF-8 has surrogate escapes: `value.encode("utf-8", "surrogateescape")` gives its bytes.
        """
        return {
            name: value.decode("utf-8", "surrogateescape") for name, value in self._known().headers.items()
        }

    @property
    def after(self) -> tuple[str, ...]:
        """The ids of the tasks that this one waited for, in the order in which they were pushed."""
        return self._known().after

    def results(self, *, return_exceptions: bool = False) -> list[Any]:
        """The results of the tasks that this one waited for, in the order in which they were pushed.

        For a step of a flow, that is the order of the flow. Raises `UnknownTask` if a result is not kept any more, and
        `NotDone` if a task is dead or has not ended, which can be if the option `on_dead` or a RETRY let this one run.
        With `return_exceptions` such an exception is in the place of the result. If the function lets this
        `UnknownTask` through, its task is dead at once: no later attempt would find the result.

        This asks the server. An async function calls `await asyncio.to_thread(current().results)`.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            found = self._related().results(self.task.key, self.after)
        else:
            raise RuntimeError(
                "results() would block the event loop: use await asyncio.to_thread(current().results)"
            )
        first = next((one for one in found if isinstance(one, TaskslotError)), None)
        if first is not None and not return_exceptions:
            self.missing = first if isinstance(first, UnknownTask) else None
            raise first
        return found

    @property
    def failures(self) -> int:
        """How many attempts before this one failed; how many there were, if the claim did not say it."""
        if isinstance(self._meta, Meta | TaskView):
            return self._meta.failures
        failures = None if self._meta is None else in_meta(self._meta, b"failures")
        return self.task.deliveries - 1 if failures is None else int(failures)

    def _known(self) -> Meta | TaskView:
        if not isinstance(self._meta, Meta | TaskView):
            self._meta = self._related().known(self.task, self._meta)
        return self._meta

    def _related(self) -> Relations:
        if self._relations is None:
            raise RuntimeError("this task is not run by a worker")
        return self._relations

    def _wait(self, seconds: float) -> bool:
        with self._lock:
            if self._should_stop:
                return True
            stop = self._stop = self._stop or threading.Event()
        return stop.wait(seconds)

    # ---- the worker's side

    def try_begin(self) -> bool:
        """Mark the function as begun. Returns False if it must not be called, because it should stop already."""
        with self._lock:
            self._begun = not (self._should_stop or self._abandoned)
            self.started_at = time.monotonic() if self._begun else None
            return self._begun

    def ran_ms(self) -> float | None:
        """How long the function has run, until now or until its end; None if it was not called."""
        if self.started_at is None:
            return None
        return round(((self.ended_at or time.monotonic()) - self.started_at) * 1000, 1)

    def is_abandoned(self) -> bool:
        """Whether the worker gave the task back, so that the outcome of its function no longer counts."""
        return self._abandoned

    def abandon(self, *, unless_begun: bool = False) -> bool:
        """Give up the task: drop its outcome and ask its function to stop. Returns False if it was given up before.

        With `unless_begun`, a task whose function has begun is kept, and the return value is False.
        """
        with self._lock:
            if self._abandoned or (unless_begun and self._begun):
                return False
            self._abandoned = True
        self.ask_to_stop(lease_lost=True)
        return True

    def ask_to_stop(
        self, *, lease_lost: bool = False, cancelled: bool = False, timed_out: bool = False
    ) -> None:
        """Ask the function to stop, with the reason."""
        with self._lock:
            self.lease_lost |= lease_lost
            self.cancelled |= cancelled
            self.timed_out |= timed_out
            is_first, on_stop = not self._should_stop, self._on_stop
            self._should_stop = True
            if self._stop is not None:
                self._stop.set()
        if is_first and on_stop is not None:
            on_stop()

    def on_stop(self, callback: Callable[[], object]) -> None:
        """Set a callback for when the function is asked to stop. It is called at once if that has happened before.

        The callback can be called from any thread.
        """
        with self._lock:
            self._on_stop = callback
            should_stop = self._should_stop
        if should_stop:
            callback()

    def has_progress(self) -> bool:
        """Whether there is progress to send."""
        return self._progress is not None

    def take_progress(self) -> bytes | None:
        """Take the progress that has to be sent; None if there is none."""
        with self._lock:
            progress, self._progress = self._progress, None
        return progress

    def put_back(self, progress: bytes) -> None:
        """Put back progress that couldn't be sent, unless there is newer progress."""
        with self._lock:
            if self._progress is None:
                self._progress = progress


def is_beside(one: Task | str, task: Task) -> bool:
    """Whether a task is in the key of another, as far as its name and its own key tell."""
    if isinstance(one, Task) and one.key != task.key:
        return False
    return handle(one).rpartition("/")[0] == task.handle.rpartition("/")[0]
