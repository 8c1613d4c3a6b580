"""Extends the leases of running tasks: one TASK.EXTEND for all leases of a key, every third of the shortest lease.

It runs on threads of its own, so that a function or an event loop that hangs loses no lease. Each key (shard) has its
own heartbeat, so that a server that is away doesn't delay the others.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from .. import commands
from .._sync.base_queue import BaseQueue
from ..errors import OutOfMemory, TaskslotError
from ..replies import Answer, Task
from .context import TaskContext
from .threads import Threads

log = logging.getLogger("taskslot")

# If the worker doesn't set the length of leases, it asks for it after this time. Most tasks have ended by then.
ASK_AFTER_S = 0.05
# The assumed length of a lease if this user lacks the rights for TASK.GET.
UNKNOWN_S = 1.0
# The longest rest after a failed heartbeat; it is a tenth of the lease if that is shorter. The queue has already kept
# trying for its patience.
REST_S = 0.5
# A lease counts from the arrival of the claim's reply. If the claim took longer than this, it counts from its sending.
LATE_S = 1.5


@dataclass(slots=True)
class Lease:
    """A lease: since when it runs, as a monotonic time, and its length; None if that is not known yet."""

    context: TaskContext
    since: float
    lease_s: float | None

    def due(self) -> float:
        """The time of its next heartbeat; 0 if there is progress to send."""
        if self.context.has_progress():
            return 0.0
        return self.since + (ASK_AFTER_S if self.lease_s is None else self.lease_s / 3)


class Leases:
    """The leases of the running tasks. `lease_ms` is their length; None if the queue or the task sets it."""

    def __init__(self, queue: BaseQueue, threads: Threads, lease_ms: int | None) -> None:
        self._queue = queue
        self._threads = threads
        self._lease_s = None if lease_ms is None else lease_ms / 1000
        self._changed = threading.Condition(threading.Lock())
        self._leases: dict[str, Lease] = {}
        self._busy: set[str] = set()  # keys whose heartbeat is running
        self._rests: dict[str, float] = {}  # keys whose heartbeat failed, and the time of the next try
        self._wakes_at = 0.0
        self._closed = False

    def open(self) -> None:
        """Start extending leases."""
        self._threads.start(self._watch)

    def close(self) -> None:
        """Stop extending leases."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def add(self, contexts: Iterable[TaskContext], asked_at: float) -> None:
        """Add the leases of tasks whose claim was sent at the monotonic time `asked_at`."""
        now = time.monotonic()
        # If the claim was sent again, its first copy may have leased the tasks long ago.
        since = now if now - asked_at < LATE_S else asked_at
        due = since + (ASK_AFTER_S if self._lease_s is None else self._lease_s / 3)
        with self._changed:
            for context in contexts:
                self._leases[context.task.handle] = Lease(context, since, self._lease_s)
            if due < self._wakes_at:
                self._changed.notify()

    def remove(self, contexts: Iterable[TaskContext]) -> None:
        """Remove the leases of tasks."""
        with self._changed:
            for context in contexts:
                self._leases.pop(context.task.handle, None)

    def wake(self) -> None:
        """Wake the watching thread, because there is progress to send."""
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
        except RuntimeError as error:  # the process can't start another thread
            log.error("no thread for the heartbeat of %s: %s", key, error)
            self._busy.discard(key)
            self._rests[key] = time.monotonic() + REST_S

    def _dues(self, now: float) -> dict[str, float]:
        """The time of each key's next heartbeat, without keys whose heartbeat is running."""
        dues: dict[str, float] = {}
        for lease in self._leases.values():
            key = lease.context.task.key
            if key not in self._busy:
                dues[key] = min(dues.get(key, float("inf")), lease.due())
        return {key: max(due, self._rests.get(key, 0.0)) for key, due in dues.items()}

    def _beat(self, key: str) -> None:
        """The heartbeat of a key. An error is logged, and the heartbeat is tried again."""
        rest_until = 0.0
        try:
            self._ask_lengths(self._of(key))
            self._extend(self._of(key))
            self._send_progress(self._of(key))
        except Exception as error:
            # The server may come back, and a refusal leaves the tasks to their leases. Neither is a reason to stop the
            # functions, which may finish in time.
            if not self._closed:
                # That a server is away is already in the log.
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
        """Ask for the lengths of leases that are not known yet."""
        for lease in leases:
            if lease.lease_s is None and lease.due() <= time.monotonic():
                lease.lease_s = self._lease_of(lease.context.task)

    def _lease_of(self, task: Task) -> float:
        try:
            view = self._queue.get(task)
        except TaskslotError as error:
            log.warning("the length of the lease of task %s can't be read: %s", task.id, error)
            return UNKNOWN_S
        # If the task is no longer leased, its length is 0: the heartbeat is due at once, and finds out what happened.
        return (view.lease_ms or 0) / 1000 if view is not None else 0.0

    def _send_progress(self, leases: Sequence[Lease]) -> None:
        for lease in leases:
            if (progress := lease.context.take_progress()) is not None:
                sent_at = time.monotonic()
                try:
                    answers = self._queue.extend_many([lease.context.task], progress=progress)
                except OutOfMemory:
                    # Drop it: the next progress may find room. The lease was extended before.
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
        """The reason for a lost lease, if it was the queue's `run-max`; otherwise empty, because it is unknown."""
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
        # There is nothing to extend any more. The server doesn't extend the lease of a cancelled task either.
        self.remove([lease.context])
        if answer == Answer.CANCEL_ASKED:
            lease.context.ask_to_stop(cancelled=True)
        else:
            lease.context.ask_to_stop(lease_lost=True)
        # If the function has ended meanwhile, its own outcome arrived first, which is no reason for a warning.
        if lease.context.ended_at is None:
            is_cancelled = answer == Answer.CANCEL_ASKED
            what = "was cancelled" if is_cancelled else f"lost its lease{self._why_lost(lease)}"
            log.warning("task %s %s: its function is asked to stop", lease.context.task.id, what)
