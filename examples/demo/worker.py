"""A worker: claims tasks of all shards, some at a time, works on them for some milliseconds, and acks each."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import MutableSequence

import redis
from logs import Log, now
from taskslot import AsyncShardedQueue, LeaseLost, Task, TaskslotError

# How many tasks it works on at a time.
PLACES = 4


class Worker:
    """Works until SIGTERM, then finishes what it has."""

    def __init__(
        self,
        orders: AsyncShardedQueue,
        name: str,
        log: Log,
        lease_ms: int,
        done: MutableSequence[int],
        place: int,
    ) -> None:
        self.orders, self.name, self.log, self.lease_ms = orders, name, log, lease_ms
        self.done, self.place = done, place  # done[place] counts the tasks that it has finished
        self.held: dict[str, float] = {}  # by handle, since when
        self.running: set[asyncio.Task[None]] = set()
        self.stopping = asyncio.Event()

    async def run(self) -> None:
        """Claim no more than there are free places."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.stopping.set)
        self.log.say("started")
        extending = asyncio.create_task(self._extend_for_ever())
        while not self.stopping.is_set():
            if len(self.running) >= PLACES:
                await asyncio.wait(self.running, return_when=asyncio.FIRST_COMPLETED)
                continue
            free = PLACES - len(self.running)
            options = {"block_ms": 500, "lease_ms": self.lease_ms, "worker": self.name, "meta": True}
            for task in await self.orders.claim(free, **options):
                self._say_claimed(task)
                running = asyncio.create_task(self._work(task))
                self.running.add(running)
                running.add_done_callback(self.running.discard)
        if self.running:
            await asyncio.wait(self.running)
        extending.cancel()
        self.log.say("stopped")

    def _say_claimed(self, task: Task) -> None:
        fields = {"handle": task.handle, "deliveries": task.deliveries, "deadline": task.meta.deadline}
        self.log.say("claimed", n=int(task.payload), **fields)

    async def _work(self, task: Task) -> None:
        self.held[task.handle] = now()
        try:
            await asyncio.sleep(random.uniform(0.005, 0.025))
            answer = await self._ack(task)
        finally:
            del self.held[task.handle]
        self.log.say("acked", n=int(task.payload), handle=task.handle, answer=answer)
        self.done[self.place] += answer == "done"

    async def _ack(self, task: Task) -> str:
        """How the server took it: `done`, `gone` (nothing left to finish), `lost` (the task lives on), or why not."""
        try:
            return "done" if await self.orders.ack(task) else "gone"
        except LeaseLost:
            return "lost"
        except (TaskslotError, redis.RedisError) as error:
            return repr(error)

    async def _extend_for_ever(self) -> None:
        """Keep the leases of tasks that take long; here those whose node is away, so that their acks wait."""
        pause_s = self.lease_ms / 1000 / 3
        while True:
            await asyncio.sleep(pause_s)
            old = [handle for handle, since in self.held.items() if now() - since > pause_s]
            await asyncio.gather(*(self.orders.extend(handle) for handle in old), return_exceptions=True)
