"""The picture of `taskslot top`: two lines about the servers, a table with as many columns as fit, and notes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich import box
from rich.console import Group, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from ...aggregate import total
from ...figures import count, plural, rate, size, span
from ...overview import NodeInfo, Row
from .. import format
from .columns import GAP, NAME_WIDTH, WIDTHS, attention, attention_width, cell, fitting


@dataclass(frozen=True)
class Picture:
    """What is shown at one time: the rows, the server's address, the nodes, and notes in their colours.

    `is_empty` says that there are no queues, as far as this user can see.
    """

    rows: Sequence[Row]
    server: str
    clock: str = ""
    nodes: Sequence[NodeInfo] = ()
    notes: Sequence[Text] = field(default_factory=list)
    is_empty: bool = False

    def draw(self, width: int, height: int | None = None) -> RenderableType:
        """Draw the picture. If a height is given, rows that don't fit are counted in a note."""
        rows, notes = list(self.rows), list(self.notes)
        if height is not None:
            # The other lines are the two of the head, the table's heading and rule, and the notes.
            notes = notes[: max(1, height - 8)]
            room = max(2, height - 4 - len(notes))
            if len(rows) > room:
                notes.append(Text(f"and {plural(len(rows) - room + 1, 'more queue')}", style="dim"))
                rows = rows[: room - 1]
        parts: list[RenderableType] = [self._head(width), self._about_nodes(width), drawn(rows, width)]
        if self.is_empty:
            parts.append(Text("no queues yet; try: taskslot push mail hello", style="dim"))
        for note in notes if height is not None else ():
            note.truncate(width, overflow="ellipsis")
        return Group(*parts, *notes)

    def _head(self, width: int) -> RenderableType:
        all_of_it = total([row.info for row in self.rows])
        left = Text(self.server, style="bold cyan")
        if all_of_it is not None:
            left.append(f"  {plural(len(self.rows), 'queue')}, {count(all_of_it.ready)} ready, ")
            left.append(f"in {rate(all_of_it.in_per_second_1m)}/s, out {rate(all_of_it.out_per_second_1m)}/s")
        # If there is no room for both, the clock is left out.
        clock = self.clock if len(left) + len(self.clock) < width else ""
        left.truncate(width, overflow="ellipsis")
        grid = Table.grid(expand=True)
        grid.add_column(no_wrap=True)
        grid.add_column(justify="right", no_wrap=True)
        grid.add_row(left, Text(clock, style="dim"))
        return grid

    def _about_nodes(self, width: int) -> Text:
        line = Text(", ".join(about(self.nodes)), style="dim")
        line.truncate(width, overflow="ellipsis")
        return line


def about(nodes: Sequence[NodeInfo]) -> list[str]:
    """The servers in words: how many, which versions, the lag of due work, memory, and workers that wait."""
    primaries = [node for node in nodes if node.is_primary]
    read = [node for node in primaries if not node.trouble]
    words = [] if len(primaries) == 1 else [plural(len(primaries), "primary", "primaries")]
    if copies := len(nodes) - len(primaries):
        words.append(plural(copies, "replica"))
    words += several({f"{node.server} {node.server_version}" for node in read})
    words += several({f"taskslot {node.module}" for node in read if node.module})
    if lags := [node.due_lag_ms for node in read if node.due_lag_ms >= 0]:
        words.append(f"lag {span(max(lags))}")
    if read:
        used, limit = sum(node.used_memory for node in read), sum(node.maxmemory for node in read)
        is_limited = all(node.maxmemory > 0 for node in read)
        words.append(f"memory {size(used)}" + (f" of {size(limit)}" if is_limited else ""))
        words.append(f"{plural(sum(max(0, node.blocked_workers) for node in read), 'worker')} waiting")
    return words


def several(texts: set[str]) -> list[str]:
    """Different texts in order, of which one is usual."""
    return [" and ".join(format.payload(text.encode()) for text in sorted(texts))] if texts else []


def drawn(rows: Sequence[Row], width: int) -> Table:
    """The table, exactly as wide as the screen."""
    columns, for_attention = fitting(width), attention_width(width)
    # The box adds one space between two columns.
    table = Table(
        box=box.SIMPLE_HEAD, expand=True, padding=(0, GAP - 1, 0, 0), pad_edge=False, show_edge=False
    )
    table.add_column("queue", no_wrap=True, overflow="ellipsis", ratio=1, min_width=NAME_WIDTH)
    if for_attention:
        table.add_column("needs attention", no_wrap=True, overflow="ellipsis", width=for_attention)
    for column in columns:
        side: JustifyMethod = "right" if column.is_number else "left"
        table.add_column(
            column.head, justify=side, no_wrap=True, overflow="ellipsis", width=WIDTHS[column.name]
        )
    for row in rows:
        said = [attention(row)] if for_attention else []
        table.add_row(name(row), *said, *(cell(column, row.info) for column in columns))
    return table


def name(row: Row) -> Text:
    """The queue's name, with the number of its shards."""
    text = Text(format.payload(row.queue.encode("utf-8", "surrogateescape")))
    return text.append(f" ×{row.shards}", style="dim") if row.shards else text
