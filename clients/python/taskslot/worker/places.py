"""The places of a worker (its concurrency slots): which tasks run, and how many more can be claimed."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Literal

from .context import TaskContext

# If the outcome of an ended function can't be sent for this long, its node is away. Then the task no longer takes a
# place, so that the worker can claim tasks from other nodes.
LATE_ANSWER_S = 1.0


class Places:
    """The tasks that run or whose outcome is being sent, by handle. At most `number`, apart from late outcomes.

    One lock protects everything. So a task either has its place before `stop`, and `all` returns it, or gets none.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._taken: dict[str, TaskContext] = {}
        self._changed = threading.Condition()
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

    def wait_for_free(self) -> int:
        """Wait until there is a free place. Returns the number of free places, or 0 after `stop`."""
        with self._changed:
            while not self._stopping.is_set():
                if (free := self._free()) > 0:
                    return free
                self._changed.wait(LATE_ANSWER_S)
        return 0

    def _free(self) -> int:
        """The number of free places. Late outcomes take none, but only as many of them as there are places."""
        late_at = time.monotonic() - LATE_ANSWER_S
        late = sum(
            context.ended_at is not None and context.ended_at < late_at for context in self._taken.values()
        )
        return self.number - len(self._taken) + min(late, self.number)

    def take(self, context: TaskContext) -> Literal["taken", "known", "stopping"]:
        """Give a task a place. "known" if it has one, because a claim that was sent again returned it twice."""
        with self._changed:
            if self._stopping.is_set():
                return "stopping"
            if context.task.handle in self._taken:
                return "known"
            self._taken[context.task.handle] = context
            return "taken"

    def free(self, context: TaskContext) -> None:
        """Free the place of a task whose outcome was sent."""
        with self._changed:
            self._taken.pop(context.task.handle, None)
            self._changed.notify_all()

    def all(self) -> Sequence[TaskContext]:
        """The tasks that have a place now."""
        with self._changed:
            return list(self._taken.values())

    def __len__(self) -> int:
        return len(self._taken)
