"""Writes the figures of bench/results into the documents: docs/benchmarks.md, README.md and their pictures.

    bench/document.py            writes them
    bench/document.py --check    compares instead; `make lint` runs this

A page has the figures between two comments, `<!-- figures: NAME -->` and `<!-- end of figures -->`. What stands between
them is generated, so a page cannot differ from the results. The pictures are drawn by matplotlib. Their check needs
no matplotlib: it compares the texts in the SVG.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from html import unescape
from pathlib import Path
from typing import Any

import framework_table
import panels
import table
from table import LIFE, MEASURE, NEXT, OURS, WORK, Result

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench/results"
PAGES = (ROOT / "docs/benchmarks.md", ROOT / "README.md")
PICTURES = ROOT / "docs/pictures"
# The order of the servers in tables. The picture and the figures of memory are of the last one.
SERVERS = ("valkey-9.1", "redis-8.2", "redis-7.0")
MODE, ONE, CLAIMED, TENS = panels.MODE, *panels.LOADS
BLOCK = re.compile(r"(<!-- figures: ([a-z -]+) -->\n\n).*?(\n\n<!-- end of figures -->)", re.S)


class Results:
    """The results in a folder."""

    def __init__(self, folder: Path):
        self.lives: list[Result] = [self.read(folder / f"life.{name}.json") for name in SERVERS]
        self.instructions: dict[str, Any] = self.read(folder / "instructions.json")
        frameworks = folder / "frameworks.json"
        self.frameworks: Result | None = self.read(frameworks) if frameworks.is_file() else None

    @staticmethod
    def read(path: Path) -> dict[str, Any]:
        """The content of a JSON file."""
        return json.loads(path.read_text())

    @property
    def pictured(self) -> Result:
        """The result that the picture shows."""
        return self.lives[-1]

    def rounds(self, load: str) -> list[table.Rounds]:
        """The rounds of a load on each server."""
        return [result["lives"][MODE][load] for result in self.lives]


def compact(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A table in Markdown. The first `left` columns are aligned to the left, all others to the right."""
    rule = f"|{'---|' * left}{'---:|' * (len(head) - left)}"
    return "\n".join([f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(row)} |" for row in rows)])


def wrapped(text: str, after: str = "") -> str:
    """Text in lines of at most 120 characters. Lines after the first begin with `after`."""
    return textwrap.fill(text, 120, subsequent_indent=after, break_long_words=False, break_on_hyphens=False)


def between(values: Sequence[float]) -> str:
    """The lowest and the highest value: `0.69 to 0.75`."""
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"


def medians(results: Results, load: str, name: str, phases: Sequence[str] = LIFE) -> list[float]:
    """The median ratio to Streams on each server that has this contender."""
    return [
        table.median(table.ratios(rounds, name, phases)) for rounds in results.rounds(load) if name in rounds
    ]


def picture(results: Results) -> str:
    """The picture, with its figures as text."""
    return wrapped(f"![{panels.of_life(results.pictured).description()}](pictures/benchmark.svg)")


def by_server(load: str) -> Callable[[Results], str]:
    """The table of a load, with a row for each server."""

    def rows(results: Results) -> str:
        all_rounds = results.rounds(load)
        names = [name for name in panels.NAMES if any(name in rounds for rounds in all_rounds)]
        lines = []
        for result, rounds in zip(results.lives, all_rounds, strict=True):
            cells = (f"{table.us(rounds, name):.2f}" if name in rounds else "–" for name in names)
            lines.append((table.server(result), *cells, table.spread(table.ratios(rounds, OURS))))
        return compact(("server", *names, "taskslot / Streams"), lines)

    return rows


def compared(results: Results) -> str:
    """The table of ratios to Streams."""
    return compact(*table.comparison(results.lives, MODE))


def phases(results: Results) -> str:
    """The table of phases on the first server."""
    result, lines = results.lives[0], []
    for load, rounds in result["lives"][MODE].items():
        for name in rounds:
            cells = [f"{table.us(rounds, name, (phase,)):.2f}" for phase in LIFE]
            cells[-1] = cells[-1] if table.us(rounds, name, ("ack",)) else "–"
            lines.append(
                ("" if lines and name != OURS else load, name, *cells, f"{table.us(rounds, name):.2f}")
            )
    return compact((f"µs a task, {table.server(result)}", "", *LIFE, "life"), lines, left=2)


def meaning(results: Results) -> str:
    """What the figures say, in sentences."""
    lines = [
        f"- **A push** costs {between(medians(results, ONE, OURS, ('push',)))} times an `XADD`, one by one. The "
        f"claim and the ack together cost {between(medians(results, ONE, OURS, WORK))} times `XREADGROUP`, `XACK` and "
        f"`XDEL`; by tens {between(medians(results, CLAIMED, OURS, WORK))} times."
    ]
    for result, rounds in zip(results.lives, results.rounds(ONE), strict=True):
        if (name := "Streams, XACKDEL") in rounds:
            by_tens = table.us(result["lives"][MODE][TENS], name)
            lines.append(
                f"- **{table.server(result)} has `XACKDEL`**, which acks and deletes in one command. With it Streams "
                f"takes {table.us(rounds, name):.2f} µs one by one and {by_tens:.2f} µs by tens."
            )
    life = max(table.us(rounds, OURS) for rounds in results.rounds(ONE))
    lines.append(
        f"- **CPU time is not throughput.** At {life:.1f} µs a task, one core can finish at most about "
        f"{round(1e6 / life, -4):,.0f} lives a second, if clients pipeline as here. A replica, TLS or larger payloads "
        "reduce that. [A cluster](cluster.md#how-it-grows) has figures for more nodes."
    )
    return "\n".join(wrapped(line, "  ") for line in lines)


def memory(results: Results) -> str:
    """The table of bytes per task."""
    lines = []
    for size, found in results.pictured["footprints"].items():
        for name, one in found.items():
            words = f"{size} bytes" if name == OURS else ""
            lines.append((words, name, f"{one['ready']:.1f}", f"{one['leased']:.1f}"))
    return compact(("payload", "", "ready", "leased"), lines, left=2)


def instructions(results: Results) -> str:
    """The table of instructions."""
    counted = results.instructions["instructions"]
    lines = [
        # The contender's name says already that it uses NEXT.
        (f"{name}, {life.removeprefix('with NEXT, ')}", f"{count:,}")
        for name, lives in counted.items()
        for life, count in lives.items()
    ]
    return compact(("", "instructions of a life"), lines)


def conditions(results: Results) -> str:
    """Machine, servers and load."""
    run, counted = results.pictured["run"], results.instructions["run"]
    names = [f"{r['run']['server']} ({r['run']['allocator']})" for r in results.lives]
    dates = sorted({r["run"]["date"] for r in results.lives})
    lines = [
        f"- **Machine**: {run['cores']} cores of an {run['cpu']}, Linux {run['linux']}. {' and '.join(dates)}, commit "
        f"{run['commit']}.",
        f"- **Servers**: {', '.join(names)}. In each round each queue has a fresh server. The other queues' servers do "
        "not load the module.",
        f"- **Load**: {run['tasks']:,} tasks of {run['payload_bytes']} bytes in each round. They are pushed, claimed "
        f"and acked in slices of {run['slice']:,}. {run['backlog']:,} other tasks stay in the queue, and at most "
        f"{run['slice']:,} are leased. One connection sends {run['calls_a_write']} commands in each write, over a Unix "
        "socket.",
        f"- **Rounds**: {run['rounds']}, in turns; the tables show medians.",
        f"- **Instructions**: {counted['server']}, {counted['valgrind']}, {counted['libc']}, {counted['rust']}, "
        f"{counted['date']}, commit {counted['commit']}.",
    ]
    return "\n".join(wrapped(line, "  ") for line in lines)


def summary(results: Results) -> str:
    """The paragraph of the README."""
    run = results.pictured["run"]
    *most, last = map(table.server, results.lives)
    servers = f"{', '.join(most)} and {last}"
    next_ = medians(results, ONE, NEXT)
    with_next = f", {between(next_)} times if workers use `TASK.NEXT`," if next_ else ""
    found = results.pictured["footprints"][panels.PAYLOAD]
    text = (
        f"A task's life is one push, claim and ack of a {run['payload_bytes']}-byte payload. The commands are "
        f"pipelined on one connection, with an append-only file, on {run['cores']} cores of an {run['cpu']}. On "
        f"{servers}, taskslot takes {between(medians(results, ONE, OURS))} times the CPU of Streams one by one"
        f"{with_next} and "
        f"{between(medians(results, TENS, OURS))} times in commands of ten tasks. A ready task takes "
        f"{found[OURS]['ready']:.1f} bytes beyond its payload, a stream's entry {found[MEASURE]['ready']:.1f}. One by "
        "one, a plain list is cheaper, but it has no leases, timeouts or retries. [Benchmarks](docs/benchmarks.md) has "
        "the method and all figures."
    )
    return wrapped(text)


def of_frameworks(show: Callable[[Result], str]) -> Callable[[Results], str]:
    """A block from the result of bench/frameworks.py, which says so if there is none."""
    none = "Not measured yet: `make bench-frameworks` measures it."
    return lambda results: none if results.frameworks is None else show(results.frameworks)


def framework_part(result: Result, part: str, found: framework_table.Table) -> str:
    """A table of frameworks, and below it those that have no figures."""
    missing = [*framework_table.notes(result, part), *framework_table.skipped(result)]
    return "\n\n".join(filter(None, [compact(*found), "\n".join(wrapped(line, "  ") for line in missing)]))


def throughput(result: Result) -> str:
    """The table of the frameworks' throughput."""
    shown = panels.of_frameworks(result).description()
    picture = wrapped(f"![{shown}](pictures/frameworks.svg)")
    return f"{picture}\n\n{framework_part(result, 'drain', framework_table.throughput(result))}"


def latencies(result: Result) -> str:
    """The table of the frameworks' latency."""
    return framework_part(result, "latency", framework_table.latencies(result))


def framework_set_up(result: Result) -> str:
    """How each framework was set up, then the machine."""
    head, rows = framework_table.set_up(result)
    return f"{compact(head, rows, left=len(head))}\n\n{framework_table.conditions(result)}"


BLOCKS: dict[str, Callable[[Results], str]] = {
    "picture": picture,
    "one by one": by_server(ONE),
    "claimed by tens": by_server(CLAIMED),
    "by tens": by_server(TENS),
    "compared": compared,
    "phases": phases,
    "meaning": meaning,
    "memory": memory,
    "instructions": instructions,
    "conditions": conditions,
    "frameworks": of_frameworks(throughput),
    "frameworks set up": of_frameworks(framework_set_up),
    "latency": of_frameworks(latencies),
    "summary": summary,
}


def filled(page: str, results: Results) -> str:
    """A page with its figures. Raises KeyError for a block that does not exist."""
    return BLOCK.sub(lambda found: found[1] + BLOCKS[found[2]](results) + found[3], page)


def pictures(results: Results) -> dict[Path, panels.Shown]:
    """What each picture shows."""
    shown = {PICTURES / "benchmark.svg": panels.of_life(results.pictured)}
    if results.frameworks is not None:
        shown[PICTURES / "frameworks.svg"] = panels.of_frameworks(results.frameworks)
    return shown


def shows(path: Path, shown: panels.Shown) -> bool:
    """Whether an SVG has these texts, and no others."""
    if not path.is_file():
        return False
    picture = unescape(path.read_text())
    texts = sorted(re.findall(r"<text [^>]*>([^<]*)</text>", picture))
    return texts == shown.texts() and f"<desc>{shown.description()}</desc>" in picture


def main() -> int:
    """Write or check. Returns 1 if something is out of date."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="do not write, only compare")
    is_check = parser.parse_args().check
    results, stale = Results(RESULTS), []
    for page in PAGES:
        text = page.read_text()
        now = filled(text, results)
        if is_check and text != now:
            stale.append(page)
        elif not is_check:
            page.write_text(now)
    if is_check:
        stale += [path for path, shown in pictures(results).items() if not shows(path, shown)]
    else:
        # Only drawing needs matplotlib.
        from picture import draw

        for path, shown in pictures(results).items():
            draw(shown, path)
    for path in stale:
        print(
            f"{path.relative_to(ROOT)} does not show what is in bench/results: run make figures",
            file=sys.stderr,
        )
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
