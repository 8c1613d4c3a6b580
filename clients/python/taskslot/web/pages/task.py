"""The page of a task: its life so far, its payload, headers, progress and result, and what belongs to it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from threading import BoundedSemaphore
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...errors import Refused
from ...figures import plural
from ...printable import shortened
from ...replies import TaskView
from ..http.links import needed, query_of
from ..http.queue_of import gone, lens_of, shared
from ..queue.lens import Lens
from ..show.payloads import call_in_words, preview, shown
from ..show.timeline import timeline
from ..site import site_of

# The tasks that a task waits for are shown up to this number.
MOST_PARENTS = 100
# What can be downloaded as it is.
PARTS = ("payload", "result", "progress")
# A task is read whole, and its payload can have many megabytes. So this many are read at a time.
READ_AT_ONCE = 4


def one_of_few(endpoint: Callable[[Request], Response]) -> Callable[[Request], Response]:
    """An endpoint that waits until less than `READ_AT_ONCE` tasks are being read."""

    @wraps(endpoint)
    def waiting(request: Request) -> Response:
        with site_of(request).kept("readers of tasks", lambda: BoundedSemaphore(READ_AT_ONCE)):
            return endpoint(request)

    return waiting


@one_of_few
def page(request: Request) -> Response:
    """A task."""
    lens = lens_of(request)
    found = find(request, lens)
    if found is None:
        return not_there(request, lens)
    shard, task = found
    moments = timeline(task)
    values: dict[str, Any] = {
        **shared(request, lens),
        "shard": shard,
        "task": task,
        "what": title(task),
        "claims": claims(task),
        "ended": ended(task),
        "moments": moments,
        "open_trace": max((number for number, one in enumerate(moments) if one.trace), default=-1),
        "blocks": [(name, shown(data)) for name in PARTS if (data := getattr(task, name)) is not None],
        "preview": preview,
        "most_parents": MOST_PARENTS,
    }
    return site_of(request).page(request, "task.html", **values)


def find(request: Request, lens: Lens) -> tuple[int, TaskView] | None:
    """The task that a request is for, with its shard; None if it is gone."""
    try:
        return lens.get(needed(query_of(request), "id"))
    except ValueError:
        return None
    except Refused as error:
        if "invalid task id" in str(error):
            return None
        raise


def not_there(request: Request, lens: Lens) -> Response:
    """What is said of a task that is gone."""
    if lens.info() is None:
        return gone(
            request,
            None,
            "The queue is gone",
            "There is no queue of this name any more, and so no such task.",
        )
    text = "There is no such task. It has ended and was not kept, it was removed, or the id is wrong."
    return gone(request, lens, "The task is gone", text)


def title(task: TaskView) -> str:
    """What a task is, in a line: the call, if it is one."""
    data = task.payload or b""
    return shortened(call_in_words(data) or "", 160) if len(data) < 16_384 else ""


def claims(task: TaskView) -> str:
    """How often a task was claimed, and how often that went wrong."""
    times = (
        "never" if not task.deliveries else "once" if task.deliveries == 1 else f"{task.deliveries:,} times"
    )
    most = f" of {task.attempts:,}" if task.attempts is not None and task.attempts >= 0 else ""
    return f"{times}; {plural(task.failures, 'failure')}{most}, {plural(task.stalls, 'stall')}"


def ended(task: TaskView) -> str:
    """How the tasks of the batch ended whose callback this is: `40 done, 2 dead`."""
    counts = task.counts._asdict() if task.counts is not None else {}
    return ", ".join(f"{number:,} {name}" for name, number in counts.items() if number and name != "tasks")


@one_of_few
def download(request: Request) -> Response:
    """The payload, the result or the progress as it is, as a file."""
    lens = lens_of(request)
    found, part = find(request, lens), query_of(request).get("part", "payload")
    if found is None:
        return not_there(request, lens)
    data = getattr(found[1], part) if part in PARTS else None
    if data is None:
        raise HTTPException(404, "This task has no such part.")
    headers = {"Content-Disposition": f'attachment; filename="{part}"'}
    return Response(data, media_type="application/octet-stream", headers=headers)


routes = [Route("/task", page), Route("/task/part", download)]
