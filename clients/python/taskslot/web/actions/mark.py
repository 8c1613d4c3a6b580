"""Marks in the charts, such as a deploy."""

from __future__ import annotations

import time

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ..http.links import back_of, needed
from ..live.history import LONGEST_MARK
from ..show.texts import legible
from ..site import form_of, site_of, visitor_of
from .change_request import log, who


def mark(request: Request) -> Response:
    """Add a mark: the field `text`. A program with the token gets a line, a person the charts."""
    site, fields = site_of(request), form_of(request)
    text = legible(needed(fields, "text").strip())
    if not text or len(text) > LONGEST_MARK:
        raise HTTPException(400, f"the text of a mark has 1 to {LONGEST_MARK} letters")
    site.history.mark(time.time(), text)
    log.info("%r left the mark %r", who(request), text)
    if visitor_of(request).by_token:
        return PlainTextResponse("marked\n", 201)
    return site.go(request, back_of(request, fields, "/charts"), "The mark is in the charts.")


routes = [Route("/marks", mark, methods=["POST"])]
