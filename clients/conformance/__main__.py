"""Runs the cases for a worker: `python -m conformance [options] -- COMMAND`."""

from __future__ import annotations

import argparse
import asyncio
import sys

from . import cases  # noqa: F401  (registers them)
from .case import CASES, Case, Verdict, run


def parsed(arguments: list[str]) -> argparse.Namespace:
    """The options, and the command of the worker."""
    parser = argparse.ArgumentParser(
        prog="conformance",
        description="Plays the server's part of hard cases for a worker, and checks what it sends.",
        usage="%(prog)s [--list] [--case NAME]... [--jobs N] -- COMMAND...",
    )
    parser.add_argument("--list", action="store_true", help="list the cases and end")
    parser.add_argument(
        "--case", action="append", default=[], metavar="NAME", help="run only this case; repeatable"
    )
    parser.add_argument(
        "--jobs", type=int, default=8, metavar="N", help="cases at a time (default: %(default)s)"
    )
    parser.add_argument("command", nargs="*", help="the worker's command line, after --")
    options = parser.parse_args(arguments)
    known = {case.name for case in CASES}
    if unknown := [name for name in options.case if name not in known]:
        parser.error(f"there is no case {', '.join(unknown)}; --list shows them")
    if not options.list and not options.command:
        parser.error("give the worker's command line after --")
    return options


async def run_all(chosen: list[Case], command: list[str], jobs: int) -> int:
    """Run cases, several at a time, and print each as it ends. Returns the number that failed."""
    limit = asyncio.Semaphore(jobs)
    failed = 0

    async def run_one(case: Case) -> None:
        nonlocal failed
        async with limit:
            verdict = await run(case, command)
        failed += bool(verdict.failures)
        show(verdict)

    await asyncio.gather(*map(run_one, chosen))
    return failed


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
    chosen = [case for case in CASES if not options.case or case.name in options.case]
    if options.list:
        for case in chosen:
            print(f"{case.name:20} {case.summary}")
        return 0
    try:
        failed = asyncio.run(run_all(chosen, options.command, max(1, options.jobs)))
    except OSError as error:
        print(f"conformance: {options.command[0]} can't be started: {error}", file=sys.stderr)
        return 2
    print(f"{len(chosen) - failed} ok, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
