"""When a worker tries a command again: which errors pass, and how long it rests in between."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from .._sync.base_queue import BaseQueue
from ..errors import OutOfMemory, Paused, QueueFull, Refused, TaskslotError
from ..tracebacks import described

log = logging.getLogger("taskslot")

# The shortest and the longest rest after an error. The queue has already kept trying for its patience.
REST_S = (0.1, 5.0)
# The codes of errors of a server that accepts no writes for now. Other errors of their class don't pass.
PASSING = ("MISCONF", "NOREPLICAS", "BUSY ")


def rests() -> Iterator[float]:
    """The lengths of the rests, each twice as long as the one before, up to the longest."""
    shortest, longest = REST_S
    rest_s = shortest
    while True:
        yield rest_s
        rest_s = min(longest, rest_s * 2)


def passes(queue: BaseQueue, error: Exception) -> bool:
    """Whether an error will pass: the server is away, or it or the queue accepts no writes for now."""
    if isinstance(error, TaskslotError):
        waits = isinstance(error, Refused) and str(error).startswith(PASSING)
        return waits or isinstance(error, OutOfMemory | Paused | QueueFull)
    return queue.wire.kind.is_away(error)


def log_retry(error: Exception, what: str) -> None:
    """Log an error that will pass. At debug level if the server is away, because that is already in the log."""
    level = logging.WARNING if isinstance(error, TaskslotError) else logging.DEBUG
    log.log(level, "%s, trying again: %s", what, described(error))
