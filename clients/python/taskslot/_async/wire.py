"""Sends commands with a user's client: once, again while a server is away, as waits on own connections, or in bulk."""

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
from ..commands import Command, Word
from ..errors import Refused, TaskslotError
from ..outages import Outages
from .pause import pause
from .pipelined_connection import AsyncPipelinedConnection

R = TypeVar("R")
Send = Callable[[Command[Any]], Any]

log = logging.getLogger("taskslot")

# The longest wait of one command in the server. Longer waits are split into such slices, so that a dead connection is
# noticed, and a caller that wants to stop does so within this time.
SLICE_MS = 1000
# How long a call rests before it tries again while its slot moves to another node.
SLOT_REST_S = 0.02
# How late a reply can be before the connection is given up.
LATE_S = 2.0
# The time-out of a look at a shard, and of a short wait there. A node that hangs must not delay the others for longer.
LOOK_S = 0.6


class Elsewhere(Exception):
    """The node of the command's key is away and did not execute the command, so it can go to another key instead."""

    def __init__(self, reason: Exception | None) -> None:
        super().__init__("the key's node is away")
        self.reason = reason  # None if it was known already, so that no server was asked


class AsyncWire:
    """A user's client and its twins: one for commands that wait, one for looks at shards.

    `patience_ms` is how long a call keeps trying while a server is away (a failover, a restart). Each try sends the
    same command, which has the same effect whether it is executed once or twice. Then the client's own error is
    raised.
    """

    def __init__(self, client: Any, patience_ms: int) -> None:
        self.client = client
        self.kind = Client(client)
        self.kind.must_be(is_async=inspect.iscoroutinefunction(self.run))
        self.patience_ms = patience_ms
        # Two, because the probe of a wait takes as long as the wait, and would delay calls that don't wait.
        self._tries, self._waits = CircuitBreaker(), CircuitBreaker()
        self._waiting: Client | None = None
        self._looking: Client | None = None
        # Held while a twin is made, so that threads share one. A cluster's twin takes a while: it asks for the slots.
        self._making = threading.Lock()
        # Set by callers that want outages in the log.
        self.outages: Outages | None = None

    async def run(self, command: Command[R]) -> R:
        """Send a command and read its reply. Errors of the server are raised as `TaskslotError`s."""
        return await self._patiently(self._plainly, command, self._tries, self._until())

    async def run_unless_away(self, command: Command[R]) -> R:
        """Like `run`, but raises `Elsewhere` if the node is away and certainly did not execute the command.

        The first try uses a twin: if a client resends by itself, its last error says nothing about its first try.
        """
        breaker, until = self._tries, self._until()
        if breaker.open and breaker.wait_s(self._waiting_node(command.key), time.monotonic()) > 0:
            raise Elsewhere(None)
        try:
            reply = await self._try(self._on_waits, command, breaker)
        except Exception as error:
            if not self._may_try_again(error, until):
                raise
            await self._rest(error, breaker, self._waiting_node(command.key), until)
            if self.kind.is_undone(error):
                raise Elsewhere(error) from None
        else:
            return command.read(reply)
        # The node may have executed it. Sent elsewhere, it would be executed twice.
        return await self._patiently(self._plainly, command, breaker, until)

    async def wait(self, command: Command[R]) -> R:
        """Send a command that can wait in the server, on a connection that no other command shares."""
        return await self._patiently(self._on_waits, command, self._waits, self._until())

    def can_send_together(self) -> bool:
        """Whether `send_together` works with this client."""
        return self.kind.line is not None

    async def send_together(self, commands: Sequence[Sequence[Word]]) -> list[Any] | None:
        """Send commands in one go, on a connection that no other command shares; the last one can wait in the server.

        Returns their replies, in which errors are values. None if a server is away, or was a moment ago: then they may
        have been executed or not, so send each by itself, with `run` or `wait`, which keep trying.
        """
        waiting = self._waiting or self._for_waits()
        if waiting.line is None or self._waits.open or (self.outages is not None and self.outages.by_node):
            return None
        try:
            return waiting.line.ask_all(commands)
        except Exception:
            return None  # whatever it is, a command that is sent by itself raises it

    async def look(self, command: Command[R]) -> R:
        """Send a command once that waits a quarter of a second at most. A node that is away soon raises an error."""
        return await self._patiently(self._on_looks, command, CircuitBreaker(), time.monotonic())

    async def watch(self, command: Callable[[int], Command[R]], ends_at: float | None) -> R | None:
        """Wait for something that the server reports only once, until a monotonic time (None is no limit).

        `command` makes the command for a slice of this many ms. Each slice is sent before the reply to the one before
        it, so it begins as that one ends, and nothing is missed in between. Returns None at the end, or if a
        connection broke.
        """
        first = command(slice_ms(ends_at))

        async def follow(_: Command[R]) -> Any:
            return await self._follow(command, ends_at)

        return await self._patiently(follow, first, self._waits, self._until())

    async def look_at_all(self, commands: Sequence[Command[R]]) -> list[R | None]:
        """Send reading commands in bulk, node by node. A reply is None if the node didn't reply or the key is no queue.

        Raises `Refused` if this user lacks the rights.
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
        """Send one command of a bulk again, so that a cluster client learns where its slot is now.

        Returns False if the node is away.
        """
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
        """The keys that an error of one key affects: that key, and if its node is away, all keys on that node."""
        if error is not None and not self.kind.is_of_node(error):
            return [key]
        looked = (self._looking, self._waiting)
        node = self._node_named(key, *looked)
        return [other for other in keys if other == key or self._node_named(other, *looked) == node]

    async def close(self) -> None:
        """Close the twins' connections. The user's client stays open."""
        if self.kind.line is not None:
            self.kind.line.close()
        for twin in (self._waiting, self._looking):
            if twin is not None:
                await twin.client.aclose()
        self._waiting = self._looking = None

    # ---- how

    def _remember(self) -> None:
        for one in (self.kind, self._waiting, self._looking):
            if one is not None:
                one.remember()
        for twin in (self._waiting, self._looking):
            if twin is not None:
                twin.change_default_node()

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
        """Let an asyncio cluster client learn the slots, which otherwise happens with its first command."""
        if looking.is_cluster and looking.is_async:
            await looking.client.initialize()

    def _by_node(self, looking: Client, commands: Sequence[Command[Any]]) -> dict[str, list[int]]:
        places: dict[str, list[int]] = {}
        for place, command in enumerate(commands):
            # Keys whose slots no node serves at present are a bulk of their own, which fails by itself.
            places.setdefault(self._node_of(looking, command.key), []).append(place)
        return places

    def _node_of(self, kind: Client, key: str) -> str:
        """The name of the key's node; "" if no node serves its slot, or outside of a cluster."""
        try:
            return kind.node_of(key)
        except Exception as error:
            if not self.kind.is_away(error):
                raise
            return ""

    def _node_named(self, key: str, *clients: Client | None) -> str:
        """The name of the key's node, from the first client that knows the nodes. Asyncio ones learn them late."""
        known = [one for one in (*clients, self.kind) if one is not None]
        return next((name for one in known if (name := self._node_of(one, key))), "")

    def _waiting_node(self, key: str) -> str:
        return self._node_named(key, self._waiting)

    async def _follow(self, command: Callable[[int], Command[R]], ends_at: float | None) -> Any:
        """Send the slices of a wait. Returns the first reply that is not nil; nil after the last slice."""
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
            # If the node replied a moment ago, the caller asks again, with new patience.
            if not is_alive and not waiting.is_cluster:
                raise
            if not is_alive:  # let the client learn which node serves the slot now
                reply = await waiting.client.execute_command(*first.words, **AS_BYTES)
        return reply

    async def _plainly(self, command: Command[Any]) -> Any:
        return await send(self.kind, command)

    async def _on_waits(self, command: Command[Any]) -> Any:
        return await send(self._waiting or self._for_waits(), command)

    async def _on_looks(self, command: Command[Any]) -> Any:
        return await send(self._looking or self._for_looks(), command)

    def _until(self) -> float:
        """The monotonic time until which a call that begins now keeps trying."""
        return time.monotonic() + self.patience_ms / 1000

    async def _patiently(self, send: Send, command: Command[R], breaker: CircuitBreaker, until: float) -> R:
        """Send a command, and again while its node is away. After `until`, the client's error is raised."""
        is_repeat = False
        while True:
            if breaker.open:
                await self._wait_for_probe(breaker, command.key, until)
            try:
                reply = await self._try(send, command, breaker)
                break
            except Exception as error:
                if not self._may_try_again(error, until):
                    if isinstance(error, TaskslotError):
                        error.is_repeat = is_repeat
                    raise
                is_repeat |= not self.kind.is_undone(error)
                await self._rest(error, breaker, self._node_named(command.key), until)
        return command.read(reply)

    async def _try(self, send: Send, command: Command[Any], breaker: CircuitBreaker) -> Any:
        """Send a command once and return its raw reply. Errors of the server are raised as `TaskslotError`s."""
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
        """After an error: open the node's circuit. If only a slot is moving, rest a moment instead."""
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
        """Wait until this call can send to the key's node, or until its patience ends."""
        while (now := time.monotonic()) < until:
            wait_s = breaker.wait_s(self._node_named(key), now)
            if wait_s <= 0:
                return
            await pause(min(wait_s, until - now))


async def send(to: Client, command: Command[Any]) -> Any:
    """Send a command with a client, or past its `execute_command` if possible, which only sync clients allow."""
    if (line := to.line) is not None:
        return line.ask(command.words)
    return await to.client.execute_command(*command.words, **AS_BYTES)


async def replies_to_slices(
    connection: AsyncPipelinedConnection, command: Callable[[int], Command[Any]], ends_at: float | None
) -> AsyncIterator[Any]:
    """Send slices that follow each other, and yield their replies up to the first that is not nil."""
    lengths, ahead = slices(ends_at), 1 + math.ceil(1 + LATE_S * 1000 / SLICE_MS)
    reply = None
    while reply is None:
        # Keep enough slices ahead that the server never runs out of them before the connection is given up.
        for length_ms in islice(lengths, ahead - connection.pending):
            await connection.send(command(length_ms).words)
        if not connection.pending:
            return
        reply = await connection.read()
        yield reply
    while connection.pending:  # read the replies to the slices behind it
        await connection.read()


def slice_ms(ends_at: float | None, at: float | None = None) -> int:
    """The length of a slice that begins at `at`, or now. At least 1 ms, because 0 would wait without a limit."""
    if ends_at is None:
        return SLICE_MS
    begins_at = time.monotonic() if at is None else at
    return max(1, min(SLICE_MS, round((ends_at - begins_at) * 1000)))


def slices(ends_at: float | None) -> Iterator[int]:
    """The lengths of the slices of a wait until `ends_at`."""
    at = time.monotonic()
    while True:
        length_ms = slice_ms(ends_at, at)
        yield length_ms
        at += length_ms / 1000
        if ends_at is not None and at >= ends_at:
            return
