"""Which calls a takeover may have undone, from what was seen of the nodes. Pure functions.

A primary acknowledges a write before its replicas have it. If one of them takes over, the writes after the last one
that it had are gone, and so is everything that the old primary acknowledges until it is demoted.

Each node counts the bytes of its replication stream, and a promoted one says at which byte its own history began. So
the window begins when the old primary was last seen at or before that byte, and ends when it was seen as a replica.
While it was down, or while its count did not grow for long, it acknowledged nothing: these spans are no part of the
window.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

Span = tuple[float, float]

# A primary that refuses writes is quiet for longer than this, in seconds. In a shorter silence it may repeat an answer
# (REQUEST) to a call that it carried out before, and that is undone like the first one.
QUIET_S = 1.0


@dataclass(frozen=True)
class Sample:
    """What a node said of itself (INFO replication), between two instants."""

    asked: float
    answered: float
    is_primary: bool
    # The name of its history, and how many bytes of it the node has.
    history: str
    offset: int
    # The history of which it was a replica before it was promoted, and how many bytes of that it had.
    before: str = ""
    taken: int = -1


@dataclass(frozen=True)
class Takeover:
    """A replica that became a primary, and the one it took the place of."""

    old: int
    new: int
    # The history of the old one, and how many bytes of it the new one has.
    history: str
    taken: int
    # When the new one was first seen as a primary, and the old one, after that, as a replica; infinite if not yet.
    promoted: float
    demoted: float


def takeovers(seen: Mapping[int, Sequence[Sample]], since: float) -> list[Takeover]:
    """The promotions that were seen after `since`, in their order, whose old primary is known."""
    found = []
    for new, samples in seen.items():
        for was, is_now in zip(samples, samples[1:], strict=False):
            if was.is_primary or not is_now.is_primary or is_now.answered < since:
                continue
            old = primary_of(seen, is_now.before, new)
            if old is not None:
                demoted = demotion(seen[old], is_now.asked)
                found.append(Takeover(old, new, is_now.before, is_now.taken, is_now.answered, demoted))
    return sorted(found, key=lambda takeover: takeover.promoted)


def primary_of(seen: Mapping[int, Sequence[Sample]], history: str, apart_from: int) -> int | None:
    """The node that was the primary of this history."""
    for node, samples in seen.items():
        if node != apart_from and any(s.is_primary and s.history == history for s in samples):
            return node
    return None


def demotion(samples: Iterable[Sample], since: float) -> float:
    """When a node was first seen as a replica after this instant; infinite if it was not."""
    return next((s.answered for s in samples if s.asked >= since and not s.is_primary), math.inf)


def undone(takeover: Takeover, old: Sequence[Sample], down: Iterable[Span] = ()) -> list[Span]:
    """The spans in which calls may have been undone by a takeover, in their order.

    `old` are the samples of the old primary, and `down` the spans in which it was killed or stopped.
    """
    reign = [s for s in old if s.is_primary and s.history == takeover.history]
    begins = max((s.asked for s in reign if s.offset <= takeover.taken), default=-math.inf)
    return without((begins, takeover.demoted), [*down, *quiet(reign)])


def quiet(samples: Iterable[Sample]) -> list[Span]:
    """The spans in which a node's count did not grow for long, so that it acknowledged no change."""
    runs = [list(run) for _, run in groupby(samples, lambda s: s.offset)]
    return [(run[0].answered, run[-1].asked) for run in runs if run[-1].asked - run[0].answered > QUIET_S]


def without(whole: Span, parts: Iterable[Span]) -> list[Span]:
    """What remains of a span without these parts of it."""
    left, at = [], whole[0]
    for begin, end in sorted(parts):
        if begin > at and at < whole[1]:
            left.append((at, min(begin, whole[1])))
        at = max(at, end)
    if at < whole[1]:
        left.append((at, whole[1]))
    return left
