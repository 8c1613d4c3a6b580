"""Changes of schedules: add one, edit it, run it now, remove it. A logical queue has all of them on its first shard.

A schedule is replaced as a whole. So an edit reads it first, and keeps what the form cannot hold: headers, and payloads
that are long or no text.
"""

from __future__ import annotations

from typing import Any, cast

from starlette.responses import Response

from ... import commands
from ...commands import ScheduleOptions
from ...replies import Schedule
from ...spans import HUNDRED_YEARS_MS
from .change_request import ChangeRequest, change

LONGEST_NAME = 256


def known(asked: ChangeRequest, name: str) -> Schedule | None:
    """A schedule of the queue by its name."""
    return next((one for one in asked.lens.schedules() if one.name == name), None)


def save(asked: ChangeRequest) -> Response:
    """Add a schedule, or replace the one that the link names."""
    name, key = asked.query.get("schedule") or asked.typed("name"), asked.lens.keys[0]
    if not name or len(name.encode("utf-8", "surrogateescape")) > LONGEST_NAME:
        raise ValueError(f"name the schedule, in 1 to {LONGEST_NAME} bytes")
    old = known(asked, name)
    if "schedule" in asked.query and old is None:
        raise ValueError(f"somebody has removed the schedule {name}")
    if "schedule" not in asked.query and old is not None:
        raise ValueError(f"there is a schedule {name}: edit it")
    timing, options, payload = read_timing(asked), read_options(asked, old), read_payload(asked, old)
    catchup = asked.typed("catchup") or (old.catchup if old else "one")
    if catchup not in ("one", "none"):
        raise ValueError("catchup must be one or none")
    every, cron, tz = timing
    asked.lens.run(commands.schedule(key, name, payload, every, cron, tz, catchup, **options))
    asked.changed(f"{'changed' if old else 'added'} schedule {name!r}")
    return asked.back(f"Schedule {name} is {'changed' if old else 'added'}.")


def read_timing(asked: ChangeRequest) -> tuple[int | None, str | None, str | None]:
    """The interval, or the cron expression and its time zone. Raises ValueError."""
    every, cron, tz = asked.span("every"), asked.typed("cron"), asked.typed("tz")
    if (every is None) == (not cron):
        raise ValueError("give either an interval or a cron expression")
    if every is not None and not 100 <= every <= HUNDRED_YEARS_MS:
        raise ValueError("every must be from 100ms to a hundred years")
    if tz and not cron:
        raise ValueError("a time zone goes with a cron expression")
    return every, cron or None, tz or None


def read_options(asked: ChangeRequest, old: Schedule | None) -> ScheduleOptions:
    """The options of the schedule's tasks: those of the form, and those of the old one that the form does not have."""
    made: dict[str, Any] = {
        "priority": asked.number("priority", -128, 127),
        "attempts": asked.number("attempts", -1, 65_535),
        "lease_ms": asked.span("lease"),
        "ttl_ms": asked.span("ttl"),
        "retain_ms": asked.span("retain"),
        "group": asked.typed("group") or None,
    }
    if old is not None and old.headers:
        made["headers"] = old.headers
    if unique := asked.typed("unique"):
        made["unique"] = unique
        made.update(kept_hold(old))
    return cast(ScheduleOptions, {name: value for name, value in made.items() if value is not None})


def kept_hold(old: Schedule | None) -> dict[str, Any]:
    """How long the tasks of the old schedule hold their token."""
    if old is None or not old.unique:
        return {}
    if old.unique_hold == "start":
        return {"until_start": True}
    if old.unique_hold in ("for", "keep"):
        return {"for_ms": old.unique_for, "keep": old.unique_hold == "keep"}
    return {}


def read_payload(asked: ChangeRequest, old: Schedule | None) -> bytes:
    """The payload of the form, or the old one if the form has none. Raises ValueError."""
    if old is None:
        if "payload" not in asked.fields:
            raise ValueError("the payload is missing")
        return asked.payload()
    payload = asked.new_payload(old.payload)
    if payload is None:
        payload = old.payload
    if payload is None:
        raise ValueError("the payload is too long for this page: change the schedule by its program")
    return payload


def run(asked: ChangeRequest) -> Response:
    """Push a task of a schedule now, besides its planned runs."""
    name = asked.name("schedule")
    made = asked.lens.run(commands.run_schedule(asked.lens.keys[0], name))
    task = asked.lens.queue.id_in(0, made)
    asked.changed(f"ran schedule {name!r} now, task {task}")
    return asked.back(f"Schedule {name} has pushed task {task}.")


def remove(asked: ChangeRequest) -> Response:
    """Remove a schedule. The tasks that it has pushed stay."""
    name = asked.name("schedule")
    if not asked.lens.run(commands.unschedule(asked.lens.keys[0], name)):
        return asked.back(f"There is no schedule {name} any more: nothing was changed.", "nothing")
    asked.changed(f"removed schedule {name!r}")
    return asked.back(f"Schedule {name} is removed. Tasks that it has pushed stay.")


routes = [
    change("/do/schedule/save", save),
    change("/do/schedule/run", run),
    change("/do/schedule/remove", remove),
]
