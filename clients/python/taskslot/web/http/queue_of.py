"""Which queue a request is for: `key`, and `shards` if it is a logical queue."""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ..._sync.wire import Wire
from ...clients import Client
from ..queue.lens import MOST_ADDED, Lens
from ..queue.queue_keys import QueueKeys
from ..site import Site, site_of
from .links import Links, decoded, links_of, needed, number_of, query_of

# How long a page waits for a reply, and how long it keeps trying while a server is away.
REPLY_S, PATIENCE_MS = 2.0, 300


def lens_of(request: Request) -> Lens:
    """The queue that a request is for. Raises a 400 if it names none.

    The fields of a search form can't hold the bytes of a key. So there `of` has the key as it is in links.
    """
    query = query_of(request)
    if "of" in query:
        query = {**query, **decoded(query["of"].encode("utf-8", "surrogateescape"))}
    key, shards = needed(query, "key"), number_of(query, "shards", 0, 0, MOST_ADDED)
    try:
        return Lens(wire_of(site_of(request)), QueueKeys(key, shards))
    except ValueError as error:
        raise HTTPException(400, str(error)) from None


def shared(request: Request, lens: Lens) -> dict[str, Any]:
    """What the templates know of a queue. `here` makes links to its pages; `of` is its field in a search form."""
    link = links_of(request)

    def here(path: str, /, **query: object) -> str:
        return link(path, **{**lens.queue.query, **query})

    of = Links()("", **lens.queue.query)[1:]
    return {"lens": lens, "key": lens.name, "shards": lens.shards, "here": here, "of": of}


def gone(request: Request, lens: Lens | None, title: str, text: str) -> Response:
    """A 404 that says what is gone, with a link back to the queue if that is there."""
    values = shared(request, lens) if lens else {"here": None}
    return site_of(request).page(request, "gone.html", 404, title=title, text=text, **values)


class PageWire(Wire):
    """What sends the commands of the pages, on connections of its own."""

    def __init__(self, site: Site, patience_ms: int = PATIENCE_MS) -> None:
        super().__init__(Client(site.client).twin(REPLY_S), patience_ms)

    def close(self) -> None:
        """Close all its connections."""
        super().close()
        self.client.close()


def wire_of(site: Site) -> Wire:
    """What sends the commands of all requests."""
    return site.kept("wire", lambda: PageWire(site))
