"""Runs a framework on a new server: pushes jobs, lets its workers do them, and measures both.

Workers are started first, and each of their places is occupied by a job that waits for a gate. Then the jobs are
pushed, and the gate is opened. So the start of the workers is not measured, nothing is done while jobs are pushed, and
all places begin at the same moment.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import redis
from framework_homes import JOBS
from framework_list import PLACES, Framework
from harness.server import Installed, NotInTime, Server, end_with_parent, wait_until
from rounds import cpu_ns

GATE = -1
# Workers that do not take another job for this time get one more, which the place that is still free takes.
STALL_S = 0.4
# After the last job began: what is still to be sent, such as acks.
SETTLE_S = 0.3
# How long workers may take to end by themselves.
END_S = 5.0
TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A framework did not do what it should; the text says what."""


# ---- processes


class Processes:
    """Programs of a framework, with all processes that they start. Each program is the leader of a session."""

    def __init__(self, framework: Framework, server: Server, folder: Path):
        self._framework = framework
        self._url = f"redis://127.0.0.1:{server.port}/0"
        self._log = folder / "log"
        self._environment = {
            **os.environ,
            **framework.home.environment(),
            "BENCH_URL": self._url,
            "BENCH_PIPE": str(folder / "pipe"),
            "BENCH_GATE": str(folder / "gate"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self._started: list[subprocess.Popen] = []

    def start(self, command: tuple[str, ...], **pipes: Any) -> subprocess.Popen:
        """Start a program. What it prints is kept in a log."""
        words = [self._framework.home.program(command[0]), *command[1:]]
        with open(self._log, "ab") as log:
            process = subprocess.Popen(
                [word.replace("{url}", self._url) for word in words],
                cwd=JOBS,
                env=self._environment,
                **{"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, **pipes},
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
        self._started.append(process)
        return process

    def check(self) -> None:
        """Raise Failed if a program has ended."""
        for process in self._started:
            if process.poll() is not None:
                raise Failed(f"a process ended with {process.returncode}: {self.last_words()}")

    def last_words(self) -> str:
        """The last line that the programs printed."""
        lines = self._log.read_text(errors="replace").split("\n") if self._log.exists() else []
        return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "it printed nothing")

    def _all(self) -> Iterator[tuple[int, list[str]]]:
        """All processes that run: their ids and the fields of /proc/…/stat that follow the name."""
        leaders = {str(process.pid) for process in self._started}
        for name in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError):
                fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
                session, state = fields[3], fields[0]
                if session in leaders and state != "Z":
                    yield int(name), fields

    def cpu_us(self) -> float:
        """The processor time, user and system, of all processes and of those that ended as their children."""
        total = 0
        for pid, fields in self._all():
            with suppress(OSError):
                total += cpu_ns(pid) + (int(fields[13]) + int(fields[14])) * TICK_NS
        return total / 1000

    def end(self) -> None:
        """End all processes: by SIGTERM, and what still runs after some seconds by SIGKILL."""
        for process in self._started:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        with suppress(NotInTime):
            wait_until(self._are_gone, "the workers end", END_S)
        while not self._are_gone():
            for pid, _ in self._all():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        for process in self._started:
            process.wait()

    def _are_gone(self) -> bool:
        for process in self._started:
            process.poll()
        return next(self._all(), None) is None


class Reports:
    """The pipe to which jobs report. The numbers are kept until somebody asks for them."""

    def __init__(self, path: Path):
        os.mkfifo(path)
        # Also open for writing, so that opening does not wait and reading does not end.
        self._file = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._rest = b""
        self.gates = 0
        self.numbers: list[int] = []

    def read(self) -> None:
        """Take what is in the pipe."""
        with suppress(BlockingIOError):
            while data := os.read(self._file, 1 << 16):
                *lines, self._rest = (self._rest + data).split(b"\n")
                found = [int(line) for line in lines]
                self.gates += found.count(GATE)
                self.numbers += [number for number in found if number != GATE]

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._file)


class Pusher:
    """The process that pushes."""

    def __init__(self, processes: Processes, framework: Framework, limit_s: float):
        self._process = processes.start(framework.push, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        os.set_blocking(self._process.stdout.fileno(), False)
        self._processes, self._limit_s, self._said = processes, limit_s, b""

    def push(
        self, argument: int | None, number: int, rate: float = 0.0, reports: Reports | None = None
    ) -> dict:
        """Push jobs and return what the process measured. `reports` are read meanwhile."""
        self._process.stdin.write(f"{json.dumps([argument, number, rate])}\n".encode())
        self._process.stdin.flush()

        def answer() -> bool:
            if reports:
                reports.read()
            self._processes.check()
            with suppress(BlockingIOError):
                self._said += os.read(self._process.stdout.fileno(), 1 << 16)
            return b"\n" in self._said

        in_time(answer, f"{number:,} jobs were pushed", self._limit_s)
        line, _, self._said = self._said.partition(b"\n")
        try:
            return json.loads(line)
        except ValueError:
            raise Failed(f"the pushing process printed {line[:200]!r}") from None


def in_time(condition: Any, what: str, limit_s: float) -> Any:
    """Wait for a condition, and return its value. Raises Failed after the limit."""
    try:
        return wait_until(condition, what, limit_s)
    except NotInTime:
        raise Failed(f"not within {limit_s:.0f} s: {what}") from None


# ---- the server


def calls(client: redis.Redis) -> dict[str, int]:
    """How often the server has run each command, those of scripts included."""
    stats = client.info("commandstats")
    return {
        name.removeprefix("cmdstat_"): facts["calls"]
        for name, facts in stats.items()
        if name != "cmdstat_info"
    }


def fewer(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """The commands between two readings."""
    found = {name: count - before.get(name, 0) for name, count in after.items()}
    return {name: count for name, count in sorted(found.items(), key=lambda one: -one[1]) if count}


class Run:
    """A framework at work: a server, its workers with all places occupied, and a process that pushes."""

    def __init__(self, framework: Framework, server: Server, folder: Path, limit_s: float):
        self.framework, self.server, self.limit_s = framework, server, limit_s
        # One connection for all questions, because a new one sends commands of its own.
        self.client = server.client()
        self._gate = folder / "gate"
        self.reports = Reports(folder / "pipe")
        self.workers = Processes(framework, server, folder)
        self.pushers = Processes(framework, server, folder)
        self.gates = 0

    def start(self) -> None:
        """Start the processes, and occupy all places."""
        self.pusher = Pusher(self.pushers, self.framework, self.limit_s)
        self._push_gate()
        for command in self.framework.work:
            self.workers.start(command)
        end, moved = time.monotonic() + self.limit_s, time.monotonic()
        while self.reports.gates < PLACES:
            before = self.reports.gates
            self.check()
            time.sleep(0.005)
            self.reports.read()
            if self.reports.gates > before or time.monotonic() > moved + STALL_S:
                moved = time.monotonic()
                self._push_gate()
            if moved > end:
                raise Failed(
                    f"{self.reports.gates} of {PLACES} places at work after {self.limit_s:.0f} s: "
                    f"{self.workers.last_words()}"
                )

    def _push_gate(self) -> None:
        self.pusher.push(GATE, 1)
        self.gates += 1

    def check(self) -> None:
        """Raise Failed if a process has ended by itself."""
        self.workers.check()
        self.pushers.check()

    def open_gate(self) -> None:
        """Let the waiting jobs end."""
        self._gate.touch()

    def done(self, jobs: int) -> float:
        """Wait until this number of jobs has begun. Returns the moment at which the last one was seen."""

        def all_have() -> bool:
            self.reports.read()
            self.check()
            return len(self.reports.numbers) >= jobs

        try:
            wait_until(all_have, "all jobs are done", self.limit_s)
        except NotInTime:
            found = len(self.reports.numbers)
            raise Failed(f"{found:,} of {jobs:,} jobs done in {self.limit_s:.0f} s") from None
        return time.monotonic()

    def end(self) -> None:
        """End all processes."""
        self.pushers.end()
        self.workers.end()
        self.reports.close()


@contextmanager
def running(framework: Framework, installed: Installed, module: Path, limit_s: float) -> Iterator[Run]:
    """A framework on a new server. All processes are ended at the end of the block, whatever happened."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="taskslot-bench-")))
        server = Server(installed, port=True, module=module if framework.needs_module else None)
        stack.callback(server.discard)
        run = Run(framework, server, folder, limit_s)
        stack.callback(run.end)
        run.start()
        yield run
        server.check()


# ---- the measurements


def drain(framework: Framework, installed: Installed, module: Path, jobs: int, limit_s: float) -> dict:
    """Push jobs that do nothing, then let the workers do them."""
    jobs = max(1, round(jobs * framework.share))
    with running(framework, installed, module, limit_s) as run:
        before, server_ns = calls(run.client), cpu_ns(run.server.pid)
        pushed = run.pusher.push(0, jobs)
        between, server_between_ns = calls(run.client), cpu_ns(run.server.pid)
        workers_us, began = run.workers.cpu_us(), time.monotonic()
        run.open_gate()
        seconds = run.done(jobs) - began
        time.sleep(SETTLE_S)
        run.reports.read()
        # With the jobs that held the gate: they end, or are done, in this time too.
        tasks = jobs + run.gates
        done_us = run.workers.cpu_us() - workers_us
        after, server_after_ns = calls(run.client), cpu_ns(run.server.pid)
        pushes, drained = fewer(before, between), fewer(between, after)
        return {
            "jobs": jobs,
            "places_held_by": run.gates,
            "runs": len(run.reports.numbers),
            "push_seconds": pushed["seconds"],
            "push_cpu_us": pushed["cpu_us"] / jobs,
            "push_commands": sum(pushes.values()) / jobs,
            "push_server_us": (server_between_ns - server_ns) / jobs / 1000,
            "seconds": seconds,
            "task_cpu_us": done_us / tasks,
            "task_commands": sum(drained.values()) / tasks,
            "task_server_us": (server_after_ns - server_between_ns) / tasks / 1000,
            "commands": {"push": pushes, "task": drained},
        }


def latency(
    framework: Framework, installed: Installed, module: Path, rate: int, seconds: int, limit_s: float
) -> dict:
    """Push jobs one at a time to idle workers; each tells how long ago it was pushed."""
    rate = max(1, round(rate * framework.share))
    jobs = rate * seconds
    with running(framework, installed, module, limit_s) as run:
        run.open_gate()
        in_time(
            lambda: run.reports.read() or run.reports.gates >= run.gates, "the gate's jobs are done", limit_s
        )
        time.sleep(1.0)  # until the workers are idle
        pushed = run.pusher.push(None, jobs, rate, run.reports)
        run.done(jobs)
        found = sorted(run.reports.numbers)
        return {
            "jobs": jobs,
            "rate": jobs / pushed["seconds"],
            **{name: found[min(jobs - 1, int(jobs * part))] / 1e6 for name, part in PARTS.items()},
            "max": found[-1] / 1e6,
        }


PARTS = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}


def attempt(measure: Any, *args: Any) -> dict:
    """The figures of a measurement, or what went wrong. Whatever it is, the other frameworks are measured."""
    try:
        return measure(*args)
    except Exception as error:
        reason = str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"
        print(f"  {reason}", file=sys.stderr, flush=True)
        return {"failed": reason}
