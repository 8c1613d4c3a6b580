"""Takes the pictures of the page, from the living demo: each view in light, in dark, and on a phone."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path
from urllib.parse import quote

from harness.browser import NARROW, Tab, chromium
from harness.server import ROOT, SERVERS, wait_until
from PIL import Image
from playwright.sync_api import Browser
from taskslot import Queue

sys.path.insert(0, str(ROOT / "examples/web"))
from demo import Demo  # noqa: E402

# How long the demo runs first, so that there are dead tasks, a batch that has ended, and lines in the charts.
SECONDS = 150
LOOKS = {"": {}, "-dark": {"is_dark": True}, "-narrow": {"size": NARROW}}
COLOURS = 96


def views(demo: Demo) -> dict[str, str]:
    """The path of each view."""
    client = demo.servers.client()
    (dead, *_) = list(Queue(client, "payments").tasks("dead", reverse=True))
    return {
        "queues": "/",
        "queue": "/queue?key=payments&state=dead",
        "task": f"/task?key=payments&id={quote(dead.id)}",
        "dead": "/dead",
        "nodes": "/nodes",
        "charts": "/charts",
    }


def web(folder: Path) -> None:
    """Run the demo, and write the pictures into a folder."""
    with Demo(SERVERS["valkey-9.1"]) as demo, chromium() as browser:
        began = time.monotonic()
        wait_until(lambda: time.monotonic() - began > SECONDS, "the demo has run for a while", SECONDS + 10)
        for name, path in views(demo).items():
            for look, options in LOOKS.items():
                (folder / f"web-{name}{look}.png").write_bytes(taken(browser, demo, path, **options))


def taken(browser: Browser, demo: Demo, path: str, **options) -> bytes:
    """A picture of a path, by somebody who has signed in."""
    tab = Tab(browser, demo.page, **options)
    try:
        sign_in(tab, demo.password)
        page = tab.open(path)
        # The chart draws when its data are there.
        page.wait_for_timeout(1500)
        return smaller(page.screenshot())
    finally:
        tab.close()


def sign_in(tab: Tab, password: str) -> None:
    """Sign in by the form."""
    page = tab.open("/sign-in")
    page.get_by_label("Password").fill(password)
    page.get_by_label("Password").press("Enter")
    page.wait_for_load_state()


def smaller(picture: bytes) -> bytes:
    """A picture with few colours, which takes a third of the bytes."""
    written = io.BytesIO()
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(written, "png", optimize=True)
    return written.getvalue()
