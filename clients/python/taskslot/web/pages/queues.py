"""The start: all queues, those that need a person first."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..links import links_of
from ..sampler import Snapshot
from ..site import site_of


def page(request: Request) -> Response:
    """The table of queues."""
    site = site_of(request)
    snapshot = site.sampler.snapshot()
    return site.page(
        request, "queues.html", snapshot=snapshot, live=links_of(request)("/live", view="queues")
    )


def parts(request: Request, snapshot: Snapshot) -> dict[str, str]:
    """The rows."""
    return {"rows": site_of(request).part(request, "queues.html", "rows", snapshot=snapshot)}


live = {"queues": parts}
routes = [Route("/", page)]
