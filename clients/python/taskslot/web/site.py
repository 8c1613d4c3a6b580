"""What all pages share: the client, the sampler, the rights, the templates.

A page is a module in `pages/` with `routes`, a list of starlette's `Route`s. Its endpoints are plain functions, which
starlette runs on threads:

```python
def page(request: Request) -> Response:
    site, lens = site_of(request), lens_of(request)
    return site.page(request, "workers.html", lens=lens, workers=lens.workers())

routes = [Route("/workers", page)]
```

- Raise `HTTPException(404, "There is no task …")` for what can't be shown. Errors of the client and of taskslot may
  pass: `failures` turns them into pages.
- A route that changes something is a POST, in `actions/`. `guard` has checked the rights, the token and the origin by
  then; `form_of(request)` has the fields, `visitor_of(request)` says who it is. Finish with `site.go(…)`, which
  redirects, and shows a message on the next page. `links.back_of` reads the form's field `back`.
- `live` of a module is a dict of views, `name: function(request, snapshot) -> {part: html}`. The page passes
  `live=links_of(request)("/live", view="workers", key=key)` to its template, and the content of each element with
  `data-part="<part>"` follows. (A part that is a dict has a `<tr id="…">` for each id.) The function must only read the
  snapshot: the server gets no command for a viewer.
- Templates extend `base.html` and have the macros of `parts.html` as `parts`. In them, `link("/queue", key=key)` makes
  a link. Every `{{ value }}` has its control characters shown as escapes and its HTML escaped.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import Any, Literal, TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from .. import __version__
from ..clients import Client
from .bulk import verbs
from .http.links import decoded, links_of
from .http.rights import Rights, Tries, Visitor, csrf_of
from .live.history import History
from .live.sampler import Sampler, Snapshot
from .show import form_values, formats, texts
from .show.drafts import Draft

log = logging.getLogger("taskslot.web")

HERE = Path(__file__).parent
# How long a page waits for a reply of the server.
PATIENCE_S = 3.0
# The longest message of `Site.go`, and how many are kept. They travel in the session's cookie.
LONGEST_MESSAGE, MOST_MESSAGES = 300, 3

T = TypeVar("T")
# What a message says: something was done, nothing was changed, or it failed.
Tone = Literal["done", "nothing", "failed"]

# A live part: its HTML, or the HTML of each of its rows by the row's id, in their order.
Part = str | dict[str, str]
View = Callable[[Request, Snapshot], dict[str, Part]]


class Site:
    """One page of queues with its threads and settings. `close` ends the threads."""

    def __init__(
        self, connect: Callable[[], Any], rights: Rights, *, name: str = "", marks_token: str = ""
    ) -> None:
        self._connect = connect
        self._client: Any = None
        self._lock, self._making = threading.Lock(), threading.RLock()
        self.rights = rights
        self.name = name
        self.marks_token = marks_token
        self.tries = Tries()
        self._tries_lock = threading.Lock()
        self.history = History()
        self.sampler = Sampler(lambda: self.client, self.history)
        self.templates = environment()
        self.views: dict[str, View] = {}
        # What `actions` keeps for as long as the process runs, such as running jobs.
        self.shelf: dict[str, Any] = {}

    @property
    def client(self) -> Any:
        """The client. It is made by the first who needs it, so the page starts while the server is away."""
        if self._client is None:
            # Outside of the lock: it can take seconds until a server counts as away.
            made = Client(self._connect()).twin(PATIENCE_S)
            with self._lock:
                if self._client is None:
                    self._client = made
                    return made
            made.close()
        return self._client

    @property
    def kind(self) -> Client:
        """What can be said about the client and its errors."""
        return Client(self.client)

    def kept(self, name: str, make: Callable[[], T]) -> T:
        """What is on the shelf under this name. The first who asks makes it."""
        with self._making:
            if name not in self.shelf:
                self.shelf[name] = make()
            found: T = self.shelf[name]
            return found

    def level_of(self, address: str, password: str) -> str:
        """What a password opens: `write`, `read` or nothing. Raises `TooManyTries` while the address has to wait.

        One password is checked at a time, so that nobody can try many at once.
        """
        with self._tries_lock:
            if (wait_s := self.tries.wait_s(address)) > 0:
                raise TooManyTries(wait_s)
            level = self.rights.level_of(password)
            self.tries.was_right(address) if level else self.tries.was_wrong(address)
        if not level:
            log.warning("a wrong password from %s", address or "?")
        return level

    def close(self) -> None:
        """End the sampler and what is on the shelf, and close the connections."""
        self.sampler.stop()
        for one in list(self.shelf.values()):
            if hasattr(one, "close"):
                one.close()
        if self._client is not None:
            self._client.close()

    # ---- answers

    def page(self, request: Request, template: str, /, status: int = 200, **values: Any) -> Response:
        """A template as a page."""
        return HTMLResponse(self.render(request, template, **values), status)

    def render(self, request: Request, template: str, /, **values: Any) -> str:
        """The text of a template. Whatever a key or a payload holds, it can be encoded as UTF-8."""
        text = self.templates.get_template(template).render({**self._shared(request), **values})
        return text.encode("utf-8", "backslashreplace").decode()

    def part(self, request: Request, template: str, block: str, /, **values: Any) -> str:
        """The text of one block of a template, for live parts."""
        return self.renderer(request, template, **values)(block)

    def renderer(self, request: Request, template: str, /, **values: Any) -> Callable[..., str]:
        """What renders blocks of a template, for many of them: `render("row", row=row)`."""
        found, shared = self.templates.get_template(template), self._shared(request)

        def render(block: str, /, **more: Any) -> str:
            context = found.new_context({**shared, **values, **more})
            return "".join(found.blocks[block](context)).encode("utf-8", "backslashreplace").decode()

        return render

    def go(self, request: Request, url: str, said: str = "", tone: Tone = "done") -> Response:
        """Go to another page, one of `Links`, and say there what happened."""
        if said:
            self.say(request, said, tone)
        if "hx-request" in request.headers:
            return Response(status_code=204, headers={"HX-Redirect": url})
        return RedirectResponse(url, 303)

    def say(self, request: Request, text: str, tone: Tone = "done") -> None:
        """Show a message on the next page that this person opens; the last three of them."""
        said = [*request.session.get("said", []), [texts.legible(text)[:LONGEST_MESSAGE], tone]]
        request.session["said"] = said[-MOST_MESSAGES:]

    def _shared(self, request: Request) -> dict[str, Any]:
        """What every template knows."""
        visitor = visitor_of(request)
        shared: dict[str, Any] = {
            "link": links_of(request),
            "visitor": visitor,
            "asks_for_password": self.rights.asks_for_password,
            "csrf": lambda: csrf_of(request),
            "take_messages": lambda: request.session.pop("said", []),
            "path": page_path(request),
            "this_page": here(request) if request.scope.get("method") == "GET" else "/",
            "draft": request.scope.get("taskslot.draft") or Draft(),
            "site_name": self.name,
            "version": __version__,
        }
        # Imported here, not by each template, because a block that is rendered alone has no imports.
        return {**shared, "parts": self.templates.get_template("parts.html").make_module(shared)}


def environment() -> Environment:
    """The templates. What is printed in them is made safe by `finalize` and by escaping; undefined names are errors."""
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: (
            value if isinstance(value, Markup) or not isinstance(value, str) else texts.legible(value)
        ),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(formats.FILTERS, cut=texts.cut, legible=texts.legible, json=json.dumps)
    made.filters.update({**form_values.FILTERS, **verbs.FILTERS})
    return made


class TooManyTries(HTTPException):
    """An address gave too many wrong passwords, and has to wait."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(
            429,
            f"Too many wrong passwords. Try again in {ceil(wait_s)} s.",
            headers={"Retry-After": str(ceil(wait_s))},
        )


def address_of(request: Request) -> str:
    """Where a request comes from, as far as known."""
    return request.client.host if request.client else ""


def site_of(request: Request) -> Site:
    """The site that a request is for."""
    site: Site = request.scope["taskslot.site"]
    return site


def visitor_of(request: Request) -> Visitor:
    """Who sent a request, as `guard` has found out."""
    visitor: Visitor = request.scope.get("taskslot.visitor", Visitor())
    return visitor


def form_of(request: Request) -> dict[str, str]:
    """The fields of the form that was posted. `form_data` has all values of fields with several."""
    return decoded(form_data(request))


def form_data(request: Request) -> bytes:
    """The posted form as the bytes that were sent, for `links.decoded_all`."""
    data: bytes = request.scope.get("taskslot.form", b"")
    return data


def page_path(request: Request) -> str:
    """The path of a request below the root path."""
    root, path = str(request.scope.get("root_path", "")).rstrip("/"), str(request.scope["path"])
    # As starlette's router does it: what is checked must be what is routed.
    return path.removeprefix(root) if path.startswith(f"{root}/") else "/" if path == root else path


def here(request: Request) -> str:
    """The path and query of a request below the root path, to come back to."""
    query = request.scope["query_string"].decode("ascii", "replace")
    return page_path(request) + (f"?{query}" if query else "")
