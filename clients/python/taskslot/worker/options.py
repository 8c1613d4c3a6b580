"""What a worker is made with, and the name that it has where it was given none."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from .._sync.queue import Queue
from .._sync.sharded import ShardedQueue
from ..codecs import Codec
from ..commands import ClaimOptions
from .functions import AnyFunction


@dataclass(frozen=True)
class WorkerOptions:
    """What a worker was made with."""

    queue: Queue | ShardedQueue
    functions: Mapping[str, AnyFunction]
    concurrency: int
    name: str
    lease_ms: int | None
    codec: Codec
    grace_ms: int
    group: str | None
    meta: bool

    def claim_options(self) -> ClaimOptions:
        """What every claim says. It asks for meta where a function's results are kept as the push or the queue says."""
        is_default = any(function.retain_ms == "default" for function in list(self.functions.values()))
        options: ClaimOptions = {"worker": self.name, "meta": self.meta or is_default}
        if self.lease_ms is not None:
            options["lease_ms"] = self.lease_ms
        if self.group is not None:
            options["group"] = self.group
        return options


def own_name() -> str:
    """The name of a worker that was given none: host, process, and something that no other process has.

    The server gives a task that may have killed its worker only to a name that holds nothing else: so workers of one
    process, which die together, have one name, and two containers with the same host name and process number don't.
    """
    return f"{socket.gethostname()}-{os.getpid()}-{mark_of(os.getpid())}"


@cache
def mark_of(_pid: int) -> str:
    """Drawn once for each process, anew in one that was forked."""
    return secrets.token_hex(3)
