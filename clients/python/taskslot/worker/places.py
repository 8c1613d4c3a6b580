"""The places of a worker: which tasks run, and how many more may be claimed."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Literal

from .context import TaskContext

# From then on a function that has ended, and whose answer is still under way, is no reason to claim less: its node is
# away, and its place is for tasks of those that work.
LATE_ANSWER_S = 1.0


class Places:
    """Tasks that run or are being answered, by handle, at most `number` that aren't late; none is added after `stop`.

    All of it is under one lock: a task has its place before the stop, and is then seen by `all`, or gets none.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._taken: dict[str, TaskContext] = {}
        self._changed = threading.Condition()
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Give no more places."""
        with self._changed:
            self._stopping.set()
            self._changed.notify_all()

    def is_stopping(self) -> bool:
        """Whether no more places are given."""
        return self._stopping.is_set()

    def rest(self, seconds: float) -> None:
        """Sleep so long, but not beyond the stop."""
        self._stopping.wait(seconds)

    def wait_for_free(self) -> int:
        """How many tasks may be claimed, once there may be any; 0 at the stop."""
        with self._changed:
            while not self._stopping.is_set():
                if (free := self._free()) > 0:
                    return free
                self._changed.wait(LATE_ANSWER_S)
        return 0

    def _free(self) -> int:
        """Functions that run take places, and answers until they are late: at most as many late ones as places."""
        late_at = time.monotonic() - LATE_ANSWER_S
        late = sum(
            context.ended_at is not None and context.ended_at < late_at for context in self._taken.values()
        )
        return self.number - len(self._taken) + min(late, self.number)

    def take(self, context: TaskContext) -> Literal["taken", "known", "stopping"]:
        """Give a task a place; "known" if it has one, since a claim that was sent again brought it twice."""
        with self._changed:
            if self._stopping.is_set():
                return "stopping"
            if context.task.handle in self._taken:
                return "known"
            self._taken[context.task.handle] = context
            return "taken"

    def free(self, context: TaskContext) -> None:
        """A task was answered for: its place is free."""
        with self._changed:
            self._taken.pop(context.task.handle, None)
            self._changed.notify_all()

    def all(self) -> Sequence[TaskContext]:
        """The tasks that have a place now."""
        with self._changed:
            return list(self._taken.values())

    def __len__(self) -> int:
        return len(self._taken)
