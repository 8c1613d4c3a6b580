"""Reads all queues and nodes for the metrics, with the overview's search."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from .. import commands
from ..overview import Nodes, Seen
from ..overview.notes import shut
from ..replies import Schedule, Times
from .reading import Reading

# The number of keys that are read; each shard is one.
KEYS_READ = 20_000
# Schedules have no figures that change fast, but a queue can have a thousand of them, with their payloads.
SCHEDULES_EVERY_S = 60.0


class Reader:
    """Reads a server, a cluster or Sentinel's primary, again and again."""

    def __init__(self, nodes: Nodes, times: bool, whole: bool = False) -> None:
        self._nodes = nodes
        self._times = times
        self._whole = whole
        self._schedules: dict[str, Sequence[Schedule]] = {}
        self._schedules_at = -float("inf")

    def read(self) -> Reading:
        """What is there now. Raises the client's errors, except for servers that are away."""
        seen = self._nodes.look(self._whole)
        times: dict[str, Times] = {}
        commands_sent = seen.commands
        if self._times:
            replies, sent = self._nodes.section(seen, "TIMES")
            commands_sent += sent
            times = {key: found for key, reply in replies.items() if (found := read_times(reply)) is not None}
        if time.monotonic() >= self._schedules_at + SCHEDULES_EVERY_S:
            commands_sent += self._read_schedules(seen)
        answered = {node.address for node in seen.nodes if node.is_primary} - set(seen.away)
        return Reading(
            infos=seen.infos,
            node_of=seen.places,
            schedules=self._schedules,
            times=times,
            nodes=seen.nodes,
            away=seen.away,
            trouble=shut(seen) if answered else f"no answer from {', '.join(seen.away)}",
            is_whole=seen.is_whole and not seen.was_cut and not seen.unread,
            unreadable=len(seen.unreadable) + seen.oversized + seen.unread,
            commands=commands_sent,
        )

    def _read_schedules(self, seen: Seen) -> int:
        replies, sent = self._nodes.section(seen, "CRON")
        read = commands.schedules("").read
        self._schedules = {key: found for key, reply in replies.items() if (found := read(reply))}
        self._schedules_at = time.monotonic()
        return sent

    def close(self) -> None:
        """Close the connections."""
        self._nodes.close()


def read_times(reply: Any) -> Times | None:
    """The reply of TASK.INFO … TIMES."""
    return commands.times("").read(reply)
