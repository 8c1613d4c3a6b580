"""Runs the tests of engine and node in Miri, an interpreter of Rust that finds undefined behaviour.

    tests/miri.py                     each test for at most a minute of processor time, two at a time on two cores
    tests/miri.py --seconds 600       for at most ten minutes
    tests/miri.py --minutes 30        begins no more tests after half an hour
    tests/miri.py wait_queue:: unique::     tests whose names contain one of these

Miri is a part of a nightly toolchain: rustup component add miri rust-src --toolchain nightly. It runs a program some
hundred times as slowly as the processor does, so long tests come to no end. They are counted, and named with --verbose.
Each test has a process of its own. The order is drawn: a run that is cut short tries others each time. Fails if a test
fails.
"""

import argparse
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from run import ROOT

# Each package with the name of its program of tests.
PROGRAMS = {"taskslot-engine": "engine", "taskslot-node": "node"}
# Tests read samples of the tree and the environment. Some leak strings on purpose, so that these live long enough.
FLAGS = "-Zmiri-disable-isolation -Zmiri-ignore-leaks"
# How a test can end.
KINDS = ("passed", "failed", "ignored", "too long", "not begun")


def miri(package: str, *words: str) -> list[str]:
    """The command that passes these words to the tests of a package."""
    command = ["cargo", "+nightly", "miri", "test", "--quiet", "--locked", "--target-dir", "target/miri"]
    return [*command, "-p", package, "--test", PROGRAMS[package], "--", *words]


def tests_of(package: str, names: list[str]) -> list[str]:
    """The tests of a package whose names contain one of these, or all. Builds them."""
    listed = subprocess.run(
        miri(package, "--list"), cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, env=environment()
    )
    found = re.findall(r"^(\S+): test$", listed.stdout, re.MULTILINE)
    assert found, f"{package} lists no tests"
    return [test for test in found if not names or any(name in test for name in names)]


def environment() -> dict[str, str]:
    """The environment of Miri."""
    return {**os.environ, "MIRIFLAGS": FLAGS}


def tried(test: tuple[str, str], seconds: int, ends_at: float) -> tuple[str, str]:
    """Run a test. Returns how it ended, one of `KINDS`, and what it said."""
    if time.monotonic() > ends_at:
        return "not begun", ""
    package, name = test
    ended = subprocess.run(
        miri(package, "--exact", name),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5)),
    )
    if ended.returncode == 0:
        ran = re.search(r"\b1 (passed|ignored)", ended.stdout)
        return ran[1] if ran else "failed", ended.stdout
    was_cut = f"signal: {int(signal.SIGXCPU)}" in ended.stdout or ended.returncode == -signal.SIGXCPU
    return "too long" if was_cut else "failed", ended.stdout


def main() -> int:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--seconds", type=int, default=60, help="processor time of a test (default: 60)")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no test after that")
    parser.add_argument("--verbose", action="store_true", help="name every test and how it ended")
    parser.add_argument("names", nargs="*", help="parts of the names of tests")
    options = parser.parse_args()

    tests = [(package, test) for package in PROGRAMS for test in tests_of(package, options.names)]
    if not tests:
        sys.exit(f"No test has a name that contains {' or '.join(options.names)}")
    random.shuffle(tests)
    counts: Counter[str] = Counter()
    try_one = partial(tried, seconds=options.seconds, ends_at=time.monotonic() + 60 * options.minutes)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for (package, test), (outcome, said) in zip(tests, pool.map(try_one, tests), strict=True):
            counts[outcome] += 1
            if outcome == "failed":
                print(said)
            if outcome == "failed" or options.verbose:
                print(f"{outcome}: {package} {test}", flush=True)
    print("Miri: " + ", ".join(f"{counts[kind]} {kind}" for kind in KINDS))
    return 1 if counts["failed"] or not counts["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
