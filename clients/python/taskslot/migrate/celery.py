"""Celery on Redis: a list of messages for each queue and priority, and the hash `unacked` of what workers have fetched.

A message is JSON: the task's name and id in its headers, and a base64 body of arguments, keyword arguments and what
comes after the task (protocol 2).
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from ..integrations.kombu_messages import priority, push_options
from .job import Entry, Job, Left, Place, origin, renamed
from .plain import NotPlain, as_json

SEPARATOR = "\x06\x16"
Format = Literal["envelope", "kombu"]
# What is to come after a task, in the third part of a body.
AFTER = {"callbacks": "link", "errbacks": "link_error", "chain": "chain", "chord": "chord"}


@dataclass
class CelerySource:
    """A queue of Celery by its name. Format `kombu` keeps messages as they are, for Celery's workers on taskslot."""

    client: Any
    name: str
    format: Format = "envelope"
    prefix: str = ""
    steps: Sequence[int] = (0, 3, 6, 9)
    with_unacked: bool = False
    names: Mapping[str, str] = field(default_factory=dict)
    system: str = "Celery"
    # The tags of messages in `unacked` that have another routing key than the queue's name.
    others: set[bytes] = field(default_factory=set, init=False)

    @property
    def staging(self) -> str:
        """The key that holds jobs between taking and pushing."""
        return f"taskslot:migrate:celery:{self.prefix}{self.name}"

    @property
    def unacked(self) -> Place:
        """What workers have fetched."""
        return Place(f"{self.prefix}unacked", "unacked", f"{self.prefix}unacked_index")

    def places(self) -> list[Place]:
        """The lists by priority, 0 first as in Celery, and what dead workers hold if the user asks for it."""
        ends = [f"{SEPARATOR}{step}" if step else "" for step in sorted(set(self.steps))]
        lists = [Place(f"{self.prefix}{self.name}{end}", "tail") for end in ends]
        return [*lists, self.unacked] if self.with_unacked else lists

    def jobs(self, place: Place, entries: Sequence[Entry]) -> list[Job | Left | None]:
        """Read the messages."""
        if place.kind == "unacked":
            return [self._held(one) for one in entries]
        return [self._message(one.member) for one in entries]

    def _held(self, entry: Entry) -> Job | Left | None:
        """A message of `unacked`, if it is of this queue."""
        if not entry.value:
            return None  # the tag is in the index only
        try:
            message, _, routing_key = json.loads(entry.value)
        except (ValueError, TypeError):
            return Left("?", "it is not a message that a worker of Celery has fetched")
        if routing_key != self.name:
            self.others.add(entry.member)
            return None
        return self._job(message)

    def _message(self, text: bytes) -> Job | Left:
        try:
            return self._job(json.loads(text), text.decode())
        except (ValueError, UnicodeDecodeError):
            return Left("?", "it is not a message of Celery")

    def _job(self, message: Any, text: str = "") -> Job | Left:
        headers = message.get("headers") if isinstance(message, dict) else None
        if not isinstance(headers, dict) or not isinstance(headers.get("task"), str):
            return Left("?", "it is not a message of Celery, or of its old protocol 1")
        task_id = str(headers.get("id"))
        try:
            if self.format == "kombu":
                # As the transport pushes it, but without the task's id as a token: the mover needs one of its own.
                kept = push_options(message, time.time())
                return Job(task_id, text or json.dumps(message), kept | headers_of(task_id))
            options, payload = options_of(message), self._payload(message)
        except NotPlain as error:
            return Left(task_id, str(error))
        except (ValueError, TypeError, KeyError, AttributeError):
            return Left(task_id, "its message can't be read")
        return Job(task_id, payload, options | headers_of(task_id))

    def _payload(self, message: Mapping[str, Any]) -> str:
        kind = message.get("content-type")
        if kind != "application/json":
            raise NotPlain(f"its body is {str(kind)[:60]}, not JSON")
        body = message["body"]
        if message["properties"].get("body_encoding") == "base64":
            body = base64.b64decode(body)
        args, kwargs, embed = json.loads(body)
        if after := [word for name, word in AFTER.items() if embed and embed.get(name)]:
            raise NotPlain(
                f"a {after[0]} belongs to it, which only Celery's workers run (--format kombu keeps it)"
            )
        if typed(args) or typed(kwargs):
            raise NotPlain("its arguments hold dates, UUIDs or decimals in Celery's own form")
        return as_json(
            {"task": renamed(dict(self.names), message["headers"]["task"]), "args": args, "kwargs": kwargs}
        )

    def notes(self, target: str) -> list[str]:
        """What Celery has besides."""
        if self.with_unacked:
            text = (
                f"not moved, messages in {self.unacked.key} whose routing key is not {self.name}: {len(self.others)}. "
                "They are of other queues, or of exchanges and routing keys that the app has configured"
            )
            return [text] if self.others else []
        held = self.client.hlen(self.unacked.key)
        text = (
            f"not moved, messages that workers have fetched, of all queues: {held}. They run or have an ETA. Stop the "
            "workers (SIGTERM): they put back what they have not begun. What stays is of dead workers: --unacked"
        )
        return [text] if held else []


def headers_of(task_id: str) -> dict[str, Any]:
    """The option `headers`."""
    return {"headers": origin("celery", task_id)}


def priority_of(message: Mapping[str, Any]) -> dict[str, Any]:
    """The option `priority`. On Redis, Celery's 0 goes first; here higher goes first, and most tasks have 0."""
    return {"priority": -given} if (given := priority(message)) else {}


def options_of(message: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the push. Raises NotPlain for a task that has expired, ValueError for a date that is none."""
    headers = message["headers"]
    now = time.time() * 1000
    due = instant_ms(headers["eta"]) if headers.get("eta") else None
    options = priority_of(message) | ({"at": due} if due else {})
    if headers.get("expires"):
        ttl = instant_ms(headers["expires"]) - max(now, due or 0)
        if ttl <= 0:
            raise NotPlain("it has expired (expires)")
        options["ttl_ms"] = max(1, round(ttl))
    return options


def instant_ms(text: str) -> int:
    """A date of Celery as a unix time in ms. Raises NotPlain if only the app knows its zone, ValueError for no date."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise NotPlain("its ETA or expires names no time zone")
    return round(at.timestamp() * 1000)


def typed(value: Any) -> bool:
    """Whether a value holds one that Kombu has written as a map with `__type__`."""
    if isinstance(value, dict):
        return "__type__" in value or any(map(typed, value.values()))
    return isinstance(value, list) and any(map(typed, value))
