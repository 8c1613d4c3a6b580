"""The bulk jobs of this process, and one of them with its progress."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from ..bulk.jobs import job_of, jobs_of, told
from ..http.links import needed, query_of
from ..site import site_of


def overview(request: Request) -> Response:
    """The jobs, the newest first."""
    site = site_of(request)
    return site.page(request, "jobs.html", jobs=jobs_of(site).all(), told=told)


def page(request: Request) -> Response:
    """One job. With `part`, only what changes while it works, for the page's script."""
    site, query = site_of(request), query_of(request)
    values: dict[str, Any] = {"job": job_of(site, needed(query, "id")), "told": told}
    if "part" in query:
        return HTMLResponse(site.part(request, "job.html", "progress", **values))
    return site.page(request, "job.html", **values)


routes = [Route("/jobs", overview), Route("/job", page)]
