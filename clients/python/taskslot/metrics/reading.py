"""One reading of all queues and nodes: what the metrics are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..overview import NodeInfo
from ..replies import Info, Schedule, Times


@dataclass(frozen=True)
class Reading:
    """What one look found, by key.

    `node_of` has the node that each key was read from, and `away` the nodes that didn't reply. `trouble` says why no
    queue could be read: no server replied, or all was refused. `is_whole` says that all keys have been searched, and
    that all queues were read. `unreadable` counts the queues that could not be read.
    """

    infos: Mapping[str, Info]
    node_of: Mapping[str, str] = field(default_factory=dict)
    schedules: Mapping[str, Sequence[Schedule]] = field(default_factory=dict)
    times: Mapping[str, Times] = field(default_factory=dict)
    nodes: Sequence[NodeInfo] = ()
    away: Sequence[str] = ()
    trouble: str = ""
    is_whole: bool = True
    unreadable: int = 0
    commands: int = 0
