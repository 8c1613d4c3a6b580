"""Turns errors into pages that say in words what is wrong. A traceback goes to the log, never to the page."""

from __future__ import annotations

import logging
import re

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...clients import is_denied, is_lost, is_of_client
from ...errors import TaskslotError
from ...tracebacks import asks_for_password
from ..site import Site, page_path, site_of

log = logging.getLogger("taskslot.web")

# After this time a page that failed for want of the server is asked for again.
AGAIN_S = 5
TITLES = {
    400: "That can't be read",
    403: "Not allowed",
    404: "Not there",
    405: "That can't be done here",
    413: "Too much at a time",
    429: "Too many tries",
    503: "The server doesn't answer",
}
COMMAND = re.compile(r"'([A-Za-z._|]+)' command")


class Failures:
    """Answers with a page if something fails before an answer has begun."""

    def __init__(self, app: ASGIApp, site: Site) -> None:
        self.app = app
        self.site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app."""
        has_begun = False

        async def noting(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self.app(scope, receive, noting)
        except ClientDisconnect:
            return  # in the middle of a form: nobody waits for an answer
        except Exception as error:
            if has_begun or scope["type"] != "http":
                raise
            await self._answer(Request(scope), error)(scope, receive, send)

    def _answer(self, request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException):
            return refused(request, error)
        status, text = meaning(self.site, error)
        if status == 500:
            log.error("a page failed: %s", page_path(request), exc_info=error)
        return failed(request, status, text)


def meaning(site: Site, error: Exception) -> tuple[int, str]:
    """The status and the words for an error."""
    if is_denied(error):
        return 403, without_right(str(error))
    if isinstance(error, TaskslotError):
        return 409, f"The server refused this: {error}"
    if is_of_client(error, "AuthenticationError", "AuthorizationError"):
        if asks_for_password(error):
            return 503, "The server asks for a password. Give the page TASKSLOT_PASSWORD or --password-file."
        return 503, "The server refuses the page's user or password."
    if is_away(site, error):
        return 503, "It may be starting, or it can't be reached. Try again soon: the page comes back with it."
    if is_of_client(error, "ResponseError"):
        return 409, f"The server refused this: {error}"
    return 500, "Something in the page itself is wrong. The log of taskslot web has more."


def without_right(text: str) -> str:
    """What the page's own user on the server may not do."""
    found = COMMAND.search(text)
    what = f"may not call {found[1].upper()}" if found else "lacks a right that this needs"
    return f"The user that this page has on the server {what} ({text})."


def is_away(site: Site, error: Exception) -> bool:
    """Whether an error means that a server is away."""
    if is_lost(error):
        return True
    try:
        return site.kind.is_away(error)
    except Exception:  # there is no client: the server was never there
        return is_of_client(error, "RedisError", "ValkeyError")


def failed(request: Request, status: int, text: str) -> Response:
    """A page, or a line for what is no page of a browser, that says what is wrong."""
    title = TITLES.get(status, "Something went wrong")
    if "text/html" not in request.headers.get("accept", "") or "hx-request" in request.headers:
        return PlainTextResponse(f"{text or title}\n", status)
    # A page that the server's absence has spoilt comes back by itself, also without scripts.
    again_s = AGAIN_S if status == 503 and request.method == "GET" else None
    values = {"title": title, "text": text, "again_s": again_s}
    return site_of(request).page(request, "failed.html", status, **values)


def refused(request: Request, error: Exception) -> Response:
    """The page for an HTTPException, of a page or of starlette."""
    assert isinstance(error, HTTPException)
    text = error.detail if error.detail not in ("Not Found", "Method Not Allowed") else ""
    made = failed(request, error.status_code, text)
    made.headers.update(error.headers or {})
    return made
