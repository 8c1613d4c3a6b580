"""A worker of the demo: threads that claim tasks from all shards, work for some milliseconds, and ack."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import MutableSequence

import redis
from logs import Log, now
from taskslot import LeaseLost, ShardedQueue, Task, TaskslotError

# The number of tasks that it works on at the same time, each on a thread. A task whose node is away only blocks its
# own.
PLACES = 4


class Worker:
    """Works until SIGTERM, then finishes the tasks that it holds."""

    def __init__(
        self, orders: ShardedQueue, name: str, log: Log, lease_ms: int, done: MutableSequence[int], index: int
    ) -> None:
        self.orders, self.name, self.log, self.lease_ms = orders, name, log, lease_ms
        self.done, self.index = done, index  # done[index] is its counter of finished tasks
        self.held: dict[str, float] = {}  # the time of the claim, by handle
        # The same queue without patience, for extensions: a node that is away must not delay those on other nodes.
        self.quick = ShardedQueue(orders.wire.client, orders.name, shards=len(orders.keys), patience_ms=0)
        self.counting = threading.Lock()
        self.stopping = threading.Event()

    def run(self) -> None:
        """Work on several threads, and extend the leases of tasks that take long."""
        signal.signal(signal.SIGTERM, lambda *_: self.stopping.set())
        self.log.say("started")
        threads = [threading.Thread(target=self._claim_for_ever) for _ in range(PLACES)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            self._extend()
            alive = next((thread for thread in threads if thread.is_alive()), threads[0])
            alive.join(self.lease_ms / 3000)
        self.log.say("stopped")

    def _claim_for_ever(self) -> None:
        options = {"block_ms": 500, "lease_ms": self.lease_ms, "worker": self.name, "meta": True}
        while not self.stopping.is_set():
            for task in self.orders.claim(1, **options):
                self._work(task)

    def _work(self, task: Task) -> None:
        fields = {"n": int(task.payload), "handle": task.handle}
        self.log.say("claimed", **fields, deliveries=task.deliveries, deadline=task.meta.deadline)
        self.held[task.handle] = now()
        time.sleep(random.uniform(0.005, 0.025))
        answer = self._ack(task)
        del self.held[task.handle]
        self.log.say("acked", **fields, answer=answer)
        with self.counting:
            self.done[self.index] += answer == "done"

    def _ack(self, task: Task) -> str:
        """Ack a task. Returns `done`, `gone` (already finished), `lost` (the lease is lost), or the error."""
        try:
            return "done" if self.orders.ack(task) else "gone"
        except LeaseLost:
            return "lost"
        except (TaskslotError, redis.RedisError) as error:
            return repr(error)

    def _extend(self) -> None:
        """Extend the leases of tasks that are held for a third of the lease. Their node is away, so their acks wait."""
        old = [handle for handle, since in list(self.held.items()) if now() - since > self.lease_ms / 3000]
        for handle in old:
            try:
                self.quick.extend(handle)
            except (TaskslotError, redis.RedisError):
                continue
