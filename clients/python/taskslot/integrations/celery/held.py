"""The tasks that a channel holds: their leases are extended until each is answered."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable
from typing import Any

from ..._sync.queue import Queue
from ..._sync.wire import Wire
from ...errors import LeaseLost
from ...replies import Task
from ...worker import LeaseKeeper
from ...worker.retries import passes, rests

log = logging.getLogger("taskslot")

Answer = Callable[[Queue, Task], object]


class Held:
    """The unanswered tasks of a channel, by their delivery tags.

    An answer that the server does not take now, because it is away, is sent again on a thread until it does. Meanwhile
    the lease is still extended, so work that was finished is not done twice. Nobody waits for the server: while one
    answer is late, those after it go to the thread at once.

    It also works after its channel has been closed: Celery closes the channel when it loses the connection, while
    tasks are running.
    """

    def __init__(self, client: Any, lease_ms: int) -> None:
        self._wire = Wire(client, 0)  # the patience is that of the thread
        self._queues: dict[
            str, Queue
        ] = {}  # by key: the lease keeper sends one command for all leases of a queue
        self._lease_ms = lease_ms
        self._tasks: dict[str, tuple[Queue, Task]] = {}
        self._late: list[tuple[Queue, Task, Answer]] = []
        # One answer at a time: the threads of a pool would need more connections than Kombu allows.
        self._answering = threading.Lock()
        self._pid = os.getpid()

    def add(self, tag: str, task: Task) -> None:
        """Hold a task that was claimed."""
        if (queue := self._queues.get(task.key)) is None:
            queue = self._queues.setdefault(task.key, Queue(self._wire.client, task.key, wire=self._wire))
        self._tasks[tag] = queue, task
        keeper().add(queue, task, lease_ms=self._lease_ms, on_lost=warn_of_loss)

    def ack(self, tag: str) -> None:
        """Finish a task."""
        self._answer(tag, lambda queue, task: queue.ack(task))

    def bury(self, tag: str, why: str) -> None:
        """Make a task dead: it is not delivered again, but kept."""
        self._answer(tag, lambda queue, task: queue.fail(task, why, dead=True))

    def requeue(self, tag: str) -> None:
        """Give a task back, to its old place in the queue."""
        self._answer(tag, lambda queue, task: queue.requeue(task))

    def requeue_all(self, tags: Iterable[str], but: Collection[str] = ()) -> None:
        """Give tasks back. Those in `but` stay held."""
        for tag in list(tags):
            if tag not in but:
                self.requeue(tag)

    def __len__(self) -> int:
        """The number of tasks that are held."""
        return len(self._tasks)

    def _answer(self, tag: str, answer: Answer) -> None:
        """Send an answer. A process that was forked from the one that claimed the task has no say."""
        if os.getpid() != self._pid or (held := self._tasks.pop(tag, None)) is None:
            return
        queue, task = held
        with self._answering:
            if self._late:
                self._late.append((queue, task, answer))
                return
            try:
                self._send(queue, task, answer)
            except Exception as error:
                if not passes(queue, error):
                    keeper().remove(task)
                    raise
                log.warning("task %s: the answer is sent again until the server takes it: %s", task.id, error)
                self._late.append((queue, task, answer))
                threading.Thread(target=self._send_late, name="taskslot-answers", daemon=True).start()

    def _send_late(self) -> None:
        pauses = rests()
        while True:
            queue, task, answer = self._late[0]
            try:
                self._send(queue, task, answer)
                pauses = rests()
            except Exception as error:
                if passes(queue, error):
                    time.sleep(next(pauses))
                    continue
                keeper().remove(task)
                log.exception("task %s: the server refuses the answer", task.id)
            with self._answering:
                self._late.pop(0)
                if not self._late:
                    return

    def _send(self, queue: Queue, task: Task, answer: Answer) -> None:
        try:
            answer(queue, task)
        except LeaseLost:
            log.warning("task %s: the lease had ended before the answer, so the task runs again", task.id)
        keeper().remove(task)


def warn_of_loss(task: Task) -> None:
    """Log that a lease ended although it was to be extended."""
    log.warning("task %s: the lease has ended, so the task is delivered again", task.id)


_keepers: dict[int, LeaseKeeper] = {}
_making = threading.Lock()


def keeper() -> LeaseKeeper:
    """The lease keeper of this process. A forked process makes its own, because threads are not forked."""
    pid = os.getpid()
    if (own := _keepers.get(pid)) is None:
        with _making:
            own = _keepers.setdefault(pid, LeaseKeeper())
    return own
