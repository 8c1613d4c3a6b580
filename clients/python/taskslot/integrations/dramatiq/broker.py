"""The broker: queues by their Dramatiq names, and what a message is as a taskslot task."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from dramatiq.broker import Broker
from dramatiq.common import current_millis
from dramatiq.errors import QueueJoinTimeout, QueueNotFound
from dramatiq.message import Message
from dramatiq.middleware import AgeLimit, Middleware

from ..._sync.queue import Queue
from ..._sync.sharded import ShardedQueue
from ..._sync.wire import Wire
from ...app.connections import of_url
from ...commands import PushOptions
from ...errors import OutOfMemory, Paused, QueueFull
from ..named_push import is_token, push_named
from .consumer import TaskslotConsumer, translated
from .holdings import AnyQueue, Holdings

# The server's bounds.
LOWEST_PRIORITY, HIGHEST_PRIORITY = -128, 127


class TaskslotBroker(Broker):
    """A broker on a Redis or Valkey server with the taskslot module.

    `client` is a sync client of redis-py or valkey-py (of a single server, Sentinel or a cluster), or the URL of a
    single server. Dramatiq's queue `default` is the key `<namespace>:queue:default`. `lease_ms` (1000 ms to 24 h) is
    how long a message stays with a worker that is not heard of any more; workers extend the leases of messages that
    they hold. `shards` cuts each queue into so many keys, or those that a mapping names. While the server is away,
    calls keep trying for `patience_ms`, then they raise `dramatiq.errors.ConnectionClosed`. With `drops_old` the server
    removes messages that no worker has claimed when their `max_age` ends; without it, workers make them dead letters.

    `queues` has the taskslot queues by their Dramatiq names, for what Dramatiq has no words for, such as
    `broker.queues["default"].retry_dead()`.
    """

    queues: dict[str, AnyQueue]

    def __init__(
        self,
        client: Any = "redis://127.0.0.1:6379",
        *,
        namespace: str = "dramatiq",
        middleware: list[Middleware] | None = None,
        lease_ms: int = 60_000,
        shards: int | Mapping[str, int] = 1,
        patience_ms: int = 10_000,
        drops_old: bool = False,
    ) -> None:
        if not 1000 <= lease_ms <= 86_400_000:
            raise ValueError(f"lease_ms must be from 1000 to 86400000, not {lease_ms}")
        super().__init__(middleware=middleware)
        self._is_own_client = isinstance(client, str)
        self.client = of_url(client) if isinstance(client, str) else client
        self.namespace = namespace
        self._shards = shards
        self._drops_old = drops_old
        self._wire = Wire(self.client, patience_ms)  # queues without shards share its connections
        self._holdings = Holdings(lease_ms)

    # ---- queues

    def declare_queue(self, queue_name: str) -> None:
        """Make a queue known to this process. Nothing is sent to the server."""
        if queue_name in self.queues:
            return
        queue = self._make_queue(queue_name)
        self.emit_before("declare_queue", queue_name)
        self.queues[queue_name] = queue
        self.emit_after("declare_queue", queue_name)

    def _make_queue(self, name: str) -> AnyQueue:
        # Dramatiq's Redis broker has a list in the key without `queue:`.
        key = f"{self.namespace}:queue:{name}"
        shards = self._shards if isinstance(self._shards, int) else self._shards.get(name, 1)
        if shards == 1:
            return Queue(self.client, key, wire=self._wire)
        return ShardedQueue(self.client, key, shards=shards, patience_ms=self._wire.patience_ms)

    def _declared(self, name: str) -> AnyQueue:
        try:
            return self.queues[name]
        except KeyError:
            raise QueueNotFound(name) from None

    # ---- produce

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        """Push a message, which is due in `delay` ms. It waits in the server, not in a worker.

        Raises `QueueNotFound` if its queue was not declared in this process, `ConnectionClosed` if the server is away
        or accepts no writes for now, and `taskslot.QueueFull` or `taskslot.Paused` if the queue takes no messages.
        """
        queue = self._declared(message.queue_name)
        if delay is not None:
            message = message.copy(options={"eta": current_millis() + delay})
        self.emit_before("enqueue", message, delay)
        try:
            with translated(queue, but=(QueueFull, Paused, OutOfMemory)):
                self._push(queue, message, delay)
        except Exception:
            # If this was a retry, Dramatiq logs the error and finishes the message. So it would be lost.
            self._holdings.comes_again(message.message_id, max(0, int(delay or 0)))
            raise
        self.emit_after("enqueue", message, delay)
        return message

    def _push(self, queue: AnyQueue, message: Message[Any], delay: int | None) -> None:
        due = message.options.get("eta")
        if "eta" in message.options:  # for which a worker would hold the message
            message = message.copy()
            del message.options["eta"]
        payload, options = message.encode(), self._options(message, due)
        if delay is not None:
            options["delay_ms"] = max(0, int(delay))
        elif due is not None:
            options["at"] = due
        push_named(queue, payload, message.message_id, options)

    def _options(self, message: Message[Any], due: float | None) -> PushOptions:
        options: PushOptions = {}
        if priority := self._priority(message):
            options["priority"] = min(max(priority, LOWEST_PRIORITY), HIGHEST_PRIORITY)
        if self._drops_old and (max_age := self._max_age(message)) is not None:
            lasts_until = message.message_timestamp + max_age
            options["ttl_ms"] = max(1, int(lasts_until - max(due or 0, current_millis())))
        return options

    def _priority(self, message: Message[Any]) -> int:
        """The priority for the server, where the highest goes first. The lowest of actors goes first."""
        if (given := message.options.get("broker_priority")) is not None:
            return int(given)
        actor = self.actors.get(message.actor_name)
        return -actor.priority if actor is not None else 0

    def _max_age(self, message: Message[Any]) -> int | None:
        """The age limit of a message by AgeLimit: its own, that of its actor, or that of all. None: it has no limit."""
        limit = next((one for one in self.middleware if isinstance(one, AgeLimit)), None)
        if limit is None:
            return None
        actor = self.actors.get(message.actor_name)
        of_actor = limit.max_age if actor is None else actor.options.get("max_age", limit.max_age)
        return message.options.get("max_age") or of_actor or None

    def cancel(self, message: Message[Any] | str) -> bool:
        """Remove a message that waits, by itself or by its id. Returns whether it was removed.

        It was not if a worker has claimed it before, or if there is no such message. An id is looked for in all queues
        that were declared in this process.
        """
        if isinstance(message, Message):
            queues, name = [self._declared(message.queue_name)], message.message_id
        else:
            queues, name = list(self.queues.values()), message
        return is_token(name) and any(queue.cancel(unique=name) == "removed" for queue in queues)

    # ---- consume

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> TaskslotConsumer:
        """A consumer, which holds at most `prefetch` messages and waits at most `timeout` ms for one.

        Raises `QueueNotFound` if the queue was not declared in this process.
        """
        return TaskslotConsumer(self._declared(queue_name), self._holdings, prefetch, timeout)

    # ---- inspect, admin

    def get_queue_message_counts(self, queue_name: str) -> tuple[int, int, int]:
        """How many messages of a queue are ready, are delayed, and are dead letters."""
        queue = self._declared(queue_name)
        return queue.len("ready"), queue.len("delayed"), queue.len("dead")

    def flush(self, queue_name: str) -> None:
        """Drop all messages of a queue that no worker has, dead letters included."""
        queue = self._declared(queue_name)
        while queue.purge("all"):  # a thousand at a time
            pass

    def flush_all(self) -> None:
        """Drop all messages of the declared queues that no worker has, dead letters included."""
        for name in self.queues:
            self.flush(name)

    def join(self, queue_name: str, *, interval: int = 20, timeout: int | None = None) -> None:
        """Wait until no message of a queue waits or is worked on. Meant for tests.

        It looks every `interval` ms. Raises `QueueJoinTimeout` after `timeout` ms.
        """
        queue = self._declared(queue_name)
        ends_at = None if timeout is None else time.monotonic() + timeout / 1000
        while queue.len():
            if ends_at is not None and time.monotonic() >= ends_at:
                raise QueueJoinTimeout(queue_name)
            time.sleep(interval / 1000)

    def close(self) -> None:
        """Close the connections that the broker opened, but not the client that it was given. It can be used again."""
        self._holdings.close()
        for queue in self.queues.values():
            queue.close()
        if self._is_own_client:
            self.client.close()
