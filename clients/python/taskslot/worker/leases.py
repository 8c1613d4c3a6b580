"""Extends the leases of running tasks: one TASK.EXTEND for all leases of a key, every third of the shortest lease.

It runs on threads of its own, so that a function or an event loop that hangs loses no lease. Each key (shard) has its
own heartbeat, so that a server that is away doesn't delay the others. Workers use `Leases`; adapters for other
frameworks use it through `LeaseKeeper` (keeper.py).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from .. import commands
from .._sync.base_queue import BaseQueue
from ..errors import OutOfMemory, TaskslotError
from ..replies import Answer
from .context import TaskContext
from .task_log import fields
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


# What has a heartbeat of its own: a key, with the queue through which it is reached.
Place = tuple[BaseQueue, str]


@dataclass(slots=True)
class Lease:
    """A lease: since when it runs, as a monotonic time, and its length; None if that is not known yet."""

    context: TaskContext
    since: float
    lease_s: float | None

    @property
    def place(self) -> Place:
        """The heartbeat that it belongs to."""
        return self.context.queue, self.context.task.key

    def due(self) -> float:
        """The time of its next heartbeat; 0 if there is progress to send."""
        if self.context.has_progress():
            return 0.0
        return self.since + (ASK_AFTER_S if self.lease_s is None else self.lease_s / 3)


class Leases:
    """The leases of the running tasks. `lease_ms` is their length; None if the queue or the task sets it."""

    def __init__(self, threads: Threads, lease_ms: int | None) -> None:
        self._threads = threads
        self._lease_s = None if lease_ms is None else lease_ms / 1000
        self._changed = threading.Condition(threading.Lock())
        self._leases: dict[str, Lease] = {}
        self._busy: set[Place] = set()  # whose heartbeat is running
        self._rests: dict[Place, float] = {}  # whose heartbeat failed, and the time of the next try
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

    def add(self, contexts: Iterable[TaskContext], asked_at: float, lease_s: float | None = None) -> None:
        """Add the leases of tasks whose claim was sent at the monotonic time `asked_at`.

        `lease_s` is their length, if it is another than that of most.
        """
        now = time.monotonic()
        lease_s = lease_s or self._lease_s
        # If the claim was sent again, its first copy may have leased the tasks long ago.
        since = now if now - asked_at < LATE_S else asked_at
        due = since + (ASK_AFTER_S if lease_s is None else lease_s / 3)
        with self._changed:
            for context in contexts:
                self._leases[context.task.handle] = Lease(context, since, lease_s)
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
                for place in [place for place, due in dues.items() if due <= now]:
                    dues.pop(place)
                    self._busy.add(place)
                    self._start_beat(place)
                self._wakes_at = min(dues.values(), default=now + 60.0)
                self._changed.wait(max(0.0, self._wakes_at - now))

    def _start_beat(self, place: Place) -> None:
        try:
            self._threads.start(partial(self._beat, place))
        except RuntimeError as error:  # the process can't start another thread
            self._busy.discard(place)
            self._rests[place] = time.monotonic() + REST_S
            with suppress(BaseException):  # a log handler can raise anything, which must not end this thread
                log.error("no thread for the heartbeat of %s: %s", place[1], error)

    def _dues(self, now: float) -> dict[Place, float]:
        """The time of each next heartbeat, without those that are running."""
        dues: dict[Place, float] = {}
        for lease in self._leases.values():
            place = lease.place
            if place not in self._busy:
                dues[place] = min(dues.get(place, float("inf")), lease.due())
        return {place: max(due, self._rests.get(place, 0.0)) for place, due in dues.items()}

    def _beat(self, place: Place) -> None:
        """The heartbeat of a key. An error is logged, and the heartbeat is tried again."""
        rest_until = 0.0
        try:
            self._ask_lengths(self._of(place))
            self._extend(self._of(place))
            self._send_progress(self._of(place))
        except Exception as error:
            # The server may come back, and a refusal leaves the tasks to their leases. Neither is a reason to stop the
            # functions, which may finish in time.
            rest_until = time.monotonic() + self._rest_s(place)
            if not self._closed:
                # That a server is away is already in the log.
                level = logging.WARNING if isinstance(error, TaskslotError) else logging.DEBUG
                what = type(error).__name__
                log.log(level, "heartbeat for %s failed, trying again: %s: %s", place[1], what, error)
        finally:
            with self._changed:
                self._busy.discard(place)
                self._rests.pop(place, None)
                if rest_until:
                    self._rests[place] = rest_until
                self._changed.notify()

    def _rest_s(self, place: Place) -> float:
        return min([REST_S, *((lease.lease_s or UNKNOWN_S) / 10 for lease in self._of(place))])

    def _of(self, place: Place) -> list[Lease]:
        with self._changed:
            return [lease for lease in self._leases.values() if lease.place == place]

    def _ask_lengths(self, leases: Sequence[Lease]) -> None:
        """Ask for the lengths of leases that are not known yet."""
        for lease in leases:
            if lease.lease_s is None and lease.due() <= time.monotonic():
                lease.lease_s = lease_of(lease.context)

    def _send_progress(self, leases: Sequence[Lease]) -> None:
        for lease in leases:
            if (progress := lease.context.take_progress()) is not None:
                sent_at = time.monotonic()
                try:
                    answers = lease.context.queue.extend_many([lease.context.task], progress=progress)
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

    def _extend(self, leases: Sequence[Lease]) -> None:
        sent_at = time.monotonic()
        if not any(lease.due() <= sent_at for lease in leases):
            return
        answers = leases[0].context.queue.extend_many([lease.context.task for lease in leases])
        for lease, answer in zip(leases, answers, strict=True):
            self._apply_answer(lease, answer, sent_at)

    def _apply_answer(self, lease: Lease, answer: int, sent_at: float) -> None:
        if answer > Answer.OK:
            lease.since = sent_at
            return
        # There is nothing to extend any more. The server doesn't extend the lease of a cancelled task either.
        if not self._take(lease):
            return
        if answer == Answer.CANCEL_ASKED:
            lease.context.ask_to_stop(cancelled=True)
        else:
            lease.context.ask_to_stop(lease_lost=True)
        # If the function has ended meanwhile, its own outcome arrived first, which is no reason for a warning.
        if lease.context.ended_at is None:
            is_cancelled = answer == Answer.CANCEL_ASKED
            what = "was cancelled" if is_cancelled else f"lost its lease{why_lost(lease.context)}"
            extra = fields("cancelled" if is_cancelled else "lost", lease.context)
            log.warning("task %s %s: its function is asked to stop", lease.context.task.id, what, extra=extra)

    def _take(self, lease: Lease) -> bool:
        """Remove a lease. Returns False if it was removed meanwhile, so that the answer no longer matters."""
        handle = lease.context.task.handle
        with self._changed:
            if self._leases.get(handle) is not lease:
                return False
            del self._leases[handle]
            return True


def lease_of(context: TaskContext) -> float:
    """Ask for the length of a task's lease, in seconds."""
    task = context.task
    try:
        view = context.queue.get(task)
    except TaskslotError as error:
        log.warning("the length of the lease of task %s can't be read: %s", task.id, error)
        return UNKNOWN_S
    # If the task is no longer leased, its length is 0: the heartbeat is due at once, and finds out what happened.
    return (view.lease_ms or 0) / 1000 if view is not None else 0.0


def why_lost(context: TaskContext) -> str:
    """The reason for a lost lease, if it was the queue's `run-max`; otherwise empty, because it is unknown."""
    try:
        settings = context.queue.wire.run(commands.settings(context.task.key))
    except Exception:
        return ""
    run_max = settings.run_max if settings is not None else -1
    held_ms = (time.monotonic() - context.begun_at) * 1000
    return f" (run-max of {run_max / 1000:g} s reached)" if 0 <= run_max <= held_ms else ""
