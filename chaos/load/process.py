"""A process of the load, in Python: `python -m chaos.load.process SPEC`, where the file SPEC says which (`Spec`).

Its threads run until SIGTERM. A thread that ends otherwise has met something that a client can't recover from: that is
written to NAME.error, and the run fails.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from chaos.history import Journal
from chaos.load import library
from chaos.load.drain import drain
from chaos.load.dump import dump
from chaos.load.follower import Follower
from chaos.load.plan import IDLE, Options, at_turn, setup
from chaos.load.producer import THREADS, Asker, Producer
from chaos.load.recording import record
from chaos.load.spec import PATIENCE_S, Spec
from chaos.load.stopping import Stop, hold_signals, stop_on_sigterm
from chaos.load.wire import SUFFIX, Wire
from chaos.load.worker import Waiter, Worker

# Threads of a worker's process.
WORKER_THREADS = 3
# How long it may take to empty all queues, and the least that each of them gets, in seconds.
DRAIN_S, DRAIN_LEAST_S = 60.0, 3.0
Run = Callable[[], None]


def threads(spec: Spec, stop: Stop) -> list[Run]:
    """What each thread of a process does."""
    options, addresses = Options.read(spec.options), spec.addresses

    def tag(thread: int) -> str:
        return at_turn(options.tags, spec.turn + thread)

    if spec.role == "producer":
        producers = [
            Producer(f"{spec.name}.{number}", addresses, options, spec.seed, stop, tag(number), spec.keeps)
            for number in range(THREADS)
        ]
        askers = [Asker(producer, addresses, stop) for producer in producers]
        return [*(one.run for one in producers), *(one.run for one in askers)]
    if spec.role == "worker":
        workers = [
            Worker(f"{spec.name}.{number}", addresses, options, spec.seed, stop, tag(number)).run
            for number in range(WORKER_THREADS)
        ]
        if IDLE not in options.kinds:
            return workers
        return [*workers, Waiter(f"{spec.name}.waiter", addresses, stop, tag(0)).run]
    assert spec.role in library.ROLES, spec.role
    return library.ROLES[spec.role](spec.name, addresses, options, spec.seed, stop, tag(0))


def prepare(spec: Spec) -> None:
    """Give all queues their settings."""
    for command in setup(Options.read(spec.options)):
        ask = Follower(spec.addresses, str(command[1]), Stop())
        ask.again(*command)
        ask.leave()


def finish(spec: Spec) -> None:
    """Drain all queues, and write what is left in them."""
    with Journal(Path(spec.folder) / "final.jsonl") as journal:
        until = time.monotonic() + DRAIN_S
        for name in Options.read(spec.options).queues():
            journal.write(drain(spec.addresses, name, max(DRAIN_LEAST_S, until - time.monotonic())))
            for task in dump(spec.addresses, name):
                journal.write(task)


ONCE: dict[str, Callable[[Spec], None]] = {"setup": prepare, "drain": finish}


def main(path: Path) -> None:
    """Do one thing, or run the threads until SIGTERM and then end whatever they do."""
    spec = Spec(**json.loads(path.read_text()))
    record(Wire(Path(spec.folder) / f"{spec.name}{SUFFIX}"))
    if spec.role in ONCE:
        ONCE[spec.role](spec)
        return
    hold_signals()
    stop = Stop()

    def guarded(run: Run) -> None:
        try:
            run()
            if not stop.is_set():
                raise AssertionError("it ended before it was told to")
        except BaseException:
            (path.with_suffix(".error")).write_text(traceback.format_exc())

    all_of_them = [threading.Thread(target=guarded, args=[run], daemon=True) for run in threads(spec, stop)]
    for thread in all_of_them:
        thread.start()
    stop_on_sigterm(stop)
    until = time.monotonic() + PATIENCE_S
    for thread in all_of_them:
        thread.join(max(0.0, until - time.monotonic()))
    os._exit(0)  # a thread that still waits for a reply leaves its call unknown


if __name__ == "__main__":
    main(Path(sys.argv[1]))
