"""What a look finds on one server: its INFO, and its queues with their state."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from .. import commands
from ..clients import AS_BYTES, Client
from ..replies import Info
from .node_info import NodeInfo, read_node
from .servers import Server
from .sweep import Sweep

# The number of TASK.INFOs in one pipeline. Each takes the server some microseconds.
INFOS_AT_ONCE = 200


@dataclass
class ServerLook:
    """One look at one server, and what was found there."""

    kind: Client
    server: Server
    sweep: Sweep = field(default_factory=Sweep)
    node: NodeInfo | None = None
    infos: dict[bytes, Info] = field(default_factory=dict)
    unreadable: dict[bytes, str] = field(default_factory=dict)
    refused: dict[str, Exception] = field(default_factory=dict)
    unread: int = 0
    is_away: bool = False
    commands: int = 0

    def guarded(self, work: Callable[[], None]) -> None:
        """Do something with the server. If it is away, the look says so."""
        try:
            work()
        except Exception as error:
            if not self.kind.is_away(error):
                raise
            self.is_away = True

    def begin(self, sections: Sequence[str], limit: int, whole: bool) -> None:
        """Read the server's INFO, and continue the search for queues."""
        self.read_node(sections)
        if (lack := self._lack()) is not None:
            self.refused["TASK.HELP"] = lack
            return
        try:
            self.commands += self.sweep.search(self.server.client, limit, whole)
        except self.kind.errors.ResponseError as error:
            if self.kind.is_away(error):
                raise
            self.refused["SCAN"] = error

    def read_node(self, sections: Sequence[str]) -> None:
        """Read the server's INFO and its clock. A user without the right to it still gets the node's address."""
        pipeline = self.server.client.pipeline(transaction=False)
        for section in sections:
            pipeline.execute_command("INFO", section)
        pipeline.execute_command("TIME")
        asked_at, clock = time.monotonic(), time.time()
        replies = pipeline.execute(raise_on_error=False)
        took_s = time.monotonic() - asked_at
        self.commands += len(replies)
        fields: dict[str, Any] = {}
        for command, reply in zip([*("INFO" for _ in sections), "TIME"], replies, strict=True):
            if isinstance(reply, Exception):
                if self.kind.is_away(reply):
                    raise reply
                self.refused[command] = reply
            elif command == "INFO":
                fields.update(reply)
        server = self.server
        if "INFO" in self.refused:
            role = "primary" if server.is_primary else "replica"
            trouble = str(self.refused["INFO"])
            self.node = NodeInfo(server.address, role, slots=server.slots, trouble=trouble)
            return
        ahead_ms = None
        if "TIME" not in self.refused:
            seconds, microseconds = replies[-1]
            ahead_ms = round((seconds + microseconds / 1e6 - clock - took_s / 2) * 1000)
        self.node = read_node(server.address, fields, server.slots, ahead_ms, round(took_s * 1000))

    def _lack(self) -> Exception | None:
        """The error if a server lacks the module. SCAN would find no queues there, without an error.

        It is asked with each look: a server can lose the module with a restart.
        """
        self.commands += 1
        try:
            self.server.client.execute_command("TASK.HELP", **AS_BYTES)
        except self.kind.errors.ResponseError as error:
            # A user without the right to call TASK.HELP gets another error, and the module is there.
            if self.kind.lacks_module(error):
                return self.kind.meaning(error) or error
        return None

    def read_queues(self, share: int, ends_at: float) -> None:
        """Read the state of the server's queues, at most `share`. Forget those that were deleted or have moved."""
        for keys in batches(islice(list(self.sweep.keys), share)):
            if time.monotonic() > ends_at:
                self.unread += len(keys)
                continue
            pipeline = self.server.client.pipeline(transaction=False)
            for key in keys:
                pipeline.execute_command("TASK.INFO", key, **AS_BYTES)
            self.commands += len(keys)
            for key, reply in zip(keys, pipeline.execute(raise_on_error=False), strict=True):
                if isinstance(reply, Exception) and not self._is_gone(reply):
                    if self.kind.is_away(reply):
                        raise reply
                    self.unreadable[key] = str(reply)
                    continue
                info = None if isinstance(reply, Exception) else commands.info("").read(reply)
                if info is None:
                    self.sweep.keys.pop(key, None)
                else:
                    self.infos[key] = info

    def section(self, keys: Sequence[bytes], name: str) -> Iterator[tuple[bytes, Any]]:
        """The replies of TASK.INFO key NAME. The first queue is asked about alone."""
        for part in (keys[:1], *batches(keys[1:])):
            pipeline = self.server.client.pipeline(transaction=False)
            for key in part:
                pipeline.execute_command("TASK.INFO", key, name, **AS_BYTES)
            self.commands += len(part)
            replies = pipeline.execute(raise_on_error=False)
            answered = [one for one in zip(part, replies, strict=True) if not isinstance(one[1], Exception)]
            yield from answered
            if not answered and not self._is_gone(replies[0]):
                return

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
