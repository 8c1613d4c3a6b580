"""The places of a worker (its concurrency slots): which tasks run, and which have ended and wait for their answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

from .context import TaskContext
from .outcomes import Done

# If the outcome of an ended function can't be sent for this long, its node is away. Then the task no longer takes a
# place, so that the worker can claim tasks from other nodes.
LATE_ANSWER_S = 1.0

Ended = tuple[TaskContext, Done]


class Places:
    """The tasks that run or whose outcome is being sent, by handle. At most `number`, apart from late outcomes.

    One lock protects everything. So a task either has its place before `stop`, and `all` returns it, or gets none.

    Finished tasks wait here for their answer, so that those of one moment are sent together. If the claimer comes now,
    it sends them with its next claim, if `together` allows it. Otherwise the thread that finished the first one sends
    them: one thread for each key (shard), so that a server that is away holds up no answers for others.
    """

    def __init__(self, number: int, together: bool) -> None:
        self.number = number
        self.together = together
        self._taken: dict[str, TaskContext] = {}
        self._ended: dict[str, list[Ended]] = {}
        self._sending: set[str] = set()  # keys for which a thread sends answers
        self._claimer: object = None  # which claimer has the turn
        self._claimer_comes = False  # whether it takes what has ended, before anything else
        self._batch: object = None  # the tasks that the claimer runs itself at present
        self._changed = threading.Condition(threading.Lock())
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Refuse further tasks."""
        with self._changed:
            self._stopping.set()
            self._changed.notify_all()

    def is_stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping.is_set()

    def rest(self, seconds: float) -> None:
        """Sleep, but only until `stop`."""
        self._stopping.wait(seconds)

    # ---- the tasks

    def take(self, contexts: Sequence[TaskContext]) -> list[TaskContext] | None:
        """Give tasks a place. Returns those that had none before: a claim that was sent again returns tasks twice.

        None if the worker is stopping, and no task has got a place.
        """
        with self._changed:
            if self._stopping.is_set():
                return None
            new = [context for context in contexts if context.task.handle not in self._taken]
            for context in new:
                self._taken[context.task.handle] = context
            return new

    def free(self, contexts: Iterable[TaskContext]) -> None:
        """Free the places of tasks whose outcomes were sent."""
        with self._changed:
            for context in contexts:
                self._taken.pop(context.task.handle, None)
            self._changed.notify_all()

    def keep(self, contexts: Iterable[TaskContext]) -> None:
        """Give back the places of tasks whose outcomes could not be sent yet."""
        with self._changed:
            self._taken.update((context.task.handle, context) for context in contexts)

    def all(self) -> Sequence[TaskContext]:
        """The tasks that have a place now."""
        with self._changed:
            return list(self._taken.values())

    def __len__(self) -> int:
        return len(self._taken)

    # ---- answers

    def end(self, context: TaskContext, done: Done, claimer: object = None) -> bool:
        """Let a finished task wait for its answer. Returns False if the caller has to send the answers of its key.

        `claimer` is the claimer that ran the task itself; it sends the answer unless it has lost its turn.
        """
        key = context.task.key
        with self._changed:
            self._ended.setdefault(key, []).append((context, done))
            if self.together and claimer is not None and claimer is self._claimer:
                return True
            if self._claimer_comes:
                self._changed.notify_all()
                return True
            if key in self._sending:
                return True
            self._sending.add(key)
            return False

    def take_ended(self, key: str) -> list[Ended]:
        """The finished tasks of a key, for their sender to answer. If there are none, it is no longer the sender."""
        with self._changed:
            ended = self._ended.pop(key, [])
            if not ended:
                self._sending.discard(key)
            return ended

    def stop_sending(self, key: str) -> None:
        """Note that the sender of a key has given up, so that the next finished task gets another one."""
        with self._changed:
            self._sending.discard(key)

    def left_ended(self) -> list[Ended]:
        """Take all finished tasks that wait for a claimer which has ended. They keep their places."""
        with self._changed:
            self._claimer = self._batch = None
            ended = [one for of_key in self._ended.values() for one in of_key]
            self._ended.clear()
            return ended

    # ---- the claimer

    def give_turn(self, batch: object = None) -> object:
        """Give the turn to a new claimer, and return its mark.

        With `batch`, only if the present claimer still runs these tasks; otherwise this returns None.
        """
        with self._changed:
            if batch is not None and self._batch is not batch:
                return None
            self._batch = None
            self._claimer = object()
            return self._claimer

    def begin(self, claimer: object, batch: object) -> None:
        """Note that the claimer runs tasks itself, until it calls `next_turn`. Meanwhile it can lose its turn."""
        with self._changed:
            if self._claimer is claimer:
                self._batch = batch

    def batch(self) -> Any:
        """The tasks that the claimer runs itself at present."""
        return self._batch

    def next_turn(self, claimer: object) -> tuple[int, list[Ended]] | None:
        """Wait until there is a free place. Returns how many are free, and the finished tasks whose answers to send.

        These don't have a place any more, unless `keep` gives it back. After `stop` no place is free. None if the
        claimer has lost its turn.
        """
        with self._changed:
            if self._claimer is not claimer:
                return None
            self._batch = None
            self._claimer_comes = self.together
            try:
                while True:
                    ended = self._all_ended() if self.together else []
                    if self._stopping.is_set():
                        return 0, ended
                    if ended or self._free() > 0:
                        return max(0, self._free()), ended
                    self._changed.wait(LATE_ANSWER_S)
            finally:
                self._claimer_comes = False

    def _all_ended(self) -> list[Ended]:
        ended = [one for of_key in self._ended.values() for one in of_key]
        self._ended.clear()
        for context, _ in ended:
            self._taken.pop(context.task.handle, None)
        return ended

    def _free(self) -> int:
        """The number of free places. Late outcomes take none, but only as many of them as there are places."""
        if len(self._taken) < self.number:
            return self.number - len(self._taken)
        late_at = time.monotonic() - LATE_ANSWER_S
        late = sum(
            context.ended_at is not None and context.ended_at < late_at for context in self._taken.values()
        )
        return self.number - len(self._taken) + min(late, self.number)
