"""Counts the instructions of a task's life (push, claim, ack) with valgrind's callgrind: a figure almost without noise.

    bench/instructions.py                       on Redis 7.0
    bench/instructions.py --module OTHER.so     another build of the module, to compare
    bench/instructions.py --beside              Streams, a plain list and a Lua queue too

Tasks are pushed, claimed and acked one by one, pipelined on one connection, with the AOF on. One new server handles few
tasks, another one many. The difference is the cost of the tasks, without the server's start and end. Processor time
(bench/life.py) shows the cost; instructions show whether a change made the code path longer.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from contenders import Contender, contenders
from harness.server import MODULE, SERVERS, Installed, identify
from rounds import Load, Racer, server_of

MODE = "AOF everysec"
# The number of tasks in the shorter run.
FEW = 1000


def under_callgrind(installed: Installed, folder: Path) -> Installed:
    """A wrapper for the server that counts its instructions into folder/counts."""
    valgrind = shutil.which("valgrind")
    if not valgrind:
        sys.exit("valgrind is not installed (Debian: apt-get install valgrind)")
    program = folder / "server"
    options = f"--tool=callgrind --callgrind-out-file={folder}/counts --log-file={folder}/valgrind"
    program.write_text(f'#!/bin/sh\nexec "{valgrind}" {options} "{installed.path}" "$@"\n')
    program.chmod(0o755)
    return replace(installed, path=str(program))


def instructions(installed: Installed, contender: Contender, module: Path, tasks: int) -> int:
    """The instructions of a server from its start to its end, with this many lives of tasks in between."""
    with tempfile.TemporaryDirectory(prefix="taskslot-callgrind-") as name:
        folder, load = Path(name), Load(tasks)
        with server_of(under_callgrind(installed, folder), contender, module, MODE) as server:
            with server.client() as client:
                # The server's periodic work runs as seldom as possible.
                client.config_set("hz", 1)
            racer = Racer(contender, server, load)
            for _ in range(load.slices()):
                racer.run()
            racer.pipe.close()
            server.stop()
        return int(re.search(r"^(?:totals|summary): (\d+)", (folder / "counts").read_text(), re.M)[1])


def of_a_life(installed: Installed, contender: Contender, module: Path, tasks: int) -> float:
    """The instructions of one life."""
    few, many = (instructions(installed, contender, module, count) for count in (FEW, FEW + tasks))
    return (many - few) / tasks


def main() -> int:
    """Count and print a line for each contender."""
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    names = ", ".join(SERVERS)
    parser.add_argument("--server", default="redis-7.0", help=f"a name or a path; installed: {names}")
    parser.add_argument("--module", type=Path, default=MODULE, help=f"({MODULE})")
    parser.add_argument(
        "--tasks", type=int, default=10_000, help="how many more tasks the longer run has (10,000)"
    )
    parser.add_argument("--beside", action="store_true", help="count the other contenders too")
    options = parser.parse_args()
    if "/" not in options.server and options.server not in SERVERS:
        parser.error(f"--server {options.server}: not installed; installed are {names}")
    installed = identify(options.server) if "/" in options.server else SERVERS[options.server]
    print(f"instructions of a life on {installed.name}, AOF on", flush=True)
    for contender in contenders(installed.name):
        if contender.needs_module or options.beside:
            found = of_a_life(installed, contender, options.module.resolve(), options.tasks)
            print(f"  {contender.name:16} {found:10,.0f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
