"""Draws the pictures of the documents: `make pictures`, or with --check compares them with what is there.

Two pictures show real runs and are only made when asked for: `make pictures ARGS=top` draws top.svg, and
`make demo ARGS='--plot docs/pictures/demo.svg'` draws demo.svg.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from benchmark import benchmark
from cluster import cluster
from life import life

PICTURES = Path(__file__).resolve().parent.parent
ROOT = PICTURES.parent.parent


def drawn() -> dict[str, Callable[[], str]]:
    """By name all pictures that need no run."""
    return {
        "life": lambda: life().svg(),
        "cluster": lambda: cluster().svg(),
        "benchmark": lambda: benchmark(ROOT / "bench/results").svg(),
    }


def main() -> int:
    """Draw, or check; 1 if a picture is not what the program draws."""
    pictures = drawn()
    parser = argparse.ArgumentParser(prog="make pictures", description=__doc__.split("\n")[0])
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(pictures)}, top; without: all but top"
    )
    parser.add_argument("--check", action="store_true", help="draw nothing, only compare")
    chosen = parser.parse_args()
    names = chosen.names or list(pictures)
    if unknown := [name for name in names if name not in pictures and name != "top"]:
        parser.error(f"there is no picture {unknown[0]}")
    stale = []
    for name in names:
        path = PICTURES / f"{name}.svg"
        if name == "top":
            # A run needs a server and the library; the others need Python alone.
            from top import top

            path.write_text(top())
        elif chosen.check:
            stale += [] if path.is_file() and path.read_text() == pictures[name]() else [name]
        else:
            path.write_text(pictures[name]())
    for name in stale:
        print(f"docs/pictures/{name}.svg is not what its program draws: run make pictures", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
