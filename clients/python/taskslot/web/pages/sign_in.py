"""Signing in and out, and what a monitor asks."""

from __future__ import annotations

import logging
import threading

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from ..links import links_of, query_of, safe_path
from ..site import form_of, site_of

log = logging.getLogger("taskslot.web")

# One password is checked at a time, so that nobody can try many at once.
ONE_AT_A_TIME = threading.Lock()


def form(request: Request) -> Response:
    """The form that asks for the password."""
    site = site_of(request)
    if not site.rights.asks_for_password:
        return RedirectResponse(links_of(request)("/"), 303)
    return shown(request, safe_path(query_of(request).get("next", "")))


def sign_in(request: Request) -> Response:
    """Check the password, and begin a session."""
    site, fields = site_of(request), form_of(request)
    path = safe_path(fields.get("next", ""))
    address = request.client.host if request.client else ""
    with ONE_AT_A_TIME:
        if (wait_s := site.tries.wait_s(address)) > 0:
            text = f"Too many wrong passwords. Try again in {wait_s:.0f} s."
            return shown(request, path, text, 429, {"Retry-After": str(int(wait_s) + 1)})
        level = site.rights.level_of(fields.get("password", ""))
        if not level:
            site.tries.was_wrong(address)
    if not level:
        log.warning("a wrong password from %s", address or "?")
        return shown(request, path, "This is not the password.", 401)
    site.tries.was_right(address)
    site.rights.sign_in(request, level, fields.get("user", "").strip())
    return site.go(request, links_of(request)("") + path)


def sign_out(request: Request) -> Response:
    """End the session."""
    site_of(request).rights.sign_out(request)
    return RedirectResponse(links_of(request)("/"), 303)


def shown(
    request: Request, path: str, wrong: str = "", status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """The form, with what was wrong."""
    made = site_of(request).page(request, "sign_in.html", status, next=path, wrong=wrong, live=None)
    made.headers.update(headers or {})
    return made


def health(request: Request) -> Response:
    """200 while the server answers, 503 otherwise. It says nothing about queues."""
    snapshot = site_of(request).sampler.snapshot()
    is_well = not snapshot.failed and not snapshot.is_empty
    return PlainTextResponse("ok\n" if is_well else "the server doesn't answer\n", 200 if is_well else 503)


routes = [
    Route("/sign-in", form),
    Route("/sign-in", sign_in, methods=["POST"]),
    Route("/sign-out", sign_out, methods=["POST"]),
    Route("/health", health),
]
