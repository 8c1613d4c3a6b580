"""Runs the cases for a worker: `python -m conformance [options] -- COMMAND`."""

from __future__ import annotations

import argparse
import asyncio
import sys

from . import cases  # noqa: F401  (registers them)
from .case import AT_A_TIME, CASES, Verdict, run_all


def parsed(arguments: list[str]) -> argparse.Namespace:
    """The options, and the command of the worker."""
    parser = argparse.ArgumentParser(
        prog="conformance",
        description="Plays the server's part of hard cases for a worker, and checks what it sends.",
        usage="%(prog)s [--list] [--case NAME]... [--server URL] [--jobs N] -- COMMAND...",
    )
    parser.add_argument("--list", action="store_true", help="list the cases and end")
    parser.add_argument(
        "--case", action="append", default=[], metavar="NAME", help="run only this case; repeatable"
    )
    parser.add_argument(
        "--jobs", type=int, default=AT_A_TIME, metavar="N", help="cases at a time (default: %(default)s)"
    )
    parser.add_argument(
        "--server",
        default="",
        metavar="URL",
        help="run the cases that need a real server, one for tests: they break connections of all clients",
    )
    parser.add_argument("command", nargs="*", help="the worker's command line, after --")
    options = parser.parse_args(arguments)
    known = {case.name for case in CASES}
    if unknown := [name for name in options.case if name not in known]:
        parser.error(f"there is no case {', '.join(unknown)}; --list shows them")
    if not options.list and not options.command:
        parser.error("give the worker's command line after --")
    return options


def show(verdict: Verdict) -> None:
    """Print how a case ended."""
    word = "failed" if verdict.failures else "ok"
    print(f"{word:6} {verdict.case.name:20} {verdict.seconds:5.1f} s  {verdict.case.summary}", flush=True)
    for failure in verdict.failures:
        print(f"       {failure}", flush=True)
    if verdict.failures and verdict.output:
        print("       the worker wrote:", *verdict.output.splitlines(), sep="\n         ", flush=True)


def main() -> int:
    """Run the chosen cases. Returns 0 if the worker passed all, and otherwise 1."""
    options = parsed(sys.argv[1:])
    chosen = [
        case
        for case in CASES
        if (not options.case or case.name in options.case)
        and (options.list or case.needs_server == bool(options.server))
    ]
    if options.list:
        for case in chosen:
            where = " (with --server)" if case.needs_server else ""
            print(f"{case.name:20} {case.summary}{where}")
        return 0
    try:
        verdicts = asyncio.run(
            run_all(
                [(case, options.command) for case in chosen],
                at_a_time=max(1, options.jobs),
                ended=show,
                server=options.server,
            )
        )
    except OSError as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 2
    failed = sum(bool(verdict.failures) for verdict in verdicts)
    print(f"{len(chosen) - failed} ok, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
