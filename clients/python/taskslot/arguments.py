"""What callers give to the methods of a queue: one task or several, and how long to wait."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from typing import TypeVar

from .replies import Task

Item = TypeVar("Item")

# The most handles, ids or payloads that one command takes.
MOST = 1000


def token() -> str:
    """A new REQUEST token."""
    return os.urandom(9).hex()


def handle(task: Task | str) -> str:
    """The handle of a task, or what was given in its place. Raises TypeError for what is not one task."""
    if isinstance(task, Task):
        return task.handle
    if not isinstance(task, str):
        # For several tasks the server replies once for each, and this method returns one value.
        what = f"expected one task, handle or id, not {type(task).__name__}"
        raise TypeError(f"{what}: use ack_many and the like for several")
    return task


def identity(task: Task | str) -> str:
    """The id of a task, or what was given in its place."""
    return task.id if isinstance(task, Task) else handle(task)


def several(items: Iterable[Item]) -> list[Item]:
    """Payloads, tasks or ids, and not one: the letters of a text could be taken for many."""
    if isinstance(items, Task | str | bytes | bytearray | memoryview):
        raise TypeError(f"expected a list, not {type(items).__name__}: this method takes several items")
    return list(items)


def parts(items: Sequence[Item]) -> list[Sequence[Item]]:
    """The items in parts that one command takes."""
    return [items[start : start + MOST] for start in range(0, len(items), MOST)]


def deadline(block_ms: int) -> float | None:
    """When a wait ends, as a monotonic time; None for never. Raises ValueError for one that is over already."""
    if block_ms < 0:
        raise ValueError("block_ms must not be negative: 0 waits without a limit, None does not wait")
    return time.monotonic() + block_ms / 1000 if block_ms else None


def is_over(ends_at: float | None) -> bool:
    """Whether the time of a wait is over."""
    return ends_at is not None and time.monotonic() >= ends_at
