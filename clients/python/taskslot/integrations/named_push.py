"""Pushes a message under the id that its framework gave it, so that it can be cancelled by it while it waits."""

from __future__ import annotations

from .._sync.queue import Queue
from .._sync.sharded import ShardedQueue
from ..commands import PushOptions
from ..errors import TokensFull

# The longest UNIQUE token that the server takes, in bytes.
LONGEST_TOKEN = 256


def push_named(
    queue: Queue | ShardedQueue, payload: str | bytes, name: str | None, options: PushOptions
) -> None:
    """Push a message in any case: with its name as the token, or without if that is not possible.

    It is not if there is no name or one that is no token, if another message with this name waits, or if too many have
    names. Then the message can't be cancelled by its name.
    """
    if name is not None and is_token(name):
        # Only until the first claim: a retry has the same name, and is pushed while the first attempt is still leased.
        named = PushOptions(**options, unique=name, until_start=True)
        try:
            if queue.push(payload, **named).is_new:
                return
        except TokensFull:
            pass
        if (request := options.get("request")) is not None:  # which the first push has used
            options = PushOptions(**{**options, "request": f"{request}.again"})
    queue.push(payload, **options)


def is_token(name: str) -> bool:
    """Whether a name can be a UNIQUE token."""
    return 0 < len(name.encode()) <= LONGEST_TOKEN
