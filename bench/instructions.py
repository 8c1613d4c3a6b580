"""Counts the instructions of a task's life with valgrind's callgrind: a figure almost without noise.

    bench/instructions.py                       on Redis 7.0
    bench/instructions.py --beside              Streams, a plain list and a Lua queue too
    bench/instructions.py --module OTHER.so     another build of the module, to compare
    bench/instructions.py --check               fails if a figure is more than 3 % above bench/baseline.json
    bench/instructions.py --accept              writes the figures into bench/baseline.json

Tasks are pushed, claimed and acked, pipelined on one connection, with the AOF on. One new server handles few tasks,
another one many. The difference is the cost of the tasks, without the server's start and end. Processor time
(bench/life.py) shows the cost; instructions show whether a change made the code path longer.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import facts
from contenders import Contender, Taskslot, TaskslotNext
from harness.server import MODULE, SERVERS, Installed, Server, identify
from rounds import LOADS, Load, Racer, contenders_on, server_of

BASELINE = Path(__file__).with_name("baseline.json")
MODE = "AOF everysec"
# The number of tasks in the shorter run.
FEW = 1000
# The lives that are counted: the contender, the load, and how many more tasks the longer run has. A life by tens has
# fewer instructions, so it needs more tasks to stand out as much from the noise of a server's start.
LIVES = {
    "one by one": (Taskslot, "one by one", 10_000),
    "by tens": (Taskslot, "by tens", 20_000),
    "with NEXT, one by one": (TaskslotNext, "one by one", 10_000),
}
# How far a figure may be from the baseline. Repeated runs differ by less than 1 %, also on a busy machine.
TOLERANCE = 0.03
# glibc chooses routines such as memcpy by the processor, which changes a figure by about 1 %. Without these features it
# chooses the same ones on each x86-64 processor. (callgrind itself has no AVX-512.)
SAME_ROUTINES = "glibc.cpu.hwcaps=-AVX2,-AVX_Fast_Unaligned_Load,-ERMS,-SSE4_2"


class Missing(Exception):
    """Something that is needed to count is not installed."""


def under_callgrind(installed: Installed, folder: Path) -> Installed:
    """A wrapper for the server that counts its instructions into folder/counts."""
    program, seed = folder / "server", folder / "same_seed.so"
    source = Path(__file__).with_name("same_seed.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", seed, source], check=True)
    options = f"--tool=callgrind --callgrind-out-file={folder}/counts --log-file={folder}/valgrind"
    program.write_text(
        f'#!/bin/sh\nexport GLIBC_TUNABLES="{SAME_ROUTINES}" LD_PRELOAD="{seed}"\n'
        f'exec "{shutil.which("valgrind")}" {options} "{installed.path}" "$@"\n'
    )
    program.chmod(0o755)
    return replace(installed, path=str(program))


def instructions(installed: Installed, contender: Contender, module: Path, load: Load) -> int:
    """The instructions of a server from its start to its end, with the lives of a load in between."""
    with tempfile.TemporaryDirectory(prefix="taskslot-callgrind-") as name:
        folder = Path(name)
        with server_of(under_callgrind(installed, folder), contender, module, MODE) as server:
            with server.client() as client:
                # The server does as little as possible by the clock: a slow machine would add instructions to a life.
                client.config_set("hz", 1)
                if installed.version >= (7, 0):
                    client.execute_command("DEBUG", "REPLYBUFFER", "RESIZING", "0")
            racer = Racer(contender, server, load)
            for _ in range(load.slices()):
                racer.run()
            racer.pipe.close()
            server.stop()
        return int(re.search(r"^(?:totals|summary): (\d+)", (folder / "counts").read_text(), re.M)[1])


def counted(
    installed: Installed, module: Path, lives: dict[tuple[str, str], tuple[Contender, str, int]]
) -> dict[tuple[str, str], int]:
    """The instructions of one life of each kind. Counts as many at a time as there are processors."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        running = {}
        for key, (contender, load, tasks) in lives.items():
            sizes = LOADS[load]
            running[key] = (
                tasks,
                [
                    pool.submit(instructions, installed, contender, module, Load(count, *sizes))
                    for count in (FEW + tasks, FEW)
                ],
            )
        return {
            key: round((many.result() - few.result()) / tasks)
            for key, (tasks, (many, few)) in running.items()
        }


def versions(installed: Installed, module: Path) -> dict[str, str]:
    """What a count depends on beside this tree."""
    server = Server(installed, module=module)
    version = facts.version(server)
    server.discard()

    def ask(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]

    rust = ask("rustc", "--version") if shutil.which("rustc") else "unknown"
    return {
        **version,
        "valgrind": ask("valgrind", "--version"),
        "libc": os.confstr("CS_GNU_LIBC_VERSION"),
        "rust": rust,
    }


def check(found: dict[str, int], baseline: dict[str, int]) -> list[str]:
    """Compare with the baseline, and print a line for each figure. Returns what is wrong."""
    wrong = []
    for name, count in found.items():
        if name not in baseline:
            wrong.append(
                f"{name}: {count:,} instructions, and no figure in bench/baseline.json to compare with."
            )
            continue
        change = count / baseline[name] - 1
        print(f"  {name:24} {count:10,}   baseline {baseline[name]:10,}   {change * 100:+.1f} %")
        if count > baseline[name] * (1 + TOLERANCE):
            wrong.append(
                f"{name}: {count:,} instructions, {change * 100:.1f} % more than in bench/baseline.json."
            )
        elif count < baseline[name] * (1 - TOLERANCE):
            print(f"  {'':24} Lower than the baseline: make bench-instructions ARGS=--accept keeps it so.")
    return wrong


def parsed() -> argparse.Namespace:
    """The options of the command line."""
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    names = ", ".join(SERVERS)
    parser.add_argument("--server", default="redis-7.0", help=f"a name or a path; installed: {names}")
    parser.add_argument("--module", type=Path, default=MODULE, help=f"({MODULE})")
    parser.add_argument("--beside", action="store_true", help="count the other contenders too, one by one")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to a file")
    parser.add_argument("--check", action="store_true", help="compare with bench/baseline.json")
    parser.add_argument("--accept", action="store_true", help="write bench/baseline.json")
    return parser.parse_args()


def chosen_server(name: str) -> Installed:
    """The server to count on. Raises Missing if it or valgrind is not installed."""
    if not shutil.which("valgrind"):
        raise Missing("valgrind is not installed (Debian: apt-get install valgrind)")
    if "/" not in name and name not in SERVERS:
        raise Missing(f"{name} is not installed; installed are {', '.join(SERVERS)}")
    return identify(name) if "/" in name else SERVERS[name]


def main() -> int:
    """Count, print a line for each figure, and compare if asked to. Returns 1 if a figure is too high."""
    options = parsed()
    try:
        installed = chosen_server(options.server)
    except Missing as why:
        print(f"Instructions are not counted: skipped, because {why}.")
        return 0
    module = options.module.resolve()
    here, skipped = contenders_on(installed, module)
    by_kind = {type(contender): contender for contender in here}
    lives = {
        (contender.name, name): (contender, load, tasks)
        for name, (kind, load, tasks) in LIVES.items()
        if (contender := by_kind.get(kind))
    }
    if options.beside:
        lives |= {(c.name, "one by one"): (c, "one by one", 10_000) for c in here if not c.needs_module}
    measured = versions(installed, module)
    print(f"instructions of a life on {measured['server']}, AOF on", flush=True)
    found = counted(installed, module, lives)
    for (contender, name), count in found.items():
        print(f"  {contender:16} {name:24} {count:10,}")
    for name, why in skipped.items():
        print(f"  {name}: skipped, because {why}")
    ours = {name: found[c.name, name] for name, (kind, _, _) in LIVES.items() if (c := by_kind.get(kind))}
    if options.json:
        by_contender: dict[str, dict[str, int]] = {}
        for (contender, name), count in found.items():
            by_contender.setdefault(contender, {})[name] = count
        result = {"run": {**facts.machine(), **measured}, "skipped": skipped, "instructions": by_contender}
        options.json.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    if options.accept:
        BASELINE.write_text(json.dumps({"counted with": measured, "instructions": ours}, indent=1) + "\n")
        print(f"Written to {BASELINE}.")
    return compared(ours, measured) if options.check else 0


def compared(ours: dict[str, int], measured: dict[str, str]) -> int:
    """Compare with bench/baseline.json. Returns 1 and says what to do if a figure is too high.

    A figure that was counted with another server, compiler or libc is only reported.
    """
    baseline = json.loads(BASELINE.read_text())
    print("compared with bench/baseline.json")
    wrong = check(ours, baseline["instructions"])
    others = {name: value for name, value in baseline["counted with"].items() if measured[name] != value}
    for name, value in others.items():
        print(f"  Other {name} than the baseline's: {measured[name]}, not {value}.")
    for text in wrong:
        print(text, file=sys.stderr)
    if others:
        print("  So the figures can't be compared: a higher one is reported and doesn't fail.")
        return 0
    if wrong:
        print(
            "Make the change cheaper. If the cost is meant, run `make bench-instructions ARGS=--accept`, and commit "
            "bench/baseline.json with the change and the reason.",
            file=sys.stderr,
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
