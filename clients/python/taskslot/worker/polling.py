"""Claims from several sources that no single command reaches: the preferred ones first, and none waits for another.

A queue that the server refuses (a key of another type, a missing right) is looked at again now and then, and the worker
goes on with the others. If all are refused, the claim raises the error.

A look asks each source in order of preference, without waiting, until the free places are full. So a source that is
busy is preferred, and one that is empty holds up no other. If a look finds nothing, the worker waits in the first
source, for a span that grows while all of them are empty, and then looks again. A task of the first source is claimed
at once, and one of another within that span.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..arguments import token
from ..commands import ClaimOptions
from ..replies import Task
from ..tracebacks import described
from .places import Places
from .retries import log_retry, passes, rests
from .sources import Source

log = logging.getLogger("taskslot")

# The shortest and the longest wait between two looks, and how it grows.
WAITS_MS = (10.0, 200.0)
GROWS = 1.25


@dataclass
class Polled:
    """A source, the token of its next claim, and when it is asked again if its server is away or refuses it."""

    source: Source
    request: str = field(default_factory=token)
    asked_at: float | None = None  # when a claim with this token was sent first
    away_until: float = 0.0
    rests: Iterator[float] = field(default_factory=rests)
    is_refused: bool = False

    def rest(self) -> None:
        """Ask it again after a while, which is longer each time."""
        self.away_until = time.monotonic() + next(self.rests)

    def answered(self) -> None:
        """Note that the server has replied, so that the next claim is a new one."""
        self.request, self.asked_at = token(), None
        if self.is_refused:
            log.warning("claims of %s are accepted again", self.source.name)
        if self.away_until:
            self.away_until, self.rests, self.is_refused = 0.0, rests(), False


@dataclass
class Found:
    """What a claim has found, and when the first copy of the claim was sent, as a monotonic time."""

    tasks: list[Task]
    asked_at: float


class Polling:
    """Claims from sources in order of preference. Each is reached over connections of its own, without patience."""

    def __init__(self, sources: Sequence[Source], places: Places) -> None:
        self.sources = [source.apart(patience_ms=0) for source in sources]
        self._polled = [Polled(source) for source in self.sources]
        self._places = places
        self._wait_ms = WAITS_MS[0]

    def claim(self, count: int, options: ClaimOptions) -> Found:
        """Claim for `count` places. Returns nothing if there was nothing to claim for a while.

        It can be more than `count` tasks: those of an earlier claim whose reply was lost.
        """
        found = self._look(count, options)
        if found.tasks:
            self._wait_ms = WAITS_MS[0]
            return found
        if (first := next((one for one in self._polled if self._is_there(one)), None)) is None:
            self._rest()
            return found
        wait_ms = max(1, round(self._wait_ms * random.uniform(0.8, 1.0)))
        self._wait_ms = min(WAITS_MS[1], self._wait_ms * GROWS)
        self._ask(first, count, wait_ms, options, found)
        return found

    def _look(self, count: int, options: ClaimOptions) -> Found:
        found = Found([], time.monotonic())
        for one in list(self._polled):
            left = count - len(found.tasks)
            if left <= 0:
                break
            if self._is_there(one):
                self._ask(one, left, None, options, found)
        return found

    def _ask(self, one: Polled, count: int, wait_ms: int | None, options: ClaimOptions, found: Found) -> None:
        """Claim from a source, and add the tasks to what is found."""
        one.asked_at = one.asked_at or time.monotonic()
        try:
            tasks = one.source.look(count, wait_ms, one.request, options)
        except Exception as error:
            if passes(one.source.queue, error):
                log_retry(error, f"claim of {one.source.name} failed")
                one.rest()
            elif one.source.also:
                self._part(one)
            else:
                self._refused(one, error, found)
            return
        if tasks:
            found.tasks += tasks
            found.asked_at = min(found.asked_at, one.asked_at)
        one.answered()

    def _part(self, one: Polled) -> None:
        """Ask the queues of a source one by one from now on, to learn which of them is refused."""
        at = self._polled.index(one)
        self._polled[at : at + 1] = [Polled(single) for single in one.source.singles()]

    def _refused(self, one: Polled, error: Exception, found: Found) -> None:
        """Go on without a source for a while. Raises the error if no other is left."""
        was_refused, one.is_refused = one.is_refused, True
        one.rest()
        # Leases of what is found run already; the error comes again with a later look.
        if not found.tasks and all(other.is_refused for other in self._polled):
            raise error
        if not was_refused:
            log.error(
                "claims of %s are refused, trying again now and then: %s", one.source.name, described(error)
            )

    def _is_there(self, one: Polled) -> bool:
        return one.away_until <= time.monotonic()

    def _rest(self) -> None:
        """If all servers are away, sleep until the first of them is asked again."""
        self._places.rest(max(0.0, min(one.away_until for one in self._polled) - time.monotonic()))
