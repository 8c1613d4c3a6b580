"""The schedules of an app: what its code says, and what has to change on the server so that it is so."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .._sync.base_queue import BaseQueue
from ..commands import ScheduleOptions
from ..errors import TaskslotError
from ..replies import Schedule
from ..spans import span_of
from ..tracebacks import described
from ..worker.retries import passes
from .task import AppTask

log = logging.getLogger("taskslot")

Catchup = Literal["none", "one"]


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


class DeployFailed(TaskslotError):
    """Schedules of an app that could not be made as they are in the code; the others were.

    `errors` has the exception for the name of each. `done` is what `App.deploy` returns otherwise.
    """

    def __init__(self, errors: Mapping[str, Exception], done: Deployed) -> None:
        texts = [f"{name}: {described(error)}" for name, error in errors.items()]
        super().__init__(f"can't be deployed: {'; '.join(texts)}")
        self.errors = errors
        self.done = done


@dataclass(frozen=True, slots=True)
class Deployed:
    """What `App.deploy` did: the names of the schedules that it added, changed, removed and left as they were."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)


def reconcile(
    queue: BaseQueue,
    prefix: str,
    wanted: Iterable[AppSchedule],
    done: Deployed,
    errors: dict[str, Exception],
) -> None:
    """Make the schedules of a queue whose names begin with the prefix as they are in the code.

    A schedule that can't be set is noted in `errors`, and the others are set. Raises the error of a server that is
    away.
    """
    there = {one.name: one for one in queue.schedules() if one.name.startswith(prefix)}
    for schedule in wanted:
        found = there.pop(schedule.name, None)
        try:
            if found is not None and schedule.is_as(found):
                done.unchanged.append(schedule.name)
                continue
            schedule.set_on(queue)
        except Exception as error:
            if passes(queue, error):
                raise
            errors[schedule.name] = error
        else:
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
        if (read := span_of(span)) is None:
            raise ValueError(f'every takes ms, or a text such as "10s", "5m", "2h" or "1d", not {span!r}')
        span = read
    if isinstance(span, bool) or not isinstance(span, int):
        raise TypeError(f"every takes ms or a text, not {type(span).__name__}")
    if span < 100:
        raise ValueError(f"every takes at least 100 ms, not {span}")
    return span


# The five fields of a cron expression: their names, their bounds, and their words.
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
FIELDS: tuple[tuple[str, int, int, Mapping[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {"L": 0}),
    ("month", 1, 12, {name: number for number, name in enumerate(MONTHS, 1)}),
    ("day of week", 0, 7, {name: number for number, name in enumerate(WEEKDAYS)}),
)


def check_cron(expression: str) -> None:
    """Raise ValueError for what is no cron expression, as the server reads it. It also knows the dates there are."""
    fields = expression.split() if isinstance(expression, str) else []
    if len(fields) != len(FIELDS):
        raise ValueError(
            f"cron takes five fields (minute, hour, day of month, month, day of week), not {expression!r}"
        )
    for text, (name, low, high, words) in zip(fields, FIELDS, strict=True):
        for item in text.split(","):
            if (why := wrong(item, low, high, words)) is not None:
                raise ValueError(f"cron {expression!r}: {item!r} is no {name}, {why}")


def wrong(item: str, low: int, high: int, words: Mapping[str, int]) -> str | None:
    """Why this is no item of a field: `*`, `a` or `a-b`, of which `*` and `a-b` can have a step; None if it is one."""
    span, slash, step = item.partition("/")
    if slash and not (is_number(step) and 1 <= int(step) <= high):
        return f"because a step is from 1 to {high}"
    if span == "*":
        return None
    numbers = [number_in(one, low, high, words) for one in span.split("-", 1)]
    if None in numbers:
        also = f", or {', '.join(words)}" if words else ""
        return f"which is from {low} to {high}{also}"
    if slash and len(numbers) == 1:
        return f"because only * and a range can have a step: {span}-{high}/{step}"
    first, last = numbers[0], numbers[-1]
    assert first is not None and last is not None
    if last == 0 and high == 7 and first > 0:
        last = 7  # MON-SUN
    if first > last or (first < last and first < low):
        return "because the end of the range comes before its beginning"
    return None


def number_in(text: str, low: int, high: int, words: Mapping[str, int]) -> int | None:
    """A number or a word of a field; None if it is none."""
    if text.upper() in words:
        return words[text.upper()]
    return int(text) if is_number(text) and low <= int(text) <= high else None


def is_number(text: str) -> bool:
    """Whether this is a number of one or two digits."""
    return len(text) <= 2 and text.isascii() and text.isdigit()
