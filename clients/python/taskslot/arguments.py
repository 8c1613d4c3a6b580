"""Checks the arguments of a queue's methods: one task or several, and how long to wait."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from typing import TypeVar

from .replies import Task

Item = TypeVar("Item")

# The server's limit of handles, ids or payloads in one command.
MOST = 1000


def token() -> str:
    """A new REQUEST token."""
    return os.urandom(9).hex()


def handle(task: Task | str) -> str:
    """The handle of a task. A string is returned as it is. Raises TypeError for anything else."""
    if isinstance(task, Task):
        return task.handle
    if not isinstance(task, str):
        # For several tasks the server replies once for each, and this method returns one value.
        what = f"expected one task, handle or id, not {type(task).__name__}"
        raise TypeError(f"{what}: use ack_many and the like for several")
    return task


def identity(task: Task | str) -> str:
    """The id of a task. A string is returned as it is. Raises TypeError for anything else."""
    return task.id if isinstance(task, Task) else handle(task)


def one_name(task: object, unique: str | None) -> None:
    """Raise TypeError unless a task is named in exactly one way: by itself, or by the token that it holds."""
    if (task is None) == (unique is None):
        raise TypeError("expected either a task or unique, the token that it holds")


def several(items: Iterable[Item]) -> list[Item]:
    """The items as a list. Raises TypeError for a single task or string, whose characters would pass for items."""
    if isinstance(items, Task | str | bytes | bytearray | memoryview):
        raise TypeError(f"expected a list, not {type(items).__name__}: this method takes several items")
    return list(items)


def parts(items: Sequence[Item]) -> list[Sequence[Item]]:
    """The items in parts of at most `MOST`, the limit of one command."""
    return [items[start : start + MOST] for start in range(0, len(items), MOST)]


def deadline(block_ms: int) -> float | None:
    """The monotonic time at which a wait ends; None if it has no limit. Raises ValueError if it is negative."""
    if block_ms < 0:
        raise ValueError("block_ms must not be negative: 0 waits without a limit, None does not wait")
    return time.monotonic() + block_ms / 1000 if block_ms else None


def is_over(ends_at: float | None) -> bool:
    """Whether a wait has reached its end; never, if it has no limit (None)."""
    return ends_at is not None and time.monotonic() >= ends_at
