"""Runs the tests of a framework in an environment of their own, against a server with the module."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from docs.ports import Ports
from harness.server import ROOT, Installed, Server

from frameworks.home import python_with
from frameworks.outcomes import expected, outcomes, problems, summary
from frameworks.sources import BELOW, pinned, unpacked

HERE = Path(__file__).parent
EXPECTED = HERE / "expected"


@dataclass(frozen=True)
class Suite:
    """The tests of a framework.

    `tests` are what pytest runs, below the folder of the sources; `arguments` are pytest's. `packages` are those of the
    environment, as pip takes them, beside the framework itself. The files in the folder `ours` are copied into the
    folder `into` of the sources; there a conftest.py puts our adapter in its place. `least` is how many tests pass at
    least: with fewer, something is wrong that no test tells. A run that takes longer than `limit_s` hangs. `variables`
    are added to the environment of the tests, whose 127.0.0.1:6379 is their own server.
    """

    name: str
    tests: Sequence[str]
    packages: Sequence[str]
    ours: Path
    into: str
    least: int
    limit_s: int
    arguments: Sequence[str] = ()
    variables: Mapping[str, str] = field(default_factory=dict)


def check(suite: Suite, installed: Installed, rest: Sequence[str] = ()) -> bool:
    """Run a suite, print what is not as expected, and return whether all is. `rest` are more arguments of pytest."""
    print(f"\n==> the tests of {suite.name} {pinned(suite.name)}, on {installed.name}", flush=True)
    differences = expected((EXPECTED / f"{suite.name}.txt").read_text())
    junit, code = run(suite, installed, rest)
    found = outcomes(junit) if junit.exists() else {}
    wrong = list(problems(found, differences, is_whole=not rest))
    if code not in (0, 1):  # 0: all passed, 1: some failed
        wrong.append(f"pytest ended with {code}")
    passed = sum(outcome == "passed" for outcome in found.values())
    if not rest and passed < suite.least:
        wrong.append(f"only {passed} tests passed, at least {suite.least} should")
    for problem in wrong:
        print(problem)
    print(f"{suite.name}: {summary(found)}; {'not ' if wrong else ''}as expected", flush=True)
    return not wrong


def run(suite: Suite, installed: Installed, rest: Sequence[str]) -> tuple[Path, int]:
    """Run a suite. Returns the file with the results, and the status of pytest."""
    sources = unpacked(suite.name)
    shutil.copytree(suite.ours, sources / suite.into, dirs_exist_ok=True)
    packages = [f"{suite.name}=={pinned(suite.name)}", "redis", "pytest", "pytest-timeout", *suite.packages]
    python = python_with(suite.name, packages)
    junit = BELOW / f"{suite.name}.xml"
    junit.unlink(missing_ok=True)
    pytest = [python, "-m", "pytest", "-q", "--tb=short", f"--junitxml={junit}", "-o", "junit_family=xunit1"]
    names_tests = any((sources / word.partition("::")[0]).exists() for word in rest)
    command = [*pytest, *suite.arguments, *([] if names_tests else suite.tests), *rest]
    with tempfile.TemporaryDirectory(prefix="taskslot-frameworks-") as folder:
        ports = Ports(Path(folder)).environment()
        server = Server(installed, port=6379, env=ports)
        try:
            # Programs that begin themselves anew look for `python` on the path.
            path = f"{python.parent}:{os.environ['PATH']}"
            ours = {"PYTHONPATH": str(ROOT / "clients/python"), "PATH": path, **ports, **suite.variables}
            code = within(suite.limit_s, command, sources, {**os.environ, **ours})
            server.check()
        finally:
            server.discard()
    return junit, code


def within(limit_s: int, command: Sequence[str | Path], folder: Path, environment: Mapping[str, str]) -> int:
    """Run a program and return its status. Whatever it started ends with it, and it ends after `limit_s` s."""
    process = subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True)
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        print(f"ended after {limit_s} s", flush=True)
        return -1
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
