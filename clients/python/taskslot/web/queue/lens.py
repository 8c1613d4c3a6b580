"""What a page looks at: a queue in one key, or all shards of a logical queue. Reads with a bounded number of commands.

Lists are walked from a *place*: a shard and a cursor in it, written `0:128-2`. Each walk ends after some rows, after
some commands, or at the end of the list, and says where to go on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from ... import commands
from ..._sync.sharded import together
from ...aggregate import total
from ...arguments import MOST
from ...commands import Command
from ...replies import BatchInfo, Group, Info, Schedule, Settings, State, TaskView, WorkerView
from .queue_keys import QueueKeys
from .raw_names import read, sendable
from .task_filter import STATES, TaskFilter

R = TypeVar("R")

# An id or a handle, and the longest unique token in bytes.
ID, NAME_BYTES = re.compile(r"\d+-\d+(@\d+-[0-9a-f]+)?"), 256

# Rows of a page of tasks; and of groups and batches, of which the server sends a thousand at a time.
ROWS, NAMED_ROWS = 50, 200
# What one command examines at most, in about a millisecond; and the tasks and the commands of one walk.
EXAMINED_BY_ONE, MOST_EXAMINED, MOST_CALLS = 10_000, 50_000, 64
# The bytes that one command compares with a pattern. Then it stops, so of long tasks it examines fewer.
COMPARED_BY_ONE = 256 * 1024
# The bytes of tasks with their payloads in one page. What comes after them is shown without payload.
PAGE_BYTES = 1024 * 1024
# The shards whose groups and workers a page reads, and those whose counts it adds up.
MOST_SHARDS, MOST_ADDED = 64, 1024


@dataclass(frozen=True)
class Place:
    """Where a walk goes on: the number of a shard, and a cursor or a name there. An empty one is its beginning."""

    shard: int = 0
    cursor: str = ""

    def __str__(self) -> str:
        return f"{self.shard}:{self.cursor}"


def read_place(written: str, shards: int) -> Place:
    """A place as `str` writes it. Raises ValueError."""
    if not written:
        return Place()
    number, colon, cursor = written.partition(":")
    if not colon or not (number.isascii() and number.isdigit()) or int(number) >= max(1, shards):
        raise ValueError("the place in the list is none of this queue: go back to the first page")
    return Place(int(number), cursor)


@dataclass
class Walked(Generic[R]):
    """What a walk found: the rows, each with the number of its shard, and where to go on (None: the end).

    `calls` counts its commands, `examined` the tasks that the server looked at for them, at most. `looked` is how many
    these were about: a reply doesn't say it.
    """

    rows: list[tuple[int, R]] = field(default_factory=list)
    next: Place | None = None
    calls: int = 0
    examined: int = 0
    looked: int = 0


class Lens:
    """One queue, as the page looks at it.

    `wire` sends the commands. Errors are the library's, and the client's if the server is away.
    """

    def __init__(self, wire: Any, queue: QueueKeys) -> None:
        self.wire = wire
        self.queue = queue
        self.name, self.shards, self.keys = queue.name, queue.shards, queue.keys
        # The number of tasks by key and state, as soon as it is known: empty shards are not asked.
        self._infos: dict[str, Info | None] = {}

    def shard(self, number: int) -> Lens:
        """One shard, looked at alone; the queue itself if it has none."""
        return Lens(self.wire, QueueKeys(self.keys[number]))

    def run(self, command: Command[R]) -> R:
        """Send a command."""
        found: R = self.wire.run(sendable(command))
        return found

    def of_all(self, make: Callable[[str], Command[R]], most: int = MOST_SHARDS) -> list[R | None]:
        """Send a reading command to each key. None stands for a key that is no queue, and for a node that is away."""
        if not self.shards:
            return [self.run(make(self.name))]
        found = self.wire.look_at_all([sendable(make(key)) for key in self.keys[:most]])
        if all(one is None for one in found):
            # The first one says what is wrong, if anything is.
            found = [self.run(make(self.keys[0])), *found[1:]]
        return list(found)

    # ---- the queue

    def infos(self) -> Mapping[str, Info | None]:
        """The figures of each key."""
        self._infos = dict(zip(self.keys, self.of_all(commands.info, MOST_ADDED), strict=True))
        return self._infos

    def info(self) -> Info | None:
        """The figures of all shards together; None if there is no such queue."""
        return total([info for info in self.infos().values() if info is not None])

    def settings(self) -> Settings | None:
        """The settings, of shards those of the first that exists."""
        return next((one for one in self.of_all(commands.settings) if one is not None), None)

    def schedules(self) -> list[Schedule]:
        """The schedules, which a logical queue has on shard 0."""
        command = commands.schedules(self.keys[0])
        return self.run(replace(command, read=lambda reply: [read(Schedule, one) for one in reply or []]))

    def workers(self) -> list[WorkerView]:
        """The workers by name, of each shard the first thousand, added up."""
        found: dict[str, WorkerView] = {}
        for of_key in self.of_all(workers):
            for one in of_key or []:
                other = found.get(one.name)
                found[one.name] = together(one, other) if other else one
        return [found[name] for name in sorted(found)]

    def groups(self, place: Place) -> Walked[Group]:
        """Groups by name, shard by shard."""
        return self._walk_named(place, commands.groups, "groups", Group)

    def batches(self, place: Place) -> Walked[BatchInfo]:
        """Batches by name, shard by shard; with the id that the callback has in this queue."""
        walked = self._walk_named(place, commands.batches, "batches", BatchInfo)
        rows = [
            (shard, replace(one, callback=self.queue.id_in(shard, one.callback)))
            for shard, one in walked.rows
        ]
        return replace(walked, rows=rows)

    def _walk_named(self, place: Place, make: Any, name: str, kind: Any) -> Walked[Any]:
        """Walk things that the server lists by name, a thousand of a key at a time."""
        walked: Walked[Any] = Walked()
        shard, after = place.shard, place.cursor
        while len(walked.rows) < NAMED_ROWS and walked.calls < MOST_CALLS:
            command = make(self.keys[shard], after or None)
            found = self.run(
                replace(command, read=lambda reply: [read(kind, one) for one in commands.part(reply, name)])
            )
            walked.calls += 1
            kept = found[: NAMED_ROWS - len(walked.rows)]
            walked.rows += [(shard, one) for one in kept]
            if len(kept) < len(found) or len(found) == MOST:
                after = kept[-1].name
            elif shard + 1 < len(self.keys):
                shard, after = shard + 1, ""
            else:
                return walked
        walked.next = Place(shard, after)
        return walked

    # ---- tasks

    def tasks(self, of: TaskFilter, place: Place, newest: bool = False) -> Walked[TaskView]:
        """Tasks that match, shard by shard, with the ids that they have in this queue. `newest` turns the order."""
        walked: Walked[TaskView] = Walked()
        shard, cursor, bytes_left = place.shard, place.cursor, PAGE_BYTES
        found: list[TaskView]
        while not is_enough(walked):
            examined = self._examined(shard, of.state)
            if examined or cursor:
                # With no bytes left, without payloads.
                command = of.page(
                    *(self.keys[shard], cursor, ROWS - len(walked.rows), bytes_left or PAGE_BYTES),
                    payloads=bytes_left > 0,
                    newest=newest,
                )
                cursor, found = self.run(command)
                walked.calls, walked.examined = walked.calls + 1, walked.examined + examined
                walked.looked += min(examined, self._compared(shard, of))
                walked.rows += [(shard, self.named(shard, view)) for view in found]
                bytes_left -= sum(len(view.payload or b"") + len(view.result or b"") for view in found)
                bytes_left = bytes_left if bytes_left > PAGE_BYTES // 8 else 0
            if cursor in ("", "0"):
                shard, cursor = shard + 1, ""
                if shard == len(self.keys):
                    return walked
        walked.next = Place(shard, cursor)
        return walked

    def _examined(self, shard: int, state: State) -> int:
        """How many tasks a command looks at, at most. 0: the shard was seen to have none in this state."""
        if not self._infos:
            return EXAMINED_BY_ONE
        info = self._infos.get(self.keys[shard])
        if info is None or (self.shards and not getattr(info, state)):
            return 0
        in_all: int = sum(getattr(info, one) for one in searched_for(state))
        return max(1, min(EXAMINED_BY_ONE, in_all))

    def _compared(self, shard: int, of: TaskFilter) -> int:
        """How many tasks of a mean size one command can compare with the pattern."""
        info = self._infos.get(self.keys[shard])
        if info is None or not (of.match or of.header):
            return EXAMINED_BY_ONE
        in_all = sum(getattr(info, one) for one in STATES)
        return COMPARED_BY_ONE * in_all // max(1, info.bytes) or 1

    def get(self, task: str) -> tuple[int, TaskView] | None:
        """A task with the number of its shard, by an id or a handle of this queue. None if there is none.

        Raises ValueError if the id names no shard of this queue.
        """
        shard, bare = self.queue.located(task)
        view = self.run(getting(self.keys[shard], bare))
        return None if view is None else (shard, self.named(shard, view))

    def find(self, text: str) -> list[TaskView]:
        """The tasks with this id, this handle or this unique token. Shards can have tasks of the same bare id."""
        found = (
            self._everywhere("UNIQUE", text)
            if len(text.encode("utf-8", "surrogateescape")) <= NAME_BYTES
            else []
        )
        written = text.strip()
        _, slash, bare = written.rpartition("/")
        if ID.fullmatch(bare) is None:
            return found
        if not slash:
            return found + self._everywhere(bare)
        try:
            one = self.get(written)
        except ValueError:  # there is no such shard
            return found
        return found + ([one[1]] if one else [])

    def _everywhere(self, *name: str) -> list[TaskView]:
        """The tasks of all shards that have this name."""
        found = self.of_all(lambda key: getting(key, *name))
        return [self.named(shard, view) for shard, view in enumerate(found) if view is not None]

    def named(self, shard: int, view: TaskView) -> TaskView:
        """A task of a shard with the ids that its tasks have in this queue."""
        if not self.shards:
            return view
        after, waits_for = (
            tuple(self.queue.id_in(shard, one) for one in ids) for ids in (view.after, view.waits_for)
        )
        return replace(view, id=self.queue.id_in(shard, view.id), after=after, waits_for=waits_for)


def searched_for(state: State) -> tuple[State, ...]:
    """The states of the tasks that the server looks at, at most, for those in a state: leased ones are among others."""
    return STATES if state == "leased" else (state,)


def is_enough(walked: Walked[Any]) -> bool:
    """Whether a walk ends here: the page is full, or it has cost enough."""
    return len(walked.rows) >= ROWS or walked.calls >= MOST_CALLS or walked.examined >= MOST_EXAMINED


def getting(key: str, *task: str) -> Command[TaskView | None]:
    """TASK.GET."""
    command = commands.get(key, *task)
    return replace(command, read=lambda reply: None if reply is None else read(TaskView, reply))


def workers(key: str) -> Command[list[WorkerView]]:
    """TASK.INFO … WORKERS."""
    command = commands.workers(key)
    return replace(
        command, read=lambda reply: [read(WorkerView, one) for one in commands.part(reply, "workers")]
    )
