"""Runs tests on a build with tiny bounds, and reports which branches that are marked as rare they reached.

    tests/edges.py            engine and node, and the tests of the server on the default server
    tests/edges.py -- -k claim     arguments after -- are passed to pytest

The module is target/debug/libtaskslot.so, which `make test-tiny` builds. Fails if a test fails, or if a branch is not
reached that is not listed here. If only some of the tests run, branches that are not reached are named only. The last
line shows the counts of tests, as that of run.py does.
"""

import argparse
import os
import re
import sys
from collections import Counter

import run

MODULE = run.ROOT / "target/debug/libtaskslot.so"
REACHED = run.RESULTS / "edges"
TINY = ("--config", "src/edges/tiny.toml", "--features", "taskslot-edges/tiny")

# Branches that no test reaches, and why.
UNREACHED = {
    "a task comes back to a rank that is taken": "what tests damage is refused before two tasks have one rank",
    "a turn is refused after others of its claim": "a queue is not loaded if it can run out of lease numbers",
    "the worker that was waited for is served": "no worker waits in a test while another is reserved for a suspect",
}
# Branches that tests reach on some servers only: the beginnings of their names, and why.
ONLY_ON: dict[str, tuple[tuple[str, ...], str]] = {
    "a queue with due work is being moved": (("valkey-",), "only Valkey moves a slot at once"),
    "a waiting worker has lost its permission": (
        ("valkey-", "redis-7", "redis-8"),
        "Redis 6.2 checks no permissions for modules",
    ),
}


def marked() -> set[str]:
    """The names of all branches that are marked in the source. Each is marked once."""
    sources = "".join(file.read_text() for file in (run.ROOT / "src").glob("*/**/*.rs"))
    names = Counter(re.findall(r'rare!\(\s*"([^"]*)",?\s*\)', sources))
    twice = [name for name, times in names.items() if times > 1]
    assert not twice, f"marked twice: {twice}"
    return set(names)


def reached() -> Counter[str]:
    """How often each branch was reached, at least: processes write a count when it has doubled."""
    counts: Counter[str] = Counter()
    for line in REACHED.read_text().splitlines() if REACHED.exists() else []:
        more, _, name = line.partition("\t")
        counts[name] += int(more)
    return counts


def expected(server: str) -> dict[str, str]:
    """The branches that no test reaches on this server, and why."""
    elsewhere = {name: why for name, (where, why) in ONLY_ON.items() if not server.startswith(where)}
    return UNREACHED | elsewhere


def report(server: str, expects_all: bool) -> list[str]:
    """Print the branches and their counts. Returns what is wrong."""
    names, counts, left = marked(), reached(), expected(server)
    run.heading("branches that are marked as rare, and how often they were reached, at least")
    for name in sorted(names, key=lambda name: (counts[name], name)):
        print(f"{counts[name]:12,}  {name}")
    missing = {name for name in names if not counts[name]}
    print(f"\n{len(names) - len(missing)} of {len(names)} rare branches were reached")
    for name in sorted(missing & set(left)):
        print(f"Not reached, as expected: {name} ({left[name]})")
    unreached = [f"Not reached by any test: {name}" for name in sorted(missing - set(left))]
    listed = set(UNREACHED) | set(ONLY_ON)
    stale = [f"Listed as not reached, but not marked: {name}" for name in sorted(listed - names)]
    for line in unreached + stale:
        print(line)
    return stale + (unreached if expects_all else [])


def main() -> int:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--server", default=run.DEFAULT, help="the server (default: %(default)s)")
    parser.add_argument("pytest", nargs="*", help="options for pytest, after --")
    options = parser.parse_args()

    run.RESULTS.mkdir(parents=True, exist_ok=True)
    REACHED.unlink(missing_ok=True)
    os.environ.update(TASKSLOT_EDGES=str(REACHED), TASKSLOT_MODULE=str(MODULE))
    counts = run.cargo_tests(["taskslot-engine", "taskslot-node"], build=TINY)
    counts += run.server_tests([options.server], ["-m", "not slow", *options.pytest], ["tests/server"])
    wrong = report(options.server, expects_all=not options.pytest)
    skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
    print(f"\n{counts['passed']} passed, {counts['failed']} failed{skipped}", flush=True)
    return 1 if wrong or counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
