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
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import facts
import table
from contenders import Contender
from footprint import footprint
from harness.server import MODULE, SERVERS, Installed, Server, identify
from rounds import CALLS_A_WRITE, LOADS, MODES, Load, contenders_on, round_of

SHORT = dict(zip(("alone", "aof", "replica"), MODES, strict=True))
PAYLOADS = (100, 1024)


def report_progress(text: str) -> None:
    """Print progress to standard error."""
    print(text, file=sys.stderr, flush=True)


def lives(
    installed: Installed, here: list[Contender], module: Path, mode: str, tasks: int, rounds: int
) -> dict[str, table.Rounds]:
    """Run all rounds of one mode, and return their costs by load and contender."""
    measured = {}
    for name, (push, size) in LOADS.items():
        costs = measured[name] = {contender.name: [] for contender in here}
        for number in range(rounds):
            report_progress(f"{installed.name}: {mode}, {name}, round {number + 1} of {rounds}")
            load = Load(tasks, push, size)
            for contender, cost in round_of(installed, here, module, mode, load, first=number).items():
                costs[contender].append(cost.ns_a_task())
    return measured


def footprints(installed: Installed, here: list[Contender], module: Path, tasks: int) -> dict[str, dict]:
    """Measure the bytes per task, for small and larger payloads, of the contenders that store them differently."""
    measured = {}
    for size in PAYLOADS:
        report_progress(f"{installed.name}: memory of {tasks:,} tasks of {size} B")
        measured[str(size)] = {
            contender.name: asdict(footprint(installed, contender, module, tasks, size))
            for contender in here
            if contender.name in (table.OURS, table.MEASURE, "list", "Lua")
        }
    return measured


def measure(installed: Installed, module: Path, options: argparse.Namespace) -> table.Result:
    """Measure on one server. Returns the result, see table.py."""
    here, skipped = contenders_on(installed, module)
    server = Server(installed, module=module)
    version = facts.version(server)
    server.discard()
    load = Load(options.tasks)
    run = {
        **facts.machine(),
        **version,
        "module_kb": module.stat().st_size >> 10,
        "rounds": options.rounds,
        "tasks": load.tasks,
        "payload_bytes": load.payload_bytes,
        "backlog": load.backlog,
        "slice": load.slice,
        "calls_a_write": CALLS_A_WRITE,
    }
    result = {
        "run": run,
        "how": {c.name: c.how for c in here},
        "skipped": skipped,
        "lives": {},
        "footprints": {},
    }
    if options.only != "memory":
        for mode in options.modes:
            result["lives"][mode] = lives(installed, here, module, mode, options.tasks, options.rounds)
    if options.only != "cpu":
        result["footprints"] = footprints(installed, here, module, options.memory_tasks)
    return result


def report(result: table.Result) -> None:
    """Print the tables of one server."""
    print(f"\n## {result['run']['server']}\n\n{table.conditions(result)}\n")
    if result["lives"]:
        print(f"{table.costs(result)}\n")
    if result["footprints"]:
        print(f"{table.footprints(result)}\n")
    sys.stdout.flush()


def compare(results: Sequence[table.Result], modes: Sequence[str]) -> None:
    """Print the ratios to Streams on all servers."""
    for mode in modes:
        head, rows = table.comparison(results, mode)
        if rows:
            print(f"\n## Compared with Streams, {mode}\n\n{table.markdown(head, rows)}\n", flush=True)


def servers(text: str) -> list[Installed]:
    """The servers of these names or paths, separated by commas. Raises ValueError for one that is not installed."""
    found = []
    for name in text.split(","):
        if "/" not in name and name not in SERVERS:
            raise ValueError(f"{name} is not installed; installed are {', '.join(SERVERS)}")
        found.append(identify(name) if "/" in name else SERVERS[name])
    return found


def parsed() -> argparse.Namespace:
    """The options of the command line, with their defaults."""
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
    parser.add_argument(
        "--modes", default="aof", help=f"some of {', '.join(SHORT)}, separated by commas (aof)"
    )
    parser.add_argument("--only", choices=["cpu", "memory"], help="measure only this")
    parser.add_argument("--quick", action="store_true", help="smaller numbers, for a first impression")
    parser.add_argument(
        "--json", type=Path, metavar="FOLDER", help="also write the results to FOLDER/life.SERVER.json"
    )
    options = parser.parse_args()
    options.tasks = options.tasks or (4000 if options.quick else 20_000)
    options.rounds = options.rounds or (3 if options.quick else 7)
    options.memory_tasks = options.memory_tasks or (100_000 if options.quick else 1_000_000)
    if unknown := [mode for mode in options.modes.split(",") if mode not in SHORT]:
        parser.error(f"--modes: {unknown[0]} is not one of {', '.join(SHORT)}")
    options.modes = [SHORT[mode] for mode in options.modes.split(",")]
    try:
        options.servers = servers(options.server)
    except ValueError as error:
        parser.error(f"--server: {error}")
    return options


def main() -> int:
    options, results = parsed(), []
    with tempfile.TemporaryDirectory(prefix="taskslot-bench-") as folder:
        # A copy, so that a build in the meantime doesn't change what is measured.
        module = Path(shutil.copy(MODULE, folder))
        for installed in options.servers:
            results.append(measure(installed, module, options))
            report(results[-1])
            if options.json:
                options.json.mkdir(parents=True, exist_ok=True)
                path = options.json / f"life.{installed.name}.json"
                path.write_text(json.dumps(results[-1], indent=1, ensure_ascii=False) + "\n")
    compare(results, options.modes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
