"""The nodes of the server or cluster."""

from __future__ import annotations

from starlette.routing import Route

routes: list[Route] = []
