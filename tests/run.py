"""Runs the tests, Rust and Python. The last line shows the counts: `N passed, N failed[, N skipped]`.

    tests/run.py            the default server, short histories, no tests that are marked `slow`
    tests/run.py --all      all tests on every installed server; reports the servers that are missing
    tests/run.py --rest     what --all runs and the plain run does not; the engine's histories are other ones
    tests/run.py --server redis-8.2 -- -k lease     arguments after -- are passed to pytest

Uses only the standard library. pytest runs with the same Python as this program.
"""

import argparse
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "target/tests"

DEFAULT = "valkey-9.1"
# With --all and --rest, seeded histories are so many times as long. The simulated cluster makes a million steps then.
TIMES = 2
# Every supported line that can be installed without root, and Debian's.
ALL = ["valkey-9.1", "redis-6.2", "redis-7.0", "redis-8.2"]
HOW_TO_GET = {"redis-7.0": "Debian 12: apt-get install redis-server"}
# Folders of Python tests. Those with the longest tests come first, so that no process is left with them at the end.
FOLDERS = [
    "tests/chaos",
    "tests/web",
    "tests/cluster",
    "tests/dist",
    "tests/conformance",
    "tests/docs",
    "tests/imports",
    "tests/server",
    "clients/python/tests",
]


def heading(text: str) -> None:
    """Print a heading."""
    print(f"\n==> {text}", flush=True)


def cargo_tests(packages: list[str], times: int = 1, build: tuple[str, ...] = ()) -> Counter[str]:
    """Run the Rust tests of these packages, with these options of cargo. Histories are `times` as long as usual."""
    of_packages = [word for package in packages for word in ("-p", package)]
    command = ["cargo", "test", "--locked", *build, *of_packages, "--no-fail-fast"]
    heading(" ".join(command))
    counts: Counter[str] = Counter()
    environment = {**os.environ, "TASKSLOT_TIMES": str(times)}
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            # test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; …
            if line.startswith("test result:"):
                numbers = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|ignored)", line)}
                counts.update(passed=numbers["passed"], failed=numbers["failed"], skipped=numbers["ignored"])
    if process.returncode != 0 and not counts["failed"]:
        print("cargo test could not finish: counted as one failure")
        counts["failed"] += 1
    return counts


def server_tests(servers: list[str], extra: list[str], folders: list[str] = FOLDERS) -> Counter[str]:
    """Run pytest on real servers. Tests mostly wait, so two run at a time for each core, and one more."""
    heading(f"servers {', '.join(servers)}: pytest")
    report = RESULTS / "pytest.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", *folders, f"--server={','.join(servers)}"]
    at_a_time = str(2 * (os.cpu_count() or 1) + 1)
    command += ["-n", at_a_time, "--dist", "worksteal", f"--junitxml={report}", *extra]
    code = subprocess.run(command, cwd=ROOT).returncode
    counts = read_junit(report)
    if not counts:
        print("no test was run on a server: counted as one failure")
        counts["failed"] += 1
    elif code != 0 and not counts["failed"]:
        print(f"pytest ended with {code}: counted as one failure")
        counts["failed"] += 1
    return counts


def read_junit(report: Path) -> Counter[str]:
    """Count the test cases of a report. A test that passed, but whose cleanup failed, counts as failed."""
    outcome: dict[tuple[str | None, str | None], str] = {}
    for case in ET.parse(report).iter("testcase") if report.exists() else []:
        test = (case.get("classname"), case.get("name"))
        children = {child.tag for child in case}
        if children & {"failure", "error"}:
            outcome[test] = "failed"
        else:
            outcome.setdefault(test, "skipped" if "skipped" in children else "passed")
    return Counter(outcome.values())


def installed() -> set[str]:
    """The names of the installed servers, as the tests find them."""
    code = "from harness.server import SERVERS; print(*SERVERS)"
    command = [sys.executable, "-c", code]
    return set(subprocess.check_output(command, cwd=ROOT, text=True).split())


def main() -> int:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--all", action="store_true", help="run all tests on every installed server")
    which.add_argument("--rest", action="store_true", help="run what --all adds to a run without options")
    parser.add_argument(
        "--server",
        default=DEFAULT,
        help="names or paths of servers, separated by commas (default: %(default)s)",
    )
    parser.add_argument("pytest", nargs="*", help="options for pytest, after --")
    options = parser.parse_args()

    RESULTS.mkdir(parents=True, exist_ok=True)
    servers, missing, choice = options.server.split(","), [], ["-m", "not slow"]
    if options.all or options.rest:
        here, choice = installed(), ["--rest"] if options.rest else []
        servers, missing = [s for s in ALL if s in here], [s for s in ALL if s not in here]

    times = TIMES if options.all or options.rest else 1
    # Engine, node and the manual of the commands.
    counts = cargo_tests(["taskslot-engine", "taskslot-node", "taskslot"], times)
    counts += server_tests(servers, choice + options.pytest)

    for name in missing:
        how = HOW_TO_GET.get(name, "see requirements/servers.txt")
        print(f"\nNot tested on {name}: it is not installed here ({how})")
    skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
    print(f"\n{counts['passed']} passed, {counts['failed']} failed{skipped}", flush=True)
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
