"""Measures how the costs grow: with tasks, queues, waiting workers, groups, batches and bytes; and the longest pauses.

    bench/growth.py                               on the default server; half an hour
    bench/growth.py --most 100000                 smaller numbers, for a first impression; some minutes
    bench/growth.py --server redis-8.2,redis-7.0  on these, by name or path
    bench/growth.py --only waiters pauses         these parts

Costs are the server's processor time for a task; in parentheses the ratio to the first column, as the median over
rounds in which the servers take turns. `pause` is the longest time that a client which sends PINGs had to wait; `work`
is the most that the server's main thread worked meanwhile, which other programs on the machine don't add to. Tables go
to standard output, progress to standard error. Set TASKSLOT_MODULE to measure another build of the module.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from statistics import median

import facts
import table
from contenders import Streams, Taskslot
from costs import Grouped, Lives, Load, Side, Turns, Waiters
from harness.server import MODULE, SERVERS, Installed, Server, identify
from pauses import Operation, as_a_whole, due_at_once, settings_of_groups, waiting_workers

# A server and a module, and a number, to the sides that are compared at this number.
Make = Callable[[Installed, Path, int], list[Side]]


def both(load: Callable[[int], Load]) -> Make:
    """taskslot and Streams under the load of this number."""
    return lambda installed, module, number: [
        Lives(installed, module, contender, load(number)) for contender in (Taskslot(), Streams())
    ]


SERIES: dict[str, tuple[str, list[int], Make]] = {
    "tasks": (
        "tasks in the queue",
        [10_000, 100_000, 1_000_000, 10_000_000],
        both(lambda number: Load(backlog=number, by_id=True)),
    ),
    "queues": (
        "queues, used at random",
        [1, 100, 10_000, 100_000],
        both(lambda number: Load(queues=number)),
    ),
    "waiters": (
        "workers that wait for one queue",
        [1, 10, 100, 1000, 10_000],
        lambda installed, module, number: [Waiters(installed, module, number)],
    ),
    # By itself, because both together have more connections than a process usually may have.
    "turns": (
        "connections that send a PING in turn, no module",
        [1, 10, 100, 1000, 10_000],
        lambda installed, module, number: [Turns(installed, number)],
    ),
    "groups": (
        "groups, 200,000 tasks in turn",
        [1, 10, 1000, 100_000],
        lambda installed, module, number: [
            Lives(installed, module, Grouped(number), Load(backlog=200_000, groups=number))
        ],
    ),
    "batches": ("tasks in a command", [1, 10, 100, 1000], both(lambda number: Load(size=number))),
    "bytes": ("bytes of a payload", [100, 1000, 10_000], both(lambda number: Load(payload_bytes=number))),
}
PAUSES: dict[str, tuple[list[int], Callable[[Installed, list[int]], Iterator[Operation]]]] = {
    "due": ([10_000, 100_000, 1_000_000], due_at_once),
    "crowds": ([100, 1000, 10_000], waiting_workers),
    "settings": ([10_000, 100_000, 1_000_000], settings_of_groups),
    "whole": ([100_000, 1_000_000, 10_000_000], as_a_whole),
}


def report_progress(text: str) -> None:
    """Print progress to standard error."""
    print(text, file=sys.stderr, flush=True)


def series(installed: Installed, module: Path, numbers: list[int], make: Make, rounds: int) -> list[dict]:
    """The costs of each phase at each number, and the longest pause."""
    all_sides: dict[int, list[Side]] = {}
    try:
        for number in numbers:
            all_sides[number] = make(installed, module, number)
        for _ in range(rounds):
            for sides in all_sides.values():
                for side in sides:
                    side.round()
        first = {side.contender: side for side in all_sides[numbers[0]]}
        found = []
        for number, sides in all_sides.items():
            for side in sides:
                side.round_with_pings()
                for phase, costs in side.costs.items():
                    ratios = [b / a for a, b in zip(first[side.contender].costs[phase], costs, strict=True)]
                    found.append(
                        {
                            "number": number,
                            "contender": side.contender,
                            "phase": phase,
                            "us": median(costs),
                            "ratio": median(ratios),
                            "pause": asdict(side.pause),
                        }
                    )
        return found
    finally:
        for sides in all_sides.values():
            for side in sides:
                side.end()


def costs_table(found: list[dict]) -> str:
    """A row for each contender's phases, a column for each number."""
    numbers = list(dict.fromkeys(row["number"] for row in found))
    cells = {(row["contender"], row["phase"], row["number"]): row for row in found}
    rows = []
    for contender, phase in dict.fromkeys((row["contender"], row["phase"]) for row in found):
        here = [cells[contender, phase, number] for number in numbers]
        rows.append((f"{contender}: {phase}", *(f"{cell['us']:.2f} ({cell['ratio']:.2f})" for cell in here)))
    for contender in dict.fromkeys(row["contender"] for row in found):
        pauses = [
            next(row for row in found if (row["contender"], row["number"]) == (contender, n)) for n in numbers
        ]
        texts = (f"{row['pause']['wait_ms']:.1f} / {row['pause']['work_ms']:.1f}" for row in pauses)
        rows.append((f"{contender}: pause / work, ms", *texts))
    return table.markdown(("µs a task (ratio)", *(f"{number:,}" for number in numbers)), rows)


def pauses_table(found: list[Operation]) -> str:
    """A row for each operation."""
    rows = []
    for one in found:
        pause = (f"{one.pause.wait_ms:.1f}", f"{one.pause.work_ms:.1f}") if one.pause else ("–", "–")
        what = one.what if one.contender == Taskslot.name else f"{one.contender}: {one.what}"
        rows.append((what, f"{one.count:,}", f"{one.took_s:.2f}", f"{one.cpu_us:.2f}", *pause))
    return table.markdown(("", "number", "seconds", "CPU, µs each", "pause, ms", "work, ms"), rows)


def report(installed: Installed, module: Path, options: argparse.Namespace) -> None:
    """Measure on one server, print the tables, and write the figures as JSON."""
    server = Server(installed, module=module)
    run = {**facts.machine(), **facts.version(server)}
    server.discard()
    print(f"\n## {installed.name}\n", flush=True)
    for what, value in run.items():
        print(f"- {what}: {value}", flush=True)
    figures: dict[str, object] = {"run": run}
    for name in options.only:
        report_progress(f"{installed.name}: {name}")
        if name in SERIES:
            what, numbers, make = SERIES[name]
            numbers = [number for number in numbers if number <= options.most]
            found = series(installed, module, numbers, make, options.rounds)
            print(f"\n**{what}**\n\n{costs_table(found)}", flush=True)
            figures[name] = found
        else:
            numbers, measure = PAUSES[name]
            done = []
            for one in measure(installed, [number for number in numbers if number <= options.most]):
                report_progress(f"{one.contender}: {one.count:,} {one.what}")
                done.append(one)
            print(f"\n**{name}**\n\n{pauses_table(done)}", flush=True)
            figures[name] = [asdict(one) for one in done]
    if options.json:
        path = options.json.with_suffix(f".{installed.name}.json")
        path.write_text(json.dumps(figures, indent=1) + "\n")


def main() -> None:
    """Measure on the selected servers."""
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parts = [*SERIES, *PAUSES]
    parser.add_argument("--server", default="valkey-9.1", help="names or paths, separated by commas")
    parser.add_argument("--most", type=int, default=10_000_000, help="leave out larger numbers (10,000,000)")
    parser.add_argument("--rounds", type=int, default=9, help="rounds of each series (9)")
    parser.add_argument(
        "--only", nargs="+", default=parts, choices=parts, metavar="PART", help=", ".join(parts)
    )
    parser.add_argument("--json", type=Path, help="also write all figures to NAME.<server>.json")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory(prefix="taskslot-bench-") as folder:
        # A copy, so that a build in the meantime doesn't change what is measured.
        module = Path(shutil.copy(MODULE, folder))
        for name in options.server.split(","):
            report(SERVERS[name] if name in SERVERS else identify(name), module, options)


if __name__ == "__main__":
    main()
