"""Writes the figures of chaos/results into docs/guarantees.md, between two comments, or compares them."""

from __future__ import annotations

import re
import sys
from collections import Counter

from harness.server import ROOT

from chaos.profiles import PROFILES
from chaos.report import Row
from chaos.results import Result, read

PAGE = ROOT / "docs/guarantees.md"
BLOCK = re.compile(r"(<!-- chaos: table -->\n\n).*?(\n\n<!-- end of chaos -->)", re.S)
HEAD = (
    "fault",
    "server",
    "runs",
    "faults",
    "pushed",
    "lost",
    "in window",
    "redelivered",
    "longest pause",
    "exits",
)
NONE = "Not measured yet: `make chaos ARGS=--results` measures it."


def main(words: list[str]) -> int:
    """Write, or compare with `--check`. Returns 1 if the page is out of date."""
    text = PAGE.read_text()
    now = BLOCK.sub(lambda found: found[1] + table(read()) + found[2], text)
    if "--check" not in words:
        PAGE.write_text(now)
        return 0
    if text != now:
        print(
            f"{PAGE.relative_to(ROOT)} does not show chaos/results: run python -m chaos document",
            file=sys.stderr,
        )
    return int(text != now)


def table(results: list[Result]) -> str:
    """The table of all profiles on all servers, and when it was measured."""
    if not results:
        return NONE
    lines = [" | ".join(HEAD), "|".join(["---"] * 2 + ["---:"] * 4 + ["---"] * 2 + ["---:"] * 2)]
    for name, profile in PROFILES.items():
        shown = profile.what
        for result in results:
            for row in (row for row in result.rows if row.profile == name):
                lines.append(" | ".join((shown, result.version, *cells(row))))
                shown = ""
    rows = "\n".join(f"| {line} |" if "---" not in line else f"|{line}|" for line in lines)
    measured = ", ".join(f"{one.version} on {one.date} at {one.commit}" for one in results)
    return f"{rows}\n\nMeasured by `make chaos`: {measured}."


def cells(row: Row) -> tuple[str, ...]:
    """The numbers of a row."""
    window = f"{row.in_window:,} ({row.window_s:.1f} s)" if row.in_window else "0"
    flushed = f"; {row.flushed:,} flushed" if row.flushed else ""
    causes = ", ".join(f"{name} {count:,}" for name, count in Counter(row.causes).most_common(3))
    return (
        str(row.runs),
        f"{sum(row.faults.values()):,}",
        f"{row.acknowledged:,}",
        str(row.lost),
        window + flushed,
        f"{row.redelivered:,}" + (f": {causes}" if causes else ""),
        f"{row.pause_s:.1f} s",
        str(row.exits),
    )
