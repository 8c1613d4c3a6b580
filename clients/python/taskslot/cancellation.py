"""Detects cancellations of asyncio tasks that redis-py and valkey-py swallow, which can happen while they connect.

Without this, a call that was cancelled would go on waiting, possibly without a limit, and so would the canceller.
"""

from __future__ import annotations

import asyncio


def cancellations() -> int:
    """How often the running asyncio task was cancelled; 0 outside of asyncio tasks."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return 0
    return task.cancelling() if task is not None else 0


def raise_if_cancelled(before: int) -> None:
    """Raise CancelledError if the running task was cancelled more often than `before`, and it was swallowed."""
    if cancellations() > before:
        raise asyncio.CancelledError
