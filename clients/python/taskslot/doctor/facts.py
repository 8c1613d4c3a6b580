"""What is known about the servers, before it is judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..addresses import is_loopback
from ..overview.node_info import NodeInfo
from ..overview.seen import Seen

# What a class of clients may have waiting: bytes at most, bytes for so many seconds.
Limit = tuple[int, int, int]


@dataclass(frozen=True)
class Node:
    """A server. `settings` are those of CONFIG GET, None if they could not be read; `default_user` the flags of ACL."""

    info: NodeInfo
    settings: Mapping[str, str] | None = None
    default_user: frozenset[str] | None = None

    @property
    def address(self) -> str:
        """Host and port, or the path of a socket."""
        return self.info.address

    @property
    def version(self) -> tuple[int, ...]:
        """The server's version, empty if it is unknown."""
        return numbers(self.info.server_version)

    @property
    def is_on_loopback(self) -> bool:
        """Whether the address is of this machine only."""
        return self.address.startswith("/") or is_loopback(self.address.rpartition(":")[0].strip("[]"))

    def setting(self, name: str) -> str | None:
        """A setting; None if it is unknown, or the server does not have it."""
        return None if self.settings is None else self.settings.get(name)

    def setting_number(self, name: str) -> int | None:
        """A setting that is a number."""
        text = self.setting(name)
        return int(text) if text is not None and text.lstrip("-").isdigit() else None

    def field(self, name: str) -> Any:
        """A field of INFO; None if it is unknown."""
        return self.info.fields.get(name)

    def info_number(self, name: str) -> int | None:
        """A field of INFO that is a number."""
        value = self.field(name)
        return int(value) if isinstance(value, int | float) else None

    def buffer_limit(self, kind: str) -> Limit | None:
        """What clients of this class may have waiting: `normal` or `replica`."""
        words = (self.setting("client-output-buffer-limit") or "").split()
        for at in range(0, len(words) - 3, 4):
            if words[at].replace("slave", "replica") == kind:
                most, some, for_s = (int(word) for word in words[at + 1 : at + 4])
                return most, some, for_s
        return None

    @property
    def bound(self) -> tuple[str, ...] | None:
        """The addresses that the server listens on, `*` for all; None if they are unknown, or it listens on none."""
        text = self.setting("bind")
        if text is None or self.setting_number("port") == 0 == (self.setting_number("tls-port") or 0):
            return None
        found = tuple(word.lstrip("-") for word in text.split())
        return found or ("*",)

    @property
    def is_open(self) -> bool:
        """Whether other machines can reach it, as far as is known."""
        return any(not is_loopback(one) for one in self.bound or ())


@dataclass(frozen=True)
class Cluster:
    """A cluster as one of its nodes sees it: CLUSTER INFO, and for each failed node its address."""

    info: Mapping[str, str]
    failed: Sequence[str] = ()

    def count(self, name: str) -> int:
        """A number of CLUSTER INFO."""
        return int(self.info.get(name, 0))


@dataclass(frozen=True)
class Sentinel:
    """What the first Sentinel that replied knows of the service. `quorum_error` is what CKQUORUM says, or empty."""

    service: str
    sentinels: int
    quorum: int
    flags: frozenset[str]
    down_after_ms: int
    away: Sequence[str] = ()
    quorum_error: str = ""


@dataclass(frozen=True)
class Host:
    """The machine, if the server is on this one: settings of its kernel, None if they could not be read."""

    overcommit: int | None = None
    huge_pages: str | None = None


@dataclass(frozen=True)
class Facts:
    """What is known: the servers, primaries first, and what could not be asked, with the reason, a line for each."""

    nodes: Sequence[Node]
    library: str
    away: Sequence[str] = ()
    seen: Seen | None = None
    cluster: Cluster | None = None
    sentinel: Sentinel | None = None
    host: Host | None = None
    unchecked: Sequence[str] = ()

    @property
    def is_empty(self) -> bool:
        """Whether servers replied, but refused to say anything of themselves and of their queues."""
        told = self.away or self.cluster or self.sentinel or (self.seen and self.seen.infos)
        return (
            not told
            and all(one.info.trouble and one.settings is None for one in self.nodes)
            and bool(self.unchecked)
        )

    @property
    def primaries(self) -> Iterator[Node]:
        """The primaries."""
        return (node for node in self.nodes if node.info.is_primary)

    @property
    def replicas(self) -> Iterator[Node]:
        """The replicas."""
        return (node for node in self.nodes if not node.info.is_primary)


def numbers(version: str) -> tuple[int, ...]:
    """A version for comparisons: `9.1.2` as (9, 1, 2)."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())
