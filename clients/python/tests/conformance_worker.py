"""The worker of the Python library with the functions of the conformance test (docs/worker-protocol.md)."""

import logging
import os
import time
from collections import Counter

import redis
from taskslot import Fail, GiveBack, Queue, Worker, current

queue = Queue(redis.Redis.from_url(os.environ["TASKSLOT_URL"]), os.environ["TASKSLOT_QUEUE"])
worker = Worker(
    queue,
    concurrency=int(os.environ["TASKSLOT_CONCURRENCY"]),
    lease_ms=int(os.environ["TASKSLOT_LEASE_MS"]),
    grace_ms=int(os.environ["TASKSLOT_GRACE_MS"]),
)
counts = Counter()


@worker.task("echo")
def echo(value):
    """Return the argument."""
    return value


@worker.task("greet")
def greet(name, greeting="hello"):
    """Return a greeting; the second argument usually comes by name."""
    return f"{greeting} {name}"


@worker.task("count")
def count(name):
    """Return how often this was called with this name, in this process."""
    counts[name] += 1
    return counts[name]


@worker.task("fail")
def fail(text):
    """Raise an exception with this text."""
    raise ValueError(text)


@worker.task("dead")
def dead(text):
    """Fail for good."""
    raise Fail(text, dead=True)


@worker.task("retry")
def retry(text, ms):
    """Fail, and be tried again after this time."""
    raise Fail(text, delay_ms=ms)


@worker.task("give_back")
def give_back(ms):
    """Give the task back for this time."""
    raise GiveBack(delay_ms=ms)


@worker.task("sleep")
def sleep(ms):
    """Wait, but end early with an exception if the task should stop."""
    if current().wait(ms / 1000):
        current().check()
    return ms


@worker.task("stubborn")
def stubborn(ms):
    """Wait, whatever happens."""
    time.sleep(ms / 1000)
    return ms


@worker.task("unwritable")
def unwritable():
    """Return what JSON can't hold."""
    return object()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    raise SystemExit(worker.run())
