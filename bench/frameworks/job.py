"""The job that every Python framework runs, and the loop of the process that pushes.

`bench/framework_runs.py` starts the processes and passes three variables: the server's URL, a pipe to which jobs
report, and the path of the gate. The argument of a job says what it does:

- 0: nothing. This is the job that is counted and whose cost is measured.
- GATE: occupy a place of a worker until the gate is open, that is until the file exists.
- any other number: report the time since that moment of the monotonic clock, which processes share.

A job reports in one line: 0, GATE, or the nanoseconds. A write of one line to a pipe is atomic.

This file only needs Python's standard library, because each framework has its own environment.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import cache

URL = os.environ.get("BENCH_URL", "redis://127.0.0.1:6379/0")
GATE = -1
PAUSE_S = 0.02


@cache
def pipe() -> int:
    """The open pipe of this process."""
    return os.open(os.environ["BENCH_PIPE"], os.O_WRONLY)


def is_open() -> bool:
    """Whether the gate is open."""
    return os.path.exists(os.environ["BENCH_GATE"])


def run(at: int) -> None:
    """The body of the job."""
    os.write(pipe(), b"%d\n" % (at if at <= 0 else time.monotonic_ns() - at))
    while at == GATE and not is_open():
        time.sleep(PAUSE_S)


async def run_async(at: int) -> None:
    """The body of the job for frameworks whose jobs are coroutines."""
    os.write(pipe(), b"%d\n" % (at if at <= 0 else time.monotonic_ns() - at))
    while at == GATE and not is_open():
        await asyncio.sleep(PAUSE_S)


# ---- pushing


def orders() -> Iterator[tuple[int, int, float]]:
    """What to push, read from standard input: the argument (None is "now"), the number, and how many a second."""
    for line in sys.stdin:
        argument, number, rate = json.loads(line)
        yield argument, number, rate


def report(began: float, cpu_ns: int, number: int) -> None:
    """Print the time and the processor time of pushes as a line of JSON."""
    spent = (time.process_time_ns() - cpu_ns) / 1000
    print(json.dumps({"pushed": number, "seconds": time.monotonic() - began, "cpu_us": spent}), flush=True)


def push(one: Callable[[int], object]) -> None:
    """Push by calling `one` with the argument, until standard input ends."""
    for argument, number, rate in orders():
        began, cpu_ns = time.monotonic(), time.process_time_ns()
        for at in range(number):
            if rate:
                time.sleep(max(0.0, began + at / rate - time.monotonic()))
            one(time.monotonic_ns() if argument is None else argument)
        report(began, cpu_ns, number)


async def push_async(one: Callable[[int], Awaitable[object]]) -> None:
    """Push by awaiting `one` with the argument, one after the other, until standard input ends."""
    for argument, number, rate in orders():
        began, cpu_ns = time.monotonic(), time.process_time_ns()
        for at in range(number):
            if rate:
                await asyncio.sleep(max(0.0, began + at / rate - time.monotonic()))
            await one(time.monotonic_ns() if argument is None else argument)
        report(began, cpu_ns, number)
