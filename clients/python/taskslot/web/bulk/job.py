"""A bulk job as a state machine: it counts what a filter finds, waits for a person's yes, then works in slices.

    counting ──▶ counted ──▶ running ──▶ done
        └───────────┴───────────┴──────▶ stopped, failed

The set of tasks is fixed while it counts: a queue that is filled meanwhile makes no job endless. Nothing here has a
connection or a thread; `bulk_jobs` drives these values.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from ..queue.queue_keys import QueueKeys
from ..queue.task_filter import TaskFilter
from .verbs import Verb, Words, wording

# Tasks that one job can hold. Their ids take about 100 bytes each in this process.
MOST_TASKS = 200_000
# Tasks that one command changes.
SLICE = 500
# Of selected tasks, so many are named in words.
NAMED = 5
# How long a job waits for a person's yes. Its ids are forgotten then.
ANSWER_S = 600.0

Stage = Literal["counting", "counted", "running", "done", "stopped", "failed"]
ENDED: tuple[Stage, ...] = ("done", "stopped", "failed")


@dataclass
class Tally:
    """What became of the tasks of a job.

    `asked` counts leases whose workers are asked to stop, `skipped` tasks that were no longer in their state, and
    `unsure` those of a command whose reply was lost, and which are no longer in their state.
    """

    done: int = 0
    asked: int = 0
    skipped: int = 0
    unsure: int = 0

    @property
    def seen(self) -> int:
        """How many tasks have been dealt with."""
        return self.done + self.asked + self.skipped + self.unsure

    def add(self, other: Tally) -> None:
        """Add the tally of a slice."""
        self.done += other.done
        self.asked += other.asked
        self.skipped += other.skipped
        self.unsure += other.unsure


class WrongStage(ValueError):
    """What was asked of a job does not go with its stage."""


@dataclass
class Job:
    """A bulk action on one queue: what it does to which tasks, how far it is, and who wanted it.

    Threads share a job: those of requests read it and ask it to stop, its own thread changes it.
    """

    queue: QueueKeys
    verb: Verb
    filter: TaskFilter
    who: str
    selected: tuple[str, ...] = ()
    id: str = field(default_factory=lambda: secrets.token_urlsafe(9))
    stage: Stage = "counting"
    looked: int = 0
    total: int = 0
    was_cut: bool = False
    tally: Tally = field(default_factory=Tally)
    error: str = ""
    away_since: float | None = None
    made_at: float = field(default_factory=time.time)
    began: float = field(default_factory=time.monotonic)
    ended_at: float | None = None
    wake: threading.Event = field(default_factory=threading.Event)
    has_counted: threading.Event = field(default_factory=threading.Event)
    _ids: dict[str, dict[str, None]] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def which(self, for_log: bool = False) -> str:
        """Which tasks it is about, as people read it. The log gets nothing of payloads, so no patterns for them."""
        if not self.selected:
            return self.filter.words(for_log)
        more = len(self.selected) - NAMED
        return f"{self.filter.state}, {len(self.selected)} selected: {', '.join(self.selected[:NAMED])}" + (
            f" and {more} more" if more > 0 else ""
        )

    @property
    def words(self) -> Words:
        """How people call what this job does."""
        return wording(self.verb, self.filter.state)

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.stage in ENDED

    @property
    def is_at_work(self) -> bool:
        """Whether it sends commands."""
        return self.stage in ("counting", "running")

    @property
    def percent(self) -> int:
        """How much of the work is done."""
        return 100 if not self.total else min(100, self.tally.seen * 100 // self.total)

    # ---- counting

    def found(self, key: str, looked: int, ids: Sequence[str]) -> bool:
        """Note tasks that match, and how many tasks were looked at for them. Returns whether there is room for more."""
        with self._lock:
            self.looked += looked
            if self.stage != "counting":
                return False
            of_key = self._ids.setdefault(key, {})
            for task_id in ids:
                if task_id in of_key:
                    continue
                if self.total >= MOST_TASKS:
                    self.was_cut = True
                    return False
                of_key[task_id] = None
                self.total += 1
            return True

    def counted(self, total: int | None = None) -> None:
        """End the counting: the set of tasks is fixed now. A purge has no ids, so it passes the `total`."""
        with self._lock:
            self.total = self.total if total is None else total
            if self.stage == "counting":
                self._go("counted" if self.total else "done")

    # ---- a person's yes, or no

    def start(self) -> None:
        """Begin the work. Raises WrongStage unless the job has been counted and has not begun."""
        with self._lock:
            if self.stage != "counted":
                raise WrongStage(f"this job is {self.stage}: it can be started once, when it has counted")
            self._go("running")

    def stop(self) -> bool:
        """Stop the job: what is done stays done. Returns False if it had ended."""
        with self._lock:
            if self.has_ended:
                return False
            self._go("stopped")
            return True

    # ---- work

    def slices(self) -> list[tuple[str, list[str]]]:
        """The keys and ids of all commands that the job has to send."""
        with self._lock:
            return [
                (key, list(ids)[start : start + SLICE])
                for key, ids in self._ids.items()
                for start in range(0, len(ids), SLICE)
            ]

    @property
    def left(self) -> int:
        """How many tasks have not been dealt with."""
        return self.total - self.tally.seen

    def worked(self, tally: Tally) -> None:
        """Note what became of a slice. It counts also if the job was stopped meanwhile."""
        with self._lock:
            self.tally.add(tally)
            self.away_since = None

    def away(self, now: float) -> float:
        """Note that a server does not reply. Returns for how many seconds it has not."""
        with self._lock:
            self.away_since = self.away_since if self.away_since is not None else now
            return now - self.away_since

    def back(self) -> None:
        """Note that the server replies."""
        self.away_since = None

    def finished(self) -> None:
        """Note that there are no more slices."""
        with self._lock:
            if self.stage == "running":
                self._go("done")

    def fail(self, error: str) -> None:
        """Give up, for this reason."""
        with self._lock:
            if not self.has_ended:
                self.error = error
                self._go("failed")

    def _go(self, stage: Stage) -> None:
        self.stage = stage
        if self.has_ended:
            self._ids = {}
            self.away_since = None
            self.ended_at = time.time()
        self.wake.set()
        self.has_counted.set()
