"""Sends commands over a user's client: again while a server is away, waits on connections of their own, in bulk."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any, TypeVar

from ..clients import Client
from ..commands import Command
from .pause import pause

R = TypeVar("R")

# A reply that is not to be decoded, whatever the client does elsewhere: payloads are bytes. An option of the command
# in redis-py and valkey-py, which never reaches the server.
AS_BYTES: dict[str, Any] = {"NEVER_DECODE": True}

# The longest wait of one command in the server. Longer waits are many of them, so that a connection that died quietly
# is noticed, and whoever wants to stop waits no longer than this.
SLICE_MS = 1000
# How long a reply may be late before the connection is given up.
LATE_S = 2.0
# How long a look at a shard, and a short wait there, may take: a node that stands still must not hold up the others.
LOOK_S = 0.6


class AsyncWire:
    """A user's client, and its twins for what waits and for what looks.

    `patience_ms` is how long a call goes on trying while a server is away (a failover, a restart): each try sends the
    same words, which have the same effect once or twice. After that the client's own error is raised.
    """

    def __init__(self, client: Any, patience_ms: int) -> None:
        self.client = client
        self.kind = Client(client)
        self.patience_ms = patience_ms
        self._waiting: Any = None
        self._looking: Any = None

    async def run(self, command: Command[R]) -> R:
        """Send a command and read its reply; its errors are `TaskslotError`s."""
        return await self._patiently(self.client, command, self.patience_ms)

    async def wait(self, command: Command[R], patience_ms: int = 0) -> R:
        """Send a command that may wait in the server, on a connection that no other command shares."""
        if self._waiting is None:
            self._waiting = self.kind.twin(SLICE_MS / 1000 + LATE_S)
        return await self._patiently(self._waiting, command, patience_ms)

    async def look(self, command: Command[R]) -> R:
        """Send a command that waits for a quarter of a second at most, once: a node that is away is an error soon."""
        return await self._patiently(self._for_looks(), command, 0)

    async def look_at_all(self, commands: Sequence[Command[R]]) -> list[R | None]:
        """Send read commands in bulk, node by node: None where the node didn't answer, or not with a value."""
        client = self._for_looks()
        await self._know_nodes(client)
        found: list[R | None] = [None] * len(commands)
        for places in self._by_node(client, commands).values():
            pipeline = client.pipeline(transaction=False)
            for place in places:
                pipeline.execute_command(*commands[place].words, **AS_BYTES)
            try:
                replies = await pipeline.execute(raise_on_error=False)
            except Exception as error:
                if not self.kind.is_away(error):
                    raise
                continue
            for place, reply in zip(places, replies, strict=True):
                if not isinstance(reply, Exception):
                    found[place] = commands[place].read(reply)
        return found

    async def close(self) -> None:
        """Close the connections that were made here; the user's client stays open."""
        for twin in (self._waiting, self._looking):
            if twin is not None:
                await twin.aclose()
        self._waiting = self._looking = None

    # ---- how

    def _for_looks(self) -> Any:
        if self._looking is None:
            self._looking = self.kind.twin(LOOK_S)
        return self._looking

    async def _know_nodes(self, client: Any) -> None:
        """An asyncio client of a cluster learns the slots with its first command, and then its nodes can be named."""
        if self.kind.is_cluster and self.kind.is_async:
            await client.initialize()

    def _by_node(self, client: Any, commands: Sequence[Command[Any]]) -> dict[str, list[int]]:
        kind = Client(client)
        places: dict[str, list[int]] = {}
        for place, command in enumerate(commands):
            try:
                node = kind.node_of(command.key)
            except Exception as error:
                if not self.kind.is_away(error):
                    raise
                node = ""  # nobody serves the slot now: the bulk of such keys fails by itself
            places.setdefault(node, []).append(place)
        return places

    async def _patiently(self, client: Any, command: Command[R], patience_ms: int) -> R:
        until = time.monotonic() + patience_ms / 1000
        rest_s = 0.02
        while True:
            try:
                reply = await client.execute_command(*command.words, **AS_BYTES)
                break
            except Exception as error:
                left_s = until - time.monotonic()
                if not self.kind.is_away(error):
                    raise self.kind.meaning(error) or error from None
                if left_s <= 0:
                    raise
            await pause(min(left_s, rest_s * random.uniform(0.5, 1.0)))
            rest_s = min(0.5, rest_s * 2)
        return command.read(reply)
