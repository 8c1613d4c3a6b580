"""What the pictures of the benchmarks show: bars with their figures, from a result."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

import table
from table import LIFE, MEASURE, NEXT, OURS, Result

MODE = "AOF everysec"
# The contenders that are drawn, and their names in the picture.
NAMES = {OURS: "taskslot", NEXT: "with NEXT", MEASURE: "Streams", "list": "list", "Lua": "Lua"}
LOADS = {
    "one by one": "CPU of a life, one by one",
    "pushed one by one, claimed by tens": "CPU, claimed and acked by tens",
    "by tens": "CPU, pushed by tens too",
}
STATES = {"ready": "Memory of a ready task", "leased": "Memory of a leased task"}
PAYLOAD = "100"
# A bar of the frameworks ends at this many times the median, so that one slow framework does not hide the others.
LONGEST = 2.5
# The panels of the frameworks: the part and the figure in the result, and the heading.
FRAMEWORK_PANELS = (
    ("drain", "push_cpu_us", "Client's CPU of a push, µs"),
    ("drain", "task_cpu_us", "Workers' CPU of a task, µs"),
    ("drain", "task_server_us", "Server's CPU of a task, µs"),
    ("latency", "p50", "Push to start, p50, ms"),
    ("latency", "p99", "Push to start, p99, ms"),
)


@dataclass(frozen=True)
class Bar:
    """A contender's bar: the lengths of its parts, the figure beside it, and its ratio to Streams."""

    name: str
    parts: tuple[float, ...]
    figure: str
    ratio: str
    is_ours: bool


@dataclass(frozen=True)
class Panel:
    """Bars under a heading. Panels of one `unit` have one scale."""

    heading: str
    unit: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Shown:
    """All that a picture shows. `parts` are the names of the parts of bars, if there are any."""

    title: str
    panels: tuple[Panel, ...]
    parts: tuple[str, ...]
    notes: tuple[str, ...]

    def description(self) -> str:
        """All figures as text, for screen readers."""
        lines = (
            f"{panel.heading}: {', '.join(f'{bar.name} {bar.figure}' for bar in panel.bars)}."
            for panel in self.panels
        )
        return f"{self.title}. {' '.join(lines)}"

    def texts(self) -> list[str]:
        """Every text in the picture, sorted, to check that a picture shows this."""
        bars = [
            text for panel in self.panels for bar in panel.bars for text in (bar.name, bar.figure, bar.ratio)
        ]
        headings = [panel.heading for panel in self.panels]
        return sorted(filter(None, [self.title, *headings, *bars, *self.parts, *self.notes]))


def of_life(result: Result) -> Shown:
    """The lives of tasks on one server: processor time by load, then memory by state."""
    panels = []
    for load, heading in LOADS.items():
        rounds = result["lives"][MODE][load]
        bars = (life(rounds, name) for name in NAMES if name in rounds)
        panels.append(Panel(heading, "µs", tuple(bars)))
    sizes = result["footprints"][PAYLOAD]
    for state, heading in STATES.items():
        bars = (size(sizes, name, state) for name in NAMES if name in sizes)
        panels.append(Panel(heading, "bytes", tuple(bars)))
    return Shown(f"What a task costs the server, {table.server(result)}", tuple(panels), LIFE, notes(result))


def of_frameworks(result: Result) -> Shown:
    """Task frameworks beside each other: processor time and latency."""
    panels = []
    for part, figure, heading in FRAMEWORK_PANELS:
        measured = {
            name: one[part][figure]
            for name, one in result["frameworks"].items()
            if figure in one.get(part, {})
        }
        longest = LONGEST * median(measured.values()) if measured else 0
        bars = []
        for name, value in measured.items():
            text = f"{value:,.{0 if value >= 100 else 1}f}{' »' if value > longest else ''}"
            bars.append(Bar(name, (min(value, longest),), text, "", name == OURS))
        # A scale of its own.
        panels.append(Panel(heading, heading, tuple(bars)))
    run = result["run"]
    notes = (
        f"{run['server']}, {run['jobs']:,} jobs that do nothing, 2 processes × 5 places, {run['date']}.",
        "»: the bar would be longer.",
    )
    return Shown("A task in a framework", tuple(panels), (), notes)


def life(rounds: table.Rounds, name: str) -> Bar:
    """A contender's bar of processor time, in parts by phase."""
    parts = tuple(table.us(rounds, name, (phase,)) for phase in LIFE)
    ratio = "1" if name == MEASURE else f"{median(table.ratios(rounds, name)):.2f}"
    return Bar(NAMES[name], parts, f"{table.us(rounds, name):.1f} µs", ratio, name in (OURS, NEXT))


def size(sizes: dict[str, dict[str, float]], name: str, state: str) -> Bar:
    """A contender's bar of bytes beyond the payload."""
    found, beside = sizes[name][state], sizes[MEASURE][state]
    ratio = "1" if name == MEASURE else f"{found / beside:.2f}"
    return Bar(
        NAMES[name], (found,), f"{found:.1f} B" if found < 100 else f"{found:.0f} B", ratio, name == OURS
    )


def notes(result: Result) -> tuple[str, ...]:
    """The lines below the bars."""
    run = result["run"]
    return (
        f"{run['server']}, {MODE}, medians of {run['rounds']} rounds, {run['date']}. The number on the right is "
        "× Streams.",
        "Memory is what a task takes beyond its payload of 100 bytes. The list has no timeouts, delays or retries.",
        "The Lua queue keeps a deadline for each task, but nothing acts on it.",
    )
