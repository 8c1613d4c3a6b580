"""The display of a running demo: a live screen on a terminal, otherwise plain lines."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from logs import now
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from story import Event
from watch import SLOT_RANGES, NodeView, ShardView, View, Watch

COLOURS = ("dodger_blue1", "orange1", "green3")
BLOCKS = " ▁▂▃▄▅▆▇█"
# The number of lines for events, and of points in the graph of the backlog.
EVENTS, POINTS = 7, 60


@dataclass
class Screen:
    """Shows the watch's last view, the counters of producer and workers, and the story's events."""

    title: str
    console: Console
    watch: Watch
    counts: Callable[[], tuple[int, int, int]]  # pushed, confirmed, done
    began: float = field(default_factory=now)
    events: list[Event] = field(default_factory=list)
    phase: str = ""
    _backlog: deque[int] = field(default_factory=lambda: deque(maxlen=POINTS))
    _seen: View | None = None
    _said: float = 0.0

    def live(self) -> AbstractContextManager[object]:
        """A context manager for the live screen. Without a terminal, nothing is drawn."""
        if not self.console.is_terminal:
            return nullcontext()
        return Live(get_renderable=self.render, console=self.console, refresh_per_second=4)

    def tell(self, event: Event) -> None:
        """Show an event."""
        self.events.append(event)
        if not self.console.is_terminal:
            print(f"{event.t:5.1f} s  {event.text}", flush=True)

    def say_now(self) -> None:
        """Without a terminal, print a line with the present figures, every two seconds at most."""
        view = self.watch.view
        if self.console.is_terminal or view is None or now() - self._said < 2:
            return
        self._said = now()
        pushed, confirmed, done = self.counts()
        nodes = " ".join(f"{node.port}:{node.ready}+{node.leased}" for node in view.nodes if node.shards)
        print(
            f"{now() - self.began:5.1f} s  pushed {pushed:,}, confirmed by a replica {confirmed:,}, done {done:,}; "
            f"ready+leased by node {nodes}",
            flush=True,
        )

    # ---- the live screen

    def render(self) -> RenderableType:
        """The present screen."""
        view = self.watch.view
        if view is None:
            return Text("starting …")
        if view is not self._seen:
            self._seen = view
            self._backlog.append(sum(view.of_slot_ranges("ready")))
        tall = 3 if self.console.height >= 36 else 1
        parts = [self._head(), self._nodes(view), self._bars(view, tall), self._line(), self._events()]
        return Group(*parts)

    def _head(self) -> RenderableType:
        pushed, confirmed, done = self.counts()
        text = Text.assemble(
            (f"{max(0.0, now() - self.began):4.0f} s  ", "bold"), (f"{self.phase}\n", "bold"),
            "pushed ", (f"{pushed:,}", "bold"), "   done ", (f"{done:,}", "bold"),
            "   confirmed by a replica ", (f"{confirmed:,}", "bold"),
            f"   ({pushed - confirmed:,} not yet: WAIT 1)", no_wrap=True,
        )  # fmt: skip
        return Panel(text, title=self.title, title_align="left")

    def _nodes(self, view: View) -> Table:
        table = Table(expand=True, box=None, padding=(0, 1), header_style="dim")
        table.add_column("node")
        table.add_column("role", ratio=1)
        for name in ("slots", "shards", "ready", "leased", "pushed/s", "done/s"):
            table.add_column(name, justify="right")
        for node in view.nodes:
            table.add_row(*self._row(node))
        return table

    @staticmethod
    def _row(node: NodeView) -> Sequence[RenderableType]:
        style = "bold red" if node.state == "killed" else COLOURS[node.slot_range] if node.slots else "dim"
        numbers = [f"{node.slots:,}", node.shards, node.ready, node.leased]
        numbers += [f"{node.pushed_per_s:,.0f}", f"{node.done_per_s:,.0f}"]
        cells = [str(number) if node.slots else "" for number in numbers]
        return [Text(text, style) for text in (str(node.port), node.state, *cells)]

    def _bars(self, view: View, tall: int) -> Panel:
        """A bar for each shard, with the height of its ready tasks; grouped by node."""
        most = max(8, *(shard.ready for shard in view.shards))
        rows = Table.grid(padding=(0, 1))
        rows.add_column(justify="right", vertical="bottom")
        rows.add_column(no_wrap=True)
        for slot_range in range(SLOT_RANGES):
            here = [shard for shard in view.shards if shard.slot_range == slot_range]
            node = next((str(shard.node) for shard in here if shard.node), "nobody")
            total = f"{sum(shard.ready for shard in here):,} ready"
            rows.add_row(
                Text(f"{node}\n{total}" if tall > 1 else f"{node} {total:>12}"), bars(here, most, tall)
            )
        title = f"ready tasks of each of the {len(view.shards)} shards, by node; a full bar is {most}"
        return Panel(rows, title=title, title_align="left", border_style="dim")

    def _line(self) -> RenderableType:
        most = max(8, *self._backlog)
        line = "".join(BLOCKS[round(count / most * 8)] for count in self._backlog)
        return Text.assemble(
            f" backlog {self._backlog[-1]:>5,} ready, most {most:>5,} ", (line, "magenta"), no_wrap=True
        )

    def _events(self) -> Panel:
        lines = [Text(f"{event.t:5.1f} s  {event.text}", no_wrap=True) for event in self.events[-EVENTS:]]
        lines += [Text()] * (EVENTS - len(lines))
        return Panel(Group(*lines), title="what happened", title_align="left", border_style="dim")


def bars(shards: Sequence[ShardView], most: int, tall: int) -> Text:
    """Bars of several lines, side by side; red if no node serves the shard."""
    text = Text()
    for row in reversed(range(tall)):
        for shard in shards:
            level = min(8, max(0, round(shard.ready / most * 8 * tall) - 8 * row))
            # A shard without ready tasks is visible too.
            block = "▁" if row == 0 and level == 0 else BLOCKS[level]
            empty = row == 0 and not shard.ready
            style = "red" if shard.node is None else f"{COLOURS[shard.slot_range]}{' dim' * empty}"
            text.append(block, style)
            text.append(" " if len(shards) <= 40 else "")
        if row:
            text.append("\n")
    return text
