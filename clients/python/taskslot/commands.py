"""The TASK commands as values: the words to send, and how to read the reply. No connection, no waiting.

This is all that the library knows of the protocol. `Queue` and `AsyncQueue` send what is made here; a framework that
has a connection of its own can do the same: `command = commands.push("mail", b"…")`, send `command.words`, and
`command.read(reply)`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Literal, TypedDict, TypeVar, Unpack

from .errors import UnknownTask
from .replies import (
    Group,
    Info,
    Meta,
    Result,
    Schedule,
    Settings,
    State,
    Task,
    TaskId,
    TaskView,
    WorkerView,
    data,
    pairs,
    text,
)

R = TypeVar("R")
Word = bytes | str | int
Payload = bytes | str
Direction = Literal["out", "in", "all"]


@dataclass(frozen=True, slots=True)
class Command(Generic[R]):
    """Words to send, the key second, and what the reply means."""

    words: tuple[Word, ...]
    read: Callable[[Any], R]

    @property
    def key(self) -> str:
        """The queue's key."""
        return text(self.words[1])


class CommonOptions(TypedDict, total=False):
    """What can be said of the tasks of a push, or of a schedule; all of it can be left out."""

    priority: int  # -128 to 127, higher first, 0 where nobody says
    attempts: int  # failures until it is dead, in place of the queue's
    lease_ms: int  # how long a lease of it is, in place of the queue's
    ttl_ms: int  # gone unless claimed within so many ms of being due
    group: str  # of which tenant it is: fairness and limits go by it
    retain_ms: int  # how long it is kept, with its result, once it is done
    headers: Mapping[str, Payload]  # at most 64, together 4 KiB


class TaskOptions(CommonOptions, total=False):
    """What a push can say of its tasks."""

    delay_ms: int  # ready so many ms from now
    at: datetime | float  # ready at this instant: with its time zone, or a unix time in ms


class UniqueOptions(TypedDict, total=False):
    """How a task is kept from being there twice."""

    unique: str  # adds nothing while a task of the queue holds this token
    until_start: bool  # the token is free at the first claim
    for_ms: int  # the token is free after so many ms at the latest
    keep: bool  # … and exactly then, though the task be gone


class ScheduleOptions(CommonOptions, UniqueOptions, total=False):
    """What a schedule can say of its tasks."""


class PushOptions(TaskOptions, UniqueOptions, total=False):
    """What a push of one task can say besides: uniqueness, and a token of the caller's own."""

    replace: bool  # puts payload and headers into the task found, if it still waits
    request: str  # the same token within 5 minutes: the same reply, nothing pushed


class ClaimOptions(TypedDict, total=False):
    """How tasks are claimed; all of it can be left out."""

    lease_ms: int  # in place of the task's own and the queue's, 1 ms to 24 h
    worker: str  # who claims, as TASK.INFO … WORKERS shows it
    group: str  # tasks of this group only
    max_bytes: int  # stop before payloads exceed it; at least one task
    tied: bool  # the leases end when the connection closes: see README before use
    noack: bool  # at most once: finished as it is claimed
    meta: bool  # tell lease number, priority, group, headers, times


def refuse_unknown(options: Mapping[str, Any], kind: Any) -> None:
    """Raise TypeError for an option that isn't one of this kind's: dropped, a `delay` would push a task for now."""
    if unknown := options.keys() - kind.__optional_keys__:
        raise TypeError(
            f"unknown option {min(unknown)}: the options are {', '.join(sorted(kind.__optional_keys__))}"
        )


# ---- produce


def push(key: str, payload: Payload, **options: Unpack[PushOptions]) -> Command[TaskId]:
    """TASK.PUSH."""
    refuse_unknown(options, PushOptions)
    words = ("TASK.PUSH", key, payload, *task_words(options), *unique_words(options))
    return Command(words, pushed)


def push_many(
    key: str, payloads: Sequence[Payload], request: str | None, **options: Unpack[TaskOptions]
) -> Command[list[str]]:
    """TASK.MPUSH: at most 1000 payloads, all or none."""
    refuse_unknown(options, TaskOptions)
    token = ("REQUEST", request) if request else ()
    words = ("TASK.MPUSH", key, *task_words(options), *token, "TASKS", len(payloads), *payloads)
    return Command(words, texts)


def pushed(reply: Any) -> TaskId:
    """An id, or with UNIQUE an id and whether it is new."""
    if isinstance(reply, list):
        return TaskId.found(text(reply[0]), bool(reply[1]))
    return TaskId(text(reply))


def task_words(options: Mapping[str, Any]) -> list[Word]:
    """The words of `TaskOptions`, or of some of them."""
    words = [one for name, word in TASK_WORDS.items() for one in given(word, options.get(name))]
    if (at := options.get("at")) is not None:
        words += ["AT", unix_ms(at)]
    if headers := options.get("headers"):
        words += ["HEADERS", len(headers), *(word for pair in headers.items() for word in pair)]
    return words


TASK_WORDS = {
    "delay_ms": "DELAY",
    "priority": "PRIORITY",
    "attempts": "ATTEMPTS",
    "lease_ms": "LEASE",
    "ttl_ms": "TTL",
    "group": "GROUP",
    "retain_ms": "RETAIN",
}


def unique_words(options: Mapping[str, Any]) -> list[Word]:
    """The words of uniqueness and of the request token. What needs a token without one is the server's to refuse."""
    words: list[Word] = ["UNIQUE", options["unique"]] if options.get("unique") is not None else []
    if options.get("until_start"):
        words += ["UNTIL", "START"]
    if options.get("for_ms") is not None:
        words += ["FOR", options["for_ms"]]
    words += ["KEEP"] if options.get("keep") else []
    words += ["REPLACE"] if options.get("replace") else []
    return words + (["REQUEST", options["request"]] if options.get("request") else [])


# Unix times in ms from 1973 to 33658. In seconds none of these is near, nor in µs.
PLAUSIBLE_MS = range(10**11, 10**15)


def unix_ms(at: datetime | float) -> int:
    """An instant as the server takes it. Raises ValueError for what is most likely another instant than was meant.

    A unix time in seconds would be long ago, and the task ready at once. Of a naive datetime nobody knows which
    instant it means.
    """
    if isinstance(at, datetime):
        if at.tzinfo is None:
            raise ValueError("at needs a time zone: use datetime(…, tzinfo=…) or a unix time in ms")
        return round(at.timestamp() * 1000)
    if isinstance(at, bool) or not isinstance(at, int | float):
        raise TypeError(
            f"at must be a datetime with a time zone or a unix time in ms, not {type(at).__name__}"
        )
    if not PLAUSIBLE_MS.start <= at < PLAUSIBLE_MS.stop:
        raise ValueError(
            f"at must be a unix time in ms, such as {time.time_ns() // 10**6}, or a datetime with a time zone, not {at}"
        )
    return round(at)


# ---- work


def claim(
    keys: Sequence[str],
    count: int,
    block_ms: int | None,
    request: str | None,
    **options: Unpack[ClaimOptions],
) -> Command[list[Task]]:
    """TASK.CLAIM of the only key, or TASK.MCLAIM of the first of several that has tasks."""
    refuse_unknown(options, ClaimOptions)
    words: list[Word] = ["TASK.CLAIM", keys[0]]
    if len(keys) > 1:
        words = ["TASK.MCLAIM", keys[0], "KEYS", len(keys) - 1, *keys[1:]]
    words += ["COUNT", count]
    words += ["BLOCK", block_ms] if block_ms is not None else []
    words += claim_words(options)
    words += ["REQUEST", request] if request and not options.get("noack") else []
    if len(keys) == 1:
        return Command(tuple(words), lambda reply: [read_task(keys[0], one) for one in reply or []])
    return Command(tuple(words), claimed_of_several)


def claim_words(options: Mapping[str, Any]) -> list[Word]:
    """The words of `ClaimOptions`."""
    words = [one for name, word in CLAIM_WORDS.items() for one in given(word, options.get(name))]
    return words + [word for name, word in CLAIM_FLAGS.items() if options.get(name)]


CLAIM_WORDS = {"lease_ms": "LEASE", "worker": "WORKER", "group": "GROUP", "max_bytes": "BYTES"}
CLAIM_FLAGS = {"tied": "TIED", "noack": "NOACK", "meta": "WITHMETA"}


def read_task(key: str, reply: Any) -> Task:
    """One task of a claim."""
    meta = Meta.read(reply[3]) if len(reply) > 3 else None
    return Task(key, text(reply[0]), data(reply[1]), int(reply[2]), meta)


def claimed_of_several(reply: Any) -> list[Task]:
    """The tasks of MCLAIM, which says first of which queue they are."""
    if not reply:
        return []
    key, tasks = reply
    return [read_task(text(key), one) for one in tasks]


def ack(key: str, handles: Handles, result: Payload | None, retain_ms: int | None) -> Command[Any]:
    """TASK.ACK."""
    return answer("TASK.ACK", key, handles, [*given("RESULT", result), *given("RETAIN", retain_ms)])


def requeue(key: str, handles: Handles, delay_ms: int | None, back: bool) -> Command[Any]:
    """TASK.REQUEUE."""
    return answer("TASK.REQUEUE", key, handles, [*given("DELAY", delay_ms), *(["BACK"] if back else [])])


def extend(key: str, handles: Handles, lease_ms: int | None, progress: Payload | None) -> Command[Any]:
    """TASK.EXTEND."""
    return answer("TASK.EXTEND", key, handles, [*given("LEASE", lease_ms), *given("PROGRESS", progress)])


def fail(key: str, handles: Handles, error: str | None, delay_ms: int | None, dead: bool) -> Command[Any]:
    """TASK.FAIL."""
    options = [*given("ERROR", error), *given("DELAY", delay_ms), *(["DEAD"] if dead else [])]
    return answer("TASK.FAIL", key, handles, options)


Handles = str | Sequence[str]


def answer(name: str, key: str, handles: Handles, options: Sequence[Word]) -> Command[Any]:
    """A worker's answer: one handle reads as an integer, a sequence of handles as a list of them."""
    if isinstance(handles, str):
        return Command((name, key, handles, *options), int)
    words = (name, key, "HANDLES", len(handles), *handles, *options)
    return Command(words, lambda reply: [int(one) for one in reply])


def given(word: str, value: Word | None) -> list[Word]:
    """An option with its value, if there is one."""
    return [word, value] if value is not None else []


# ---- inspect


def result(key: str, task: str, block_ms: int | None) -> Command[Result | None]:
    """TASK.RESULT: None while the task isn't over; raises `UnknownTask` for one that is unknown or wasn't kept."""
    return Command(("TASK.RESULT", key, task, *given("BLOCK", block_ms)), read_result)


def read_result(reply: Any) -> Result | None:
    """How a task ended."""
    if reply is None:
        return None
    if reply == 0:
        raise UnknownTask("no such task, or it ended and was not kept: push it with retain_ms to keep it")
    state, value = text(reply[0]), reply[1]
    if state == "done":
        return Result(state, value=None if value is None else data(value))
    return Result(state, error=None if value is None else text(value))


def get(key: str, task: str) -> Command[TaskView | None]:
    """TASK.GET."""
    return Command(("TASK.GET", key, task), lambda reply: TaskView.read(reply) if reply is not None else None)


def page(
    key: str,
    state: State,
    cursor: str,
    count: int,
    *,
    group: str | None = None,
    worker: str | None = None,
    payloads: bool = False,
    max_bytes: int | None = None,
) -> Command[tuple[str, list[TaskView]]]:
    """TASK.LIST: the cursor of the next page, "0" after the last, and the tasks of this one."""
    words: list[Word] = ["TASK.LIST", key, state, "CURSOR", cursor, "COUNT", count]
    words += [*given("GROUP", group), *given("WORKER", worker), *(["WITHPAYLOAD"] if payloads else [])]
    words += given("BYTES", max_bytes)
    return Command(tuple(words), lambda reply: (text(reply[0]), [TaskView.read(one) for one in reply[1]]))


def length(key: str, state: State | None) -> Command[int]:
    """TASK.LEN."""
    return Command(("TASK.LEN", key, *([state] if state else [])), int)


def info(key: str) -> Command[Info | None]:
    """TASK.INFO; None where there is no queue."""
    return Command(("TASK.INFO", key), lambda reply: Info.read(reply) if reply is not None else None)


def settings(key: str) -> Command[Settings | None]:
    """TASK.INFO … CONFIG; None where there is no queue."""
    read = Settings.read
    return Command(("TASK.INFO", key, "CONFIG"), lambda reply: read(reply) if reply is not None else None)


def groups(key: str, after: Word | None) -> Command[tuple[list[Group], Word | None]]:
    """TASK.INFO … GROUPS: at most a thousand, by name, those after a name; and the last name, to go on after it.

    That is as the server has it: a name that is no UTF-8 reads as another one in `Group`.
    """

    def read(reply: Any) -> tuple[list[Group], Word | None]:
        found = part(reply, "groups")
        last = dict(pairs(found[-1]))["name"] if found else None
        return [Group.read(one) for one in found], last

    return Command(("TASK.INFO", key, "GROUPS", *given("AFTER", after)), read)


def workers(key: str) -> Command[list[WorkerView]]:
    """TASK.INFO … WORKERS: the first thousand by name."""
    words = ("TASK.INFO", key, "WORKERS")
    return Command(words, lambda reply: [WorkerView.read(one) for one in part(reply, "workers")])


def schedules(key: str) -> Command[list[Schedule]]:
    """TASK.INFO … CRON."""
    return Command(("TASK.INFO", key, "CRON"), lambda reply: [Schedule.read(one) for one in reply or []])


def shards(key: str, count: int) -> Command[list[str]]:
    """TASK.SHARDS."""
    return Command(("TASK.SHARDS", key, count), texts)


def part(reply: Any, name: str) -> Sequence[Any]:
    """One value of a map that may not be there."""
    return dict(pairs(reply)).get(name, []) if reply is not None else []


def texts(reply: Any) -> list[str]:
    """A list of strings."""
    return [text(one) for one in reply]


# ---- admin


def cancel(key: str, tasks: Sequence[str]) -> Command[list[int]]:
    """TASK.CANCEL … IDS: for each id 1 removed, 2 leased and asked for, 0 nothing to cancel."""
    return Command(("TASK.CANCEL", key, "IDS", len(tasks), *tasks), lambda reply: [int(one) for one in reply])


def retry(key: str, tasks: Sequence[str]) -> Command[int]:
    """TASK.RETRY … IDS."""
    return Command(("TASK.RETRY", key, "IDS", len(tasks), *tasks), int)


def retry_dead(key: str, count: int) -> Command[int]:
    """TASK.RETRY … COUNT."""
    return Command(("TASK.RETRY", key, "COUNT", count), int)


def configure(key: str, values: Mapping[str, Word]) -> Command[None]:
    """TASK.CONFIG … SET; `max_len` is the server's `max-len`."""
    words = [word for name, value in values.items() for word in (name.replace("_", "-"), value)]
    return Command(("TASK.CONFIG", key, "SET", *words), nothing)


def reset(key: str, names: Sequence[str]) -> Command[None]:
    """TASK.CONFIG … RESET: all settings, if none is named."""
    return Command(("TASK.CONFIG", key, "RESET", *(name.replace("_", "-") for name in names)), nothing)


def set_group(
    key: str, name: str, weight: int | None, concurrency: int | None, rate: int | None, rate_per_ms: int | None,
    ordered: bool | None,
) -> Command[None]:  # fmt: skip
    """TASK.GROUP … SET; what isn't given stays as it was."""
    words = [*given("WEIGHT", weight), *given("CONCURRENCY", concurrency), *given("RATE", rate)]
    words += given("PER", rate_per_ms)
    words += ["ORDERED", "yes" if ordered else "no"] if ordered is not None else []
    return Command(("TASK.GROUP", key, "SET", name, *words), nothing)


def forget_group(key: str, name: str) -> Command[bool]:
    """TASK.GROUP … DEL."""
    return Command(("TASK.GROUP", key, "DEL", name), lambda reply: bool(int(reply)))


def pause(key: str, direction: Direction, for_ms: int | None) -> Command[None]:
    """TASK.PAUSE."""
    return Command(("TASK.PAUSE", key, direction, *given("FOR", for_ms)), nothing)


def resume(key: str, direction: Direction) -> Command[None]:
    """TASK.RESUME."""
    return Command(("TASK.RESUME", key, direction), nothing)


def purge(key: str, state: str, count: int) -> Command[int]:
    """TASK.PURGE: how many were removed, at most `count`."""
    return Command(("TASK.PURGE", key, state, "COUNT", count), int)


def schedule(
    key: str, name: str, payload: Payload, every_ms: int | None, cron: str | None, tz: str | None,
    catchup: str | None, **options: Unpack[ScheduleOptions],
) -> Command[bool]:  # fmt: skip
    """TASK.CRON … SET: whether it is new."""
    refuse_unknown(options, ScheduleOptions)
    words = [*given("EVERY", every_ms), *given("CRON", cron), *given("TZ", tz), *given("CATCHUP", catchup)]
    words += [*task_words(options), *unique_words(options), "PAYLOAD", payload]
    return Command(("TASK.CRON", key, "SET", name, *words), lambda reply: bool(int(reply)))


def unschedule(key: str, name: str) -> Command[bool]:
    """TASK.CRON … DEL: whether there was one."""
    return Command(("TASK.CRON", key, "DEL", name), lambda reply: bool(int(reply)))


def nothing(_: Any) -> None:
    """OK says nothing."""
