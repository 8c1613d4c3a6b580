"""Dead tasks, grouped by error: of all queues, or of one with the tasks of a group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from ...replies import TaskView
from ..bulk.work import AT_ONCE, BYTES_AT_ONCE
from ..dead.groups import DeadGroup
from ..dead.scans import FURTHEST, NEWEST, DeadScan, scans_of
from ..http.links import number_of, query_of
from ..http.queue_of import lens_of
from ..queue.lens import Lens
from ..queue.queue_keys import QueueKeys
from ..queue.task_filter import TaskFilter
from ..site import Site, site_of

# Queues of the page of all queues, and the newest tasks of each that are looked at.
MOST_QUEUES, NEWEST_OF_EACH = 20, 1000
# Groups that are shown of a queue, and of each queue on the page of all.
MOST_GROUPS, MOST_GROUPS_OF_EACH = 200, 10
# Tasks of a group that are shown, and commands that look for them.
ROWS, MOST_CALLS = 50, 20


@dataclass(frozen=True)
class Found:
    """The dead tasks of one queue as the page shows them."""

    queue: QueueKeys
    scan: DeadScan
    groups: Sequence[DeadGroup]
    more_groups: int


def found(site: Site, queue: QueueKeys, limit: int, most: int, wait_s: float) -> Found:
    """Look at the dead tasks of a queue."""
    scan = scans_of(site).look(queue, limit, wait_s)
    groups = scan.groups.largest_first()
    return Found(queue, scan, groups[:most], max(0, len(groups) - most))


def page(request: Request) -> Response:
    """The groups of a queue, or of all queues."""
    query = query_of(request)
    if "key" not in query:
        return of_all(request)
    if query.get("error"):
        return of_group(request)
    site, lens = site_of(request), lens_of(request)
    limit = number_of(query, "look", NEWEST, 1, FURTHEST)
    one = found(site, lens.queue, limit, MOST_GROUPS, wait_s=1.0)
    return answer(request, "dead.html", queues=[one], only=one, left_out=0, is_at_work=not one.scan.has_ended)


def of_all(request: Request) -> Response:
    """The groups of all queues, those with most dead tasks first."""
    site = site_of(request)
    snapshot = site.sampler.snapshot()
    dead = sorted(
        (row for row in snapshot.rows if row.info.dead), key=lambda row: (-row.info.dead, row.queue)
    )
    looked_at = [snapshot.queue_of(row) for row in dead[:MOST_QUEUES]]
    for queue in looked_at:
        scans_of(site).look(queue, NEWEST_OF_EACH, wait_s=0)
    wait_s = 1 / max(1, len(looked_at))
    queues = [found(site, queue, NEWEST_OF_EACH, MOST_GROUPS_OF_EACH, wait_s) for queue in looked_at]
    return answer(
        request,
        "dead.html",
        queues=queues,
        only=None,
        left_out=len(dead) - len(looked_at),
        is_at_work=any(not one.scan.has_ended for one in queues),
        snapshot=snapshot,
    )


def answer(request: Request, template: str, **values: Any) -> Response:
    """The page, or only its groups for the page's script."""
    site = site_of(request)
    if "part" in query_of(request):
        return HTMLResponse(site.part(request, template, "groups", **values))
    return site.page(request, template, **values)


def of_group(request: Request) -> Response:
    """The newest tasks with one pattern of error."""
    site, lens, query = site_of(request), lens_of(request), query_of(request)
    of = TaskFilter("dead", error=query["error"])
    tasks, looked, is_whole = newest(lens, of)
    return site.page(
        request, "dead_group.html", lens=lens, filter=of, tasks=tasks, looked=looked, is_whole=is_whole
    )


def newest(lens: Lens, of: TaskFilter) -> tuple[list[TaskView], int, bool]:
    """The newest tasks that match, the number that was looked at, and whether those were all."""
    tasks: list[TaskView] = []
    looked = calls = 0
    for number, key in enumerate(lens.keys):
        cursor = ""
        while cursor != "0":
            if calls == MOST_CALLS or len(tasks) >= ROWS:
                return tasks[:ROWS], looked, False
            cursor, read = lens.run(of.page(key, cursor, AT_ONCE, BYTES_AT_ONCE))
            calls, looked = calls + 1, looked + len(read)
            tasks += [lens.named(number, task) for task in read if of.fits(task)]
    return tasks[:ROWS], looked, len(tasks) <= ROWS


routes = [Route("/dead", page)]
