"""The schedules of an app: what its code says, and what has to change on the server so that it is so."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .._sync.base_queue import BaseQueue
from ..commands import ScheduleOptions
from ..replies import Schedule
from .task import AppTask

log = logging.getLogger("taskslot")

Catchup = Literal["none", "one"]

UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


@dataclass(frozen=True, slots=True)
class AppSchedule:
    """A schedule in the code of an app: its name, its function, and when it runs."""

    name: str
    task: AppTask[..., Any]
    every_ms: int | None = None
    cron: str | None = None
    tz: str | None = None
    catchup: Catchup = "one"

    def set_on(self, queue: BaseQueue) -> None:
        """Add or change the schedule of a queue."""
        payload, options = self.wanted()
        queue.schedule(
            *(self.name, payload),
            every_ms=self.every_ms,
            cron=self.cron,
            tz=self.tz,
            catchup=self.catchup,
            **options,
        )

    def wanted(self) -> tuple[bytes, ScheduleOptions]:
        """The payload and the options of its tasks."""
        return self.task.scheduled()

    def is_as(self, there: Schedule) -> bool:
        """Whether a schedule of the server is the same in all that the code says."""
        payload, options = self.wanted()
        own = (self.every_ms, self.cron, self.tz or "UTC", self.catchup, payload)
        its = (there.every, there.cron, there.tz or "UTC", there.catchup, there.payload)
        found = {
            "priority": there.priority,
            "group": there.group,
            "attempts": there.attempts,
            "retain_ms": there.retain,
            "unique": there.unique,
            "lease_ms": there.lease_ms,
            "ttl_ms": there.ttl_ms,
        }
        wanted: dict[str, Any] = {**dict.fromkeys(found), "priority": 0, **options}
        return own == its and found == wanted and not there.headers


@dataclass(frozen=True, slots=True)
class Deployed:
    """What `App.deploy` did: the names of the schedules that it added, changed, removed and left as they were."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)


def reconcile(queue: BaseQueue, prefix: str, wanted: Iterable[AppSchedule], done: Deployed) -> None:
    """Make the schedules of a queue whose names begin with the prefix as they are in the code."""
    there = {one.name: one for one in queue.schedules() if one.name.startswith(prefix)}
    for schedule in wanted:
        found = there.pop(schedule.name, None)
        if found is not None and schedule.is_as(found):
            done.unchanged.append(schedule.name)
            continue
        schedule.set_on(queue)
        (done.added if found is None else done.changed).append(schedule.name)
    for name in there:
        if queue.unschedule(name):
            log.warning(
                "schedule %s of queue %s is removed: it is not in the code of the app", name, queue.name
            )
            done.removed.append(name)


def by_queue(schedules: Iterable[AppSchedule], queues: Iterable[str]) -> Mapping[str, list[AppSchedule]]:
    """The schedules of each queue; none for queues that have none."""
    found: dict[str, list[AppSchedule]] = {name: [] for name in queues}
    for one in schedules:
        found.setdefault(one.task.queue, []).append(one)
    return found


def span_ms(span: int | str) -> int:
    """A span in ms: a number, or a text such as "500ms", "10s", "5m", "2h" or "1d". Raises TypeError and ValueError."""
    if isinstance(span, str):
        if (match := re.fullmatch(r"(\d+)(ms|[smhd])", span)) is None:
            raise ValueError(f'every takes ms, or a text such as "10s", "5m", "2h" or "1d", not {span!r}')
        span = int(match[1]) * UNITS_MS[match[2]]
    if isinstance(span, bool) or not isinstance(span, int):
        raise TypeError(f"every takes ms or a text, not {type(span).__name__}")
    if span < 100:
        raise ValueError(f"every takes at least 100 ms, not {span}")
    return span


def check_cron(expression: str) -> None:
    """Raise ValueError for what can be no cron expression. The server checks the rest."""
    if not isinstance(expression, str) or len(expression.split()) != 5:
        raise ValueError(
            f"cron takes five fields (minute, hour, day of month, month, day of week), not {expression!r}"
        )
