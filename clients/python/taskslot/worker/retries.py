"""When a worker tries a command again: errors that pass, and how long it rests between."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from .._sync.base_queue import BaseQueue
from ..errors import OutOfMemory, Refused, TaskslotError
from .outcomes import described

log = logging.getLogger("taskslot")

# The rest after an error of a server that is away: from, to. The queue has tried for its own patience before.
REST_S = (0.1, 5.0)
# Errors of a server that takes no writes for now, while others of their kind are for good.
PASSING = ("MISCONF", "NOREPLICAS", "BUSY ")


def rests() -> Iterator[float]:
    """How long to rest, each time twice as long."""
    shortest, longest = REST_S
    rest_s = shortest
    while True:
        yield rest_s
        rest_s = min(longest, rest_s * 2)


def passes(queue: BaseQueue, error: Exception) -> bool:
    """Whether an error is of a server that is away, or takes no writes for now."""
    if isinstance(error, TaskslotError):
        waits = isinstance(error, Refused) and str(error).startswith(PASSING)
        return waits or isinstance(error, OutOfMemory)
    return queue.wire.kind.is_away(error)


def log_retry(error: Exception, what: str) -> None:
    """A server that is away is in the log already, once; one that refuses for now is logged each time."""
    level = logging.WARNING if isinstance(error, TaskslotError) else logging.DEBUG
    log.log(level, "%s, trying again: %s", what, described(error))
