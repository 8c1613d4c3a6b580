"""Formats the figures of bench/life.py as Markdown."""

from __future__ import annotations

import json
import platform
import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

from contenders import Contender
from footprint import Footprint
from harness.server import ROOT, Server
from rounds import CALLS_A_WRITE, NO_LISTENER, PHASES, Cost, Load

OURS, MEASURE = "taskslot", "Streams"
# The rounds of one mode and one number of tasks per call: for each contender its costs, in the order of the rounds.
Rounds = dict[str, list[Cost]]


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table that is also readable as text. The first column is aligned to the left, all others to the right."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines.insert(1, rule)

    def padded(line: list[str]) -> str:
        cells = (
            c.ljust(w) if at == 0 else c.rjust(w) for at, (c, w) in enumerate(zip(line, widths, strict=True))
        )
        return f"| {' | '.join(cells)} |"

    return "\n".join(padded(line) for line in lines)


def ratios(rounds: Rounds, name: str) -> list[float]:
    """For each round, the ratio of a contender's cost to that of Streams."""
    pairs = zip(rounds[name], rounds[MEASURE], strict=True)
    return [mine.life_us() / theirs.life_us() for mine, theirs in pairs]


def ratio(rounds: Rounds, name: str) -> str:
    """The median, the lowest and the highest ratio, as text."""
    all_ratios = ratios(rounds, name)
    if name == MEASURE:
        return "1"
    return f"{median(all_ratios):.2f} ({min(all_ratios):.2f}–{max(all_ratios):.2f})"


def costs(measured: dict[tuple[str, int], Rounds]) -> str:
    """The table of all lives: µs of processor time per task, medians over the rounds."""
    rows = []
    for (mode, size), rounds in measured.items():
        for name, all_costs in rounds.items():
            phases = [f"{median(cost.us(phase) for cost in all_costs):.2f}" for phase in PHASES]
            life = f"{median(cost.life_us() for cost in all_costs):.2f}"
            aside = f"{median(cost.aside / cost.tasks / 1000 for cost in all_costs):.2f}"
            rows.append((f"{mode}, {calls(size)}", name, *phases, life, ratio(rounds, name), aside))
    return markdown(("server CPU, µs a task", "", *PHASES, "life", "× Streams", "aside"), rows)


def calls(size: int) -> str:
    """The number of tasks per call, in words."""
    return "one by one" if size == 1 else f"by {size}"


def describe_load(load: Load) -> str:
    """The sizes of a round, in words."""
    return (
        f"{load.tasks:,} tasks a round, payload {load.payload_bytes} B, backlog {load.backlog:,}, at most "
        f"{load.slice:,} leased, acked in order, {CALLS_A_WRITE} calls a write"
    )


def footprints(measured: dict[int, dict[str, Footprint]]) -> str:
    """The table of bytes per task beyond its payload."""
    rows = [
        (f"payload {bytes_} B, {found.tasks:,} tasks", name, f"{found.ready:.1f}", f"{found.leased:.1f}")
        for bytes_, all_found in measured.items()
        for name, found in all_found.items()
    ]
    return markdown(("bytes a task beyond its payload", "", "ready", "leased"), rows)


def aims(lives: dict[tuple[str, int], Rounds], sizes: dict[int, dict[str, Footprint]]) -> str:
    """The table of targets and what was measured. With an AOF or a replica, the worse of the two counts."""
    rows = []
    for listens, size, aim in [(True, 1, 0.50), (True, 10, 0.50), (False, 1, 0.40), (False, 10, 0.40)]:
        here = {mode: r for (mode, n), r in lives.items() if n == size and listens != (mode == NO_LISTENER)}
        if not here:
            continue
        worst = max(here, key=lambda mode: median(ratios(here[mode], OURS)))
        texts = {
            name: f"{median(c.life_us() for c in all_costs):.2f} µs"
            for name, all_costs in here[worst].items()
        }
        reached = median(ratios(here[worst], OURS))
        ours = f"{texts[OURS]} = {reached:.2f} × Streams"
        where = "AOF or replica, the worse" if listens else "no AOF, no replica"
        rows.append((f"a life {calls(size)}, {where}", texts, ours, f"≤ {aim:.2f} × Streams", reached <= aim))
    for bytes_, found in sizes.items():
        for state, aim in [("ready", 9), ("leased", 60)]:
            texts = {name: f"{getattr(figures, state):.1f}" for name, figures in found.items()}
            reached = getattr(found[OURS], state) <= aim
            # The targets are for 100 bytes. Larger payloads leave more unused space at the end of each page.
            aim_here = f"≤ {aim}" if bytes_ == 100 else "–"
            rows.append((f"bytes a {state} task, {bytes_} B", texts, texts[OURS], aim_here, reached))
    names = [name for name in rows[0][1] if name != OURS] if rows else []
    table = [
        (
            what,
            *(texts.get(name, "–") for name in names),
            ours,
            aim,
            "–" if aim == "–" else "yes" if ok else "no",
        )
        for what, texts, ours, aim, ok in rows
    ]
    return markdown(("figure", *names, OURS, "target", "reached"), table)


def conditions(server: Server, module: Path, all_here: Sequence[Contender]) -> str:
    """The server, the module and the machine, and how each contender works, as a list."""
    with server.client() as client:
        info, memory = client.info("server"), client.info("memory")
    version = info.get("valkey_version") or info["redis_version"]
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    here = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--tags"], cwd=ROOT, capture_output=True, text=True
    )
    facts = {
        "server": f"{server.name} ({version}), {memory['mem_allocator']}",
        "module": f"{module.name}, {module.stat().st_size >> 10} KB, tree at {here.stdout.strip() or '?'}",
        "machine": f"{cpu[1] if cpu else platform.machine()}, Linux {platform.release()}",
    }
    facts |= {contender.name: contender.how for contender in all_here}
    return "\n".join(f"- {name}: {what}" for name, what in facts.items())


def as_json(lives: dict[tuple[str, int], Rounds], sizes: dict[int, dict[str, Footprint]]) -> str:
    """All figures as JSON: ns per task by mode, size and contender; bytes per task."""
    figures = {
        f"{mode}, {calls(size)}": {
            name: [
                {"aside": c.aside / c.tasks, **{p: c.phases[p] / c.tasks for p in PHASES}} for c in all_costs
            ]
            for name, all_costs in rounds.items()
        }
        for (mode, size), rounds in lives.items()
    }
    held = {bytes_: {name: vars(found) for name, found in all_.items()} for bytes_, all_ in sizes.items()}
    return json.dumps({"lives": figures, "footprints": held}, indent=1)
