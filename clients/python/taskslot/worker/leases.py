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
from typing import Any

from .. import commands
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
class Kept:
    """A lease: since when it runs, on our clock, and how long."""

    context: TaskContext
    since: float
    lease_s: float | None

    def due(self) -> float:
        """When something is to be done for it."""
        if self.context.has_progress():
            return 0.0
        return self.since + (ASK_AFTER_S if self.lease_s is None else self.lease_s / 3)


class Leases:
    """The leases of the tasks that run; `lease_ms` is their length, None where the queue or the task says it."""

    def __init__(self, queue: Any, threads: Threads, lease_ms: int | None) -> None:
        self._queue = queue
        self._threads = threads
        self._lease_s = None if lease_ms is None else lease_ms / 1000
        self._changed = threading.Condition()
        self._kept: dict[str, Kept] = {}
        self._busy: set[str] = set()  # keys for which a heartbeat is on its way
        self._rests: dict[str, float] = {}  # keys whose heartbeat failed, and until when they are left alone
        self._wakes_at = 0.0
        self._closed = False

    def open(self) -> None:
        """Begin to keep."""
        self._threads.start(self._watch)

    def close(self) -> None:
        """Keep no more."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def add(self, context: TaskContext, asked_at: float) -> None:
        """Keep a lease that a claim brought, which was sent at that monotonic time."""
        now = time.monotonic()
        # A claim that was sent again may have leased the task with its first copy, long ago.
        since = now if now - asked_at < LATE_S else asked_at
        with self._changed:
            kept = self._kept[context.task.handle] = Kept(context, since, self._lease_s)
            if kept.due() < self._wakes_at:
                self._changed.notify()

    def remove(self, context: TaskContext) -> None:
        """Keep it no more."""
        with self._changed:
            self._kept.pop(context.task.handle, None)

    def nudge(self) -> None:
        """There is progress to send."""
        with self._changed:
            self._changed.notify()

    # ---- how

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
            log.error("no heartbeat for %s now: %s", key, error)
            self._busy.discard(key)
            self._rests[key] = time.monotonic() + REST_S

    def _dues(self, now: float) -> dict[str, float]:
        """When which key wants a heartbeat, of those that have none on its way."""
        dues: dict[str, float] = {}
        for kept in self._kept.values():
            key = kept.context.task.key
            if key not in self._busy:
                dues[key] = min(dues.get(key, float("inf")), kept.due())
        return {key: max(due, self._rests.get(key, 0.0)) for key, due in dues.items()}

    def _beat(self, key: str) -> None:
        """Do for a key what is due; an error is logged, and all is tried again."""
        rest_until = 0.0
        try:
            self._learn(self._of(key))
            self._extend(self._of(key))
            self._tell_progress(self._of(key))
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
        return min([REST_S, *((kept.lease_s or UNKNOWN_S) / 10 for kept in self._of(key))])

    def _of(self, key: str) -> list[Kept]:
        with self._changed:
            return [kept for kept in self._kept.values() if kept.context.task.key == key]

    def _learn(self, all_kept: Sequence[Kept]) -> None:
        """Ask for the length of leases that isn't known."""
        for kept in all_kept:
            if kept.lease_s is None and kept.due() <= time.monotonic():
                kept.lease_s = self._lease_of(kept.context.task)

    def _lease_of(self, task: Task) -> float:
        try:
            view = self._queue.get(task)
        except TaskslotError as error:
            log.warning("how long the lease of %s is can't be asked: %s", task.id, error)
            return UNKNOWN_S
        # Of a task that isn't leased any more the heartbeat, due at once then, tells what became of it.
        return (view.lease_ms or 0) / 1000 if view is not None else 0.0

    def _tell_progress(self, all_kept: Sequence[Kept]) -> None:
        for kept in all_kept:
            if (said := kept.context.take_progress()) is not None:
                sent_at = time.monotonic()
                try:
                    answers = self._queue.extend_many([kept.context.task], progress=said)
                except OutOfMemory:
                    # A full server takes none: what is said next may find room. The lease was extended before.
                    log.warning(
                        "task %s: the server is out of memory and takes no progress", kept.context.task.id
                    )
                    continue
                except Exception:
                    kept.context.put_back(said)
                    raise
                self._heard(kept, answers[0], sent_at)

    def _why_lost(self, kept: Kept) -> str:
        """Where the queue's `run-max` ended the lease, that; else nobody knows more than that it ended."""
        try:
            settings = self._queue.wire.run(commands.settings(kept.context.task.key))
        except Exception:
            return ""
        run_max = settings.run_max if settings is not None else -1
        held_ms = (time.monotonic() - kept.context.begun_at) * 1000
        return f", run-max of {run_max / 1000:g} s is over" if 0 <= run_max <= held_ms else ""

    def _extend(self, all_kept: Sequence[Kept]) -> None:
        sent_at = time.monotonic()
        if not any(kept.due() <= sent_at for kept in all_kept):
            return
        answers = self._queue.extend_many([kept.context.task for kept in all_kept])
        for kept, answer in zip(all_kept, answers, strict=True):
            self._heard(kept, answer, sent_at)

    def _heard(self, kept: Kept, answer: int, sent_at: float) -> None:
        if answer > Answer.OK:
            kept.since = sent_at
            return
        # Nothing more to keep: a task that is to be cancelled isn't extended by the server either.
        self.remove(kept.context)
        if answer == Answer.CANCEL_ASKED:
            kept.context.ask_to_stop(cancelled=True)
        else:
            kept.context.ask_to_stop(lease_lost=True)
        # Of a function that has ended meanwhile, its answer just came first.
        if kept.context.ended_at is None:
            is_cancelled = answer == Answer.CANCEL_ASKED
            what = "was cancelled" if is_cancelled else f"is no longer this worker's{self._why_lost(kept)}"
            log.warning("task %s %s: its function is told", kept.context.task.id, what)
