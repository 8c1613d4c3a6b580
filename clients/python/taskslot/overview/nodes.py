"""Finds the queues of all primaries and reads their state and that of the servers, with a limit on each look's work.

A look continues the search in the keys of each node where the last one stopped (SCAN … TYPE taskqueue). So no look
takes long, and a queue among millions of other keys is found after some looks. A queue that was found is read with
every look until it no longer exists.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from types import TracebackType
from typing import Any, Self, TypeVar

from .. import commands
from ..clients import AS_BYTES, Client
from ..keys import key_bytes, key_text
from ..replies import Info
from .node_info import SECTIONS, UNREACHED, NodeInfo, read_node
from .seen import Seen
from .servers import Server, Servers
from .sweep import Sweep

T = TypeVar("T")

# The number of TASK.INFOs in one pipeline. Each takes the server some microseconds.
INFOS_AT_ONCE = 200
# How many servers are asked at the same time.
SERVERS_AT_ONCE = 8
# How long a server can take to reply before the look goes on without it.
PATIENCE_S = 2.0
# A replica that didn't answer is not asked again for this long, so that it doesn't delay each look.
REST_S = 10.0
# A replica that sent its primary nothing for longer than this is not well, whether this machine reaches it or not.
MOST_LAG_S = 10
# A look that has taken this long reads no more queues, unless it is a `whole` one.
LOOK_S = 10.0


@dataclass
class Sight:
    """What a look found on one server."""

    server: Server
    sweep: Sweep
    node: NodeInfo | None = None
    infos: dict[bytes, Info] = field(default_factory=dict)
    unreadable: dict[bytes, str] = field(default_factory=dict)
    refused: dict[str, Exception] = field(default_factory=dict)
    unread: int = 0
    is_away: bool = False
    commands: int = 0


class Nodes:
    """The servers that a client knows, and the queues that were found on them, at most `limit`.

    It opens connections of its own, which wait at most `patience_s` for a reply. Threads can share it: there is one
    look at a time. A server that is away does not raise an error, however long it is away: each look says which are.
    """

    def __init__(self, client: Any, limit: int, patience_s: float = PATIENCE_S) -> None:
        self.kind = Client(client)
        self.limit = limit
        self._servers = Servers(client, patience_s)
        self._sweeps: dict[str, Sweep] = {}
        self._asked: dict[str, Server] = {}
        self._resting: dict[str, float] = {}
        self._lock = threading.Lock()
        self._last: tuple[float, bool, Seen] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. The client stays open."""
        with self._lock:
            self._asked = {}
            self._servers.close()

    def look(self, whole: bool = False) -> Seen:
        """Read the state of all servers, and of all queues found so far. With `whole`, search all keys first.

        A thread that had to wait for the look of another gets what that one found, if it began after this call. Raises
        `Refused` if no server has the module, and the client's error for a wrong password.
        """
        asked_at = time.monotonic()
        with self._lock:
            if self._last is not None:
                began_at, was_whole, seen = self._last
                if began_at >= asked_at and (was_whole or not whole):
                    return seen
            began_at = time.monotonic()
            seen = self._look(whole)
            self._last = (began_at, whole, seen)
            return seen

    def section(self, seen: Seen, name: str) -> tuple[dict[str, Any], int]:
        """The replies of TASK.INFO key NAME for the queues of the last look, and how many commands were sent.

        A queue is left out if its server is away or refuses the command: an older one, or for a user with few rights. A
        server that refuses it for its first queue is not asked about the others.
        """
        keys: dict[str, list[bytes]] = {}
        for key, place in seen.places.items():
            keys.setdefault(place, []).append(key_bytes(key))
        found: dict[str, Any] = {}
        with self._lock:
            sights = [Sight(self._asked[place], Sweep()) for place in keys if place in self._asked]

            def ask(sight: Sight) -> None:
                place = self._servers.address(sight.server)
                found.update({key_text(key): reply for key, reply in self._section(sight, keys[place], name)})

            at_once(lambda sight: self._guarded(sight, lambda: ask(sight)), sights)
        return found, sum(sight.commands for sight in sights)

    def _section(self, sight: Sight, keys: Sequence[bytes], name: str) -> Iterator[tuple[bytes, Any]]:
        """The replies of one server. The first queue is asked about alone."""
        for part in (keys[:1], *batches(keys[1:])):
            pipeline = sight.server.client.pipeline(transaction=False)
            for key in part:
                pipeline.execute_command("TASK.INFO", key, name, **AS_BYTES)
            sight.commands += len(part)
            replies = pipeline.execute(raise_on_error=False)
            answered = [one for one in zip(part, replies, strict=True) if not isinstance(one[1], Exception)]
            yield from answered
            if not answered and not self._is_gone(replies[0]):
                return

    def _look(self, whole: bool) -> Seen:
        began_at, seen = time.monotonic(), Seen(at_ms=round(time.time() * 1000))
        ends_at = math.inf if whole else began_at + LOOK_S
        sights = self._primaries(seen)
        at_once(lambda sight: self._guarded(sight, lambda: self._begin(sight, whole)), sights)
        left = self.limit
        shares = {}
        for sight in sights:
            shares[sight.server.name] = min(left, len(sight.sweep.keys))
            left -= shares[sight.server.name]
        known = [sight.node for sight in sights if sight.node is not None]
        replicas = [Sight(server, Sweep()) for server in self._servers.replicas(known)]

        def go_on(sight: Sight) -> None:
            if not sight.server.is_primary:
                self._read_replica(sight)
            elif not sight.is_away:
                self._guarded(sight, lambda: self._ask(sight, shares[sight.server.name], ends_at))

        at_once(go_on, [*sights, *replicas])
        seen.was_cut = any(len(sight.sweep.keys) > shares[sight.server.name] for sight in sights)
        self._add_up(seen, sights, replicas)
        self._asked = {self._servers.address(one.server): one.server for one in sights if not one.is_away}
        seen.took_ms = round((time.monotonic() - began_at) * 1000)
        return seen

    def _primaries(self, seen: Seen) -> list[Sight]:
        """A sight of each primary, with the sweep of the looks before."""
        try:
            primaries = self._servers.primaries()
        except Exception as error:
            if not self.kind.is_away(error):
                raise
            seen.away.append("the cluster")
            return []
        seen.commands += self.kind.is_cluster
        seen.primaries = len(primaries)
        self._sweeps = {server.name: self._sweeps.get(server.name) or Sweep() for server in primaries}
        return [Sight(server, self._sweeps[server.name]) for server in primaries]

    def _guarded(self, sight: Sight, work: Callable[[], None]) -> None:
        """Do something with a server. If it is away, the sight says so."""
        try:
            work()
        except Exception as error:
            if not self.kind.is_away(error):
                raise
            sight.is_away = True

    def _begin(self, sight: Sight, whole: bool) -> None:
        """Read the server's INFO, and continue the search for queues."""
        self._read_node(sight)
        if (sight.sweep.cursor or sight.sweep.rounds) == 0 and (error := self._lack(sight)) is not None:
            sight.refused["TASK.HELP"] = error
            return
        try:
            sight.commands += sight.sweep.search(sight.server.client, self.limit, whole)
        except self.kind.errors.ResponseError as error:
            if self.kind.is_away(error):
                raise
            sight.refused["SCAN"] = error

    def _read_replica(self, sight: Sight) -> None:
        """Read a replica's INFO, unless it didn't answer a moment ago."""
        name = sight.server.name
        if time.monotonic() < self._resting.get(name, 0.0):
            sight.is_away = True
            return
        self._guarded(sight, lambda: self._read_node(sight))
        self._resting.pop(name, None)
        if sight.is_away:
            self._resting[name] = time.monotonic() + REST_S

    def _read_node(self, sight: Sight) -> None:
        """Read the server's INFO. A user without the right to it still gets the node's address."""
        pipeline = sight.server.client.pipeline(transaction=False)
        for section in SECTIONS:
            pipeline.execute_command("INFO", section)
        pipeline.execute_command("TIME")
        asked_at, clock = time.monotonic(), time.time()
        replies = pipeline.execute(raise_on_error=False)
        took_s = time.monotonic() - asked_at
        sight.commands += len(replies)
        fields: dict[str, Any] = {}
        for reply in replies[:-1]:
            if isinstance(reply, Exception):
                if self.kind.is_away(reply):
                    raise reply
                sight.refused["INFO"] = reply
            else:
                fields.update(reply)
        address, server = self._servers.address(sight.server), sight.server
        if "INFO" in sight.refused:
            role = "primary" if server.is_primary else "replica"
            trouble = str(sight.refused["INFO"])
            sight.node = NodeInfo(address, role, slots=server.slots, trouble=trouble)
            return
        ahead_ms = None
        if not isinstance(replies[-1], Exception):
            seconds, microseconds = replies[-1]
            ahead_ms = round((seconds + microseconds / 1e6 - clock - took_s / 2) * 1000)
        sight.node = read_node(address, fields, server.slots, ahead_ms, round(took_s * 1000))

    def _lack(self, sight: Sight) -> Exception | None:
        """The error if a server lacks the module. SCAN would find no queues there, without an error."""
        sight.commands += 1
        try:
            sight.server.client.execute_command("TASK.HELP", **AS_BYTES)
        except self.kind.errors.ResponseError as error:
            # A user without the right to call TASK.HELP gets another error, and the module is there.
            if self.kind.lacks_module(error):
                return self.kind.meaning(error) or error
        return None

    def _ask(self, sight: Sight, share: int, ends_at: float) -> None:
        """Read the state of the server's queues, at most `share`. Forget those that were deleted or have moved."""
        for keys in batches(islice(list(sight.sweep.keys), share)):
            if time.monotonic() > ends_at:
                sight.unread += len(keys)
                continue
            pipeline = sight.server.client.pipeline(transaction=False)
            for key in keys:
                pipeline.execute_command("TASK.INFO", key, **AS_BYTES)
            sight.commands += len(keys)
            for key, reply in zip(keys, pipeline.execute(raise_on_error=False), strict=True):
                if isinstance(reply, Exception) and not self._is_gone(reply):
                    if self.kind.is_away(reply):
                        raise reply
                    sight.unreadable[key] = str(reply)
                    continue
                info = None if isinstance(reply, Exception) else commands.info("").read(reply)
                if info is None:
                    sight.sweep.keys.pop(key, None)
                else:
                    sight.infos[key] = info

    def _is_gone(self, error: Exception) -> bool:
        """Whether an error means that the key is no longer a queue on this node."""
        errors = self.kind.errors
        moving = (errors.MovedError, errors.AskError, errors.TryAgainError)
        return isinstance(error, moving) or str(error).startswith("WRONGTYPE")

    def _add_up(self, seen: Seen, primaries: Sequence[Sight], replicas: Sequence[Sight]) -> None:
        lacking = [sight.refused["TASK.HELP"] for sight in primaries if "TASK.HELP" in sight.refused]
        if lacking and len(lacking) == sum(not sight.is_away for sight in primaries):
            raise lacking[0]
        online = {
            copy.address: sight.node.address
            for sight in primaries if sight.node is not None
            for copy in sight.node.replicas if copy.state == "online" and copy.lag_s <= MOST_LAG_S
        }  # fmt: skip
        for sight in (*primaries, *replicas):
            place = self._servers.address(sight.server)
            if sight.is_away and place in online and not sight.server.is_primary:
                # Its primary hears from it. It is this machine that can't reach it, as behind an address translation.
                sight.is_away = False
                sight.node = NodeInfo(place, "replica", primary=online[place], link="up", trouble=UNREACHED)
            seen.commands += sight.commands
            seen.oversized += sight.sweep.oversized
            seen.unread += sight.unread
            seen.refused.update({f"{what} on {place}": str(error) for what, error in sight.refused.items()})
            if sight.is_away:
                seen.away.append(place)
            if sight.node is not None:
                seen.nodes.append(sight.node)
            seen.unreadable.update({key_text(key): text for key, text in sight.unreadable.items()})
            for key, info in sight.infos.items():
                seen.infos[key_text(key)] = info
                seen.places[key_text(key)] = place
        searched = [sight for sight in primaries if not sight.is_away]
        seen.is_whole = all(sight.sweep.rounds > 0 for sight in searched)


def at_once(work: Callable[[T], None], on: Sequence[T]) -> None:
    """Do something with each of these, some at the same time. An error is raised once all have ended."""
    if len(on) == 1:
        work(on[0])
    elif on:
        with ThreadPoolExecutor(min(len(on), SERVERS_AT_ONCE)) as pool:
            for done in [pool.submit(work, one) for one in on]:
                done.result()


def batches(keys: Iterable[bytes]) -> Iterator[list[bytes]]:
    """The keys in batches for one pipeline."""
    source = iter(keys)
    while part := list(islice(source, INFOS_AT_ONCE)):
        yield part
