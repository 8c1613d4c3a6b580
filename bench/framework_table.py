"""Formats the figures of bench/frameworks.py as Markdown, from what its JSON holds."""

from __future__ import annotations

from collections.abc import Callable

from table import markdown

DRAIN = (
    "",
    "jobs",
    "push, s",
    "CPU a push, µs",
    "drain, s",
    "tasks/s",
    "workers' CPU a task, µs",
    "commands a push + a task",
    "server's CPU a push + a task, µs",
)
LATENCY = ("push to start, ms", "p50", "p99", "p99.9", "max", "jobs", "pushed/s")


def drain_row(found: dict) -> tuple[str, ...]:
    """The cells of a framework in the table of throughput."""
    return (
        f"{found['jobs']:,}",
        f"{found['push_seconds']:.2f}",
        f"{found['push_cpu_us']:.0f}",
        f"{found['seconds']:.2f}",
        f"{found['jobs'] / found['seconds']:,.0f}",
        f"{found['task_cpu_us']:.0f}",
        f"{found['push_commands']:.1f} + {found['task_commands']:.1f}",
        f"{found['push_server_us']:.1f} + {found['task_server_us']:.1f}",
    )


def latency_row(found: dict) -> tuple[str, ...]:
    """The cells of a framework in the table of latencies."""
    times = (f"{found[name]:.2f}" for name in ("p50", "p99", "p99.9", "max"))
    return (*times, f"{found['jobs']:,}", f"{found['rate']:.0f}")


def rows(result: dict, part: str, head: tuple[str, ...], row: Callable[[dict], tuple[str, ...]]) -> str:
    """One table. Frameworks without figures are listed below it, with the reason."""
    lines, notes = [], []
    for name, one in result["frameworks"].items():
        found = one.get(part, {})
        if reason := one.get("skipped"):
            notes.append(f"- {name}: skipped. {reason}")
        elif reason := found.get("failed"):
            notes.append(f"- {name}: no figures. {reason}")
        elif found:
            lines.append((name, *row(found)))
            if found.get("runs", found["jobs"]) > found["jobs"]:
                notes.append(f"- {name}: {found['runs'] - found['jobs']:,} jobs ran twice")
    return "\n\n".join(filter(None, [markdown(head, lines) if lines else "", "\n".join(notes)]))


def set_up(result: dict) -> str:
    """How each framework was set up, and what it promises."""
    lines = []
    for name, one in result["frameworks"].items():
        versions = ", ".join(f"{package} {version}" for package, version in one.get("versions", {}).items())
        lines.append(
            f"- {name}{f' ({versions})' if versions else ''}: {one['how']}. Delivery: {one['promise']}"
        )
    return "\n".join(lines)


def text(result: dict) -> str:
    """All tables of a run."""
    facts = "\n".join(f"- {name}: {result[name]}" for name in ("date", "machine", "server", "module", "load"))
    parts = [
        facts,
        rows(result, "drain", DRAIN, drain_row),
        rows(result, "latency", LATENCY, latency_row),
        set_up(result),
    ]
    return "\n\n".join(filter(None, parts))
