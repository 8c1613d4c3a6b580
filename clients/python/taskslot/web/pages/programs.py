"""What programs ask: whether the server answers."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ..site import site_of


def health(request: Request) -> Response:
    """200 while the server answers, 503 otherwise. It says nothing about queues."""
    snapshot = site_of(request).sampler.snapshot()
    is_well = not snapshot.failed and not snapshot.is_empty
    return PlainTextResponse("ok\n" if is_well else "the server doesn't answer\n", 200 if is_well else 503)


routes = [Route("/health", health)]
