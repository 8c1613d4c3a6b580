"""Measures task frameworks beside each other: 20,000 jobs that do nothing, done by 2 processes × 5 workers.

    bench/frameworks.py                          throughput, then latency; some minutes
    bench/frameworks.py --only taskslot,huey     some of them
    bench/frameworks.py --drain --jobs 2000      only throughput, with fewer jobs
    bench/frameworks.py --latency                only latency: from push to start, with idle workers
    bench/frameworks.py --show FILE              the tables of an earlier run, from its JSON

Each framework has a new server that writes nothing to disk. Their packages are installed below target/bench first. A
framework that can't be installed is skipped, and so is one that hangs. Tables go to standard output, progress to
standard error. Set TASKSLOT_MODULE to measure another build of the module.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import facts
import framework_table
from framework_homes import Home, Missing
from framework_list import FRAMEWORKS, Framework
from framework_runs import attempt, drain, latency
from harness.server import MODULE, SERVERS, Installed, Server, identify


def report_progress(text: str) -> None:
    """Print progress to standard error."""
    print(text, file=sys.stderr, flush=True)


def conditions(installed: Installed, options: argparse.Namespace) -> dict[str, str | int | float]:
    """When, where, on what and with what load the figures were measured."""
    server = Server(installed, module=None)
    version = facts.version(server)
    server.discard()
    load = {"jobs": options.jobs, "rate": options.rate, "seconds": options.seconds, "limit_s": options.limit}
    return {**facts.machine(), **version, **load}


def homes_of(chosen: list[Framework]) -> dict[Home, str]:
    """Make the environments. Returns those that can't be made, with the reason."""
    missing = {}
    for home in dict.fromkeys(framework.home for framework in chosen):
        try:
            home.make(report_progress)
        except Missing as error:
            report_progress(f"  {error}")
            missing[home] = str(error)
    return missing


def measure(framework: Framework, installed: Installed, module: Path, options: argparse.Namespace) -> dict:
    """All figures of one framework, or why it is skipped."""
    try:
        found: dict = {"versions": framework.home.versions(framework.packages)}
    except Missing as error:
        return {"skipped": str(error)}
    if not options.latency:
        report_progress(f"{framework.name}: throughput")
        found["drain"] = attempt(drain, framework, installed, module, options.jobs, options.limit)
    if not options.drain:
        report_progress(f"{framework.name}: latency")
        args = (options.rate, options.seconds, options.limit)
        found["latency"] = attempt(latency, framework, installed, module, *args)
    return found


def run(installed: Installed, chosen: list[Framework], options: argparse.Namespace) -> dict:
    """Measure all that were chosen. Returns what the JSON holds."""
    missing = homes_of(chosen)
    result: dict = {"run": conditions(installed, options), "frameworks": {}}
    with tempfile.TemporaryDirectory(prefix="taskslot-bench-") as folder:
        # A copy, so that a build in the meantime doesn't change what is measured.
        module = Path(shutil.copy(MODULE, folder))
        for framework in chosen:
            reason = missing.get(framework.home)
            found = {"skipped": reason} if reason else measure(framework, installed, module, options)
            about = {"how": framework.how, "promise": framework.promise}
            result["frameworks"][framework.name] = {**about, **found}
    return result


def parse() -> argparse.Namespace:
    """The options. `--server` and `--only` become what they name."""
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    names = ", ".join(SERVERS)
    frameworks = {framework.name.lower(): framework for framework in FRAMEWORKS}
    parser.add_argument("--server", default="valkey-9.1", help=f"a name or path; installed: {names}")
    parser.add_argument("--jobs", type=int, default=20_000, help="jobs of the throughput (20,000)")
    parser.add_argument("--only", default=",".join(frameworks), help=f"some of {', '.join(frameworks)}")
    parser.add_argument("--rate", type=int, default=200, help="jobs a second of the latency (200)")
    parser.add_argument("--seconds", type=int, default=10, help="seconds of the latency (10)")
    parser.add_argument(
        "--limit", type=float, default=60, help="seconds that a framework may take for a phase (60)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures to a file")
    parser.add_argument("--install", action="store_true", help="only install the packages")
    parser.add_argument(
        "--show", type=Path, metavar="FILE", help="measure nothing, print the tables of this file"
    )
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--drain", action="store_true", help="only throughput")
    part.add_argument("--latency", action="store_true", help="only latency")
    options = parser.parse_args()
    if unknown := [name for name in options.only.lower().split(",") if name not in frameworks]:
        parser.error(f"--only: {unknown[0]} is not one of {', '.join(frameworks)}")
    if "/" not in options.server and options.server not in SERVERS:
        parser.error(f"--server {options.server}: not installed; installed are {names}")
    options.server = identify(options.server) if "/" in options.server else SERVERS[options.server]
    options.only = [frameworks[name] for name in options.only.lower().split(",")]
    return options


def main() -> int:
    options = parse()
    # So that a SIGTERM ends the servers and workers, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.install:
        return 1 if homes_of(options.only) else 0
    result = (
        json.loads(options.show.read_text()) if options.show else run(options.server, options.only, options)
    )
    print(framework_table.text(result), flush=True)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
