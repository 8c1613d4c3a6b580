"""Changes of a queue: pause and resume, its settings, its groups, and its batches."""

from __future__ import annotations

import re
from dataclasses import fields as fields_of
from typing import cast

from starlette.responses import Response

from ... import commands
from ...commands import Direction
from ...replies import Settings
from ...spans import HUNDRED_YEARS_MS
from ..queue.settings import SETTINGS
from .change_request import ChangeRequest, change

DIRECTIONS = {"out": "claims", "in": "pushes", "all": "claims and pushes"}


def direction(asked: ChangeRequest) -> Direction:
    """What is paused or resumed. Raises ValueError."""
    way = asked.fields.get("way", "out")
    if way not in DIRECTIONS:
        raise ValueError(f"choose what to pause: {', '.join(DIRECTIONS.values())}")
    return cast(Direction, way)


def for_ms(asked: ChangeRequest) -> int | None:
    """For how long; None until somebody resumes it."""
    span = asked.span("for")
    if span is not None and not 1 <= span <= HUNDRED_YEARS_MS:
        raise ValueError("for must be from 1ms to a hundred years, or empty")
    return span


def until(asked: ChangeRequest) -> str:
    """How long a pause lasts, in words."""
    return f"for {asked.typed('for')}" if asked.typed("for") else "until somebody resumes it"


def pause(asked: ChangeRequest) -> Response:
    """Stop claims, pushes or both."""
    way, span = direction(asked), for_ms(asked)
    asked.run(lambda key: commands.pause(key, way, span))
    asked.changed(f"paused {DIRECTIONS[way]} {until(asked)}")
    return asked.back(f"Paused: {DIRECTIONS[way]}, {until(asked)}.")


def resume(asked: ChangeRequest) -> Response:
    """Allow again what was paused."""
    way = direction(asked)
    asked.run(lambda key: commands.resume(key, way))
    asked.changed(f"resumed {DIRECTIONS[way]}")
    return asked.back(f"Resumed: {DIRECTIONS[way]}.")


# ---- groups: each is in one key, which the link names


def pause_group(asked: ChangeRequest) -> Response:
    """Stop the claims of a group."""
    group, span = asked.name("group"), for_ms(asked)
    asked.lens.run(commands.pause_group(only_key(asked), group, span))
    asked.changed(f"paused group {group!r} {until(asked)}")
    return asked.back(f"Group {group} is paused, {until(asked)}.")


def resume_group(asked: ChangeRequest) -> Response:
    """Allow the claims of a group again."""
    group = asked.name("group")
    asked.lens.run(commands.resume_group(only_key(asked), group))
    asked.changed(f"resumed group {group!r}")
    return asked.back(f"Group {group} goes on.")


def set_group(asked: ChangeRequest) -> Response:
    """Set the weight and the limits of a group. Fields that are empty keep their values."""
    group = asked.query.get("group") or asked.typed("group")
    if not group:
        raise ValueError("name the group")
    weight = asked.number("weight", 1, 1_000_000)
    concurrency = asked.number("concurrency", -1)
    rate, per = asked.number("rate", -1, 1_000_000), asked.span("per")
    if per is not None and rate is None:
        raise ValueError("give the rate together with its span")
    ordered = {"yes": True, "no": False}.get(asked.typed("ordered"))
    values = (weight, concurrency, rate, per, ordered)
    if all(value is None for value in values):
        raise ValueError("nothing to change: give at least one value")
    asked.lens.run(commands.set_group(only_key(asked), group, *values))
    given = zip(("weight", "concurrency", "rate", "per_ms", "ordered"), values, strict=True)
    what = ", ".join(f"{name} {value}" for name, value in given if value is not None)
    asked.changed(f"set {what} of group {group!r}")
    return asked.back(f"Group {group}: {what}.")


def forget_group(asked: ChangeRequest) -> Response:
    """Remove the weight and limits of a group."""
    group = asked.name("group")
    had = asked.lens.run(commands.forget_group(only_key(asked), group))
    if not had:
        return asked.back(
            f"Group {group} had no weight or limits of its own: nothing was changed.", "nothing"
        )
    asked.changed(f"removed the limits of group {group!r}")
    return asked.back(f"Group {group} has the queue's limits now.")


def only_key(asked: ChangeRequest) -> str:
    """The key of what is in one key. Raises ValueError for a link that names a logical queue."""
    if len(asked.lens.keys) > 1:
        raise ValueError("this is in one shard of the queue: go there first")
    return asked.lens.keys[0]


# ---- settings


def configure(asked: ChangeRequest) -> Response:
    """Change the settings that the person has changed in the form. Others may have changed the rest meanwhile."""
    values: dict[str, str | int] = {}
    for setting in SETTINGS:
        text = asked.typed(setting.attribute)
        if not text or text == asked.typed(f"was.{setting.attribute}"):
            continue
        values[setting.attribute] = read_setting(setting.name, text)
    if not values:
        return asked.back("Nothing to change: all settings are as they were.")
    asked.run(lambda key: commands.configure(key, values))
    what = ", ".join(f"{name.replace('_', '-')} {value}" for name, value in values.items())
    asked.changed(f"set {what}")
    return asked.back(f"Set: {what}.")


def read_setting(name: str, text: str) -> str | int:
    """The value of a setting. Its bounds are the server's, which changes all settings of a command or none."""
    if name == "backoff":
        return text
    if not re.fullmatch(r"-?[0-9]{1,17}", text):
        raise ValueError(f"{name} must be a whole number")
    return int(text)


def reset(asked: ChangeRequest) -> Response:
    """Give a setting its default, or all of them."""
    name = asked.query.get("setting", "")
    known = {item.name for item in fields_of(Settings)} - {"more"}
    if name and name.replace("-", "_") not in known:
        raise ValueError("there is no such setting")
    asked.run(lambda key: commands.reset(key, [name] if name else []))
    what = name or "all settings"
    asked.changed(f"reset {what}")
    return asked.back(f"{what} {'has its default' if name else 'have their defaults'} now.")


# ---- batches


def close_batch(asked: ChangeRequest) -> Response:
    """Close a batch, so that its callback runs once its tasks have ended."""
    name = asked.name("batch")
    if not asked.lens.run(commands.close_batch(only_key(asked), name)):
        return asked.back(f"Batch {name} was closed before: nothing was changed.", "nothing")
    asked.changed(f"closed batch {name!r}")
    return asked.back(f"Batch {name} is closed: its callback runs once all its tasks have ended.")


def delete_batch(asked: ChangeRequest) -> Response:
    """Remove a batch and its callback. Its tasks go on."""
    name = asked.name("batch")
    answer = asked.lens.run(commands.delete_batch(only_key(asked), name))
    if answer is None:
        return asked.back(f"There is no batch {name} any more: nothing was changed.", "nothing")
    asked.changed(f"removed batch {name!r}")
    said = {
        "removed": "and its callback are removed",
        "asked": "has a callback at work, whose worker is asked to stop",
    }
    return asked.back(f"Batch {name} {said[answer]}.")


routes = [
    change("/do/queue/pause", pause),
    change("/do/queue/resume", resume),
    change("/do/group/pause", pause_group),
    change("/do/group/resume", resume_group),
    change("/do/group/set", set_group),
    change("/do/group/forget", forget_group),
    change("/do/settings/set", configure),
    change("/do/settings/reset", reset),
    change("/do/batch/close", close_batch),
    change("/do/batch/delete", delete_batch),
]
