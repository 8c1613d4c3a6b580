"""Cancels of asyncio that redis-py and valkey-py swallow: now and then one that comes while they connect.

The call goes on then. One that waits for ever would do so for ever, and whoever cancelled it with it.
"""

from __future__ import annotations

import asyncio


def cancels() -> int:
    """How often the running task was cancelled; 0 where there is none."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return 0
    return task.cancelling() if task is not None else 0


def heed(before: int) -> None:
    """Raise what was swallowed, if the task was cancelled since there were so many."""
    if cancels() > before:
        raise asyncio.CancelledError
