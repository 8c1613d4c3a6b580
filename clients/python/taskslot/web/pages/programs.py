"""What programs ask: whether the server answers, and the metrics."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ...metrics import Exporter
from ..site import site_of


def health(request: Request) -> Response:
    """200 while the server answers, 503 otherwise. It says nothing about queues."""
    snapshot = site_of(request).sampler.snapshot()
    is_well = not snapshot.failed and not snapshot.is_empty
    return PlainTextResponse("ok\n" if is_well else "the server doesn't answer\n", 200 if is_well else 503)


def metrics(request: Request) -> Response:
    """The metrics for Prometheus, as `taskslot metrics` has them. The exporter begins with the first scrape."""
    site = site_of(request)
    exporter = site.kept("exporter", lambda: Exporter(lambda: site.client))
    kind, body = exporter.answer(request.headers.get("accept", ""))
    return Response(body, headers={"Content-Type": kind})


routes = [Route("/health", health), Route("/metrics", metrics)]
