"""Finds the queues of all primaries and asks them for their state, with bounded work for each look.

A look goes on where the last one stopped in the keys of each node (SCAN … TYPE taskqueue), so that a queue among
millions of other keys is found after some looks, and no look is long. A queue that was found is asked each time until
it is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from ... import commands
from ...clients import AS_BYTES, Client
from ...replies import Info

# Keys that one SCAN looks at, and how many of them a look sends to each node.
SCAN_COUNT, SCANS_A_LOOK = 1000, 100
# TASK.INFOs that go out together: each takes the server some microseconds.
INFOS_AT_ONCE = 200


@dataclass
class Sweep:
    """How far the search in a node's keys has come, and what it has found so far."""

    cursor: int = 0
    keys: dict[bytes, None] = field(default_factory=dict)
    rounds: int = 0

    def step(self, client: Any) -> None:
        """One SCAN further."""
        words = ("SCAN", self.cursor, "COUNT", SCAN_COUNT, "TYPE", "taskqueue")
        cursor, found = client.execute_command(*words, **AS_BYTES)[:2]
        self.keys.update(dict.fromkeys(found))
        self.cursor = int(cursor)
        self.rounds += self.cursor == 0


@dataclass
class Seen:
    """What one look found: the state of each queue by key, and what it could not see."""

    infos: dict[str, Info] = field(default_factory=dict)
    away: list[str] = field(default_factory=list)
    was_cut: bool = False
    is_whole: bool = True
    primaries: int = 0


class Nodes:
    """The primaries that a client knows, and what is known of their keys."""

    def __init__(self, client: Any, limit: int) -> None:
        self.client = client
        self.kind = Client(client)
        self.limit = limit
        self._sweeps: dict[str, Sweep] = {}

    def look(self, whole: bool = False) -> Seen:
        """See all queues that are known by now, at most `limit`; `whole` searches all keys first, however many."""
        seen = Seen()
        known: dict[str, Sweep] = {}
        for name, client in self._primaries(seen):
            seen.primaries += 1
            sweep = known[name] = self._sweeps.get(name) or Sweep()
            try:
                self._refuse_without_module(client, sweep)
                self._search(client, sweep, whole, seen)
                self._ask(client, sweep, seen)
            except Exception as error:
                if not self.kind.is_away(error):
                    raise
                seen.away.append(name)
        self._sweeps = known
        return seen

    def _refuse_without_module(self, client: Any, sweep: Sweep) -> None:
        """Say that a server has no queues since it has no module: SCAN finds none there, and says nothing."""
        if sweep.cursor or sweep.rounds:
            return
        try:
            client.execute_command("TASK.HELP", **AS_BYTES)
        except self.kind.errors.ResponseError as error:
            # Whoever may not call it has the module all the same.
            if self.kind.lacks_module(error):
                raise self.kind.meaning(error) or error from None

    def _primaries(self, seen: Seen) -> Iterator[tuple[str, Any]]:
        if not self.kind.is_cluster:
            yield "", self.client
            return
        try:
            # Who is a primary changes; asking costs one CLUSTER SLOTS.
            self.client.nodes_manager.initialize()
        except Exception as error:
            if not self.kind.is_away(error):
                raise
            seen.away.append("cluster")
            return
        for node in self.client.get_primaries():
            yield node.name, self.kind.client_of(node)

    def _search(self, client: Any, sweep: Sweep, whole: bool, seen: Seen) -> None:
        """Search on: to the end if `whole`, else some steps, and no further than the end of the keys."""
        steps, rounds = 0, sweep.rounds
        while sweep.rounds == rounds and (whole or steps < SCANS_A_LOOK) and len(sweep.keys) <= self.limit:
            sweep.step(client)
            steps += 1
        seen.is_whole = seen.is_whole and sweep.rounds > 0

    def _ask(self, client: Any, sweep: Sweep, seen: Seen) -> None:
        """Ask the queues of a node for their state; those that are gone, or moved away, are forgotten."""
        left = self.limit - len(seen.infos)
        seen.was_cut = seen.was_cut or len(sweep.keys) > left
        for keys in batches(islice(list(sweep.keys), left)):
            pipeline = client.pipeline(transaction=False)
            for key in keys:
                pipeline.execute_command("TASK.INFO", key, **AS_BYTES)
            for key, reply in zip(keys, pipeline.execute(raise_on_error=False), strict=True):
                info = None if isinstance(reply, Exception) else commands.info("").read(reply)
                if isinstance(reply, Exception) and not self._is_gone(reply):
                    raise reply
                if info is None:
                    sweep.keys.pop(key, None)
                else:
                    seen.infos[key.decode("utf-8", "backslashreplace")] = info

    def _is_gone(self, error: Exception) -> bool:
        """Whether an error says that the key is no queue of this node any more."""
        errors = self.kind.errors
        moving = (errors.MovedError, errors.AskError, errors.TryAgainError)
        return isinstance(error, moving) or str(error).startswith("WRONGTYPE")


def batches(keys: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Keys by what is asked together."""
    source = iter(keys)
    while part := list(islice(source, INFOS_AT_ONCE)):
        yield part
