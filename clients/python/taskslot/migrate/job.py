"""The jobs of an old system: where they wait, and what becomes of them in taskslot."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

# How a place holds its jobs: in a list whose next job is the first or the last, in a sorted set, or in a hash with a
# sorted set beside it, as Celery's `unacked`.
Kind = Literal["head", "tail", "scores", "unacked"]

# The type of the key of a place, as TYPE says it.
TYPES: dict[Kind, str] = {"head": "list", "tail": "list", "scores": "zset", "unacked": "hash"}


@dataclass(frozen=True)
class Place:
    """A key of the old system in which jobs wait. `index` is the sorted set beside an `unacked` hash."""

    key: str
    kind: Kind
    index: str = ""


@dataclass(frozen=True)
class Entry:
    """One element of a place: an id or a whole message, and its score where there is one."""

    member: bytes
    score: float = 0.0
    value: bytes = b""  # of a hash


@dataclass(frozen=True)
class Job:
    """A job that can be moved: the payload and the options of its push, and where the old system keeps its body."""

    id: str
    payload: str
    options: dict[str, Any] = field(default_factory=dict)
    body_key: str = ""  # the hash of the job, unless the place itself holds the message
    # The SHA-1 of the hash's `data` as it was read: if it has changed since, the job is read again.
    witness: str = ""
    # Keys that belong to the job alone, removed with it; and a key that is removed if it names the job.
    beside: tuple[str, ...] = ()
    pointer: str = ""


@dataclass(frozen=True)
class Left:
    """A job that stays in the old system, and why."""

    id: str
    reason: str


def renamed(names: dict[str, str], name: str) -> str:
    """The name of a task in taskslot, as the user maps them."""
    return names.get(name, name)


def origin(system: str, job_id: str) -> dict[str, str]:
    """The header that tells where a task came from."""
    return {"migrated-from": f"{system}:{job_id[:500]}"}
