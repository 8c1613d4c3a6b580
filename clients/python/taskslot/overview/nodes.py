"""Finds the queues of all primaries and reads their state, with a limit on the work of each look.

A look continues the search in the keys of each node where the last one stopped (SCAN … TYPE taskqueue). So no look
takes long, and a queue among millions of other keys is found after some looks. A queue that was found is read with
every look until it no longer exists.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from .. import commands
from ..clients import AS_BYTES, Client
from ..replies import Info

# The number of keys that one SCAN searches, and the number of SCANs that one look sends to each node.
SCAN_COUNT, SCANS_A_LOOK = 1000, 100
# The number of TASK.INFOs in one pipeline. Each takes the server some microseconds.
INFOS_AT_ONCE = 200


@dataclass
class Sweep:
    """The state of the search in a node's keys: its cursor, the queues found, and how often it reached the end."""

    cursor: int = 0
    keys: dict[bytes, None] = field(default_factory=dict)
    rounds: int = 0

    def step(self, client: Any) -> None:
        """Send the next SCAN."""
        words = ("SCAN", self.cursor, "COUNT", SCAN_COUNT, "TYPE", "taskqueue")
        cursor, found = client.execute_command(*words, **AS_BYTES)[:2]
        self.keys.update(dict.fromkeys(found))
        self.cursor = int(cursor)
        self.rounds += self.cursor == 0


@dataclass
class Seen:
    """What one look found: the state of each queue by key, and what it could not see.

    `away` names nodes that didn't reply, `was_cut` says that there are more queues than the limit, and `is_whole` says
    that all keys have been searched.
    """

    infos: dict[str, Info] = field(default_factory=dict)
    away: list[str] = field(default_factory=list)
    was_cut: bool = False
    is_whole: bool = True
    primaries: int = 0


class Nodes:
    """The primaries that a client knows, and the queues that were found on them."""

    def __init__(self, client: Any, limit: int) -> None:
        self.client = client
        self.kind = Client(client)
        self.limit = limit
        self._sweeps: dict[str, Sweep] = {}

    def look(self, whole: bool = False) -> Seen:
        """Read the state of all queues found so far, at most `limit`. With `whole`, search all keys first."""
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
        """Raise an error if a server lacks the module. SCAN would find no queues there, without an error."""
        if sweep.cursor or sweep.rounds:
            return
        try:
            client.execute_command("TASK.HELP", **AS_BYTES)
        except self.kind.errors.ResponseError as error:
            # A user without the right to call TASK.HELP gets another error, and the module is there.
            if self.kind.lacks_module(error):
                raise self.kind.meaning(error) or error from None

    def _primaries(self, seen: Seen) -> Iterator[tuple[str, Any]]:
        if not self.kind.is_cluster:
            yield "", self.client
            return
        try:
            # The primaries can change. Asking costs one CLUSTER SLOTS.
            self.client.nodes_manager.initialize()
        except Exception as error:
            if not self.kind.is_away(error):
                raise
            seen.away.append("cluster")
            return
        for node in self.client.get_primaries():
            yield node.name, self.kind.client_of(node)

    def _search(self, client: Any, sweep: Sweep, whole: bool, seen: Seen) -> None:
        """Continue the search: to the end of the keys if `whole`, otherwise for a limited number of steps."""
        steps, rounds = 0, sweep.rounds
        while sweep.rounds == rounds and (whole or steps < SCANS_A_LOOK) and len(sweep.keys) <= self.limit:
            sweep.step(client)
            steps += 1
        seen.is_whole = seen.is_whole and sweep.rounds > 0

    def _ask(self, client: Any, sweep: Sweep, seen: Seen) -> None:
        """Read the state of the queues on a node. Forget those that were deleted or have moved."""
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
        """Whether an error means that the key is no longer a queue on this node."""
        errors = self.kind.errors
        moving = (errors.MovedError, errors.AskError, errors.TryAgainError)
        return isinstance(error, moving) or str(error).startswith("WRONGTYPE")


def batches(keys: Iterable[bytes]) -> Iterator[list[bytes]]:
    """The keys in batches for one pipeline."""
    source = iter(keys)
    while part := list(islice(source, INFOS_AT_ONCE)):
        yield part
