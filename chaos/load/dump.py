"""What a run leaves: all tasks of its queues, state by state, as records of the history."""

from __future__ import annotations

import threading
import time
from typing import Any

from chaos.history import Left
from chaos.load.addresses import Addresses
from chaos.load.follower import Follower
from chaos.load.words import uid_of

STATES = ("READY", "DELAYED", "HELD", "LEASED", "DEAD", "DONE")
COUNT = 500
# Fields of a task that have a place of their own in a record.
OWN = ("id", "payload", "state", "deliveries", "failures", "stalls", "waits-for")


def dump(addresses: Addresses, queue: str) -> list[Left]:
    """All tasks of a queue."""
    ask = Follower(addresses, queue, threading.Event())
    try:
        return [left(queue, task) for state in STATES for task in listed(ask, queue, state)]
    finally:
        ask.leave()


def listed(ask: Follower, queue: str, state: str) -> list[dict[str, Any]]:
    """The tasks of one state, page by page."""
    found: list[dict[str, Any]] = []
    cursor: Any = "0"
    while True:
        words = ["TASK.LIST", queue, state, "COUNT", COUNT, "WITHPAYLOAD"]
        cursor, tasks = ask.again(*words, *(("CURSOR", cursor) if cursor != "0" else ()))
        found += map(fields, tasks)
        cursor = text(cursor)
        if cursor in ("0", 0):
            return found


def left(queue: str, task: dict[str, Any]) -> Left:
    """The record of one task."""
    due = task.get("due")
    return Left(
        queue=queue,
        id=task["id"],
        uid=uid_of(str(task.get("payload", ""))),
        state=task["state"],
        deliveries=task.get("deliveries", 0),
        failures=task.get("failures", 0),
        stalls=task.get("stalls", 0),
        due_in_ms=None if due is None else due - time.time() * 1000,
        waits_for=list(task.get("waits-for", [])),
        details={name: value for name, value in task.items() if name not in OWN},
    )


def fields(reply: Any) -> dict[str, Any]:
    """A map in a reply, as texts and numbers."""
    flat = reply or []
    return {text(name): text(value) for name, value in zip(flat[::2], flat[1::2], strict=True)}


def text(value: Any) -> Any:
    """Bytes in a reply as text, also in arrays."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return [text(part) for part in value] if isinstance(value, list) else value
