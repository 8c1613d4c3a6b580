"""Measures what docs/benchmarks.md shows, except growth and clusters, and prints tables: what `make bench` runs.

    bench                       everything, on all installed servers of the list below; about ten minutes
    bench --quick               a first impression, some minutes
    bench --only life           one part, or some: life, instructions, frameworks
    bench --results FOLDER      where the JSON and the plots go (target/bench/results)

A part that needs what is not installed is skipped, and says so. Each part is a program of its own with more options:
bench/life.py, bench/instructions.py, bench/frameworks.py.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from harness.server import ROOT, SERVERS
from panels import of_frameworks, of_life
from picture import draw

HERE = Path(__file__).parent
# The servers of the life and its memory. The other parts need one.
WANTED = ("valkey-9.1", "redis-8.2", "redis-7.0")
PARTS = ("life", "instructions", "frameworks")
# What is drawn of the results of a part.
SHOWN = {"life": of_life, "frameworks": of_frameworks}


def commands(options: argparse.Namespace) -> dict[str, list[str]]:
    """The command of each part."""
    results: Path = options.results
    quick = options.quick
    return {
        "life": [
            "life.py",
            "--server",
            ",".join(options.servers),
            "--json",
            str(results),
            *["--quick"] * quick,
        ],
        "instructions": ["instructions.py", "--beside", "--json", str(results / "instructions.json")],
        "frameworks": [
            *("frameworks.py", "--json", str(results / "frameworks.json")),
            *(["--jobs", "2000", "--seconds", "3"] if quick else []),
        ],
    }


def parsed() -> argparse.Namespace:
    """The options of the command line."""
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="bench", description=__doc__, formatter_class=as_written)
    parser.add_argument("--server", help=f"servers of the life, separated by commas ({','.join(WANTED)})")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--quick", action="store_true", help="smaller numbers, for a first impression")
    parser.add_argument(
        "--results", type=Path, default=ROOT / "target/bench/results", help="where the results go"
    )
    options = parser.parse_args()
    options.only = options.only.split(",")
    if unknown := [part for part in options.only if part not in PARTS]:
        parser.error(f"--only: {unknown[0]} is not one of {', '.join(PARTS)}")
    options.servers = options.server.split(",") if options.server else [s for s in WANTED if s in SERVERS]
    if not options.servers:
        parser.error(f"none of {', '.join(WANTED)} is installed")
    return options


def main() -> int:
    """Run the parts, then draw. Returns 1 if a part failed."""
    options = parsed()
    options.results.mkdir(parents=True, exist_ok=True)
    if not options.server:
        for name in (name for name in WANTED if name not in SERVERS):
            print(f"{name}: skipped, because it is not installed")
    failed = []
    for part, command in commands(options).items():
        if part in options.only:
            print(f"\n# {part}", flush=True)
            if subprocess.run([sys.executable, HERE / command[0], *command[1:]]).returncode:
                failed.append(part)
    for path in options.results.glob("*.json"):
        if kind := next(
            (kind for kind in SHOWN if path.name.startswith(kind) and kind in options.only), None
        ):
            draw(SHOWN[kind](json.loads(path.read_text())), path.with_suffix(".png"))
    print(f"\nResults and plots: {options.results}")
    for part in failed:
        print(f"Failed: {part}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
