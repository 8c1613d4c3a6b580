"""Draws the cost of a task in the server, compared with Streams, a list and Lua: processor time and memory."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

from svg import Picture

TITLE = "What a task costs the server"
SERVER, SERVER_NAME = "redis-7.0", "Redis 7.0"
OURS, MEASURE = "taskslot", "Streams"
CONTENDERS = (OURS, MEASURE, "list", "Lua")
PHASES = ("push", "claim", "ack")
# The loads of bench/life.py, and their names in the picture.
LOADS = {"AOF everysec, one by one": "one task a call", "AOF everysec, by 10": "ten tasks a call"}
STATES = {"ready": "a ready task", "leased": "a leased task"}
# The left edges of the two columns. A column has names, bars and figures, from left to right.
COLUMNS = (28, 432)
NAMES, BARS, BAR, ROW = 70, 196, 18, 27

# The rounds of a load, by contender. A round has the ns for each task, by phase.
Rounds = dict[str, list[dict[str, float]]]


def benchmark(results: Path) -> Picture:
    """Draws the figures that bench/life.py wrote into the folder `results`."""
    cpu = read(results / f"cpu.{SERVER}.json")["lives"]
    memory = read(results / f"memory.{SERVER}.json")["footprints"]["100"]
    picture = Picture(830, 466, TITLE, description(cpu, memory))
    picture.text(COLUMNS[0], 36, "Server CPU for the life of a task", "f-ink title")
    legend(picture, 636, 36)
    longest = max(median(map(life, rounds[one])) for rounds in cpu.values() for one in CONTENDERS)
    for x, (load, name) in zip(COLUMNS, LOADS.items(), strict=True):
        lives(picture, x, 62, name, cpu[load], longest)
    picture.text(COLUMNS[0], 226, "Memory for a task, beyond its payload of 100 bytes", "f-ink title")
    longest = max(memory[one][state] for one in CONTENDERS for state in STATES)
    for x, (state, name) in zip(COLUMNS, STATES.items(), strict=True):
        sizes(picture, x, 252, name, {one: memory[one][state] for one in CONTENDERS}, longest)
    picture.lines(COLUMNS[0], 408, notes(results), "f-muted small", 18)
    return picture


def read(path: Path) -> dict[str, Any]:
    """Reads a file of results."""
    return json.loads(path.read_text())


def life(cost: dict[str, float]) -> float:
    """The cost of a task in all phases of a round, in µs."""
    return sum(cost[phase] for phase in PHASES) / 1000


def ratio(rounds: Rounds, name: str) -> float:
    """The median of the ratios of a contender's cost to that of Streams in the same round."""
    pairs = zip(rounds[name], rounds[MEASURE], strict=True)
    return median(life(mine) / life(theirs) for mine, theirs in pairs)


def row(picture: Picture, x: float, y: float, name: str, figure: str, times: str, length: float) -> None:
    """Draws a contender's name left of its bar, its figure right of it, and its ratio at the end."""
    bold = " bold" if name == OURS else ""
    picture.text(x + NAMES - 8, y + 13.5, name, f"f-ink small end{bold}")
    picture.text(x + NAMES + length + 7, y + 13.5, figure, f"f-ink small{bold}")
    shade = "blue bold" if name == OURS else "muted"
    picture.text(x + 372, y + 13.5, times, f"f-{shade} small end")


def column(picture: Picture, x: float, y: float, name: str) -> None:
    """Draws the headings of a column of bars and of its ratios."""
    picture.text(x + NAMES, y, name, "f-muted small")
    picture.text(x + 372, y, "× Streams", "f-muted tiny end")


def lives(picture: Picture, x: float, y: float, name: str, rounds: Rounds, longest: float) -> None:
    """Draws a column of stacked bars: processor time by phase."""
    column(picture, x, y, name)
    for at, contender in enumerate(CONTENDERS):
        top, length = y + 10 + at * ROW, 0.0
        for phase in PHASES:
            part = median(cost[phase] for cost in rounds[contender]) / 1000 / longest * BARS
            hue = "blue" if contender == OURS else "muted"
            picture.rect(x + NAMES + length, top, part - 1, BAR, f"f-{hue} {phase}")
            length += part
        total = median(map(life, rounds[contender]))
        times = f"{ratio(rounds, contender):.2f}" if contender != MEASURE else "1"
        row(picture, x, top, contender, f"{total:.1f} µs", times, length)


def sizes(picture: Picture, x: float, y: float, name: str, found: dict[str, float], longest: float) -> None:
    """Draws a column of bars: bytes for each task."""
    column(picture, x, y, name)
    for at, (contender, size) in enumerate(found.items()):
        top, length = y + 10 + at * ROW, size / longest * BARS
        picture.rect(x + NAMES, top, length, BAR, f"f-{'blue' if contender == OURS else 'muted'} claim")
        times = f"{size / found[MEASURE]:.2f}" if contender != MEASURE else "1"
        row(picture, x, top, contender, f"{size:.1f} B" if size < 100 else f"{size:.0f} B", times, length)


def legend(picture: Picture, x: float, y: float) -> None:
    """Draws the legend: the shade of each phase."""
    for at, phase in enumerate(PHASES):
        picture.rect(x + at * 66, y - 11, 12, 12, f"f-blue {phase}", 2)
        picture.text(x + at * 66 + 17, y, phase, "f-muted small")


def notes(results: Path) -> list[str]:
    """Returns the lines below the bars: what was measured, and the range of the ratios on all servers."""
    lowest_and_highest = []
    for load in LOADS:
        found = [ratio(read(path)["lives"][load], OURS) for path in results.glob("cpu.*.json")]
        lowest_and_highest.append(f"{min(found):.2f}–{max(found):.2f}")
    cpu = " and ".join(lowest_and_highest)
    return [
        f"{SERVER_NAME}, AOF everysec, medians of 7 rounds. CPU on Redis 7.0 and 8.2 and Valkey 9.1: {cpu} × Streams.",
        "list: LPUSH, LMOVE, LREM. It has no timeouts, delays or retries. Lua: keeps a deadline for each task,",
        "but nothing acts on it. taskslot and Streams claim under the name of a worker.",
    ]


def description(cpu: dict[str, Rounds], memory: dict[str, dict[str, float]]) -> str:
    """Returns all figures as text, for screen readers."""
    parts = []
    for load, name in LOADS.items():
        said = ", ".join(f"{one} {median(map(life, cpu[load][one])):.1f} µs" for one in CONTENDERS)
        parts.append(f"Server CPU for the life of a task, {name}: {said}.")
    for state, name in STATES.items():
        said = ", ".join(f"{one} {memory[one][state]:.1f}" for one in CONTENDERS)
        parts.append(f"Bytes for {name} beyond its payload: {said}.")
    return " ".join(parts)
