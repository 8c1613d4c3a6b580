"""Measures the life of a task (push, claim, ack) beside Streams, a plain list and a Lua queue, on one server.

    bench/life.py                               on the default server; some minutes
    bench/life.py --quick                       a first impression, half a minute
    bench/life.py --server redis-8.2,redis-7.0  on these, by name or path
    bench/life.py --only cpu --modes aof        a part of it

The figure is the server's processor time, as a ratio to Streams in the same round, so that a busy machine has little
influence. In each round, every contender has a new server, and they take turns. The other contenders' servers don't
load the module. Set TASKSLOT_MODULE to measure another build of the module. Tables go to standard output, progress to
standard error.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import table
from contenders import Contender, contenders
from footprint import Footprint, footprint
from harness.server import MODULE, SERVERS, Installed, Server, identify
from rounds import MODES, Load, round_of

SHORT = dict(zip(("alone", "aof", "replica"), MODES, strict=True))


def report_progress(text: str) -> None:
    """Print progress to standard error."""
    print(text, file=sys.stderr, flush=True)


def lives(
    installed: Installed,
    here: list[Contender],
    module: Path,
    modes: list[str],
    loads: list[Load],
    rounds: int,
) -> dict[tuple[str, int], table.Rounds]:
    """Run all rounds, and return their costs."""
    measured = {}
    for mode in modes:
        for load in loads:
            costs = measured[mode, load.size] = {contender.name: [] for contender in here}
            for number in range(rounds):
                report_progress(
                    f"{installed.name}: {mode}, {table.calls(load.size)}, round {number + 1} of {rounds}"
                )
                for name, cost in round_of(installed, here, module, mode, load, first=number).items():
                    costs[name].append(cost)
    return measured


def footprints(
    installed: Installed, here: list[Contender], module: Path, tasks: int
) -> dict[int, dict[str, Footprint]]:
    """Measure the bytes per task, for small and larger payloads."""
    measured = {}
    for payload_bytes in (100, 1024):
        report_progress(f"{installed.name}: memory of {tasks:,} tasks of {payload_bytes} B")
        measured[payload_bytes] = {
            contender.name: footprint(installed, contender, module, tasks, payload_bytes)
            for contender in here
        }
    return measured


def report(installed: Installed, module: Path, options: argparse.Namespace) -> None:
    """Measure on one server, and print the tables."""
    here = contenders(installed.name)
    loads = [Load(options.tasks, size) for size in (1, 10)]
    rows, sizes = {}, {}
    if options.only != "memory":
        modes = [SHORT[mode] for mode in options.modes.split(",")]
        rows = lives(installed, here, module, modes, loads, options.rounds)
    if options.only != "cpu":
        sizes = footprints(installed, here, module, options.memory_tasks)
    server = Server(installed, module=module)
    print(f"\n## {installed.name}\n\n{table.conditions(server, module, here)}")
    server.discard()
    print(
        f"- lives: {table.describe_load(loads[0])}, {options.rounds} rounds, medians (ratios: lowest–highest)\n"
    )
    if rows:
        print(f"{table.costs(rows)}\n")
    if sizes:
        print(f"{table.footprints(sizes)}\n")
    print(table.aims(rows, sizes), flush=True)
    if options.json:
        path = options.json.with_suffix(f".{installed.name}.json")
        path.write_text(table.as_json(rows, sizes))


def main() -> int:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    names = ", ".join(SERVERS)
    parser.add_argument(
        "--server", default="valkey-9.1", help=f"names or paths, separated by commas; installed: {names}"
    )
    parser.add_argument("--tasks", type=int, help="tasks in a round (20,000; with --quick 4,000)")
    parser.add_argument("--rounds", type=int, help="rounds of each contender (7; with --quick 3)")
    parser.add_argument(
        "--memory-tasks", type=int, help="tasks for the memory figures (1,000,000; with --quick 100,000)"
    )
    parser.add_argument("--modes", default=",".join(SHORT), help=f"some of {', '.join(SHORT)}; default: all")
    parser.add_argument("--only", choices=["cpu", "memory"], help="measure only this")
    parser.add_argument("--quick", action="store_true", help="smaller numbers, for a first impression")
    parser.add_argument("--json", type=Path, help="also write all figures to NAME.<server>.json")
    options = parser.parse_args()
    options.tasks = options.tasks or (4000 if options.quick else 20_000)
    options.rounds = options.rounds or (3 if options.quick else 7)
    options.memory_tasks = options.memory_tasks or (100_000 if options.quick else 1_000_000)
    if unknown := [mode for mode in options.modes.split(",") if mode not in SHORT]:
        parser.error(f"--modes: {unknown[0]} is not one of {', '.join(SHORT)}")
    servers = []
    for name in options.server.split(","):
        if "/" not in name and name not in SERVERS:
            parser.error(f"--server {name}: not installed; installed are {names}")
        servers.append(identify(name) if "/" in name else SERVERS[name])
    with tempfile.TemporaryDirectory(prefix="taskslot-bench-") as folder:
        # A copy, so that a build in the meantime doesn't change what is measured.
        module = Path(shutil.copy(MODULE, folder))
        for installed in servers:
            report(installed, module, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
