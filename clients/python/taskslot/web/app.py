"""The ASGI app: the table of routes, and the layers that each request passes."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles

from ..clients import Client
from . import actions
from .http.failures import Failures, refused
from .http.guard import Guard, Outside
from .http.rights import IDLE_S, Read, Rights, Write
from .live import stream
from .pages import charts, dead, jobs, nodes, programs, queue, queues, sign_in, task
from .site import HERE, Site

PAGES = (queues, queue, task, dead, jobs, nodes, charts, sign_in, programs)


def create_app(
    client_or_url: Any,
    *,
    write: Write | None = None,
    read: Read | None = None,
    name: str = "",
    hosts: Sequence[str] | None = None,
    secret: str | None = None,
    marks_token: str = "",
    cookie: str = "taskslot",
) -> Starlette:
    """An ASGI app that shows the queues of a server. It can be mounted below a path of another app.

    `client_or_url` is a sync client of redis-py or valkey-py, a URL, or a function that returns a client; with the last
    two, the app starts while the server is away. Without `write`, nothing can be changed. Without `read`, everybody who
    reaches the app can read it. `name` is shown at the top, such as `production`.

    `hosts` are the names that the Host header may have; any by default. `secret` signs the sessions: give all processes
    of one page the same. By default, they end with the process. With `marks_token`, `POST /marks` with `Authorization:
    Bearer <token>` adds a mark, such as a deploy, to the charts. `cookie` is the name of the session's cookie: browsers
    send it to all ports of a host, so two pages of one host need two names.

    Raises TypeError for anything else than such a client, and ValueError for a URL that can't be read.
    """
    site = Site(connector(client_or_url), Rights(read, write), name=name, marks_token=marks_token)
    site.views.update(stream.views)
    for module in (*PAGES, actions):
        site.views.update(getattr(module, "live", {}))

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        site.sampler.start()
        yield
        site.close()

    app = Starlette(
        routes=routes(),
        exception_handlers={HTTPException: refused},
        lifespan=lifespan,
        middleware=[
            Middleware(Outside, site=site, hosts=hosts),
            Middleware(
                SessionMiddleware,
                secret_key=site.rights.signing_key(secret or secrets.token_urlsafe(32)),
                session_cookie=cookie,
                max_age=IDLE_S,
                same_site="lax",
            ),
            Middleware(Failures, site=site),
            Middleware(Guard, site=site, hosts=hosts),
        ],
    )
    app.state.site = site
    return app


def routes() -> list[BaseRoute]:
    """All routes: of the pages, of what changes things, and the files of the page itself."""
    of_pages = [route for module in PAGES for route in module.routes]
    files = Mount("/static", StaticFiles(directory=HERE / "static"))
    return [*of_pages, *actions.routes, *stream.routes, files]


def connector(client_or_url: Any) -> Callable[[], Any]:
    """A function that returns the client."""
    if isinstance(client_or_url, str):
        from ..connection import connect, read_address

        address = read_address(client_or_url, None, None)
        return lambda: connect(address)
    if callable(client_or_url) and not hasattr(client_or_url, "execute_command"):
        made: Callable[[], Any] = client_or_url
        return made
    Client(client_or_url).must_be(is_async=False)
    return lambda: client_or_url
