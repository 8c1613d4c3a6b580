"""Middleware for Django: keeps its database connections as a request does.

    app = taskslot.App(client, middleware=[DatabaseConnections()])

It needs the extra `django`. `docs/django.md` has the rest.
"""

from __future__ import annotations

import asyncio
from typing import Any

from ..middleware import Middleware
from ..worker.context import TaskContext
from .packages import needs

with needs("django", "django"):
    from django.db import close_old_connections  # type: ignore[import-untyped]

with needs("asgiref", "django"):
    from asgiref.sync import sync_to_async


class DatabaseConnections(Middleware):
    """Calls `close_old_connections` before and after each task, as Django does for each request.

    It closes connections that are broken or older than `CONN_MAX_AGE`. Without it, a worker whose database was
    restarted would fail with each task, and threads that wait would hold connections.

    The queries of async functions run on a thread of Django's, so it is called there, after the task and without
    waiting for it.
    """

    def __init__(self) -> None:
        self._closing = set[asyncio.Task[Any]]()

    def before(self, context: TaskContext) -> None:
        """Close connections that can't be used any more."""
        if not is_on_loop():
            close_old_connections()

    def after(self, context: TaskContext, error: BaseException | None) -> None:
        """Close connections that have become too old."""
        if not is_on_loop():
            close_old_connections()
            return
        closing = asyncio.ensure_future(sync_to_async(close_old_connections)())
        self._closing.add(closing)  # the loop itself does not keep it alive
        closing.add_done_callback(self._closing.discard)


def is_on_loop() -> bool:
    """Whether this is an event loop, on which nothing may block."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
