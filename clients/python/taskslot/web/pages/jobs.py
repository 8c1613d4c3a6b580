"""The bulk jobs of this process, and one of them with its progress."""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from ..actions.bulk import jobs_of
from ..bulk import Job
from ..bulk_jobs import told
from ..links import needed, query_of
from ..site import site_of


def overview(request: Request) -> Response:
    """The jobs, the newest first."""
    site = site_of(request)
    return site.page(request, "jobs.html", jobs=jobs_of(site).all(), told=told)


def page(request: Request) -> Response:
    """One job. With `part`, only what changes while it works, for the page's script."""
    site, query = site_of(request), query_of(request)
    job = jobs_of(site).get(needed(query, "id"))
    if job is None:
        raise HTTPException(404, "There is no such job any more. Jobs end with the page's process.")
    values: dict[str, Any] = {"job": job, "told": told, "is_at_work": is_at_work(job)}
    if "part" in query:
        return HTMLResponse(site.part(request, "job.html", "progress", **values))
    return site.page(request, "job.html", **values)


def is_at_work(job: Job) -> bool:
    """Whether the page has to be read again to see how far it is."""
    return job.stage in ("counting", "running")


routes = [Route("/jobs", overview), Route("/job", page)]
