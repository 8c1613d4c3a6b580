"""What a process holds of its queues: messages, whose leases are extended, and claims that were not answered yet."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from dramatiq.broker import MessageProxy
from dramatiq.message import Message

from ..._sync.queue import Queue
from ..._sync.sharded import ShardedQueue
from ...replies import Task
from ...worker.keeper import LeaseKeeper

AnyQueue = Queue | ShardedQueue


class TaskslotMessage(MessageProxy):
    """A message that a worker has claimed, with its taskslot task."""

    def __init__(self, message: Message[Any], task: Task) -> None:
        super().__init__(message)
        self.task = task
        # Set if its retry could not be pushed: then it is not finished, but comes again after this time.
        self.again_ms: int | None = None


@dataclass(frozen=True)
class Claim:
    """The worker's name and the token of a claim. Sent again with both, it returns what it has leased before."""

    worker: str
    request: str


class Holdings:
    """The messages that consumers of this process have claimed, and that were not answered yet.

    They outlive their consumer, which Dramatiq replaces when the connection breaks, while the messages are worked on.
    """

    def __init__(self, lease_ms: int) -> None:
        self.lease_ms = lease_ms
        self.unanswered: dict[str, Claim] = {}  # by the queue's name
        self._lock = threading.Lock()
        self._messages: dict[str, TaskslotMessage] = {}
        self._keeper: LeaseKeeper | None = None

    def take(self, queue: AnyQueue, message: TaskslotMessage) -> None:
        """Extend the lease of a message until `let_go`."""
        with self._lock:
            if self._keeper is None:
                self._keeper = LeaseKeeper()
            keeper = self._keeper
            self._messages[message.message_id] = message
        keeper.add(queue, message.task, lease_ms=self.lease_ms)

    def let_go(self, messages: Iterable[TaskslotMessage]) -> None:
        """Extend the leases of these messages no longer: they were answered, or come back when the leases end."""
        with self._lock:
            for message in messages:
                if self._keeper is not None:
                    self._keeper.remove(message.task)
                if self._messages.get(message.message_id) is message:
                    del self._messages[message.message_id]

    def comes_again(self, message_id: str, delay_ms: int) -> None:
        """If this process holds the message, give it back after this time instead of finishing it."""
        if (message := self._messages.get(message_id)) is not None:
            message.again_ms = delay_ms

    def close(self) -> None:
        """Extend no more leases. Messages that are still held come back when theirs end."""
        with self._lock:
            keeper, self._keeper = self._keeper, None
            self._messages.clear()
        if keeper is not None:
            keeper.close()
