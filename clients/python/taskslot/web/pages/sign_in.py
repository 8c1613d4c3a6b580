"""Signing in and out."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from ..http.links import links_of, query_of, safe_path
from ..site import TooManyTries, address_of, form_of, site_of


def form(request: Request) -> Response:
    """The form that asks for the password."""
    site = site_of(request)
    if not site.rights.asks_for_password:
        return RedirectResponse(links_of(request)("/"), 303)
    return form_page(request, safe_path(query_of(request).get("next", "")))


def sign_in(request: Request) -> Response:
    """Check the password, and begin a session."""
    site, fields = site_of(request), form_of(request)
    path = safe_path(fields.get("next", ""))
    try:
        level = site.level_of(address_of(request), fields.get("password", ""))
    except TooManyTries as error:
        return form_page(request, path, error.detail, error.status_code, error.headers)
    if not level:
        return form_page(request, path, "This is not the password.", 401)
    site.rights.sign_in(request, level, fields.get("user", "").strip())
    return site.go(request, links_of(request).root + path)


def sign_out(request: Request) -> Response:
    """End the session."""
    site_of(request).rights.sign_out(request)
    return RedirectResponse(links_of(request)("/"), 303)


def form_page(
    request: Request, path: str, wrong: str = "", status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """The form, with what was wrong."""
    made = site_of(request).page(request, "sign_in.html", status, next=path, wrong=wrong, live=None)
    made.headers.update(headers or {})
    return made


routes = [
    Route("/sign-in", form),
    Route("/sign-in", sign_in, methods=["POST"]),
    Route("/sign-out", sign_out, methods=["POST"]),
]
