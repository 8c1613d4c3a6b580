"""What every old system has: places that are counted and read in the order in which its workers would take the jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from .job import TYPES, Entry, Job, Left, Place


class Source(Protocol):
    """A queue of an old system. rq.py, bullmq.py and celery.py have one each."""

    @property
    def system(self) -> str:
        """The name of the system in reports: RQ, BullMQ, Celery."""

    @property
    def client(self) -> Any:
        """The client for the old system's server. It returns bytes."""

    @property
    def staging(self) -> str:
        """The key that holds jobs between taking and pushing."""

    def places(self) -> list[Place]:
        """The keys to move, in the order of preference. Raises ValueError if there is no such queue."""

    def jobs(self, place: Place, entries: Sequence[Entry]) -> list[Job | Left | None]:
        """What each entry is. None for one of another queue, or one that is gone."""

    def notes(self, target: str) -> list[str]:
        """What else the queue has that is not moved, a line each."""


def check_types(client: Any, places: Sequence[Place]) -> None:
    """Raise ValueError if the key of a place holds something else."""
    for place in places:
        found = client.type(place.key).decode()
        if found not in ("none", TYPES[place.kind]):
            raise ValueError(
                f"{place.key} holds a {found}, not a {TYPES[place.kind]}: it is not such a queue"
            )


def count(client: Any, place: Place) -> int:
    """How many entries a place has."""
    if place.kind in ("head", "tail"):
        return int(client.llen(place.key))
    return int(client.zcard(place.index or place.key))


def read(client: Any, place: Place, start: int, number: int) -> list[Entry]:
    """Up to `number` entries after the first `start`, the next one first."""
    stop = start + number - 1
    if place.kind == "head":
        return [Entry(one) for one in client.lrange(place.key, start, stop)]
    if place.kind == "tail":
        found = client.lrange(place.key, -stop - 1, -start - 1)
        return [Entry(one) for one in reversed(found)]
    found = client.zrange(place.index or place.key, start, stop, withscores=True)
    scored = [(one, float(score)) for one, score in found]
    if place.kind == "scores" or not scored:
        return [Entry(one, score) for one, score in scored]
    values = client.hmget(place.key, [one for one, _ in scored])
    return [Entry(one, score, value or b"") for (one, score), value in zip(scored, values, strict=True)]


def hashes(client: Any, keys: Sequence[str]) -> list[dict[bytes, bytes]]:
    """The hashes of jobs, in one round trip."""
    with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.hgetall(key)
        return list(pipe.execute())
