"""What one look at all servers and queues found."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..replies import Info
from .node_info import NodeInfo


@dataclass
class Seen:
    """What one look found: the state of each queue by key, the servers, and what it could not see. Not to be changed.

    A key is text that `keys.key_bytes` turns back into its bytes, also if they are not UTF-8; `printable` escapes it.
    `places` has the address of each queue's primary. `nodes` has the primaries first, then the replicas.

    `away` has the addresses of servers that didn't reply. `unreadable` says for a queue why TASK.INFO was refused, and
    `refused` for a command and the address of a server why that was, as for a user with few rights.
    `was_cut` says that there are more queues than the limit, and `is_whole` that all keys have been searched.
    `oversized` is how many queues were left out for their long names, `unread` how many for lack of time.

    `at_ms` is when the look began (unix time of this machine), `took_ms` how long it took, and `commands` how many
    commands it sent.
    """

    infos: dict[str, Info] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    nodes: list[NodeInfo] = field(default_factory=list)
    away: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    refused: dict[tuple[str, str], str] = field(default_factory=dict)
    was_cut: bool = False
    is_whole: bool = True
    oversized: int = 0
    unread: int = 0
    primaries: int = 0
    at_ms: int = 0
    took_ms: int = 0
    commands: int = 0
