"""Points an app of your code to another server for the time of a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..app import App
from .server import Server


@contextmanager
def connected(app: App, to: Server | Any) -> Iterator[App]:
    """Let an app and all of its functions use another server: `with connected(shop.app, server) as app:`.

    `to` is a `Server`, a URL, or a sync client. At the end, the app is as it was before.
    """
    with app._connections.instead(to.url if isinstance(to, Server) else to):
        yield app
