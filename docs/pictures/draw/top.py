"""Draws the screen of `taskslot top`, from a real run of half a minute on a server with some busy queues."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from io import StringIO

from harness.server import SERVERS, Server
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from svg import COLOURS, MONO, SANS
from taskslot import Queue
from taskslot.cli.top.notes import notes
from taskslot.cli.top.table import Picture
from taskslot.overview import Nodes, rows
from taskslot.shards import names

WIDTH = 112
SECONDS = 30
TITLE = "The screen of taskslot top"
DESCRIPTION = (
    "A line for each queue: what needs attention, tasks by state, rates, the oldest ready task, places."
)


@dataclass(frozen=True)
class Work:
    """The load of a queue. `fails` is a fraction of the tasks. `delayed` is a number of tasks that are pushed first."""

    queue: str
    pushes_per_s: float
    workers: int
    task_s: float
    fails: float = 0.0
    shards: int = 1
    settings: tuple[tuple[str, object], ...] = ()
    paused: bool = False
    delayed: int = 0


ALL = (
    Work("emails", 60, 8, 0.1),
    Work("thumbnails", 24, 4, 0.19),
    Work("webhooks", 12, 3, 0.15, fails=0.2, settings=(("attempts", 1),)),
    Work("invoices", 4, 2, 0.25, delayed=40),
    Work("orders", 80, 16, 0.12, shards=16),
    Work("exports", 3, 4, 0.9, settings=(("concurrency", 2),)),
    Work("newsletter", 2, 2, 0.1, paused=True),
    Work("video", 1.5, 2, 1.1),
)


def top() -> str:
    """Run all queues, and draw the screen of `taskslot top` at the end."""
    # With an AOF, as in production, so that there is nothing to warn of.
    server = Server(SERVERS["valkey-9.1"], appendonly="yes")
    server.start()
    over = threading.Event()
    threads = [thread for work in ALL for thread in started(server, work, over)]
    try:
        time.sleep(SECONDS)
        with server.client() as client:
            with Nodes(client, limit=1000) as nodes:
                seen = nodes.look(whole=True)
        clock = datetime.now().strftime("%H:%M:%S")
        return drawn(Picture(rows(seen.infos), "127.0.0.1:6379", clock, seen.nodes, notes(seen, 1000)))
    finally:
        over.set()
        for thread in threads:
            thread.join(timeout=10)
        server.discard()


def started(server: Server, work: Work, over: threading.Event) -> list[threading.Thread]:
    """Starts the producer of a queue and its workers. They run until `over` is set."""
    keys = names(work.queue, work.shards) if work.shards > 1 else [work.queue]
    with server.client() as client:
        for key in keys:
            queue = Queue(client, key)
            if work.settings:
                queue.configure(**dict(work.settings))
            if work.delayed:
                queue.push_many(["later"] * work.delayed, delay_ms=3_600_000)
            if work.paused:
                queue.pause()
    hands = [(produce, work, keys)] + [(attend, work, keys[at % len(keys)], at) for at in range(work.workers)]
    threads = [threading.Thread(target=hand, args=(server.client(), over, *rest)) for hand, *rest in hands]
    for thread in threads:
        thread.start()
    return threads


def produce(client, over: threading.Event, work: Work, keys: list[str]) -> None:
    """Push at the queue's rate, to each shard in turn."""
    began, pushed = time.monotonic(), 0
    queues = [Queue(client, key) for key in keys]
    while not over.wait(0.02):
        while pushed < (time.monotonic() - began) * work.pushes_per_s:
            queues[pushed % len(queues)].push("payload")
            pushed += 1


def attend(client, over: threading.Event, work: Work, key: str, at: int) -> None:
    """Claim tasks, sleep as long as a task runs, and ack it. Some tasks fail instead."""
    queue, done = Queue(client, key), 0
    while not over.is_set():
        for task in queue.claim(worker=f"{work.queue}-{at}", block_ms=200):
            time.sleep(work.task_s * (0.7 + 0.6 * (done % 7) / 6))
            done += 1
            if work.fails and done % round(1 / work.fails) == 0:
                queue.fail(task, "HTTP 500")
            else:
                queue.ack(task)


# ---- the picture


def theme(dark: bool) -> TerminalTheme:
    """A terminal theme with the colours of the other pictures."""

    def colour(name: str) -> tuple[int, int, int]:
        return tuple(bytes.fromhex(COLOURS[name][dark][1:]))

    named = [colour(name) for name in ("ink", "red", "green", "amber", "blue", "purple", "blue", "muted")]
    return TerminalTheme(colour("faint"), colour("ink"), named, named)


FORMAT = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-labelledby="title desc">
<title id="title">TITLE</title>
<desc id="desc">DESCRIPTION</desc>
<style>
text{{font-family:MONO;font-size:{char_height}px;white-space:pre}}
.head{{font-family:SANS;font-size:18px;font-weight:600;text-anchor:middle}}
LIGHT
@media(prefers-color-scheme:dark){{
DARK
}}
</style>
<rect class="frame" x="1" y="1" width="WIDTH" height="HEIGHT" rx="10"/>
<text class="head" x="50%" y="27">taskslot top</text>
<g transform="translate(26,22)"><circle r="7" fill="#ff5f57"/><circle cx="22" r="7" fill="#febc2e"/>
<circle cx="44" r="7" fill="#28c840"/></g>
<g transform="translate({terminal_x},{terminal_y})">
{backgrounds}{matrix}
</g>
</svg>
"""


def drawn(picture: Picture) -> str:
    """Export the screen with rich, once for light and once for dark, and join both in one SVG."""
    console = Console(
        record=True, width=WIDTH, file=StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(picture.draw(WIDTH))
    styles = [
        console.export_svg(theme=theme(dark), clear=False, code_format="{styles}", unique_id="t")
        for dark in (False, True)
    ]
    frame = [
        f".frame{{fill:{COLOURS['faint'][dark]};stroke:{COLOURS['border'][dark]}}}"
        f".head{{fill:{COLOURS['muted'][dark]}}}"
        for dark in (False, True)
    ]
    light, dark = (
        re.sub(r"\s*\n\s*", "\n", f"{of_frame}\n{style}")
        for of_frame, style in zip(frame, styles, strict=True)
    )
    text = console.export_svg(theme=theme(False), code_format=FORMAT, unique_id="t")
    width, height = map(float, re.search(r'viewBox="0 0 (\S+) ([^"]+)"', text).groups())
    words = {
        "TITLE": TITLE, "DESCRIPTION": DESCRIPTION, "MONO": MONO, "SANS": SANS, "LIGHT": light, "DARK": dark,
        "WIDTH": f"{width - 2:g}", "HEIGHT": f"{height - 2:g}",
    }  # fmt: skip
    for word, value in words.items():
        text = text.replace(word, value, 1)
    # The table fits on the screen, so the clip paths that rich adds are not needed.
    return re.sub(r' clip-path="[^"]*"', "", text)
