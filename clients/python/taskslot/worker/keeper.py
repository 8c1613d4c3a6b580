"""The lease keeper as a public part, for programs that claim tasks themselves, such as adapters for frameworks."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from .._sync.queue import Queue
from .._sync.sharded import ShardedQueue
from ..arguments import handle
from ..codecs import JSON
from ..replies import Task
from .context import TaskContext
from .leases import Leases
from .relations import Relations
from .threads import Threads

log = logging.getLogger("taskslot")

Told = Callable[[Task], object]


class LeaseKeeper:
    """Extends the leases of tasks that a program has claimed itself. A `Worker` does this for its own tasks.

        keeper = taskslot.LeaseKeeper()

        for task in queue.claim(10, block_ms=1000, lease_ms=30_000):
            keeper.add(queue, task, lease_ms=30_000, on_lost=give_up)
            ...
            queue.ack(task)
            keeper.remove(task)

    It sends one TASK.EXTEND for all leases of a key, every third of the shortest of them, on threads of its own, which
    start with the first task. While a server is away it tries again; tasks on other servers are not affected.

    One keeper is enough for a process, whatever its queues. Threads can share it. A forked process makes its own.
    """

    def __init__(self) -> None:
        self._threads = Threads("taskslot-leases")
        self._leases = Leases(self._threads, None)
        self._lock = threading.Lock()
        self._contexts: dict[str, TaskContext] = {}  # by handle
        self._is_open = self._is_closed = False

    def add(
        self,
        queue: Queue | ShardedQueue,
        task: Task,
        *,
        lease_ms: int | None = None,
        on_lost: Told | None = None,
        on_cancel: Told | None = None,
    ) -> TaskContext:
        """Keep a task until `remove`, or until its lease is lost or it is cancelled. Returns its context.

        `queue` is a sync queue; commands for the task are sent through its client. `lease_ms` is the length that the
        claim asked for; without it, the keeper asks the server. `on_lost` is called with the task when its lease has
        ended, or when it was removed: another worker may have it. `on_cancel` is called when somebody cancelled it. One
        of them is called, once, on a thread of the keeper, so it must not wait; an exception is logged. It can still be
        called for a task that your own ack has just ended, if `remove` comes later.

        The context has `lease_lost` and `cancelled`, and `progress` sends how far the task has got. Raises TypeError
        for a queue of another kind, and RuntimeError after `close`. A task that is kept already stays as it is.
        """
        if not isinstance(queue, Queue | ShardedQueue):
            raise TypeError(f"a LeaseKeeper needs a Queue or a ShardedQueue, not {type(queue).__name__}")
        context = TaskContext(task, self._leases.wake, relations=Relations(queue, JSON))
        with self._lock:
            if self._is_closed:
                raise RuntimeError("the LeaseKeeper is closed")
            if (before := self._contexts.get(task.handle)) is not None:
                return before
            self._contexts[task.handle] = context
            if not self._is_open:
                self._leases.open()
                self._is_open = True
        context.on_stop(lambda: self._tell(context, on_cancel if context.cancelled else on_lost))
        self._leases.add([context], time.monotonic(), None if lease_ms is None else lease_ms / 1000)
        return context

    def remove(self, *tasks: Task | str) -> None:
        """Extend the leases of these tasks, or handles, no longer. Unknown ones are ignored."""
        with self._lock:
            found = [self._contexts.pop(handle(task), None) for task in tasks]
        self._leases.remove([context for context in found if context is not None])

    def close(self) -> None:
        """Extend no more leases. The tasks come back when they end, unless they are acked before."""
        with self._lock:
            self._is_closed = True
            self._contexts.clear()
        self._leases.close()
        self._threads.close()

    def __len__(self) -> int:
        """The number of tasks whose leases are extended."""
        return len(self._contexts)

    def _tell(self, context: TaskContext, told: Told | None) -> None:
        with self._lock:
            self._contexts.pop(context.task.handle, None)
        if told is not None:
            try:
                told(context.task)
            except Exception:
                log.exception("a callback of task %s raised an exception", context.task.id)
