"""Keeps the leases of running tasks: one TASK.EXTEND for all of a key, at a third of the shortest lease.

It runs on threads of its own, so that a function, or an event loop, that stands still loses no lease. Each key (each
shard) is kept by itself: one whose server is away must not hold up the others.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from .. import commands
from .._sync.base_queue import BaseQueue
from ..errors import OutOfMemory, TaskslotError
from ..replies import Answer, Task
from .context import TaskContext
from .threads import Threads

log = logging.getLogger("taskslot")

# When the length of a lease is asked for, where the worker doesn't give it: most tasks are over before.
ASK_AFTER_S = 0.05
# What a lease is taken for where the server doesn't let this user ask (TASK.GET).
UNKNOWN_S = 1.0
# The longest rest after a heartbeat that failed: a tenth of the lease. The queue has tried for its own patience before.
REST_S = 0.5
# What may pass between a claim's hand-off and our hearing of it before the lease counts from the claim's start.
LATE_S = 1.5


@dataclass(slots=True)
class Lease:
    """A lease: since when it runs, by our clock, and for how long."""

    context: TaskContext
    since: float
    lease_s: float | None

    def due(self) -> float:
        """When a heartbeat is due for it."""
        if self.context.has_progress():
            return 0.0
        return self.since + (ASK_AFTER_S if self.lease_s is None else self.lease_s / 3)


class Leases:
    """The leases of the tasks that run; `lease_ms` is their length, None where the queue or the task says it."""

    def __init__(self, queue: BaseQueue, threads: Threads, lease_ms: int | None) -> None:
        self._queue = queue
        self._threads = threads
        self._lease_s = None if lease_ms is None else lease_ms / 1000
        self._changed = threading.Condition()
        self._leases: dict[str, Lease] = {}
        self._busy: set[str] = set()  # keys for which a heartbeat is on its way
        self._rests: dict[str, float] = {}  # keys whose heartbeat failed, and until when they are left alone
        self._wakes_at = 0.0
        self._closed = False

    def open(self) -> None:
        """Begin to extend leases."""
        self._threads.start(self._watch)

    def close(self) -> None:
        """Extend no more leases."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def add(self, context: TaskContext, asked_at: float) -> None:
        """Add the lease of a claimed task; the claim was sent at that monotonic time."""
        now = time.monotonic()
        # A claim that was sent again may have leased the task with its first copy, long ago.
        since = now if now - asked_at < LATE_S else asked_at
        with self._changed:
            lease = self._leases[context.task.handle] = Lease(context, since, self._lease_s)
            if lease.due() < self._wakes_at:
                self._changed.notify()

    def remove(self, context: TaskContext) -> None:
        """Remove the lease of a task."""
        with self._changed:
            self._leases.pop(context.task.handle, None)

    def wake(self) -> None:
        """Look again now: there is progress to send."""
        with self._changed:
            self._changed.notify()

    # ---- the heartbeat

    def _watch(self) -> None:
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                dues = self._dues(now)
                for key in [key for key, due in dues.items() if due <= now]:
                    dues.pop(key)
                    self._busy.add(key)
                    self._start_beat(key)
                self._wakes_at = min(dues.values(), default=now + 60.0)
                self._changed.wait(max(0.0, self._wakes_at - now))

    def _start_beat(self, key: str) -> None:
        try:
            self._threads.start(partial(self._beat, key))
        except RuntimeError as error:  # no thread can be made
            log.error("no thread for the heartbeat of %s: %s", key, error)
            self._busy.discard(key)
            self._rests[key] = time.monotonic() + REST_S

    def _dues(self, now: float) -> dict[str, float]:
        """When each key is due for a heartbeat, without those that have one on its way."""
        dues: dict[str, float] = {}
        for lease in self._leases.values():
            key = lease.context.task.key
            if key not in self._busy:
                dues[key] = min(dues.get(key, float("inf")), lease.due())
        return {key: max(due, self._rests.get(key, 0.0)) for key, due in dues.items()}

    def _beat(self, key: str) -> None:
        """The heartbeat of a key: do what is due. An error is logged, and the heartbeat is tried again."""
        rest_until = 0.0
        try:
            self._ask_lengths(self._of(key))
            self._extend(self._of(key))
            self._send_progress(self._of(key))
        except Exception as error:
            # A server that is away comes back; one that refuses leaves the tasks to their leases. Neither is a reason
            # to stop the functions: they may well finish in time.
            if not self._closed:
                # A server that is away is in the log already, once.
                level = logging.WARNING if isinstance(error, TaskslotError) else logging.DEBUG
                log.log(
                    level, "heartbeat for %s failed, trying again: %s: %s", key, type(error).__name__, error
                )
            rest_until = time.monotonic() + self._rest_s(key)
        finally:
            with self._changed:
                self._busy.discard(key)
                self._rests.pop(key, None)
                if rest_until:
                    self._rests[key] = rest_until
                self._changed.notify()

    def _rest_s(self, key: str) -> float:
        return min([REST_S, *((lease.lease_s or UNKNOWN_S) / 10 for lease in self._of(key))])

    def _of(self, key: str) -> list[Lease]:
        with self._changed:
            return [lease for lease in self._leases.values() if lease.context.task.key == key]

    def _ask_lengths(self, leases: Sequence[Lease]) -> None:
        """Ask for the length of leases whose length isn't known."""
        for lease in leases:
            if lease.lease_s is None and lease.due() <= time.monotonic():
                lease.lease_s = self._lease_of(lease.context.task)

    def _lease_of(self, task: Task) -> float:
        try:
            view = self._queue.get(task)
        except TaskslotError as error:
            log.warning("the length of the lease of task %s can't be read: %s", task.id, error)
            return UNKNOWN_S
        # Of a task that isn't leased any more the heartbeat, due at once then, tells what became of it.
        return (view.lease_ms or 0) / 1000 if view is not None else 0.0

    def _send_progress(self, leases: Sequence[Lease]) -> None:
        for lease in leases:
            if (progress := lease.context.take_progress()) is not None:
                sent_at = time.monotonic()
                try:
                    answers = self._queue.extend_many([lease.context.task], progress=progress)
                except OutOfMemory:
                    # A full server takes none: what is said next may find room. The lease was extended before.
                    log.warning(
                        "task %s: its progress is not stored, the server is out of memory",
                        lease.context.task.id,
                    )
                    continue
                except Exception:
                    lease.context.put_back(progress)
                    raise
                self._apply_answer(lease, answers[0], sent_at)

    def _why_lost(self, lease: Lease) -> str:
        """Where the queue's `run-max` ended the lease, that; else nobody knows more than that it ended."""
        try:
            settings = self._queue.wire.run(commands.settings(lease.context.task.key))
        except Exception:
            return ""
        run_max = settings.run_max if settings is not None else -1
        held_ms = (time.monotonic() - lease.context.begun_at) * 1000
        return f" (run-max of {run_max / 1000:g} s reached)" if 0 <= run_max <= held_ms else ""

    def _extend(self, leases: Sequence[Lease]) -> None:
        sent_at = time.monotonic()
        if not any(lease.due() <= sent_at for lease in leases):
            return
        answers = self._queue.extend_many([lease.context.task for lease in leases])
        for lease, answer in zip(leases, answers, strict=True):
            self._apply_answer(lease, answer, sent_at)

    def _apply_answer(self, lease: Lease, answer: int, sent_at: float) -> None:
        if answer > Answer.OK:
            lease.since = sent_at
            return
        # Nothing more to keep: a task that is to be cancelled isn't extended by the server either.
        self.remove(lease.context)
        if answer == Answer.CANCEL_ASKED:
            lease.context.ask_to_stop(cancelled=True)
        else:
            lease.context.ask_to_stop(lease_lost=True)
        # Of a function that has ended meanwhile, its answer just came first.
        if lease.context.ended_at is None:
            is_cancelled = answer == Answer.CANCEL_ASKED
            what = "was cancelled" if is_cancelled else f"lost its lease{self._why_lost(lease)}"
            log.warning("task %s %s: its function is asked to stop", lease.context.task.id, what)
