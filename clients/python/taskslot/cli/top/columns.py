"""The columns of `taskslot top`: those of the overview, as many as fit. Pure functions."""

from __future__ import annotations

from rich.text import Text

from ...overview import Concern, Row
from ...overview.columns import COLUMNS, Column
from ...overview.tones import OF_SEVERITY, Tone
from ...replies import Info

# The space between two columns, and the smallest width of the queues' names.
GAP, NAME_WIDTH = 2, 12
STYLES = {Tone.PLAIN: "", Tone.STRONG: "bold", Tone.DIM: "dim", Tone.LOOK: "yellow", Tone.BAD: "bold red"}
# The columns' widths. Those that come first here stay when space is short.
WIDTHS = {
    "ready": 5, "leased": 6, "in": 5, "out": 5, "dead": 5, "oldest": 6, "load": 4, "places": 12, "wait": 8,
    "delayed": 7, "run": 7, "drain": 5, "held": 5, "batches": 7, "held_by": 11, "paused": 14,
}  # fmt: skip


def fitting(width: int) -> list[Column]:
    """The columns that fit beside the name and what needs attention, in their order."""
    left = width - NAME_WIDTH - GAP - (attention_width(width) + GAP if attention_width(width) else 0)
    chosen = set()
    for name, own in WIDTHS.items():
        left -= own + GAP
        # The last column has no gap behind it.
        if left < -GAP:
            break
        chosen.add(name)
    return [column for column in COLUMNS if column.name in chosen]


def attention_width(width: int) -> int:
    """The width of the column that says what needs attention; 0 if the screen is too narrow for it."""
    return 0 if width < 60 else 20 if width < 100 else 30 if width < 220 else 48


def cell(column: Column, info: Info) -> Text:
    """A figure in its colour."""
    return Text(column.text(info), style=STYLES[column.tone(info)])


def attention(row: Row) -> Text:
    """What a person should know about the queue, the most urgent first, each in its colour."""
    return Text(", ").join(said(concern) for concern in row.concerns)


def said(concern: Concern) -> Text:
    """A concern in its colour."""
    return Text(concern.text, style=STYLES[OF_SEVERITY[concern.severity]])
