"""Server-sent events: each open page gets the parts of its HTML that have changed.

An event has the part's name, its data is the HTML. It is made once for all viewers who look at the same. A part can
also be `Rows`: then the data is JSON, with the order of the rows and the HTML of those that have changed.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, cast
from weakref import WeakSet

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..http.links import links_of, query_of
from ..http.rights import csrf_of
from ..site import Part, Site, View, site_of, visitor_of
from .sampler import Snapshot

# The most pages that are kept up to date at a time, and the most views of a snapshot whose HTML is kept.
MOST_VIEWERS, MOST_VIEWS = 500, 64
# How long an open page has to end when the server stops. The server waits twice as long.
GRACE_S = 1.0


@dataclass
class Parts:
    """The HTML of the views of one snapshot."""

    number: int = -1
    made: OrderedDict[tuple[Any, ...], dict[str, Part]] = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, request: Request, view: View, snapshot: Snapshot) -> dict[str, Part]:
        """The parts of a view, made by the first who asks for them. Who may change things has forms of their own."""
        visitor = visitor_of(request)
        own = csrf_of(request) if visitor.may_write else ""
        like = (request.scope["query_string"], links_of(request).root, own)
        with self.lock:
            if snapshot.number != self.number:
                self.number, self.made = snapshot.number, OrderedDict()
            if like not in self.made:
                status = site_of(request).part(request, "status.html", "status", snapshot=snapshot)
                self.made[like] = {"status": status, **view(request, snapshot)}
                while len(self.made) > MOST_VIEWS:
                    self.made.popitem(last=False)
            return self.made[like]


@dataclass(eq=False)
class Viewer:
    """An open page. sse-starlette calls `set` when the server stops."""

    changed: asyncio.Event = field(default_factory=asyncio.Event)
    is_over: bool = False

    def set(self) -> None:
        """End the stream, instead of being cut off in the middle of an answer."""
        self.is_over = True
        self.changed.set()


async def live(request: Request) -> Response:
    """The changes of a view for as long as its page is open."""
    site = site_of(request)
    view = site.views.get(query_of(request).get("view", ""))
    if view is None:
        raise HTTPException(404, "There is no such view.")
    # Weak, because a stream that never begins never ends.
    viewers: WeakSet[Viewer] = site.kept("viewers", WeakSet)
    if len(viewers) >= MOST_VIEWERS:
        raise HTTPException(503, "Too many pages are open at a time.")
    viewer = Viewer()
    viewers.add(viewer)
    return EventSourceResponse(
        changes(site, request, view, viewer),
        headers={"Cache-Control": "no-store"},
        shutdown_event=cast(Any, viewer),
        shutdown_grace_period=GRACE_S,
    )


async def changes(site: Site, request: Request, view: View, viewer: Viewer) -> AsyncIterator[ServerSentEvent]:
    """An event for each part that has changed, after each look of the sampler, for as long as one may read."""
    loop = asyncio.get_running_loop()
    leave = site.sampler.listen(lambda: wake(loop, viewer.changed))
    parts = site.kept("parts", Parts)
    sent: dict[str, Part] = {}
    try:
        while site.rights.visitor(request).may_read:
            snapshot = await run_in_threadpool(site.sampler.snapshot)
            for name, part in (await run_in_threadpool(parts.of, request, view, snapshot)).items():
                if (before := sent.get(name)) != part:
                    sent[name] = part
                    yield ServerSentEvent(change(before, part), event=name)
            await viewer.changed.wait()
            if viewer.is_over:
                return
            viewer.changed.clear()
    finally:
        leave()


def change(before: Part | None, part: Part) -> str:
    """What an event says of a part, to somebody who was sent this before."""
    if isinstance(part, str):
        return part
    known = before if isinstance(before, dict) else {}
    changed = {name: html for name, html in part.items() if known.get(name) != html}
    return json.dumps({"order": list(part), "rows": changed})


def wake(loop: asyncio.AbstractEventLoop, changed: asyncio.Event) -> None:
    """Wake a viewer from the sampler's thread. Its loop may have ended."""
    try:
        loop.call_soon_threadsafe(changed.set)
    except RuntimeError:
        pass


def nothing_more(request: Request, snapshot: Snapshot) -> dict[str, Part]:
    """The view of a page of which only the server's status is live."""
    return {}


views: dict[str, View] = {"status": nothing_more}
routes = [Route("/live", live)]
