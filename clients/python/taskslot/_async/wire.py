"""Sends commands over a user's client: again while a server is away, waits on connections of their own, in bulk."""

from __future__ import annotations

import inspect
import logging
import math
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from ..cancellation import cancellations, raise_if_cancelled
from ..circuit_breaker import CircuitBreaker
from ..clients import AS_BYTES, Client
from ..commands import Command
from ..errors import Refused, TaskslotError
from ..outages import Outages
from .pause import pause
from .pipelined_connection import AsyncPipelinedConnection

R = TypeVar("R")
Send = Callable[[Command[Any]], Any]

log = logging.getLogger("taskslot")

# The longest wait of one command in the server. Longer waits are many of them, so that a connection that died quietly
# is noticed, and whoever wants to stop waits no longer than this.
SLICE_MS = 1000
# How long a call rests while its slot is on the way to another node.
SLOT_REST_S = 0.02
# How long a reply may be late before the connection is given up.
LATE_S = 2.0
# How long a look at a shard, and a short wait there, may take: a node that stands still must not hold up the others.
LOOK_S = 0.6


class Elsewhere(Exception):
    """The node of a command's key is away, and the command was surely not done: it may be sent to another key's."""

    def __init__(self, reason: Exception | None) -> None:
        super().__init__("the key's node is away")
        self.reason = reason  # None where it is known already, so that nobody was asked


class AsyncWire:
    """A user's client, and its twins for what waits and for what looks.

    `patience_ms` is how long a call goes on trying while a server is away (a failover, a restart): each try sends the
    same words, which have the same effect once or twice. After that the client's own error is raised.
    """

    def __init__(self, client: Any, patience_ms: int) -> None:
        self.client = client
        self.kind = Client(client)
        self.kind.must_be(is_async=inspect.iscoroutinefunction(self.run))
        self.patience_ms = patience_ms
        # Apart, since a try of a wait takes as long as the wait, and calls that don't wait would stand behind it.
        self._tries, self._waits = CircuitBreaker(), CircuitBreaker()
        self._waiting: Client | None = None
        self._looking: Client | None = None
        # One twin of each, however many threads begin at once: a cluster's takes its time, since it asks for the slots.
        self._making = threading.Lock()
        # Set by a caller that wants outages in the log.
        self.outages: Outages | None = None

    async def run(self, command: Command[R]) -> R:
        """Send a command and read its reply; its errors are `TaskslotError`s."""
        return await self._patiently(self._over(lambda: self.kind), command, self._tries, self._until())

    async def run_unless_away(self, command: Command[R]) -> R:
        """The same, but for a node that is away: `Elsewhere`, as long as the command is surely not done there.

        First over a twin: of a client that sends again by itself the last error says nothing of the first try.
        """
        breaker, until = self._tries, self._until()
        if breaker.open and breaker.wait_s(self._waiting_node(command.key), time.monotonic()) > 0:
            raise Elsewhere(None)
        try:
            reply = await self._try(self._over(self._for_waits), command, breaker)
        except Exception as error:
            if not self._may_try_again(error, until):
                raise
            await self._rest(error, breaker, self._waiting_node(command.key), until)
            if self.kind.is_undone(error):
                raise Elsewhere(error) from None
        else:
            return command.read(reply)
        # It may have been done there all the same: sent elsewhere it would be done twice.
        return await self._patiently(self._over(lambda: self.kind), command, breaker, until)

    async def wait(self, command: Command[R]) -> R:
        """Send a command that may wait in the server, on a connection that no other command shares."""
        return await self._patiently(self._over(self._for_waits), command, self._waits, self._until())

    async def look(self, command: Command[R]) -> R:
        """Send a command that waits for a quarter of a second at most, once: a node that is away is an error soon."""
        return await self._patiently(self._over(self._for_looks), command, CircuitBreaker(), time.monotonic())

    async def watch(self, command: Callable[[int], Command[R]], ends_at: float | None) -> R | None:
        """Wait in the server for what it tells only once, until a monotonic time, for ever with None.

        `command` makes a slice of so many ms. Each slice is sent before the server has answered the one ahead of it, so
        that it begins as the other ends, and nothing is missed between. None also where a connection broke meanwhile.
        """
        first = command(slice_ms(ends_at))

        async def follow(_: Command[R]) -> Any:
            return await self._follow(command, ends_at)

        return await self._patiently(follow, first, self._waits, self._until())

    async def look_at_all(self, commands: Sequence[Command[R]]) -> list[R | None]:
        """Send read commands in bulk, node by node: None where the node didn't answer, or the key is no queue.

        Raises `Refused` where this user may not ask.
        """
        found: list[R | None] = [None] * len(commands)
        try:
            looking = self._for_looks()
            await self._know_nodes(looking)
        except Exception as error:
            if not self.kind.is_away(error):
                raise
            return found
        for node, places in self._by_node(looking, commands).items():
            asked_at, first = time.monotonic(), commands[places[0]].key
            try:
                replies = await self._in_bulk(looking, node, [commands[place] for place in places])
                self._note_back(first, asked_at)
            except Exception as error:
                if not self.kind.is_away(error):
                    raise
                self._note_away(node, first, error)
                replies = [error] * len(places)
            for place, reply in zip(places, replies, strict=True):
                if not isinstance(reply, Exception):
                    found[place] = commands[place].read(reply)
                elif not await self._look_anew(commands[place], place, found):
                    break
        return found

    async def _in_bulk(self, looking: Client, node: str, commands: Sequence[Command[R]]) -> list[Any]:
        pipeline = looking.bulk_for(node)
        for command in commands:
            pipeline.execute_command(*command.words, **AS_BYTES)
        return list(await pipeline.execute(raise_on_error=False))

    async def _look_anew(self, command: Command[R], place: int, found: list[Any]) -> bool:
        """Ask alone what a node of a cluster refused, so that the client learns who has the slot now: whether it is."""
        try:
            found[place] = await self.look(command)
        except Refused:
            raise
        except TaskslotError:
            return True
        except Exception as error:
            if not self.kind.is_away(error):
                raise
            return False
        return True

    def gone_with(self, key: str, keys: Sequence[str], error: BaseException | None) -> list[str]:
        """After an error of a key: it, and if its node doesn't answer, all of these keys that lie there."""
        if error is not None and not self.kind.is_of_node(error):
            return [key]
        looked = (self._looking, self._waiting)
        node = self._node_named(key, *looked)
        return [other for other in keys if other == key or self._node_named(other, *looked) == node]

    async def close(self) -> None:
        """Close the connections that were made here; the user's client stays open."""
        for twin in (self._waiting, self._looking):
            if twin is not None:
                await twin.client.aclose()
        self._waiting = self._looking = None

    # ---- how

    def _remember(self) -> None:
        for one in (self.kind, self._waiting, self._looking):
            if one is not None:
                one.remember()

    def _for_waits(self) -> Client:
        with self._making:
            if self._waiting is None:
                self._waiting = Client(self.kind.twin(SLICE_MS / 1000 + LATE_S))
            return self._waiting

    def _for_looks(self) -> Client:
        with self._making:
            if self._looking is None:
                self._looking = Client(self.kind.twin(LOOK_S))
            return self._looking

    async def _know_nodes(self, looking: Client) -> None:
        """An asyncio client of a cluster learns the slots with its first command, and then its nodes can be named."""
        if looking.is_cluster and looking.is_async:
            await looking.client.initialize()

    def _by_node(self, looking: Client, commands: Sequence[Command[Any]]) -> dict[str, list[int]]:
        places: dict[str, list[int]] = {}
        for place, command in enumerate(commands):
            # Where nobody serves the slot now, the bulk of such keys fails by itself.
            places.setdefault(self._node_of(looking, command.key), []).append(place)
        return places

    def _node_of(self, kind: Client, key: str) -> str:
        """The name of the key's node; "" where nobody serves its slot, and where there is but one node."""
        try:
            return kind.node_of(key)
        except Exception as error:
            if not self.kind.is_away(error):
                raise
            return ""

    def _node_named(self, key: str, *clients: Client | None) -> str:
        """The same, as the first of these clients knows it that has learned of the nodes; asyncio ones do so late."""
        known = [one for one in (*clients, self.kind) if one is not None]
        return next((name for one in known if (name := self._node_of(one, key))), "")

    def _waiting_node(self, key: str) -> str:
        return self._node_named(key, self._waiting)

    async def _follow(self, command: Callable[[int], Command[R]], ends_at: float | None) -> Any:
        """The first reply to slices that isn't nil; nil at the end of the last."""
        before, waiting = cancellations(), self._for_waits()
        await self._know_nodes(waiting)
        first, reply, is_alive = command(slice_ms(ends_at)), None, False
        if waiting.has_own_ways:
            return await waiting.client.execute_command(*first.words, **AS_BYTES)
        try:
            async with AsyncPipelinedConnection(waiting.lender_for(first.key)) as connection:
                async for one in replies_to_slices(connection, command, ends_at):
                    reply, is_alive = one, True
                    raise_if_cancelled(before)
        except Exception as error:
            if not self.kind.is_away(error):
                raise
            # A node that answered a moment ago is no failure: whoever asks anew has new patience.
            if not is_alive and not waiting.is_cluster:
                raise
            if not is_alive:  # the client has to learn who serves the slot now
                reply = await waiting.client.execute_command(*first.words, **AS_BYTES)
        return reply

    def _over(self, client: Callable[[], Client]) -> Send:
        """How a command is sent by a client, or by a twin that is made when it is needed."""
        return lambda command: client().client.execute_command(*command.words, **AS_BYTES)

    def _until(self) -> float:
        """When the patience of a call that begins now is over."""
        return time.monotonic() + self.patience_ms / 1000

    async def _patiently(self, send: Send, command: Command[R], breaker: CircuitBreaker, until: float) -> R:
        """Send a command, again and again while its node is away; after `until` the client's error is raised."""
        while True:
            if breaker.open:
                await self._wait_for_probe(breaker, command.key, until)
            try:
                reply = await self._try(send, command, breaker)
                break
            except Exception as error:
                if not self._may_try_again(error, until):
                    raise
                await self._rest(error, breaker, self._node_named(command.key), until)
        return command.read(reply)

    async def _try(self, send: Send, command: Command[Any], breaker: CircuitBreaker) -> Any:
        """Send a command once: its reply. An error of the server is raised as what it means."""
        asked_at = time.monotonic()
        try:
            reply = await send(command)
        except Exception as error:
            if not self.kind.is_away(error):
                self._note_answer(breaker, command.key, asked_at)
                raise self.kind.meaning(error) or error from None
            self._remember()
            if not self.kind.is_of_slot(error):
                self._note_away(self._waiting_node(command.key), command.key, error)
            raise
        self._note_answer(breaker, command.key, asked_at)
        return reply

    def _may_try_again(self, error: Exception, until: float) -> bool:
        return self.kind.is_away(error) and time.monotonic() < until

    async def _rest(self, error: Exception, breaker: CircuitBreaker, node: str, until: float) -> None:
        """After an error of a node that is away: leave it alone. Where only a slot is on its way, rest a moment."""
        now = time.monotonic()
        if self.kind.is_of_slot(error):
            await pause(min(max(0.0, until - now), SLOT_REST_S * random.uniform(0.5, 1.0)))
        else:
            breaker.failed(node, now)

    def _note_answer(self, breaker: CircuitBreaker, key: str, asked_at: float) -> None:
        if breaker.open:
            breaker.succeeded(self._node_named(key))
        self._note_back(key, asked_at)

    def _note_away(self, node: str, key: str, error: Exception) -> None:
        if self.outages is not None and self.outages.failed(node, key, time.monotonic()):
            log.warning("%s does not answer, trying again until it is back: %s", node or "the server", error)

    def _note_back(self, key: str, asked_at: float) -> None:
        if self.outages is None or not self.outages.by_node:
            return
        if (span_s := self.outages.succeeded(key, asked_at, time.monotonic())) is not None:
            node = self._node_named(key, self._looking)
            log.warning("%s is back after %.1f s", f"{key}, on {node}," if node else "the server", span_s)

    async def _wait_for_probe(self, breaker: CircuitBreaker, key: str, until: float) -> None:
        """Wait until this call may send to the key's node, or its patience is over."""
        while (now := time.monotonic()) < until:
            wait_s = breaker.wait_s(self._node_named(key), now)
            if wait_s <= 0:
                return
            await pause(min(wait_s, until - now))


async def replies_to_slices(
    connection: AsyncPipelinedConnection, command: Callable[[int], Command[Any]], ends_at: float | None
) -> AsyncIterator[Any]:
    """Send slices that follow each other until then: their replies, up to the first that isn't nil."""
    lengths, ahead = slices(ends_at), 1 + math.ceil(1 + LATE_S * 1000 / SLICE_MS)
    reply = None
    while reply is None:
        # So many that none is missing before the connection would be given up.
        for length_ms in islice(lengths, ahead - connection.pending):
            await connection.send(command(length_ms).words)
        if not connection.pending:
            return
        reply = await connection.read()
        yield reply
    while connection.pending:  # the slices behind it have their replies, too
        await connection.read()


def slice_ms(ends_at: float | None, at: float | None = None) -> int:
    """How long a wait in the server is that begins then, or now: 1 ms at least, since 0 is for ever."""
    if ends_at is None:
        return SLICE_MS
    begins_at = time.monotonic() if at is None else at
    return max(1, min(SLICE_MS, round((ends_at - begins_at) * 1000)))


def slices(ends_at: float | None) -> Iterator[int]:
    """The lengths of waits in the server that follow each other until then."""
    at = time.monotonic()
    while True:
        length_ms = slice_ms(ends_at, at)
        yield length_ms
        at += length_ms / 1000
        if ends_at is not None and at >= ends_at:
            return
