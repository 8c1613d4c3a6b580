# Generated from taskslot/_async/shard_monitor.py by make_sync.py: make changes there.
"""What a client knows about the shards of a queue: how many tasks are ready on each, and which nodes are away."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from .. import commands
from ..balance import Loads
from ..commands import Command
from ..replies import pairs
from .wire import Wire


class ShardMonitor:
    """Keeps `loads` up to date, by asking the shards and from the outcomes of other commands."""

    def __init__(self, wire: Wire, keys: Sequence[str]) -> None:
        self.wire = wire
        self.keys = keys
        self.loads = Loads.of(len(keys))
        self._numbers = {key: number for number, key in enumerate(keys)}

    def refresh(self) -> bool:
        """Ask how many tasks are ready on each shard whose node is not away. Returns False if no node replied."""
        # Set before the reply arrives, so that other threads don't ask at the same time.
        self.loads.seen_at = asked_at = time.monotonic()
        asked = self.loads.there(asked_at)
        found = self.wire.look_at_all([commands.length(self.keys[shard], "ready") for shard in asked])
        now = time.monotonic()
        self.loads.saw(dict(zip(asked, found, strict=True)), now, now - asked_at)
        return any(ready is not None for ready in found)

    def survey(self) -> dict[int, int]:
        """Ask for ready tasks and waiting claims. Returns the waiting claims of each shard that replied."""
        asked_at = time.monotonic()
        asked = self.loads.there(asked_at)
        found = self.wire.look_at_all([waiting_and_ready(self.keys[shard]) for shard in asked])
        by_shard, now = dict(zip(asked, found, strict=True)), time.monotonic()
        self.loads.saw({shard: both and both[1] for shard, both in by_shard.items()}, now, now - asked_at)
        return {shard: both[0] for shard, both in by_shard.items() if both is not None}

    def lost(self, shard: int, error: BaseException | None, took_s: float) -> None:
        """Record that a shard didn't reply: skip it for a while, and if its node is away, all shards on that node.

        Otherwise each of these shards would cost a time-out of its own, while all others wait.
        """
        now = time.monotonic()
        for key in self.wire.gone_with(self.keys[shard], self.keys, error):
            self.loads.lost(self._numbers[key], now, took_s)


def waiting_and_ready(key: str) -> Command[tuple[int, int]]:
    """TASK.INFO, of which only two fields are read. Reading all fields of all shards would take long."""

    def read(reply: Any) -> tuple[int, int]:
        fields = dict(pairs(reply or ()))
        return int(fields.get("blocked-workers", 0)), int(fields.get("ready", 0))

    return Command(commands.info(key).words, read)
