"""Cancellations of asyncio tasks that redis-py and valkey-py swallow: now and then one that comes while they connect.

The call then goes on. One that waits for ever would do so for ever, and whoever cancelled it would wait with it.
"""

from __future__ import annotations

import asyncio


def cancellations() -> int:
    """How often the running asyncio task was cancelled; 0 where there is none."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return 0
    return task.cancelling() if task is not None else 0


def raise_if_cancelled(before: int) -> None:
    """Raise a cancellation that was swallowed: there are more now than `before`."""
    if cancellations() > before:
        raise asyncio.CancelledError
