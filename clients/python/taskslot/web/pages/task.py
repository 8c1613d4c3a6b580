"""The page of a task: its life so far, its payload, headers, progress and result, and what belongs to it."""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...replies import TaskView
from ...tracebacks import parted
from ..lens import Lens
from ..links import needed, query_of
from ..looked_at import lens_of
from ..payloads import call_in_words, preview, shortened, shown
from ..site import site_of
from ..timeline import timeline

# The tasks that a task waits for are shown up to this number.
MOST_PARENTS = 100
# What can be downloaded as it is.
PARTS = ("payload", "result", "progress")


def page(request: Request) -> Response:
    """A task."""
    lens, (shard, task) = found(request)
    values: dict[str, Any] = {
        "lens": lens,
        "key": lens.name,
        "shards": lens.shards,
        "queue": lens.query,
        "shard": shard,
        "task": task,
        "what": title(task),
        "moments": timeline(task),
        "blocks": [(name, shown(data)) for name in PARTS if (data := getattr(task, name)) is not None],
        "preview": preview,
        "most_parents": MOST_PARENTS,
    }
    return site_of(request).page(request, "task.html", **values)


def found(request: Request) -> tuple[Lens, tuple[int, TaskView]]:
    """The queue and the task that a request is for. Raises a 404 if the task is gone."""
    lens, name = lens_of(request), needed(query_of(request), "id")
    try:
        task = lens.get(name)
    except ValueError:
        task = None
    if task is None:
        if lens.info() is None:
            raise HTTPException(404, "There is no queue of this name any more, and so no such task.")
        gone(request, lens, name)
    return lens, task


def title(task: TaskView) -> str:
    """What a task is, in a line: the call, if it is one."""
    data = task.payload or b""
    return shortened(call_in_words(data) or "", 160) if len(data) < 16_384 else ""


def download(request: Request) -> Response:
    """The payload, the result or the progress as it is, as a file."""
    _, (_, task) = found(request)
    part = query_of(request).get("part", "payload")
    data = getattr(task, part) if part in PARTS else None
    if data is None:
        raise HTTPException(404, "This task has no such part.")
    headers = {"Content-Disposition": f'attachment; filename="{part}"'}
    return Response(data, media_type="application/octet-stream", headers=headers)


def first_line(error: str | None) -> str:
    """What was raised, in a line."""
    return shortened(" ".join(parted(error or "")[0].split()), 160)


routes = [Route("/task", page), Route("/task/part", download)]
