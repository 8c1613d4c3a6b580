"""What one server says of itself: its role, versions, memory, warnings and the node-wide figures of the module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..addresses import address_of

# The sections of INFO that are read. Redis 6.2 takes one in a command.
SECTIONS = ("server", "memory", "persistence", "replication", "taskslot")
# The start of the fields of the module's section.
OURS = "taskslot_"

UNKNOWN = -1
# The trouble of a replica that is well, as its primary says, but does not answer this machine.
UNREACHED = "it can't be reached from this machine"


@dataclass(frozen=True, slots=True)
class Replica:
    """A replica as its primary sees it. `state` is `online` once it has its copy; `lag_s` is -1 if it is unknown."""

    address: str
    state: str
    lag_s: int


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A server, from its INFO. A number that could not be read is -1, a text is empty.

    `address` is host and port, or the path of a socket, without secrets. `trouble` says why INFO could not be read, and
    is empty otherwise. `module` is the version of taskslot, empty if the server lacks it.

    Of a primary, `replicas` are those that it knows, and `slots` are its ranges of slots (first, last) in a cluster.
    Of a replica, `primary` is the address of its primary and `link` is `up` or `down`.

    `maxmemory` is 0 for no limit. `totals` are what happened on this node since it started, by name (`pushed`, …).
    `clock_skew_ms` is how far the module's clock is ahead of this server's wall clock, and `ahead_ms` how far that is
    ahead of the clock of this machine, accurate to `took_ms`; None if it is unknown. `warnings` are texts, by name
    (`eviction`, `durability`, `aof_cut`, `queue_size`). `fields` has all of INFO that was read.
    """

    address: str
    role: str = ""
    server: str = ""
    server_version: str = ""
    module: str = ""
    slots: tuple[tuple[int, int], ...] = ()
    primary: str = ""
    link: str = ""
    replicas: tuple[Replica, ...] = ()
    uptime_s: int = UNKNOWN
    used_memory: int = UNKNOWN
    maxmemory: int = UNKNOWN
    queues: int = UNKNOWN
    queues_memory: int = UNKNOWN
    broken_queues: int = UNKNOWN
    blocked_workers: int = UNKNOWN
    result_waiters: int = UNKNOWN
    due_lag_ms: int = UNKNOWN
    slow_ticks: int = UNKNOWN
    clock_skew_ms: int = 0
    ahead_ms: int | None = None
    took_ms: int = UNKNOWN
    warnings: Mapping[str, str] = field(default_factory=dict)
    totals: Mapping[str, int] = field(default_factory=dict)
    trouble: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_primary(self) -> bool:
        """Whether it is a primary. One whose INFO could not be read counts as one: its address was found as such."""
        return self.role != "replica"

    @property
    def slots_count(self) -> int:
        """How many slots of the cluster it serves; 0 outside of a cluster."""
        return sum(last - first + 1 for first, last in self.slots)

    @property
    def memory_share(self) -> float:
        """The share of `maxmemory` that is used, from 0; -1 if there is no limit or it is unknown."""
        return self.used_memory / self.maxmemory if self.maxmemory > 0 <= self.used_memory else -1.0


def read_node(
    address: str,
    fields: Mapping[str, Any],
    slots: Sequence[tuple[int, int]] = (),
    ahead_ms: int | None = None,
    took_ms: int = UNKNOWN,
) -> NodeInfo:
    """A node from the fields of its INFO, as the client's library reads them."""
    is_valkey = "valkey_version" in fields
    is_replica = fields.get("role") == "slave"
    primary = address_of(fields.get("master_host"), fields.get("master_port")) if is_replica else ""
    warning, total = f"{OURS}warning_", f"{OURS}total_"
    return NodeInfo(
        address=address,
        role={"master": "primary", "slave": "replica"}.get(str(fields.get("role")), ""),
        server="valkey" if is_valkey else "redis" if "redis_version" in fields else "",
        server_version=str(fields.get("valkey_version" if is_valkey else "redis_version", "")),
        module=str(fields.get(f"{OURS}version", "")),
        slots=tuple(slots),
        primary=primary,
        link=str(fields.get("master_link_status", "")),
        replicas=tuple(replicas_in(fields)),
        uptime_s=number(fields, "uptime_in_seconds"),
        used_memory=number(fields, "used_memory"),
        maxmemory=number(fields, "maxmemory"),
        queues=number(fields, f"{OURS}queues"),
        queues_memory=number(fields, f"{OURS}queues_memory"),
        broken_queues=number(fields, f"{OURS}broken_queues"),
        blocked_workers=number(fields, f"{OURS}blocked_workers"),
        result_waiters=number(fields, f"{OURS}result_waiters"),
        due_lag_ms=number(fields, f"{OURS}due_lag_ms"),
        slow_ticks=number(fields, f"{OURS}slow_ticks"),
        clock_skew_ms=number(fields, f"{OURS}clock_skew_ms", 0),
        ahead_ms=ahead_ms,
        took_ms=took_ms,
        warnings={
            name.removeprefix(warning): str(fields[name]) for name in fields if name.startswith(warning)
        },
        totals={name.removeprefix(total): int(fields[name]) for name in fields if name.startswith(total)},
        fields=dict(fields),
    )


def number(fields: Mapping[str, Any], name: str, unknown: int = UNKNOWN) -> int:
    """A number of INFO; `unknown` if the server doesn't show it."""
    value = fields.get(name)
    return int(value) if isinstance(value, int | float) else unknown


def replicas_in(fields: Mapping[str, Any]) -> list[Replica]:
    """The replicas that a primary names: `slave0`, `slave1`, …"""
    found = []
    for at in range(max(0, number(fields, "connected_slaves", 0))):
        one = fields.get(f"slave{at}")
        if isinstance(one, Mapping):
            place = address_of(one.get("ip"), one.get("port"))
            found.append(Replica(place, str(one.get("state", "")), number(one, "lag")))
    return found


def ranges(slots: Sequence[int]) -> list[tuple[int, int]]:
    """Sorted slots as ranges of a first and a last one."""
    found: list[tuple[int, int]] = []
    for slot in slots:
        if found and found[-1][1] == slot - 1:
            found[-1] = (found[-1][0], slot)
        else:
            found.append((slot, slot))
    return found
