"""`taskslot top`: reads the state of all queues and draws it, until q or Ctrl-C."""

import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console, RenderableType
from rich.live import Live

from ...keys import key_bytes
from ...overview import Nodes, Row, Seen, rows
from .. import output
from ..session import Session, command
from .keys import Keys
from .table import Picture, plural

# The width of a table that is written to a file or a pipe, unless COLUMNS is set.
WIDTH = 140


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    command(app)(top)


def top(
    session: Session,
    interval_ms: Annotated[int, typer.Option(min=100, help="The time between two updates.")] = 1000,
    once: Annotated[
        bool, typer.Option("--once", help="Print one table and exit; the default without a terminal.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Show at most this many queues.")] = 1000,
    shards_apart: Annotated[bool, typer.Option("--shards-apart", help="Show a line for each shard.")] = False,
) -> None:
    """Show all queues live: backlog, rates, ages, workers. Press q or Ctrl-C to quit."""
    with Nodes(session.client, limit) as nodes:
        console = Console()
        if session.json or once or not console.is_terminal:
            print_once(session, nodes, console, shards_apart)
        else:
            show(session, nodes, console, interval_ms / 1000, shards_apart)


def print_once(session: Session, nodes: Nodes, console: Console, shards_apart: bool) -> None:
    """Search all keys once and print a table, or a JSON line for each queue."""
    seen = nodes.look(whole=True)
    found = rows(seen.infos, shards_apart)
    if session.json:
        for row in found:
            name = output.named("queue", key_bytes(row.queue))
            output.json_line({**name, "shards": row.shards, **output.plain(row.info)})
        for note in notes(seen, nodes.limit):
            output.note(note)
        return
    width = console.width if console.is_terminal or "COLUMNS" in os.environ else WIDTH
    Console(width=width).print(picture(session, seen, found, nodes.limit).draw(width))


def show(session: Session, nodes: Nodes, console: Console, interval_s: float, shards_apart: bool) -> None:
    """Draw in the terminal's alternate screen until q or Ctrl-C is typed."""

    def draw() -> RenderableType:
        seen = nodes.look()
        made = picture(session, seen, rows(seen.infos, shards_apart), nodes.limit)
        return made.draw(console.width, console.height)

    # Ctrl-C is a normal way to quit here.
    with suppress(KeyboardInterrupt), Keys() as keys:
        with Live(draw(), console=console, screen=True, auto_refresh=False) as live:
            while not keys.typed("qQ", interval_s):
                live.update(draw(), refresh=True)


def picture(session: Session, seen: Seen, found: Sequence[Row], limit: int) -> Picture:
    """The picture of what a look found."""
    clock = datetime.now().strftime("%H:%M:%S")
    return Picture(found, str(session.address), clock, seen.primaries, notes(seen, limit))


def notes(seen: Seen, limit: int) -> list[str]:
    """Notes on what the table does not show."""
    notes = []
    if seen.was_cut:
        notes.append(f"there are more than {plural(limit, 'queue')}: use --limit to show more")
    if not seen.is_whole:
        notes.append("still searching the keys for queues")
    if seen.away:
        notes.append(f"no answer from {', '.join(seen.away)}")
    return notes
