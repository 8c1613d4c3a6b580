"""Claims over shards: where a worker waits, when it looks at the other shards, and which of them it claims from."""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass, field, replace

from .. import commands
from ..arguments import is_over
from ..balance import Pace
from ..cancellation import cancellations, raise_if_cancelled
from ..commands import ClaimOptions, Command
from ..errors import QueueBroken, WrongType
from ..replies import Task
from .pause import pause
from .shard_monitor import AsyncShardMonitor

log = logging.getLogger("taskslot")

# How often a worker asks where others wait: it tells how many look besides it, and which shard lacks a worker.
SURVEY_S = 1.0


@dataclass
class Search:
    """One call of `claim`: how many tasks it looks for, and until when."""

    count: int
    is_blocking: bool
    ends_at: float | None  # a monotonic time, None for never
    request: str
    options: ClaimOptions
    # Shards whose reply was lost. Such a claim may have been done, so they are asked again with the same `request`.
    unanswered: set[int] = field(default_factory=set)

    def command(self, key: str, count: int, wait_ms: int | None) -> Command[list[Task]]:
        """The claim of a shard."""
        return commands.claim([key], count, wait_ms, self.request, **self.options)


class AsyncShardClaims:
    """Claims for one client.

    A claim that waits does so on `home`, a shard where few others wait, for some tens of milliseconds at a time
    (`pace`), and looks at the other shards between. It takes from the fuller ones sooner.
    """

    def __init__(self, monitor: AsyncShardMonitor) -> None:
        self.monitor = monitor
        self.wire, self.keys, self.loads = monitor.wire, monitor.keys, monitor.loads
        self.pace = Pace()
        self.home = random.randrange(len(self.keys))
        self._surveyed_at = 0.0
        # Shards with a fault of their own, each logged once.
        self._faulty: set[int] = set()

    async def claim(self, search: Search) -> list[Task]:
        """The tasks that are found; none at the end of the wait."""
        tasks = await self._take(search)
        must_look, before = not search.is_blocking, cancellations()
        while not tasks:
            raise_if_cancelled(before)
            if must_look or self.loads.is_worth_a_look(time.monotonic()):
                tasks = await self._look_and_take(search)
            if tasks or not search.is_blocking or is_over(search.ends_at):
                break
            tasks = await self._wait_at_home(search)
            must_look = True  # however short the wait was: the pace is what 50 ms depend on
        return tasks

    # ---- the tasks that are known

    async def _take(self, search: Search) -> list[Task]:
        """Claim from the shards that are known to have tasks, the fuller the sooner, until there are enough."""
        ready, now = self.loads.ready, time.monotonic()
        full = [shard for shard in range(len(self.keys)) if ready[shard] > 0 or shard in search.unanswered]
        tasks: list[Task] = []
        for shard in self.loads.by_chance(full):
            left = search.count - len(tasks)
            if left <= 0 or self.loads.is_away(shard, now):
                continue
            asked_at = time.monotonic()
            try:
                found = await self.wire.look(search.command(self.keys[shard], left, None))
            except Exception as error:
                if tasks and not self.wire.kind.is_away(error):
                    break  # it is raised when there is nothing else to be had
                self._leave_alone(search, shard, error, time.monotonic() - asked_at)
                if tasks:
                    break  # their leases run while others are asked
                continue
            search.unanswered.discard(shard)
            self._faulty.discard(shard)
            self.loads.took(shard, len(found), left)
            tasks += with_shard(shard, found)
        return tasks

    def _leave_alone(self, search: Search, shard: int, error: Exception, took_s: float) -> None:
        """Leave a shard alone for a while after an error of a server that is away; other errors are raised.

        A key with a fault of its own is left alone, too, unless all have one: the work on the others goes on.
        """
        if isinstance(error, (QueueBroken, WrongType)) and len(self._faulty | {shard}) < len(self.keys):
            if shard not in self._faulty:
                log.error("shard %s is skipped: %s", self.keys[shard], error)
            self._faulty.add(shard)
            self.loads.lost(shard, time.monotonic())
            return
        if not self.wire.kind.is_away(error):
            raise error
        self.monitor.lost(shard, error, took_s)
        search.unanswered.add(shard)

    # ---- a look at all shards

    async def _look_and_take(self, search: Search) -> list[Task]:
        if not await self._look():
            # No node answers. That isn't an empty queue: try until the patience or the client's own error ends it.
            await self.wire.run(commands.length(self.keys[self.home], None))
        tasks = await self._take(search)
        self.pace.looked(bool(tasks))
        return tasks

    async def _look(self) -> bool:
        """Look where tasks are ready, and now and then where others wait: whether any node answered."""
        if time.monotonic() - self._surveyed_at < SURVEY_S:
            return await self.monitor.refresh()
        self._surveyed_at = time.monotonic()
        waiting = await self.monitor.survey()
        self._settle(waiting)
        return bool(waiting)

    def _settle(self, waiting: dict[int, int]) -> None:
        """Adapt the pace to how many claims wait, and move home to a shard where fewer do."""
        self.pace.idle = 1 + sum(waiting.values())
        fewest = min(waiting.values(), default=0)
        if waiting.get(self.home, 0) > fewest + 1:
            self.home = random.choice([shard for shard, here in waiting.items() if here == fewest])

    # ---- the wait

    async def _wait_at_home(self, search: Search) -> list[Task]:
        """Wait for a span on the home shard, or on the next one whose node is there."""
        wait_ms = self.pace.next_ms()
        if search.ends_at is not None:
            wait_ms = max(1, min(wait_ms, round((search.ends_at - time.monotonic()) * 1000)))
        home = self._present_home()
        asked_at = time.monotonic()
        try:
            return with_shard(
                home, await self.wire.look(search.command(self.keys[home], search.count, wait_ms))
            )
        except Exception as error:
            self._leave_alone(search, home, error, time.monotonic() - asked_at)
            await pause(wait_ms / 1000)
            return []

    def _present_home(self) -> int:
        now, number = time.monotonic(), len(self.keys)
        order = ((self.home + step) % number for step in range(number))
        return next((shard for shard in order if not self.loads.is_away(shard, now)), self.home)


def with_shard(shard: int, tasks: list[Task]) -> list[Task]:
    """Tasks whose handles begin with their shard."""
    return [replace(task, handle=f"{shard}/{task.handle}") for task in tasks]
