"""The options of a worker, and its default name."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from ..codecs import Codec
from ..commands import ClaimOptions
from .functions import AnyFunction
from .hooks import Hooks
from .sources import AnyQueue


@dataclass(frozen=True)
class WorkerOptions:
    """The options of a worker, as one run uses them."""

    queues: Sequence[AnyQueue]  # in order of preference
    functions: Mapping[str, AnyFunction]
    concurrency: int
    name: str
    lease_ms: int | None
    codec: Codec
    grace_ms: int
    group: str | None
    meta: bool
    tied: bool
    hooks: Hooks

    def claim_options(self) -> ClaimOptions:
        """The options of every claim. The default of `retain_ms` needs `meta`, which has the push's and the queue's.

        So do a backoff that grows with the failures, and middleware, which reads headers.
        """
        needs_meta = self.hooks.read_tasks or any(
            function.retain_ms == "default" or function.policy.counts_failures
            for function in list(self.functions.values())
        )
        options: ClaimOptions = {"worker": self.name, "meta": self.meta or needs_meta}
        if self.lease_ms is not None:
            options["lease_ms"] = self.lease_ms
        if self.group is not None:
            options["group"] = self.group
        if self.tied:
            options["tied"] = True
        return options


def own_name() -> str:
    """The default name of a worker: host name, process id, and a random part.

    The server gives a task that may have killed its worker only to a name that holds no other task. So all workers of a
    process, which die together, share a name, and two containers with equal host names and process ids don't.
    """
    return f"{socket.gethostname()}-{os.getpid()}-{mark_of(os.getpid())}"


@cache
def mark_of(_pid: int) -> str:
    """The random part, one for each process; a forked process gets its own."""
    return secrets.token_hex(3)
