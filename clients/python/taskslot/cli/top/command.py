"""`taskslot top`: reads the state of all queues and servers and draws it, until q or Ctrl-C."""

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from ...keys import key_bytes
from ...overview import Nodes, Row, Seen, node_concerns, rows
from ...overview.notes import AWAY
from .. import output
from ..inspect import concerns_as_maps
from ..session import Session, command, refuse
from .keys import Keys
from .notes import notes, of_table
from .table import Picture
from .view import View

# The width of a table that is written to a file or a pipe, unless COLUMNS is set: all columns fit.
WIDTH = 188


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
    """Show all queues live, what needs a person first. Keys: / filters by name, s sorts, q or Ctrl-C quits."""
    with Nodes(session.client, limit) as nodes:
        console = Console()
        if session.json or once or not console.is_terminal:
            print_once(session, nodes, console, shards_apart)
        else:
            show(session, nodes, console, interval_ms / 1000, shards_apart)


def print_once(session: Session, nodes: Nodes, console: Console, shards_apart: bool) -> None:
    """Search all keys once and print a table, or a JSON line for each queue and each server."""
    seen = nodes.look(whole=True)
    found = rows(seen.infos, shards_apart)
    if session.json:
        for line in (*map(queue_line, found), *node_lines(seen)):
            output.json_line(line)
        for note in of_table(seen, nodes.limit):
            output.note(note)
    else:
        width = console.width if console.is_terminal or "COLUMNS" in os.environ else WIDTH
        made = picture(session, seen, found, notes(seen, nodes.limit))
        Console(width=width).print(made.draw(width))
    if not seen.nodes:
        refuse(f"no answer from {', '.join(seen.away)}", 1)


def show(session: Session, nodes: Nodes, console: Console, interval_s: float, shards_apart: bool) -> None:
    """Draw in the terminal's alternate screen until q or Ctrl-C is typed."""
    view = View()

    def draw(seen: Seen) -> RenderableType:
        found = rows(seen.infos, shards_apart)
        chosen = view.of(found)
        said = [*(Text(note, style="cyan") for note in view.notes()), *notes(seen, nodes.limit)]
        made = picture(session, seen, chosen, said)
        return made.draw(console.width, console.height)

    # Ctrl-C is a normal way to quit here.
    with suppress(KeyboardInterrupt), Keys() as keys:
        seen = nodes.look()
        with Live(draw(seen), console=console, screen=True, auto_refresh=False) as live:
            next_at = time.monotonic() + interval_s
            while (typed := keys.typed(max(0, next_at - time.monotonic()))) is not None:
                view = view.after(typed)
                if view.is_over:
                    return
                if time.monotonic() >= next_at:
                    seen, next_at = nodes.look(), time.monotonic() + interval_s
                live.update(draw(seen), refresh=True)


def picture(session: Session, seen: Seen, found: Sequence[Row], said: Sequence[Text]) -> Picture:
    """The picture of what a look found."""
    clock = datetime.now().strftime("%H:%M:%S")
    has_none = not seen.infos and not seen.unreadable and not seen.refused
    is_empty = has_none and seen.is_whole and bool(seen.nodes) and not seen.away
    return Picture(found, str(session.address), clock, seen.nodes, said, is_empty)


# ---- JSON


def queue_line(row: Row) -> dict[str, Any]:
    """A queue as a JSON line: what `info --json` prints, with its concerns."""
    name = output.named("queue", key_bytes(row.queue))
    return {
        "kind": "queue", **name, "shards": row.shards, "concerns": concerns_as_maps(row.concerns),
        **output.plain(row.info),
    }  # fmt: skip


def node_lines(seen: Seen) -> list[dict[str, Any]]:
    """A JSON line for each server; of one that did not answer, only that."""
    found = []
    for node in seen.nodes:
        fields = {name: value for name, value in output.plain(node).items() if name != "fields"}
        found.append({"kind": "node", **fields, "concerns": concerns_as_maps(node_concerns(node))})
    absent = [{"kind": "node", "address": place, "concerns": concerns_as_maps([AWAY])} for place in seen.away]
    return found + absent
