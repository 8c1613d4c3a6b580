"""Draws the pictures of the documents. With --check, compares them with the files instead.

Other pictures show real runs: `make pictures ARGS=top` draws top.svg, `make pictures ARGS=web` takes those of the page
in Chromium, `make demo ARGS='--plot docs/pictures/demo.svg'` draws demo.svg, and `make figures` draws benchmark.svg.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from cluster import cluster
from life import life

PICTURES = Path(__file__).resolve().parent.parent
# Pictures of a run, which need a server and the library; `web` also Chromium. The others only need Python.
RUNS = ("top", "web")


def drawn() -> dict[str, Callable[[], str]]:
    """The pictures that need no run, each with the function that draws it."""
    return {
        "life": lambda: life().svg(),
        "cluster": lambda: cluster().svg(),
    }


def main() -> int:
    """Draw or check the pictures. Returns 1 if a file differs from what the program draws."""
    pictures = drawn()
    parser = argparse.ArgumentParser(prog="make pictures", description=__doc__.split("\n")[0])
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"pictures to draw (default: those that need no run): {', '.join([*pictures, *RUNS])}",
    )
    parser.add_argument("--check", action="store_true", help="do not draw, only compare")
    chosen = parser.parse_args()
    names = chosen.names or list(pictures)
    if unknown := [name for name in names if name not in pictures and name not in RUNS]:
        parser.error(f"there is no picture {unknown[0]}")
    stale = []
    for name in names:
        path = PICTURES / f"{name}.svg"
        if name == "top":
            from top import top

            path.write_text(top())
        elif name == "web":
            from web import web

            web(PICTURES)
        elif chosen.check:
            if not path.is_file() or path.read_text() != pictures[name]():
                stale.append(name)
        else:
            path.write_text(pictures[name]())
    for name in stale:
        print(f"docs/pictures/{name}.svg is out of date: run make pictures", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
