"""Our broker in the place of Dramatiq's brokers, and of the one without a server that its tests use most."""

from __future__ import annotations

from collections import defaultdict
from queue import Empty

import redis
import taskslot
from dramatiq.broker import MessageProxy
from taskslot.integrations.dramatiq import TaskslotBroker, TaskslotConsumer


class InPlaceOfRedis(TaskslotBroker):
    """Takes the arguments that the tests give to the Redis broker."""

    def __init__(self, *, url="redis://127.0.0.1:6379", client=None, middleware=None):
        super().__init__(client or url, middleware=middleware)


class InPlaceOfRabbit(TaskslotBroker):
    """Takes the arguments that the tests give to the RabbitMQ broker's `join`, which looks several times."""

    def join(self, queue_name, *, min_successes=10, timeout=None):
        """Wait until the queue is empty."""
        super().join(queue_name, timeout=timeout)


class CountedQueue(taskslot.Queue):
    """What tests do with a queue of the stub: they look at it, and put messages in or take them out."""

    def qsize(self):
        """How many messages nobody has taken yet."""
        return self.len("ready") + self.len("delayed")

    @property
    def unfinished_tasks(self):
        """How many messages wait or are worked on."""
        return self.len()

    def put(self, data):
        """Push a message as bytes."""
        self.push(data)

    def get(self, timeout=1):
        """Take out a message as bytes."""
        for task in self.claim(block_ms=int(timeout * 1000), noack=True):
            return task.payload
        raise Empty


class Consumer(TaskslotConsumer):
    """Remembers dead letters with their exceptions, of which the server only has the text."""

    def __init__(self, *args, dead_letters):
        super().__init__(*args)
        self.dead_letters = dead_letters

    def nack(self, message):
        """Also add the message to the dead letters."""
        self.dead_letters.append(message)
        super().nack(message)


class InPlaceOfStub(TaskslotBroker):
    """What tests know about the stub: its dead letters, and that `join` raises what made one of them dead."""

    def __init__(self, client):
        self.fail_fast_default = True
        self.dead_letters_by_queue = defaultdict(list)
        super().__init__(client)

    @property
    def dead_letters(self) -> list[MessageProxy]:
        """The dead letters of all queues."""
        return [message for messages in self.dead_letters_by_queue.values() for message in messages]

    def _make_queue(self, name):
        return CountedQueue(self.client, super()._make_queue(name).name, wire=self._wire)

    def consume(self, queue_name, prefetch=1, timeout=100):
        """A consumer that remembers dead letters."""
        letters = self.dead_letters_by_queue[queue_name]
        return Consumer(
            queue_name, self._declared(queue_name), self._holdings, prefetch, timeout, dead_letters=letters
        )

    def flush_all(self):
        """Also forget the dead letters."""
        super().flush_all()
        for letters in self.dead_letters_by_queue.values():
            letters.clear()

    def join(self, queue_name, *, timeout=None, fail_fast=None):
        """Wait until the queue is empty, then raise the exception of a dead letter."""
        super().join(queue_name, timeout=timeout)
        if self.fail_fast_default if fail_fast is None else fail_fast:
            for message in self.dead_letters_by_queue[queue_name]:
                raise message._exception or Exception("a message failed") from None


def empty_server() -> redis.Redis:
    """A client of the suite's server, which has no keys now."""
    client = redis.Redis()
    client.flushall()
    return client
