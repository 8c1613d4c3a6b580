"""The picture of `taskslot top`: a header, a table with as many columns as fit, and notes. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ...aggregate import total
from ...overview import Row
from ...replies import Info
from .. import format

# The space between two columns, and the smallest width of the queues' names.
GAP, NAME_WIDTH = 2, 13


@dataclass(frozen=True)
class Column:
    """A column: its heading, its width, and its text for a row. Columns with a low `rank` stay when space is short."""

    head: str
    width: int
    rank: int
    cell: Callable[[Info], Text]
    justify: str = "right"


@dataclass(frozen=True)
class Picture:
    """What is shown at one time: the rows, the server, and notes on what is not shown."""

    rows: Sequence[Row]
    server: str
    clock: str = ""
    primaries: int = 1
    notes: Sequence[str] = field(default_factory=list)

    def draw(self, width: int, height: int | None = None) -> RenderableType:
        """Draw the picture. If a height is given, rows that don't fit are counted in a note."""
        rows, notes = list(self.rows), list(self.notes)
        if height is not None:
            # The other lines are the header, the table's heading and rule, and the notes.
            room = max(2, height - 3 - len(notes))
            if len(rows) > room:
                notes.append(f"and {len(rows) - room + 1} more queues with smaller backlogs")
                rows = rows[: room - 1]
        parts: list[RenderableType] = [self._head(width), drawn(rows, width)]
        if not self.rows:
            parts.append(Text("no queues yet; try: taskslot push mail hello", style="dim"))
        return Group(*parts, *(Text(note, style="yellow") for note in notes))

    def _head(self, width: int) -> RenderableType:
        all_of_it = total([row.info for row in self.rows])
        left = Text(self.server, style="bold cyan")
        if self.primaries != 1:
            left.append(f", {self.primaries} primaries", style="cyan")
        if all_of_it is not None:
            left.append(f"  {plural(len(self.rows), 'queue')}, {format.count(all_of_it.ready)} ready, ")
            left.append(f"in {format.rate(all_of_it.in_per_second_1m)}/s, ")
            left.append(f"out {format.rate(all_of_it.out_per_second_1m)}/s")
        # If there is no room for both, the clock is left out.
        clock = self.clock if len(left) + len(self.clock) < width else ""
        left.truncate(width, overflow="ellipsis")
        grid = Table.grid(expand=True)
        grid.add_column(no_wrap=True)
        grid.add_column(justify="right", no_wrap=True)
        grid.add_row(left, Text(clock, style="dim"))
        return grid


def drawn(rows: Sequence[Row], width: int) -> Table:
    """The table, exactly as wide as the screen."""
    columns = fitting(width)
    # The box adds one space between two columns.
    table = Table(
        box=box.SIMPLE_HEAD, expand=True, padding=(0, GAP - 1, 0, 0), pad_edge=False, show_edge=False
    )
    table.add_column("queue", no_wrap=True, overflow="ellipsis", ratio=1, min_width=NAME_WIDTH)
    for column in columns:
        table.add_column(
            column.head,
            justify="right" if column.justify == "right" else "left",
            no_wrap=True,
            overflow="ellipsis",
            width=column.width,
        )
    for row in rows:
        table.add_row(name(row), *(column.cell(row.info) for column in columns))
    return table


def fitting(width: int) -> list[Column]:
    """The columns that fit, in their order. The less important ones are left out first."""
    left = width - NAME_WIDTH - GAP
    chosen = set()
    for column in sorted(COLUMNS, key=lambda column: column.rank):
        left -= column.width + GAP
        if left < 0:
            break
        chosen.add(column.head)
    return [column for column in COLUMNS if column.head in chosen]


def name(row: Row) -> Text:
    """The queue's name, with the number of its shards."""
    text = Text(format.payload(row.queue.encode("utf-8", "surrogateescape")))
    return text.append(f" ×{row.shards}", style="dim") if row.shards else text


# ---- cells


def number(value: int, style: str = "") -> Text:
    """A count; zero is dim."""
    return Text(format.count(value), style=style if value else "dim")


def speed(value: float) -> Text:
    """Tasks a second."""
    return Text(format.rate(value), style="" if value else "dim")


def span(ms: float, style: str = "") -> Text:
    """A span; dim if it is unknown."""
    return Text(format.span(ms), style=style if ms >= 0 else "dim")


def utilisation(info: Info) -> Text:
    """ρ: yellow from 0.8, where waits grow; red from 1, where the backlog grows."""
    value = info.load.utilisation
    if value < 0:
        return Text(format.UNKNOWN, style="dim")
    text = f"{value:.2f}" if value < 9.995 else f"{min(value, 9999):.0f}"
    return Text(
        text, style="red" if value >= 1 else "yellow" if value >= 0.8 else "green" if value > 0 else "dim"
    )


def places(info: Info) -> Text:
    """Busy and free places; red if tasks are ready and there is no worker."""
    load = info.load
    style = "red" if info.ready and not load.places_busy + load.places_free else ""
    return Text(
        f"{format.count(load.places_busy)}/{format.count(load.places_free)}",
        style=style or "dim" * (not load.places_busy),
    )


def needed(info: Info) -> Text:
    """The number of places that are needed; yellow if there are fewer."""
    load = info.load
    if load.places_needed < 0:
        return Text(format.UNKNOWN, style="dim")
    has_too_few = load.places_needed > load.places_busy + load.places_free
    return number(load.places_needed, "yellow" if has_too_few else "")


def drain(info: Info) -> Text:
    """The time until no task is ready; `never` if the backlog doesn't shrink."""
    if not info.load.backlog:
        return Text(format.UNKNOWN, style="dim")
    return Text("never", style="red") if info.load.drain_ms < 0 else span(info.load.drain_ms)


def held(info: Info) -> Text:
    """What stops claims or pushes: the queue is broken or paused, or a limit is reached."""
    words = ["BROKEN"] if info.broken else []
    ways = [way for way, left in (("in", info.paused_in), ("out", info.paused_out)) if left]
    words += [f"paused {'+'.join(ways)}"] if ways else []
    words += [info.held_by] if info.held_by else []
    return Text(" ".join(words), style="red" if info.broken else "yellow")


COLUMNS = (
    Column("ready", 5, 0, lambda info: number(info.ready, "bold")),
    Column("delayed", 7, 8, lambda info: number(info.delayed)),
    Column("held", 5, 13, lambda info: number(info.held)),
    Column("leased", 6, 1, lambda info: number(info.leased)),
    Column("dead", 5, 4, lambda info: number(info.dead, "red")),
    Column("in/s", 5, 2, lambda info: speed(info.in_per_second_1m)),
    Column("out/s", 5, 3, lambda info: speed(info.out_per_second_1m)),
    Column("oldest", 6, 5, lambda info: span(info.oldest_ready_ms)),
    Column("wait95", 6, 11, lambda info: span(info.wait_p95_ms)),
    Column("busy/free", 9, 9, places),
    Column("ρ", 4, 7, utilisation),
    Column("drain", 5, 10, drain),
    Column("need", 4, 12, needed),
    Column("held by", 13, 6, held, "left"),
)


def plural(number: int, what: str) -> str:
    """`1 queue`, `2 queues`."""
    return f"{number} {what}{'' if number == 1 else 's'}"
