"""Writes the figures of chaos/results into docs/guarantees.md, between two comments, or compares them."""

from __future__ import annotations

import re
import sys
import textwrap
from collections import Counter

from harness.server import ROOT

from chaos.campaign import missing
from chaos.profiles import PROFILES
from chaos.report import Row, happened
from chaos.results import Result, read

PAGE = ROOT / "docs/guarantees.md"
BLOCK = re.compile(r"(<!-- chaos: table -->\n\n).*?(\n\n<!-- end of chaos -->)", re.S)
HEAD = ("fault", "server", "runs", "times", "pushed", "lost", "in window", "again", "longest pause")
NONE = "Not measured yet: `make chaos ARGS=--results` measures it."
# How wide a paragraph is.
WIDTH = 120
# So many causes of redeliveries are named, the most frequent ones.
CAUSES = 4


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
    """The sums, the table of all profiles on all servers, and when it was measured."""
    if not results:
        return NONE
    lines = [
        " | ".join(HEAD),
        "|".join(["---"] * 2 + ["---:"] + ["---"] + ["---:"] * 2 + ["---"] * 2 + ["---:"]),
    ]
    for name, profile in PROFILES.items():
        shown = f"{profile.what} (`{name}`)"
        for result in results:
            for row in (row for row in result.rows if row.profile == name):
                lines.append(" | ".join((shown, result.version, *cells(row))))
                shown = ""
    rows = "\n".join(f"| {line} |" if "---" not in line else f"|{line}|" for line in lines)
    measured = ", ".join(f"{one.version} on {one.date}, module of {one.commit}" for one in results)
    parts = [
        sums(results),
        rows,
        absent(results),
        textwrap.fill(f"Measured by `make chaos`: {measured}.", WIDTH),
    ]
    return "\n\n".join(parts)


def sums(results: list[Result]) -> str:
    """All runs together, in one paragraph."""
    rows = [row for result in results for row in result.rows]
    spoke = sum((row.findings for row in rows), Counter[str]())
    found = ", ".join(f"{name} {count:,}" for name, count in spoke.items()) or "none"
    faults = sum((happened(row) for row in rows), Counter[str]())
    asked = sum(faults[kind] for kind in commands())
    text = (
        f"In {sum(row.runs for row in rows):,} runs there were {faults.total() - asked:,} faults and {asked:,} "
        f"commands of an operator. "
        f"{sum(row.acknowledged for row in rows):,} pushes were acknowledged. Lost: {sum(row.lost for row in rows):,}. "
        f"Lost in a window: {sum(row.in_window for row in rows):,}. Delivered again without a cause: "
        f"{sum(row.causes['none'] for row in rows):,}. Servers that ended though no fault explains it: "
        f"{sum(row.exits for row in rows):,}. Rules that spoke: {found}."
    )
    return textwrap.fill(text, WIDTH)


def commands() -> set[str]:
    """The kinds of faults that are commands of an operator."""
    faults = {fault for profile in PROFILES.values() for fault in profile.faults if fault.is_command}
    return {kind for fault in faults for kind in fault.kinds}


def absent(results: list[Result]) -> str:
    """Which faults did not happen, though their profile has them."""
    found = missing([row for result in results for row in result.rows])
    named = [f"`{profile}`: {', '.join(kinds)}" for profile, kinds in found.items()]
    return textwrap.fill(f"Not in these runs: {'; '.join(named) or 'none of the faults is missing'}.", WIDTH)


def cells(row: Row) -> tuple[str, ...]:
    """The numbers of a row."""
    times = ", ".join(f"{kind} {count:,}" for kind, count in happened(row).items()) or "0"
    window = f"{row.in_window:,} ({row.window_s:.1f} s)" if row.in_window else "0"
    flushed = f"; {row.flushed:,} flushed" if row.flushed else ""
    causes = ", ".join(f"{name} {count:,}" for name, count in Counter(row.causes).most_common(CAUSES))
    return (
        str(row.runs),
        times,
        f"{row.acknowledged:,}",
        str(row.lost),
        window + flushed,
        f"{row.redelivered:,}" + (f": {causes}" if causes else ""),
        f"{row.pause_s:.1f} s",
    )
