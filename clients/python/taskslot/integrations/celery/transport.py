"""A transport for Kombu, and so for Celery: Kombu's own for Redis, with its queues in the server.

From the Redis transport come connections, TLS, the event loop, bindings, and fanout by PUB/SUB. Lists, the hash
`unacked`, the visibility timeout and its sweeper are replaced: a message is a task, and a consumer has a lease on it.
"""

from __future__ import annotations

import logging
import os
import socket
import ssl
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from queue import Empty
from typing import Any

from kombu.transport import redis as kombu_redis
from kombu.transport import virtual
from kombu.utils.json import dumps, loads

from ... import commands
from ..._sync.queue import Queue
from ..._sync.wire import Wire
from ...arguments import token
from ...clients import Client
from ...commands import ClaimOptions, Command
from ...replies import Task
from ...worker.retries import passes
from ..kombu_messages import celery_id, push_options
from ..named_push import is_token, push_named
from .held import Held
from .revocation import hook_into_workers

log = logging.getLogger("taskslot")

LEASE_MS = 30_000
# How long a command is sent again while the server is away. Kombu and Celery have retries of their own.
PATIENCE_MS = 1000
# Where a message carries the token of its push until it is pushed: a publish that is tried again has the same one.
REQUEST = "taskslot_request"
# Options of the Redis transport without a meaning here. They are ignored, so that existing settings can stay.
WITHOUT_MEANING = {"ack_emulation", "visibility_timeout", "priority_steps"}


class QoS(virtual.QoS):
    """Answers what a channel has delivered."""

    def ack(self, delivery_tag: str) -> None:
        """Finish a message."""
        self.channel.held.ack(delivery_tag)
        super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Give a message back, or make it dead."""
        if requeue:
            self.channel.held.requeue(delivery_tag)
        else:
            self.channel.held.bury(delivery_tag, "rejected by its consumer")
        super().ack(delivery_tag)

    def restore_unacked(self) -> list[Any]:
        """Give back what is not answered, except tasks that this process is running. Returns no errors."""
        self._flush()
        self.channel.held.requeue_all(self._delivered, but=running_tags())
        self._delivered.clear()
        return []


def running_tags() -> set[str]:
    """The delivery tags of the tasks that a Celery worker in this process is running.

    After a lost connection they run on, and are answered on the closed channel.
    """
    state = sys.modules.get("celery.worker.state")
    return {request.message.delivery_tag for request in state.active_requests} if state else set()


class Channel(kombu_redis.Channel):
    """A channel. Its options are in `docs/celery.md`."""

    QoS = QoS
    supports_batch_publish = False

    lease_ms = LEASE_MS
    queue_prefix = "{celery}:"
    worker_name = ""
    tied = False

    from_transport_options = (
        *(name for name in kombu_redis.Channel.from_transport_options if name not in WITHOUT_MEANING),
        *("lease_ms", "queue_prefix", "worker_name", "tied"),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._no_ack: set[str] = set()
        # The claim whose reply has not come yet, and its queues.
        self._claim: Command[list[Task]] | None = None
        self._claimed_of: list[str] = []
        self._kept_alive_at: dict[str, float] = {}
        super().__init__(*args, **kwargs)
        self.lease_ms = int(self.lease_ms)
        self.worker_name = self.worker_name or f"{socket.gethostname()}-{os.getpid()}"

    # ---- queues

    @cached_property
    def wire(self) -> Wire:
        """Sends the commands that do not wait. It works after the channel is closed, too."""
        return Wire(self._create_client(), PATIENCE_MS)

    @cached_property
    def held(self) -> Held:
        """The tasks that are delivered and not answered."""
        return Held(self.wire.client, self.lease_ms)

    def taskslot_queue(self, name: str) -> Queue:
        """The queue of a name, with all commands of the library."""
        return Queue(self.wire.client, self.key_of(name), wire=self.wire)

    def key_of(self, name: str) -> str:
        """The key of a queue."""
        return f"{self.global_keyprefix}{self.queue_prefix}{name}"

    def name_of(self, key: str) -> str:
        """The name of the queue of a key."""
        return key[len(self.global_keyprefix) + len(self.queue_prefix) :]

    # ---- publish

    def _put(self, queue: str, message: dict[str, Any], **kwargs: Any) -> None:
        properties = message["properties"]
        request = properties.setdefault(REQUEST, token())
        bare = {name: value for name, value in properties.items() if name != REQUEST}
        payload = dumps({**message, "properties": bare})
        options = push_options(message, time.time())
        options["request"] = request
        push_named(self.taskslot_queue(queue), payload, celery_id(message), options)
        self._keep_alive([queue])

    # ---- consume

    def basic_consume(self, queue: str, no_ack: bool, *args: Any, **kwargs: Any) -> Any:
        """Consume from a queue."""
        if no_ack:
            self._no_ack.add(queue)
        else:
            self._no_ack.discard(queue)
        return super().basic_consume(queue, no_ack, *args, **kwargs)

    def basic_get(self, queue: str, no_ack: bool = False, **kwargs: Any) -> Any:
        """Get a message now; None if there is none."""
        try:
            message = self.Message(self._get(queue, no_ack), channel=self)
        except Empty:
            return None
        if not no_ack:
            self.qos.append(message, message.delivery_tag)
        return message

    def _get(self, queue: str, no_ack: bool = False) -> dict[str, Any]:
        options = self._claim_options(no_ack)
        options.pop("tied", None)  # the connection is one of a pool
        while tasks := self.taskslot_queue(queue).claim(1, **options):
            self._keep_alive([queue])
            if (raw := self._received(queue, tasks[0], is_held=not no_ack)) is not None:
                return raw
        raise Empty

    def _brpop_start(self, timeout: float | None = None) -> None:
        """Send a claim that waits in the server, on the connection of this channel that does only that."""
        queues = self._queue_cycle.consume(len(self.active_queues))
        if not queues:
            return
        if self._claim is None or set(queues) != set(self._claimed_of):
            wait_s = self.brpop_timeout if timeout is None else timeout
            self._claimed_of = list(queues)
            self._claim = self._claim_of(queues, int(wait_s * 1000) if wait_s else 0)
        # Otherwise its reply was lost: sent again, the same words get the same tasks.
        self._in_poll = self.client.connection
        self._brpop_sent_at = time.monotonic()
        self.client.connection.send_command(*self._claim.words)

    def _claim_of(self, queues: Sequence[str], wait_ms: int) -> Command[list[Task]]:
        options = self._claim_options(no_ack=self._no_ack.issuperset(queues))
        keys = [self.key_of(queue) for queue in queues]
        return commands.claim(keys, self._free_places(), wait_ms, token(), **options)

    def _claim_options(self, no_ack: bool) -> ClaimOptions:
        options = ClaimOptions(worker=self.worker_name)
        if no_ack:
            options["noack"] = True
        else:
            options["lease_ms"], options["tied"] = self.lease_ms, self.tied
        return options

    def _free_places(self) -> int:
        """How many messages to claim at once. One at a time if nothing limits them, or if Celery itself does."""
        if "can_consume" in vars(self.qos):  # worker_disable_prefetch
            return 1
        return max(1, min(self.qos.can_consume_max_estimate() or 1, 1000))

    def _brpop_read(self, **options: Any) -> bool:
        """Read the reply of the claim, and deliver what came."""
        claim, waited_s = self._claim, time.monotonic() - (self._brpop_sent_at or 0.0)
        assert claim is not None
        try:
            reply = self._reply(claim, options)
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()
        self._claim = None
        tasks, is_held = claim.read(reply), "NOACK" not in claim.words
        if is_held and waited_s > self.lease_ms / 2000:
            tasks = self._still_leased(tasks)
        if not tasks:
            raise Empty
        if self._closing:
            self._give_back(tasks if is_held else [])
            raise Empty
        self._queue_cycle.rotate(self.name_of(tasks[0].key))
        self._deliver(tasks, is_held)
        return True

    def _reply(self, claim: Command[list[Task]], options: Mapping[str, Any]) -> Any:
        try:
            return self.client.parse_response(self.client.connection, claim.words[0], **options)
        except self.connection_errors:
            # The next claim connects again.
            self.client.connection.disconnect()
            if self._closing:
                raise Empty from None
            raise
        except self.ResponseError as error:
            self._claim = None
            server = Client(self.client)
            meaning = error if server.is_away(error) else server.meaning(error) or error
            if passes(
                self.taskslot_queue(self._claimed_of[0]), meaning
            ):  # in a failover: look for the new primary
                self.client.connection.disconnect()
                raise server.errors.ConnectionError(str(error)) from error
            raise meaning from None

    def _deliver(self, tasks: Sequence[Task], is_held: bool) -> None:
        """Deliver tasks of a queue. If a consumer raises, what was not delivered goes back."""
        queue = self.name_of(tasks[0].key)
        self._keep_alive([queue])
        for number, task in enumerate(tasks):
            try:
                if (raw := self._received(queue, task, is_held)) is not None:
                    self._hand_over(queue, raw, is_held)
            except BaseException:
                self._give_back(tasks[number + 1 :] if is_held else [])
                raise

    def _hand_over(self, queue: str, raw: dict[str, Any], is_held: bool) -> None:
        """Call the consumer of a message. If it was cancelled while the claim waited, the message goes back."""
        tag = raw["properties"]["delivery_tag"]
        if queue in self.connection._callbacks:
            if is_held and queue in self._no_ack:
                self.held.ack(tag)
            self.connection._deliver(raw, queue)
        elif is_held:
            self.held.requeue(tag)
        else:
            self._put(queue, raw)

    def _still_leased(self, tasks: Sequence[Task]) -> list[Task]:
        """Which tasks of a reply that may have lain for long are still leased: the program was busy meanwhile."""
        if not tasks:
            return []
        answers = self.taskslot_queue(self.name_of(tasks[0].key)).extend_many(tasks)
        return [task for task, answer in zip(tasks, answers, strict=True) if answer > 0]

    def _give_back(self, tasks: Sequence[Task]) -> None:
        if tasks:
            self.taskslot_queue(self.name_of(tasks[0].key)).requeue_many(tasks)

    def _received(self, queue: str, task: Task, is_held: bool) -> dict[str, Any] | None:
        """The message of a claimed task, which is held from now on. None if it is none of Kombu's: then it is dead."""
        tag = f"{queue} {task.handle}"
        if is_held:
            self.held.add(tag, task)
        try:
            message: dict[str, Any] = loads(task.payload)
            properties = message["properties"]
            properties["delivery_tag"] = tag
            if task.deliveries > 1:
                properties["delivery_info"]["redelivered"] = True
                message["headers"] = {**(message.get("headers") or {}), "redelivered": True}
        except (ValueError, TypeError, KeyError) as error:
            log.error("task %s of %s is no message of Kombu: %r", task.id, queue, error)
            self.held.bury(tag, f"no message of Kombu: {error!r}")
            return None
        return message

    def _restore(self, message: Any, leftmost: bool = False) -> None:
        self.held.requeue(message.delivery_tag)

    # ---- revoke

    def remove_waiting(self, queue: str, task_id: str) -> dict[str, Any] | None:
        """Remove the Celery task of this id, if it waits in a queue. Returns its message, or None."""
        of = self.taskslot_queue(queue)
        if not is_token(task_id):
            return None
        if (view := of.get(unique=task_id)) is None or of.cancel(unique=task_id) != "removed":
            return None
        message = loads(view.payload or b"")
        return message if celery_id(message) == task_id else None

    # ---- manage

    def _size(self, queue: str) -> int:
        """The number of messages that wait, those that are due later included."""
        of = self.taskslot_queue(queue)
        return of.len("ready") + of.len("delayed")

    def _has_queue(self, queue: str, **kwargs: Any) -> bool:
        with self.conn_or_acquire() as client:
            return bool(client.exists(self.key_of(queue)))

    def _purge(self, queue: str) -> int:
        """Remove the messages that wait. Those of consumers and dead ones stay."""
        of, removed = self.taskslot_queue(queue), 0
        for state in ("ready", "delayed"):
            while some := of.purge(state):  # a thousand at a time
                removed += some
        return removed

    def _delete(
        self, queue: str, exchange: str, routing_key: str, pattern: str, *args: Any, **kwargs: Any
    ) -> None:
        self.auto_delete_queues.discard(queue)
        member = self.sep.join([routing_key or "", pattern or "", queue or ""])
        with self.conn_or_acquire(client=kwargs.get("client")) as client:
            client.srem(self.keyprefix_queue % (exchange,), member)
            client.srem(self.keyprefix_binding_permanent % (exchange,), member)
            client.unlink(self.key_of(queue))

    def _keep_alive(self, queues: Iterable[str]) -> None:
        """Let queues with x-expires live on: there was a message, or there is a consumer."""
        for queue in queues:
            if queue in self._expires:
                self._kept_alive_at[queue] = time.monotonic()
                with self.conn_or_acquire() as client:
                    # Not in words that the client puts its own prefix before.
                    client.execute_command("pexpire", self.key_of(queue), self._expires[queue])

    def maybe_refresh_binding_expiry(self) -> None:
        """Keep what belongs to consumed queues with x-expires. Called once a second, and by drain_events."""
        super().maybe_refresh_binding_expiry()
        now = time.monotonic()
        self._keep_alive(
            queue
            for queue in self._active_queues
            if now - self._kept_alive_at.get(queue, 0.0) > self._expires.get(queue, 0) / 3000
        )

    def close(self) -> None:
        """Give back what is not answered, and close."""
        super().close()
        if "wire" in vars(self):
            self.wire.client.connection_pool.disconnect()


class Transport(kombu_redis.Transport):
    """`taskslot://host:port/db`"""

    Channel = Channel
    # Celery asks for it: with the Redis transport it sends events by PUB/SUB, and its workers know of each other.
    driver_type = "redis"
    driver_name = "taskslot"
    supports_batch_publish = False
    implements = kombu_redis.Transport.implements.extend(batch_publish=False)


class TLSTransport(Transport):
    """`taskslots://host:port/db`: with TLS, also without `broker_use_ssl`. The server's certificate is checked."""

    def __init__(self, client: Any, **kwargs: Any) -> None:
        if not isinstance(client.ssl, Mapping):
            client.ssl = {"ssl_cert_reqs": ssl.CERT_REQUIRED}
        super().__init__(client, **kwargs)


hook_into_workers()
