"""What the picture of the benchmarks shows: bars with their figures, from the results of one server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

import table
from table import LIFE, MEASURE, NEXT, OURS, Result

TITLE = "What a task costs the server"
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


def panels(result: Result) -> list[Panel]:
    """All panels: processor time by load, then memory by state."""
    found = []
    for load, heading in LOADS.items():
        rounds = result["lives"][MODE][load]
        bars = (life(rounds, name) for name in NAMES if name in rounds)
        found.append(Panel(heading, "µs", tuple(bars)))
    sizes = result["footprints"][PAYLOAD]
    for state, heading in STATES.items():
        bars = (size(sizes, name, state) for name in NAMES if name in sizes)
        found.append(Panel(heading, "bytes", tuple(bars)))
    return found


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


def notes(result: Result) -> list[str]:
    """The lines below the bars."""
    run = result["run"]
    return [
        f"{table.server(result)}, {MODE}, medians of {run['rounds']} rounds, {run['date']}. The number on the right "
        "is × Streams.",
        "Memory is what a task takes beyond its payload of 100 bytes. The list has no timeouts, delays or retries.",
        "The Lua queue keeps a deadline for each task, but nothing acts on it.",
    ]


def description(result: Result) -> str:
    """All figures as text, for screen readers."""
    parts = [
        f"{panel.heading}: " + ", ".join(f"{bar.name} {bar.figure}" for bar in panel.bars) + "."
        for panel in panels(result)
    ]
    return f"{table.server(result)}. " + " ".join(parts)


def texts(result: Result) -> Iterator[str]:
    """Every text with a figure in the picture, to check that a picture shows this result."""
    yield description(result)
    yield notes(result)[0]
    for panel in panels(result):
        for bar in panel.bars:
            yield bar.figure
            yield bar.ratio
