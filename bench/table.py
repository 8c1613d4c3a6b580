"""Reads the results of bench/life.py, and formats them as tables in Markdown.

A result is what `life.py --json` writes for one server:

    run         date, machine, versions, and the sizes of the load
    how         the commands of each contender
    skipped     the contenders that could not run, each with the reason
    lives       by mode, load and contender a list with one entry a round: ns of processor time a task, by phase
    footprints  by bytes of payload and contender: bytes a task beyond its payload
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from statistics import median
from typing import Any

OURS, NEXT, MEASURE = "taskslot", "taskslot, NEXT", "Streams"
PUSH, WORK, LIFE = ("push",), ("claim", "ack"), ("push", "claim", "ack")
# What is compared with Streams in the same load: the words for it, the load, the contender, and the phases.
COMPARED = (
    ("a push: PUSH against XADD", "one by one", OURS, PUSH),
    ("claim and ack, one by one", "one by one", OURS, WORK),
    ("a life, one by one", "one by one", OURS, LIFE),
    ("a life with NEXT, one by one", "one by one", NEXT, LIFE),
    ("claim and ack by tens", "pushed one by one, claimed by tens", OURS, WORK),
    (
        "a life, pushed one by one, claimed and acked by tens",
        "pushed one by one, claimed by tens",
        OURS,
        LIFE,
    ),
    ("a life, pushed one by one, NEXT by tens", "pushed one by one, claimed by tens", NEXT, LIFE),
    ("a life by tens: MPUSH of ten against ten XADDs in a pipeline", "by tens", OURS, LIFE),
    ("a life by tens with NEXT: MPUSH of ten against ten XADDs in a pipeline", "by tens", NEXT, LIFE),
)

Result = dict[str, Any]
# The rounds of a load, by contender.
Rounds = dict[str, list[dict[str, float]]]


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


def cost(entry: dict[str, float], phases: Sequence[str]) -> float:
    """The µs per task of some phases in one round."""
    return sum(entry[phase] for phase in phases) / 1000


def us(rounds: Rounds, name: str, phases: Sequence[str] = LIFE) -> float:
    """The µs per task of some phases, the median over the rounds."""
    return median(cost(entry, phases) for entry in rounds[name])


def ratios(rounds: Rounds, name: str, phases: Sequence[str] = LIFE) -> list[float]:
    """For each round, the ratio of a contender's cost to that of Streams."""
    pairs = zip(rounds[name], rounds[MEASURE], strict=True)
    return [cost(mine, phases) / cost(theirs, phases) for mine, theirs in pairs]


def spread(found: Sequence[float]) -> str:
    """The median, the lowest and the highest ratio, as text."""
    return f"{median(found):.2f} ({min(found):.2f}–{max(found):.2f})"


def loads(result: Result) -> Iterator[tuple[str, str, Rounds]]:
    """Every mode and load that was measured, with its rounds."""
    for mode, by_load in result["lives"].items():
        for load, rounds in by_load.items():
            yield mode, load, rounds


def costs(result: Result) -> str:
    """The table of all lives: µs of processor time per task, medians over the rounds."""
    rows = []
    for mode, load, rounds in loads(result):
        for name in rounds:
            phases = [f"{us(rounds, name, (phase,)):.2f}" for phase in LIFE]
            # A contender that acks with its next claim has no time for acks.
            phases[-1] = phases[-1] if us(rounds, name, ("ack",)) else "–"
            life, aside = us(rounds, name), us(rounds, name, ("aside",))
            rows.append((f"{mode}, {load}", name, *phases, f"{life:.2f}", f"{aside:.2f}"))
    return markdown(("server CPU, µs a task", "", *LIFE, "life", "aside"), rows)


def comparison(results: Sequence[Result], mode: str) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows of the table of ratios to Streams, with a column for each server. Unmeasured rows are left out."""
    rows = []
    for words, load, name, phases in COMPARED:
        measured = [result["lives"].get(mode, {}).get(load, {}) for result in results]
        if any(name in rounds for rounds in measured):
            cells = [spread(ratios(r, name, phases)) if name in r else "–" for r in measured]
            rows.append((words, *cells))
    return ("× Streams", *(server(result) for result in results)), rows


def server(result: Result) -> str:
    """The server without the last part of its version: `Redis 7.0`."""
    return result["run"]["server"].rpartition(".")[0]


def footprints(result: Result) -> str:
    """The table of bytes per task beyond its payload."""
    rows = [
        (
            f"payload {size} B, {found['tasks']:,} tasks",
            name,
            f"{found['ready']:.1f}",
            f"{found['leased']:.1f}",
        )
        for size, all_found in result["footprints"].items()
        for name, found in all_found.items()
    ]
    return markdown(("bytes a task beyond its payload", "", "ready", "leased"), rows)


def conditions(result: Result) -> str:
    """The server, the machine and the load, how each contender works, and what was skipped, as a list."""
    run = result["run"]
    facts = {
        "server": f"{run['server']}, {run['allocator']}",
        "module": f"{run['module_kb']:,} KB, tree at {run['commit']}",
        "machine": f"{run['cores']} × {run['cpu']}, Linux {run['linux']}, {run['date']}",
        **result["how"],
        **{name: f"skipped, because {reason}" for name, reason in result["skipped"].items()},
        "lives": f"{run['tasks']:,} tasks a round, payload {run['payload_bytes']} B, backlog {run['backlog']:,}, "
        f"at most {run['slice']:,} leased, acked in order, {run['calls_a_write']} calls a write, "
        f"{run['rounds']} rounds, medians (ratios: lowest–highest)",
    }
    return "\n".join(f"- {name}: {what}" for name, what in facts.items())
