"""Moves jobs: takes them out of the old system a hundred at a time, pushes them, and forgets them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import Queue, ShardedQueue
from ..errors import Refused, TaskslotError, WrongType
from .job import Entry, Job, Left, Place
from .source import Source, check_types, count, read
from .staging import Staged, Staging

# How many jobs are staged at a time. So many are out of the old system's sight if the tool is killed.
STEP = 100


@dataclass
class Tally:
    """What a run did, or what a dry run found."""

    moved: int = 0
    resumed: int = 0  # of these: taken by an earlier run that was interrupted
    places: dict[str, int] = field(default_factory=dict)  # moved, or to be moved, from each key
    left: dict[str, list[str]] = field(default_factory=dict)  # ids by the reason why they stay
    staged: list[str] = field(default_factory=list)  # ids that stay in the staging key, refused by the target

    def leave(self, one: Left) -> None:
        """Note a job that stays."""
        self.left.setdefault(one.reason, []).append(one.id)

    @property
    def left_count(self) -> int:
        """How many jobs stay in the old system."""
        return sum(map(len, self.left.values()))


class Sorter:
    """Tells which entries of a place can be moved. It remembers those that can't, so each is read once."""

    def __init__(self, source: Source, tally: Tally) -> None:
        self.source = source
        self.tally = tally
        self._passed: set[bytes] = set()

    def movable(self, place: Place, entries: Sequence[Entry]) -> list[tuple[Entry, Job]]:
        """The entries that can be moved, as jobs."""
        new = [one for one in entries if one.member not in self._passed]
        found = self.source.jobs(place, new) if new else []
        for entry, one in zip(new, found, strict=True):
            if not isinstance(one, Job):
                self._passed.add(entry.member)
            if isinstance(one, Left):
                self.tally.leave(one)
        return [(entry, one) for entry, one in zip(new, found, strict=True) if isinstance(one, Job)]

    def leave(self, entry: Entry, one: Left) -> None:
        """Note that the target has refused a job, so that it is not tried again."""
        self._passed.add(entry.member)
        self.tally.leave(one)


def look(source: Source, on_read: Callable[[int], None] = lambda n: None, limit: int | None = None) -> Tally:
    """A dry run: read everything and change nothing. `on_read` is called with the number of entries read."""
    tally = Tally()
    sorter = Sorter(source, tally)
    places = source.places()
    check_types(source.client, places)
    tally.resumed = tally.moved = len(Staging(source.client, source.staging).records())
    for place in places:
        start = 0
        tally.places[place.key] = 0
        while entries := read(source.client, place, start, STEP):
            start += len(entries)
            movable = len(sorter.movable(place, entries))
            if limit is not None:
                movable = max(0, min(movable, limit - tally.moved))
            tally.places[place.key] += movable
            tally.moved += movable
            on_read(len(entries))
    return tally


def waiting(source: Source) -> int:
    """How many entries there are to read."""
    places = source.places()
    check_types(source.client, places)
    return sum(count(source.client, place) for place in places)


class Mover:
    """One run. `tally` tells how far it has come, also after an error."""

    def __init__(
        self,
        source: Source,
        target: Queue | ShardedQueue,
        *,
        remember_ms: int,
        limit: int | None = None,
        on_moved: Callable[[int], None] = lambda n: None,
        step: int = STEP,
    ) -> None:
        """Prepare a run; nothing is sent yet.

        `remember_ms`: how long the target remembers what was pushed. A run that is resumed later could push up to
        `step` jobs twice. `limit`: the most jobs to move. `on_moved` is called with the number of jobs of each step.
        """
        self.source = source
        self.target = target
        self.staging = Staging(source.client, source.staging)
        self.tally = Tally()
        self.has_begun = False  # whether jobs can have been taken, so that an error needs a further run
        self._sorter = Sorter(source, self.tally)
        self._remember_ms = remember_ms
        self._limit = limit
        self._on_moved = on_moved
        self._step = step

    def run(self) -> Tally:
        """Move all that can be moved. After an error or a kill, a new run goes on where this one stopped.

        Raises ValueError if a key holds another type or the target is another one than that of an interrupted run, the
        library's errors if the target refuses pushes, and the client's errors if a server is away.
        """
        places = self.source.places()
        check_types(self.source.client, places)
        try:
            self.target.len()  # raises if its server lacks the module, too
        except WrongType:
            raise ValueError(
                f"{self.target.name} is a key of another type: choose another name for the queue"
            ) from None
        self.staging.begin(name_of(self.target))
        self.has_begun = True
        self._resume()
        for place in places:
            self.tally.places[place.key] = 0
        # Workers and producers of the old system shift the entries under us, so look until there is nothing to move.
        while self._room() and sum([self._pass(place) for place in places]):
            pass
        self.staging.end()
        return self.tally

    def _room(self) -> int:
        return self._step if self._limit is None else max(0, min(self._step, self._limit - self.tally.moved))

    def _resume(self) -> None:
        staged = self.staging.records()
        while part := staged[: self._step]:
            staged = staged[self._step :]
            self.tally.resumed += self._push(part)

    def _pass(self, place: Place) -> int:
        """Go through a place once. Returns how many jobs were moved."""
        start = moved = 0
        while self._room() and (entries := read(self.source.client, place, start, self._step)):
            chosen = self._sorter.movable(place, entries)[: self._room()]
            taken = self.staging.take(place, chosen, self.source.system) if chosen else []
            pushed = self._push(taken)
            self.tally.places[place.key] += pushed
            moved += pushed
            start += len(entries) - pushed
        return moved

    def _push(self, staged: Sequence[Staged]) -> int:
        """Push staged jobs, and drop those whose push counted. Returns their number."""
        done: list[Staged] = []
        refused: list[tuple[Staged, Refused]] = []
        rest = list(staged)
        try:
            while rest:
                try:
                    self._push_one(rest[0])
                    done.append(rest[0])
                except Refused as error:
                    refused.append((rest[0], error))
                del rest[0]
        except TaskslotError as error:
            # The target takes no task at all now. What was surely not pushed goes back to the old system.
            self.staging.put_back([one for one in rest[bool(error.is_repeat) :] if one.is_fresh])
            self._refused(refused)
            self._drop(done)
            raise
        self._refused(refused)
        self._drop(done)
        return len(done)

    def _push_one(self, one: Staged) -> None:
        options: dict[str, Any] = one.job.options
        self.target.push(one.job.payload, unique=one.token, for_ms=self._remember_ms, keep=True, **options)

    def _refused(self, refused: Sequence[tuple[Staged, Refused]]) -> None:
        """Jobs that the target will never take go back. Those that can't, stay staged."""
        unsure = [one for one, error in refused if error.is_repeat or not one.is_fresh]
        stay = self.staging.put_back([one for one, _ in refused if one not in unsure]) + unsure
        for one, error in refused:
            reason = Left(one.job.id, f"the target refuses it: {error}")
            if one in stay or one.entry is None:
                self.tally.staged.append(one.job.id)
                self.tally.leave(reason)
            else:
                self._sorter.leave(one.entry, reason)

    def _drop(self, done: Sequence[Staged]) -> None:
        self.staging.drop(done)
        self.tally.moved += len(done)
        if done:
            self._on_moved(len(done))


def name_of(target: Queue | ShardedQueue) -> str:
    """The target as the staging key names it: an interrupted run is finished with the same one."""
    return f"{target.name} ×{len(target.keys)}" if isinstance(target, ShardedQueue) else target.name
