"""The columns of `taskslot top`, in the order of the web page, and the text of each cell. Pure functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.text import Text

from ...figures import UNKNOWN, count, rate, span
from ...overview import Concern, Row, Severity
from ...replies import Info

# The space between two columns, and the smallest width of the queues' names.
GAP, NAME_WIDTH = 2, 12
# How soon a person is needed, as a colour.
STYLES = {Severity.ACT: "bold red", Severity.LOOK: "yellow", Severity.KNOW: "dim"}


@dataclass(frozen=True)
class Column:
    """A column: its heading, its width, and its text for a row. Columns with a low `rank` stay when space is short."""

    head: str
    width: int
    rank: int
    cell: Callable[[Info], Text]


def fitting(width: int) -> list[Column]:
    """The columns that fit beside the name and what needs attention, in their order."""
    left = width - NAME_WIDTH - GAP - (attention_width(width) + GAP if attention_width(width) else 0)
    chosen = set()
    for column in sorted(COLUMNS, key=lambda column: column.rank):
        left -= column.width + GAP
        # The last column has no gap behind it.
        if left < -GAP:
            break
        chosen.add(column.head)
    return [column for column in COLUMNS if column.head in chosen]


def attention_width(width: int) -> int:
    """The width of the column that says what needs attention; 0 if the screen is too narrow for it."""
    return 0 if width < 60 else 20 if width < 100 else 30 if width < 180 else 48


# ---- cells


def attention(row: Row) -> Text:
    """What a person should know about the queue, the most urgent first, each in its colour."""
    return Text(", ").join(said(concern) for concern in row.concerns)


def said(concern: Concern) -> Text:
    """A concern in its colour."""
    return Text(concern.text, style=STYLES[concern.severity])


def number(value: int, style: str = "") -> Text:
    """A count; zero is dim."""
    return Text(count(value), style=style if value else "dim")


def speed(value: float) -> Text:
    """Tasks a second."""
    return Text(rate(value), style="" if value else "dim")


def time(ms: float) -> Text:
    """A span; dim if it is unknown."""
    return Text(span(ms), style="" if ms >= 0 else "dim")


def utilisation(info: Info) -> Text:
    """ρ: yellow from 0.8, where waits grow; red from 1, where the backlog grows."""
    value = info.load.utilisation
    if value < 0:
        return Text(UNKNOWN, style="dim")
    text = f"{value:.2f}" if value < 9.995 else f"{min(value, 9999):.0f}"
    return Text(
        text, style="red" if value >= 1 else "yellow" if value >= 0.8 else "green" if value > 0 else "dim"
    )


def places(info: Info) -> Text:
    """The places of workers: busy, free, and needed for the load; yellow if there are fewer than that."""
    load = info.load
    there = load.places_busy + load.places_free
    needed = count(load.places_needed) if load.places_needed >= 0 else UNKNOWN
    style = "yellow" if load.places_needed > there else "" if there else "dim"
    return Text(f"{count(load.places_busy)}/{count(load.places_free)}/{needed}", style=style)


def drain(info: Info) -> Text:
    """The time until no task is ready; `never` if the backlog doesn't shrink."""
    if not info.load.backlog:
        return Text(UNKNOWN, style="dim")
    return Text("never", style="red") if info.load.drain_ms < 0 else time(info.load.drain_ms)


COLUMNS = (
    Column("ready", 5, 0, lambda info: number(info.ready, "bold")),
    Column("oldest", 6, 5, lambda info: time(info.oldest_ready_ms)),
    Column("delayed", 7, 9, lambda info: number(info.delayed)),
    Column("held", 5, 12, lambda info: number(info.held)),
    Column("leased", 6, 1, lambda info: number(info.leased)),
    Column("dead", 5, 4, lambda info: number(info.dead, "red")),
    Column("in/s", 5, 2, lambda info: speed(info.in_per_second_1m)),
    Column("out/s", 5, 3, lambda info: speed(info.out_per_second_1m)),
    Column("wait p95", 8, 8, lambda info: time(info.wait_p95_ms)),
    Column("run p95", 7, 10, lambda info: time(info.run_p95_ms)),
    Column("ρ", 4, 6, utilisation),
    Column("busy/free/need", 14, 7, places),
    Column("drain", 5, 11, drain),
    Column("batches", 7, 13, lambda info: number(info.batches_open)),
)
