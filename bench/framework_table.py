"""Reads the result of bench/frameworks.py, and formats it as tables in Markdown.

A result is what `frameworks.py --json` writes:

    run         date, machine, versions, and the sizes of the load
    frameworks  by name: how it is set up, what it promises, and its versions, or why it was skipped;
                drain, the figures of throughput, and latency, in ms; or in each why there are none (failed)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from table import markdown

Result = dict[str, Any]
Table = tuple[Sequence[str], list[Sequence[str]]]

DRAIN = (
    "",
    "jobs",
    "push, s",
    "drain, s",
    "tasks/s",
    "client's CPU a push, µs",
    "workers' CPU a task, µs",
    "server's CPU, µs",
    "commands",
)
LATENCY = ("", "p50", "p99", "p99.9", "max", "jobs", "jobs/s")
SET_UP = ("", "versions", "set up", "if a worker is killed")


def found(result: Result, part: str) -> dict[str, dict[str, Any]]:
    """The frameworks that have figures of a part, and the figures."""
    return {
        name: one[part]
        for name, one in result["frameworks"].items()
        if part in one and "failed" not in one[part]
    }


def throughput(result: Result) -> Table:
    """The table of throughput and of what it costs. Sums are of a push and of a task."""
    rows = [
        (
            name,
            f"{one['jobs']:,}",
            f"{one['push_seconds']:.2f}",
            f"{one['seconds']:.2f}",
            f"{one['jobs'] / one['seconds']:,.0f}",
            f"{one['push_cpu_us']:.0f}",
            f"{one['task_cpu_us']:.0f}",
            f"{one['push_server_us']:.1f} + {one['task_server_us']:.1f}",
            f"{one['push_commands']:.1f} + {one['task_commands']:.1f}",
        )
        for name, one in found(result, "drain").items()
    ]
    return DRAIN, rows


def latencies(result: Result) -> Table:
    """The table of the times from push to start, in ms."""
    rows = [
        (
            name,
            *(f"{one[part]:.2f}" for part in ("p50", "p99", "p99.9", "max")),
            f"{one['jobs']:,}",
            f"{one['rate']:.0f}",
        )
        for name, one in found(result, "latency").items()
    ]
    return LATENCY, rows


def set_up(result: Result) -> Table:
    """The table of versions, set-up and promises."""
    rows = [
        (
            name,
            ", ".join(" ".join(one) for one in about.get("versions", {}).items()),
            about["how"],
            about["promise"],
        )
        for name, about in result["frameworks"].items()
    ]
    return SET_UP, rows


def skipped(result: Result) -> list[str]:
    """The frameworks that were skipped, with the reason."""
    return [
        f"- {name}: skipped. {one['skipped']}"
        for name, one in result["frameworks"].items()
        if "skipped" in one
    ]


def notes(result: Result, part: str) -> list[str]:
    """Why frameworks have no figures of a part, and which jobs ran twice."""
    lines = []
    for name, one in result["frameworks"].items():
        figures = one.get(part, {})
        if reason := figures.get("failed"):
            lines.append(f"- {name}: no figures. {reason}")
        elif figures.get("runs", 0) > figures.get("jobs", 0):
            lines.append(f"- {name}: {figures['runs'] - figures['jobs']:,} jobs ran twice")
    return lines


def conditions(result: Result) -> str:
    """The server, the machine and the load, as a list."""
    run = result["run"]
    lines = {
        "server": f"{run['server']}, {run['allocator']}, over TCP, nothing on disk",
        "taskslot": f"commit {run['commit']}",
        "machine": f"{run['cores']} cores of {run['cpu']}, Linux {run['linux']}, {run['date']}",
        "throughput": f"{run['jobs']:,} jobs that do nothing, 2 processes × 5",
        "latency": f"{run['rate']} jobs a second for {run['seconds']} s",
        "limit": f"{run['limit_s']:.0f} s for each phase of a framework",
    }
    return "\n".join(f"- {name}: {text}" for name, text in lines.items())


def text(result: Result) -> str:
    """All tables of a run, as they are printed."""
    parts = [conditions(result)]
    for title, part, (head, rows) in (
        ("throughput", "drain", throughput(result)),
        ("push to start, ms", "latency", latencies(result)),
    ):
        parts.append(markdown((title, *head[1:]), rows) if rows else "")
        parts.append("\n".join(notes(result, part)))
    parts.append("\n".join(skipped(result)))
    about = set_up(result)[1]
    parts.append(
        "\n".join(f"- {name} ({versions}): {how}. {promise}" for name, versions, how, promise in about)
    )
    return "\n\n".join(filter(None, parts))
