"""What a bulk job sends to the server: the pages that it counts, and the commands that change its tasks, in slices.

A slice checks first that its dead tasks are still dead: `TASK.RETRY` and `TASK.PURGE … IDS` would also act on a task
that somebody has retried in the meantime. What is removed must also have been in its state since the job was made.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, TypeVar

from ... import commands
from ..._sync.wire import Wire
from ...clients import AS_BYTES, Client
from ...commands import Command
from ...errors import Refused
from ...replies import text
from ..dead.patterns import pattern
from ..queue.raw_names import name_of, sendable
from .job import SLICE, Job, Tally

R = TypeVar("R")

# What one command reads. Errors are up to 4 KiB each, and are part of a reply also without payloads.
AT_ONCE, BYTES_AT_ONCE = 500, 1024 * 1024
# How many tasks one PURGE with OLDER examines. A search can find none in so many and still not be at its end.
EXAMINED = 10_000
# The reply to a command that would hold the server up, which changed nothing.
TOO_MANY_WAITS = "wait for more than"


class Work:
    """The commands of one job, on connections of its own that report when they are lost."""

    def __init__(self, wire: Wire, looking: Client, job: Job) -> None:
        self.wire = wire
        self.looking = looking
        self.job = job

    def run(self, command: Command[R]) -> R:
        """Send a command once. A lost connection raises an error."""
        return self.wire.wait(sendable(command))

    # ---- counting

    def count(self) -> Iterator[None]:
        """Find the tasks of the job, with one command for each step."""
        job = self.job
        if job.verb == "purge":
            total = 0
            for key in job.queue.keys:
                total += self.run(commands.length(key, job.filter.state))
                yield
            job.counted(total)
            return
        for key in job.queue.keys:
            cursor = ""
            while cursor != "0":
                cursor, tasks = self.run(job.filter.page(key, cursor, AT_ONCE, BYTES_AT_ONCE))
                if not job.found(key, len(tasks), [task.id for task in tasks if job.filter.fits(task)]):
                    break
                yield
        job.counted()

    # ---- changing

    def change(self, key: str, ids: list[str], in_doubt: bool) -> Tally:
        """Send the command for one slice. With `in_doubt` it has been sent before, and its reply was lost."""
        job, fresh = self.job, ids
        if job.filter.state == "dead":
            fresh = self.still_dead(key, ids)
        tally = Tally()
        if fresh:
            self.send(key, fresh, tally)
        missing = len(ids) - tally.seen
        if in_doubt:
            tally.unsure += missing
        else:
            tally.skipped += missing
        return tally

    def send(self, key: str, ids: list[str], tally: Tally) -> None:
        """Change these tasks, in halves if the server says that they are too much work at once."""
        try:
            if self.job.verb == "cancel":
                answers = self.run(commands.cancel(key, ids))
                tally.done += answers.count(1)
                tally.asked += answers.count(2)
            elif self.job.verb == "remove":
                tally.done += self.run(commands.purge_ids(key, ids, self.age_ms()))
            else:
                tally.done += self.run(commands.retry(key, ids))
        except Refused as error:
            if TOO_MANY_WAITS not in str(error) or len(ids) == 1:
                raise
            middle = len(ids) // 2
            self.send(key, ids[:middle], tally)
            self.send(key, ids[middle:], tally)

    def age_ms(self) -> int:
        """How long ago the job was made: what it removes has been in its state for at least so long."""
        return max(0, int((time.monotonic() - self.job.began) * 1000))

    def still_dead(self, key: str, ids: list[str]) -> list[str]:
        """Those of these tasks that are dead now, with the error that the job is about."""
        pipeline = self.looking.bulk_for("")
        for task_id in ids:
            pipeline.execute_command(*sendable(ended(key, task_id)).words, **AS_BYTES)
        wanted, dead = self.job.filter.error, []
        for task_id, reply in zip(ids, pipeline.execute(raise_on_error=False), strict=True):
            if isinstance(reply, Exception):
                raise self.looking.meaning(reply) or reply
            state, error = read_ended(reply)
            if state == "dead" and (not wanted or pattern(error) == wanted):
                dead.append(task_id)
        return dead

    # ---- purging

    def purge(self, in_doubt: bool) -> Iterator[None]:
        """Empty a state of all tasks that were in it when the job was made, with one command for each step.

        With `in_doubt`, a reply was lost before: what is missing may have been removed then.
        """
        job = self.job
        for key in job.queue.keys:
            in_vain = 0
            while job.left > 0:
                most, age_ms = min(SLICE, job.left), self.age_ms()
                found = self.run(commands.purge(key, job.filter.state, most, age_ms))
                job.worked(Tally(done=found))
                yield
                in_vain = 0 if found else in_vain + 1
                if in_vain and in_vain > self.run(commands.length(key, None)) // EXAMINED:
                    break
        if job.left > 0 and not job.has_ended:
            job.worked(Tally(unsure=job.left) if in_doubt else Tally(skipped=job.left))


def ended(key: str, task_id: str) -> Command[tuple[str, str]]:
    """How a task ended, in two texts: its state and its error, both empty if it has not ended or is gone."""
    return Command(("TASK.RESULT", key, task_id), read_ended)


def read_ended(reply: Any) -> tuple[str, str]:
    """Read the reply of TASK.RESULT, which is nil, 0, or a state and a text."""
    if not isinstance(reply, (list, tuple)):
        return "", ""
    return text(reply[0]), name_of(reply[1]) if reply[1] is not None else ""
