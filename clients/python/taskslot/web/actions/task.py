"""Changes of one task: retry, run now, cancel, remove, and what can be set while it waits.

The form says in which state the person saw the task. If it has another one by now, nothing is changed, and the answer
says what has happened to it.
"""

from __future__ import annotations

from typing import Any, cast

from starlette.responses import Response

from ... import commands
from ...commands import SetOptions
from ...replies import TaskView
from ..show.form_values import read_instant
from .change_request import ChangeRequest, change


def found(asked: ChangeRequest) -> tuple[str, str, TaskView | None]:
    """The key, the bare id and the present view of the task."""
    task = asked.name("id")
    seen = asked.lens.get(task)
    if seen is None:
        number, bare = asked.lens.queue.located(task)
        return asked.lens.keys[number], bare, None
    return asked.lens.keys[seen[0]], asked.lens.queue.located(seen[1].id)[1], seen[1]


def has_become(task: TaskView | None) -> str:
    """What has happened to a task in the meantime."""
    if task is None:
        return "It has ended and is not kept, or was removed"
    if task.state == "leased":
        return f"It was claimed meanwhile by {task.worker or 'a worker'}"
    words = {
        "ready": "is ready",
        "dead": "is dead",
        "done": "is done",
        "held": "is held",
        "delayed": "is delayed",
    }
    return f"Meanwhile it {words.get(task.state, f'is {task.state}')}"


def unchanged(asked: ChangeRequest, task: TaskView | None) -> Response:
    """Say what has happened instead."""
    said = f"{has_become(task)}: nothing was changed."
    if task is None:
        return asked.to_queue(f"Task {asked.name('id')}: {said}", "nothing")
    return asked.to_task(task.id, said, "nothing")


def is_as_seen(asked: ChangeRequest, task: TaskView | None) -> bool:
    """Whether the task is in the state in which the person saw it."""
    return task is not None and task.state == asked.fields.get("state", task.state)


def retry(asked: ChangeRequest) -> Response:
    """Make a dead, delayed or held task ready."""
    key, bare, task = found(asked)
    if task is None or not is_as_seen(asked, task):
        return unchanged(asked, task)
    if task.state not in ("dead", "delayed", "held"):
        raise ValueError(f"a task that is {task.state} can't be retried")
    if not asked.lens.run(commands.retry(key, [bare])):
        now = asked.lens.get(task.id)
        if now is not None and now[1].state == "dead" and now[1].unique:
            raise ValueError("another task holds its unique token, so it stays dead")
        return unchanged(asked, now[1] if now else None)
    asked.changed(f"{'retried' if task.state == 'dead' else 'ran now'} task {task.id}")
    said = "Retried: it is at the back of the queue." if task.state == "dead" else "It is ready now."
    return asked.to_task(task.id, said)


def cancel(asked: ChangeRequest) -> Response:
    """Remove a task that waits, or ask the worker of a leased one to stop."""
    key, bare, task = found(asked)
    if task is None or not is_as_seen(asked, task):
        return unchanged(asked, task)
    (answer,) = asked.lens.run(commands.cancel(key, [bare]))
    if not answer:
        now = asked.lens.get(task.id)
        return unchanged(asked, now[1] if now else None)
    asked.changed(f"cancelled task {task.id}{' (asked its worker)' if answer == 2 else ''}")
    if answer == 2:
        was = "" if task.state == "leased" else "It was claimed meanwhile. "
        return asked.to_task(
            task.id, f"{was}Its worker is asked to stop, and learns of it with its next heartbeat."
        )
    return asked.to_queue(f"Cancelled: task {task.id} is removed.", state=task.state)


def remove(asked: ChangeRequest) -> Response:
    """Remove a dead or done task for good."""
    key, bare, task = found(asked)
    if task is None or not is_as_seen(asked, task):
        return unchanged(asked, task)
    if task.state not in ("dead", "done"):
        raise ValueError(f"a task that is {task.state} can't be removed: cancel it")
    if not asked.lens.run(commands.purge_ids(key, [bare])):
        now = asked.lens.get(task.id)
        return unchanged(asked, now[1] if now else None)
    asked.changed(f"removed task {task.id}, which was {task.state}")
    return asked.to_queue(f"Task {task.id} is removed.", state=task.state)


def set_(asked: ChangeRequest) -> Response:
    """Change when a task is due, its priority, group or payload, while it waits."""
    key, bare, task = found(asked)
    if task is None or not is_as_seen(asked, task):
        return unchanged(asked, task)
    options = wanted(asked, task)
    if not options:
        return asked.to_task(task.id, "Nothing to change: all is as it was.")
    (answer,) = asked.lens.run(commands.change(key, [bare], **options))
    if not answer:
        now = asked.lens.get(task.id)
        return unchanged(asked, now[1] if now else None)
    names = {"delay_ms": "due time", "at": "due time"}
    what = ", ".join(names.get(name, name) for name in options)
    asked.changed(f"changed {what} of task {task.id}")
    return asked.to_task(task.id, f"Changed: {what}.")


def wanted(asked: ChangeRequest, task: TaskView) -> SetOptions:
    """What the form changes about a task. Raises ValueError."""
    made: dict[str, Any] = {}
    delay_ms, at = asked.span("delay"), asked.typed("at")
    if delay_ms is not None and at:
        raise ValueError("give either a span or an instant")
    if delay_ms is not None:
        made["delay_ms"] = delay_ms
    if at:
        made["at"] = read_instant(at)
    priority = asked.number("priority", -128, 127)
    if priority is not None and priority != task.priority:
        made["priority"] = priority
    if "group" in asked.fields and asked.typed("group") != (task.group or ""):
        made["group"] = asked.typed("group")
    if (payload := asked.new_payload(task.payload)) is not None:
        made["payload"] = payload
    return cast(SetOptions, made)


routes = [
    change("/do/task/retry", retry),
    change("/do/task/cancel", cancel),
    change("/do/task/remove", remove),
    change("/do/task/set", set_),
]
