"""The end of a run: with faults off, everything is claimed and acked until nothing is left that could be."""

from __future__ import annotations

import threading
import time

from chaos.history import Final
from chaos.load.addresses import Addresses
from chaos.load.dump import fields
from chaos.load.follower import Follower, Refused, Unknown

DRAIN_LEASE_MS = 10_000
COUNT = 100
BLOCK_MS = 100


def drain(addresses: Addresses, queue: str, timeout_s: float) -> Final:
    """Empty a queue. What is dead, done or held stays. `drained` is false if that took longer than `timeout_s`.

    Batches that a producer couldn't close are closed. A queue that is BROKEN can't be emptied.
    """
    ask = Follower(addresses, queue, threading.Event())
    until = time.monotonic() + timeout_s
    drained = False
    try:
        while not drained and time.monotonic() < until:
            try:
                drained = step(ask, queue)
            except Unknown:
                continue
        info = fields(ask.again("TASK.INFO", queue))
    except Refused as error:
        drained, info = False, {"refused": str(error)}
    finally:
        ask.leave()
    return Final(queue, time.monotonic(), drained, info)


def step(ask: Follower, queue: str) -> bool:
    """Claim and ack some tasks. Returns whether nothing is ready, delayed or leased any more."""
    tasks = ask(
        *("TASK.CLAIM", queue, "COUNT", COUNT, "BLOCK", BLOCK_MS, "WORKER", "drain", "LEASE", DRAIN_LEASE_MS),
        wait_ms=BLOCK_MS,
    )
    if tasks:
        ask.again("TASK.ACK", queue, "HANDLES", len(tasks), *(task[0] for task in tasks))
        return False
    if any(ask.again("TASK.LEN", queue, state) for state in ("READY", "DELAYED", "LEASED")):
        return False
    return not close_batches(ask, queue) and not ask.again("TASK.LEN", queue, "READY")


def close_batches(ask: Follower, queue: str) -> bool:
    """Close the batches that are open. Returns whether there were any."""
    closed, last = False, None
    while True:
        words = ["TASK.INFO", queue, "BATCHES", *(["AFTER", last] if last else [])]
        batches = fields(ask.again(*words)).get("batches", [])
        for batch in map(fields, batches):
            last = batch["name"]
            if batch["state"] == "open":
                closed |= bool(ask.again("TASK.BATCH", queue, "CLOSE", last))
        if len(batches) < 1000:
            return closed
