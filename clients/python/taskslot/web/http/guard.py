"""What every request passes: headers of the answer, the Host header, the rights, and the checks of a change.

A change is any request but GET, HEAD and OPTIONS. It needs the right to write, the session's token, and the page's own
origin. So no route can forget them.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..site import Site, address_of, here, page_path
from .failures import failed
from .links import decoded, links_of
from .rights import Visitor, has_token, same

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: browsers would then send `Origin: null` with the page's own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# What can be read by anybody, besides the page's own files, and what anybody may post.
OPEN, FILES, SIGN_IN, MARKS = ("/sign-in", "/health"), "/static/", ("/sign-in", "/sign-out"), "/marks"
# What is read by programs, which give the password with each request (HTTP Basic).
FOR_PROGRAMS = ("/metrics",)
SAFE = ("GET", "HEAD", "OPTIONS")
# Names by which a browser on the same machine reaches the page. Another name is one that somebody else's DNS server
# gave to this machine, so that a page of theirs can read this one.
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
# The largest form that is read, in bytes.
LARGEST_FORM = 2**20
FORM = "application/x-www-form-urlencoded"


class Outside:
    """Adds the headers to each answer, refuses other hosts, and keeps the scope of an app around this one as it is."""

    def __init__(self, app: ASGIApp, site: Site, hosts: Sequence[str] | None) -> None:
        self.app = app
        self.site = site
        self.hosts = None if hosts is None else frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app on a scope of its own: the session of an app around this one is none of ours."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        own: Scope = {**scope, "taskslot.site": self.site}

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message.setdefault("headers", [])
                headers = MutableHeaders(scope=message)
                if page_path(Request(own)).startswith(FILES):
                    headers.setdefault("Cache-Control", "no-cache")  # may be kept, and is asked about
                finish(headers, is_https=scope.get("scheme") == "https")
            await send(message)

        host = Headers(scope=scope).get("host", "")
        if self.hosts is not None and host_name(host) not in self.hosts:
            refusal = PlainTextResponse("This page is not served under that name. See --host.", 421)
            return await refusal(own, receive, with_headers)
        await self.app(own, receive, with_headers)


def finish(headers: MutableHeaders, is_https: bool) -> None:
    """Complete the headers of an answer."""
    for name, value in HEADERS.items():
        headers[name] = value
    headers.setdefault("Cache-Control", "no-store")
    if is_https:
        cookies = [f"{value}; secure" for value in headers.getlist("set-cookie")]
        del headers["set-cookie"]
        for cookie in cookies:
            headers.append("set-cookie", cookie)


def host_name(host: str) -> str:
    """The name in a Host header, without the port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


class Guard:
    """Lets a request pass if its sender may do what it asks for."""

    def __init__(self, app: ASGIApp, site: Site, hosts: Sequence[str] | None) -> None:
        self.app = app
        self.site = site
        # A proxy can serve the page at another port of these. On this machine, another port is another page.
        self.hosts = frozenset(host.lower() for host in hosts or ()) - LOOPBACK

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or run the app with the visitor and the form in the scope."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        request = Request(scope, receive)
        self.site.rights.keep(request)
        visitor = scope["taskslot.visitor"] = self.site.rights.visitor(request)
        if scope["method"] in SAFE:
            answer = await self._of_reading(request, visitor)
        else:
            answer = await self._of_change(request, visitor)
        await (answer or self.app)(scope, receive, send)

    async def _of_reading(self, request: Request, visitor: Visitor) -> Response | None:
        """What stops a request that changes nothing."""
        path = page_path(request)
        if visitor.may_read or path in OPEN or path.startswith(FILES):
            return None
        if path in FOR_PROGRAMS and self.site.rights.asks_for_password:
            is_right = await run_in_threadpool(gives_password, self.site, request)
            return None if is_right else challenge()
        return self._ask(request)

    async def _of_change(self, request: Request, visitor: Visitor) -> Response | None:
        """What stops a request that changes something."""
        path = page_path(request)
        token = token_of(request) if path == MARKS else None
        if token is not None and self.site.marks_token and same(self.site.marks_token, token):
            request.scope["taskslot.visitor"] = Visitor(by_token=True)
            return await self._read_form(request)
        # A person's request can have a token that a proxy has added, so the rest may still be right.
        why = "" if token is None else self._wrong_token()
        if path not in SIGN_IN and self.site.rights.write is None:
            return failed(
                request,
                403,
                why or "This page is read-only: it was started without the right to change things.",
            )
        if not self._is_of_own_origin(request):
            return failed(request, 403, "The request comes from another site.")
        if stop := await self._read_form(request):
            return stop
        token = request.headers.get("x-csrf-token") or decoded(request.scope["taskslot.form"]).get("csrf", "")
        if not has_token(request, token):
            return failed(
                request,
                403,
                why or "The form is too old, or of another session. Go back, reload and try again.",
            )
        if path in SIGN_IN or visitor.may_write:
            return None
        return self._ask(request) if not visitor.may_read else self._ask(request, "Sign in to change things.")

    def _wrong_token(self) -> str:
        """Why a program's token opens nothing."""
        if self.site.marks_token:
            return "The token is not the one in TASKSLOT_WEB_MARKS_TOKEN (marks_token)."
        return "This page takes no marks by a token: it was started without TASKSLOT_WEB_MARKS_TOKEN (marks_token)."

    def _is_of_own_origin(self, request: Request) -> bool:
        """Whether the browser says that the page itself sent this, or says nothing."""
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return False
        origin = request.headers.get("origin")
        if origin is None:
            return True
        place = origin.partition("://")[2]
        return bool(place) and (place == request.headers.get("host") or host_name(place) in self.hosts)

    async def _read_form(self, request: Request) -> Response | None:
        """Read the form into the scope. Files are not taken."""
        kind = request.headers.get("content-type", FORM).partition(";")[0].strip().lower()
        if kind != FORM:
            return failed(request, 415, "Only plain forms are read here.")
        data = bytearray()
        try:
            async for part in request.stream():
                data += part
                if len(data) > LARGEST_FORM:
                    return failed(request, 413, "The form is larger than 1 MiB.")
        except ClientDisconnect:
            return PlainTextResponse("the form is not whole\n", 400)  # nobody reads it
        request.scope["taskslot.form"] = bytes(data)
        return None

    def _ask(self, request: Request, text: str = "Sign in first.") -> Response:
        """Send a browser to the page where one signs in; tell everybody else."""
        is_page = request.method in ("GET", "HEAD") and "text/html" in request.headers.get("accept", "")
        if self.site.rights.asks_for_password and is_page:
            return RedirectResponse(links_of(request)("/sign-in", next=here(request)), 303)
        if self.site.rights.asks_for_password:
            return failed(request, 401, text)
        return failed(request, 403, "The proxy in front of this page named no user who may do this.")


def token_of(request: Request) -> str | None:
    """The token that a program gave; None if it gave none."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else None


def gives_password(site: Site, request: Request) -> bool:
    """Whether a program gave the right password as HTTP Basic. The user can be any."""
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "basic":
        return False
    try:
        _, _, password = b64decode(given, validate=True).decode().partition(":")
    except ValueError:
        return False
    # Counted apart: a program with an old password keeps nobody from signing in.
    return bool(site.level_of(f"{address_of(request)} (a program)", password))


def challenge() -> Response:
    """What a program without the password gets."""
    return PlainTextResponse("a password is needed\n", 401, {"WWW-Authenticate": 'Basic realm="taskslot"'})
