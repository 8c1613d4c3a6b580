"""Finds the queues of all primaries and reads their state and that of the servers, with a limit on each look's work.

A look continues the search in the keys of each node where the last one stopped (SCAN … TYPE taskqueue). So no look
takes long, and a queue among millions of other keys is found after some looks. A queue that was found is read with
every look until it no longer exists.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

from ..clients import Client
from ..keys import key_bytes, key_text
from .look import ServerLook
from .node_info import SECTIONS, UNREACHED, NodeInfo
from .seen import Seen
from .servers import Server, Servers
from .sweep import Sweep

T = TypeVar("T")

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


class Nodes:
    """The servers that a client knows, and the queues that were found on them, at most `limit`.

    It opens connections of its own, which wait at most `patience_s` for a reply. Threads can share it: there is one
    look at a time. A server that is away does not raise an error, however long it is away: each look says which are.
    Nor does a server without the module, unless no other has it and `needs_module` is set. `sections` are those of
    INFO that are read.
    """

    def __init__(
        self,
        client: Any,
        limit: int,
        patience_s: float = PATIENCE_S,
        sections: Sequence[str] = SECTIONS,
        needs_module: bool = True,
    ) -> None:
        self.kind = Client(client)
        self.limit = limit
        self._sections = sections
        self._needs_module = needs_module
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
            looks = [ServerLook(self.kind, self._asked[place]) for place in keys if place in self._asked]

            def ask(look: ServerLook) -> None:
                replies = look.section(keys[look.server.address], name)
                found.update({key_text(key): reply for key, reply in replies})

            at_once(lambda look: look.guarded(lambda: ask(look)), looks)
        return found, sum(look.commands for look in looks)

    def client_of(self, address: str) -> Any:
        """A client for a server; None if it did not answer the last look."""
        server = self._asked.get(address)
        return server and server.client

    def _look(self, whole: bool) -> Seen:
        began_at, seen = time.monotonic(), Seen(at_ms=round(time.time() * 1000))
        ends_at = math.inf if whole else began_at + LOOK_S
        looks = self._primaries(seen)
        at_once(lambda look: look.guarded(lambda: look.begin(self._sections, self.limit, whole)), looks)
        left = self.limit
        shares = {}
        for look in looks:
            shares[look.server.name] = min(left, len(look.sweep.keys))
            left -= shares[look.server.name]
        known = [look.node for look in looks if look.node is not None]
        replicas = [ServerLook(self.kind, server) for server in self._servers.replicas(known)]

        def go_on(look: ServerLook) -> None:
            if not look.server.is_primary:
                self._read_replica(look)
            elif not look.is_away:
                look.guarded(lambda: look.read_queues(shares[look.server.name], ends_at))

        at_once(go_on, [*looks, *replicas])
        seen.was_cut = any(len(look.sweep.keys) > shares[look.server.name] for look in looks)
        self._asked = {one.server.address: one.server for one in (*looks, *replicas) if not one.is_away}
        self._add_up(seen, looks, replicas)
        seen.took_ms = round((time.monotonic() - began_at) * 1000)
        return seen

    def _primaries(self, seen: Seen) -> list[ServerLook]:
        """A look at each primary, with the sweep of the looks before."""
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
        return [ServerLook(self.kind, server, self._sweeps[server.name]) for server in primaries]

    def _read_replica(self, look: ServerLook) -> None:
        """Read a replica's INFO, unless it didn't answer a moment ago."""
        name = look.server.name
        if time.monotonic() < self._resting.get(name, 0.0):
            look.is_away = True
            return
        look.guarded(lambda: look.read_node(self._sections))
        self._resting.pop(name, None)
        if look.is_away:
            self._resting[name] = time.monotonic() + REST_S

    def _add_up(self, seen: Seen, primaries: Sequence[ServerLook], replicas: Sequence[ServerLook]) -> None:
        lacking = [look.refused["TASK.HELP"] for look in primaries if "TASK.HELP" in look.refused]
        if self._needs_module and lacking and len(lacking) == sum(not look.is_away for look in primaries):
            raise lacking[0]
        online = {
            copy.address: look.node.address
            for look in primaries if look.node is not None
            for copy in look.node.replicas if copy.state == "online" and copy.lag_s <= MOST_LAG_S
        }  # fmt: skip
        for look in (*primaries, *replicas):
            place = look.server.address
            if look.is_away and place in online and not look.server.is_primary:
                # Its primary hears from it. It is this machine that can't reach it, as behind an address translation.
                look.is_away = False
                look.node = NodeInfo(place, "replica", primary=online[place], link="up", trouble=UNREACHED)
            seen.commands += look.commands
            seen.oversized += look.sweep.oversized
            seen.unread += look.unread
            seen.refused.update({(command, place): str(error) for command, error in look.refused.items()})
            if look.is_away:
                seen.away.append(place)
            if look.node is not None:
                seen.nodes.append(look.node)
            seen.unreadable.update({key_text(key): text for key, text in look.unreadable.items()})
            for key, info in look.infos.items():
                seen.infos[key_text(key)] = info
                seen.places[key_text(key)] = place
        searched = [look for look in primaries if not look.is_away and "TASK.HELP" not in look.refused]
        seen.is_whole = all(look.sweep.rounds > 0 for look in searched)


def at_once(work: Callable[[T], None], on: Sequence[T]) -> None:
    """Do something with each of these, some at the same time. An error is raised once all have ended."""
    if len(on) == 1:
        work(on[0])
    elif on:
        with ThreadPoolExecutor(min(len(on), SERVERS_AT_ONCE)) as pool:
            for done in [pool.submit(work, one) for one in on]:
                done.result()
