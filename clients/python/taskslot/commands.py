"""The TASK commands as values: the words to send, and a function that reads the reply. No connection, no waiting.

Everything that the library knows about the protocol is here. `Queue` and `AsyncQueue` send these commands. A framework
with its own connection can do the same: `command = commands.push("mail", b"…")`, send `command.words`, then call
`command.read(reply)`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, Literal, TypedDict, TypeVar, Unpack

from .arguments import identity, several
from .errors import UnknownTask
from .keys import key_text, key_word
from .replies import (
    BatchInfo,
    Group,
    Info,
    Meta,
    Next,
    Reply,
    Result,
    Schedule,
    Settings,
    State,
    Task,
    TaskId,
    TaskView,
    Times,
    WorkerView,
    answer_of,
    cancel_answer,
    data,
    pairs,
    text,
)

R = TypeVar("R")
N = TypeVar("N", bound=Reply)
Word = bytes | str | int
Payload = bytes | str
Direction = Literal["out", "in", "all"]
OnDead = Literal["wait", "run", "drop"]


@dataclass(slots=True)
class Command(Generic[R]):
    """A command: its words, of which the second is the key, and the function that reads its reply."""

    words: tuple[Word, ...]
    read: Callable[[Any], R]

    def __post_init__(self) -> None:
        # A key that is not UTF-8 (see `keys`) is sent as its bytes.
        key = self.words[1]
        if type(key) is str and not key.isascii():
            self.words = (self.words[0], key_word(key), *self.words[2:])

    @property
    def key(self) -> str:
        """The queue's key."""
        key = self.words[1]
        return key_text(key) if isinstance(key, bytes) else str(key)


class CommonOptions(TypedDict, total=False):
    """The options of the tasks of a push or a schedule, all optional."""

    priority: int  # -128 to 127, higher is claimed first; default 0
    attempts: int  # failures until the task is dead, instead of the queue's setting
    lease_ms: int  # length of the task's leases, instead of the queue's setting
    ttl_ms: int  # the task expires unless it is claimed within this many ms of being due
    group: str  # the group (tenant), for fairness and limits
    retain_ms: int  # how long the task is kept with its result once it is done
    headers: Mapping[str, Payload]  # at most 64, together at most 4 KiB


class CallbackOptions(CommonOptions, total=False):
    """The options of the callback of a batch."""

    delay_ms: int  # ready this many ms from now; a held task, from when it waits no more
    at: datetime | float  # ready at this instant: a datetime with a time zone, or a unix time in ms
    batch: str  # the batch that the task counts in


class TaskOptions(CallbackOptions, total=False):
    """The options of `push` and `push_many`."""

    after: Iterable[Task | str]  # held until these tasks of the queue are done; at most 1000
    on_dead: (
        OnDead  # if one of them ends otherwise: wait until it is retried and done (the default), run, drop
    )


class StepOptions(CallbackOptions, total=False):
    """The options of a step of a flow."""

    on_dead: OnDead  # what happens if a step that it waits for ends otherwise than done


class FlowOptions(CommonOptions, total=False):
    """The options of all steps of a flow, unless a step has its own."""

    batch: str
    on_dead: OnDead


class UniqueOptions(TypedDict, total=False):
    """The options of a unique task: while a task of the queue holds the token, pushes with it add nothing."""

    unique: str  # the token
    until_start: bool  # release the token at the task's first claim
    for_ms: int  # release the token after at most this many ms
    keep: bool  # hold the token for all of `for_ms`, even if the task ends earlier


class ScheduleOptions(CommonOptions, UniqueOptions, total=False):
    """The options of a schedule's tasks."""


class PushOptions(TaskOptions, UniqueOptions, total=False):
    """The options of a push of one task: those above, uniqueness, and a request token."""

    replace: bool  # if a waiting task holds the token, replace its payload and headers
    postpone: bool  # with `replace`: that task is also due as this push says, counted from now (debounce)
    postpone_until_ms: int  # the same, but the task is due at most this many ms after its first push
    request: str  # a second push with this token within 5 minutes adds nothing and gets the same reply


class SetOptions(TypedDict, total=False):
    """What `set` changes about a waiting task. What is not given stays as it is."""

    delay_ms: int  # ready this many ms from now; 0 makes a delayed task ready
    at: datetime | float  # ready at this instant: a datetime with a time zone, or a unix time in ms
    priority: int  # -128 to 127, higher is claimed first
    group: str  # the group; empty for none
    payload: Payload
    headers: Mapping[str, Payload]  # all headers from now on; empty for none


@dataclass(frozen=True, slots=True)
class Step:
    """The next step of a task: a push that counts only if the task is finished by the same command."""

    payload: Payload
    options: PushOptions


class ClaimOptions(TypedDict, total=False):
    """The options of a claim, all optional."""

    gather_ms: int  # wait for all `count` tasks, at most so long after the first was ready; 1 to 1000
    lease_ms: int  # length of the leases, instead of the task's and the queue's; 1 ms to 24 h
    worker: str  # the worker's name, which TASK.INFO … WORKERS shows
    group: str  # only tasks of this group
    max_bytes: int  # stop before the payloads exceed this; at least one task is claimed
    tied: bool  # end the leases when the connection closes; here it is one of a pool, see docs/guarantees.md
    noack: bool  # finish tasks as they are claimed: at-most-once
    meta: bool  # return lease number, priority, group, headers and times too


def refuse_unknown(options: Mapping[str, Any], kind: Any) -> None:
    """Raise TypeError for an unknown option. If it were ignored, `delay` would push a task that is ready at once."""
    if options and (unknown := options.keys() - kind.__optional_keys__):
        raise TypeError(
            f"unknown option {min(unknown)}: the options are {', '.join(sorted(kind.__optional_keys__))}"
        )


# ---- produce


def push(key: str, payload: Payload, **options: Unpack[PushOptions]) -> Command[TaskId]:
    """TASK.PUSH."""
    request = options.pop("request", None)
    if not options:  # the usual push, made fast
        return Command(("TASK.PUSH", key, payload, *(("REQUEST", request) if request else ())), pushed)
    return Command(("TASK.PUSH", key, payload, *push_words(options, request)), pushed)


def push_many(
    key: str, payloads: Sequence[Payload], request: str | None, **options: Unpack[TaskOptions]
) -> Command[list[str]]:
    """TASK.MPUSH: at most 1000 payloads, all or none."""
    refuse_unknown(options, TaskOptions)
    token = ("REQUEST", request) if request else ()
    words = ("TASK.MPUSH", key, *task_words(options), *token, "TASKS", len(payloads), *payloads)
    return Command(words, texts)


def pushed(reply: Any) -> TaskId:
    """Read the reply of a push: an id, or with UNIQUE an id and whether the task is new."""
    if isinstance(reply, list):
        return TaskId.found(text(reply[0]), bool(reply[1]))
    return TaskId(text(reply))


def push_words(options: Mapping[str, Any], request: str | None) -> list[Word]:
    """The words for `PushOptions`, without the request, which is given apart."""
    refuse_unknown(options, PushOptions)
    token: list[Word] = ["REQUEST", request] if request else []
    return [*task_words(options), *unique_words(options), *token]


def task_words(options: Mapping[str, Any]) -> list[Word]:
    """The words for the options in `TaskOptions` that are given."""
    words: list[Word] = []
    for name, word in TASK_WORDS.items():
        if (value := options.get(name)) is not None:
            if isinstance(value, timedelta):
                hint = f"write {name}=span // timedelta(milliseconds=1)"
                raise TypeError(f"{name} is a number of ms, not a timedelta: {hint}")
            words += [word, value]
    if (at := options.get("at")) is not None:
        words += ["AT", unix_ms(at)]
    if headers := options.get("headers"):
        words += ["HEADERS", len(headers), *(word for pair in headers.items() for word in pair)]
    if "after" in options or "on_dead" in options:
        words += after_words(options)
    return words


def after_words(options: Mapping[str, Any]) -> list[Word]:
    """The words for `after` and `on_dead`. A task that waits for none of an empty list needs neither.

    Raises ValueError for `on_dead` alone.
    """
    if options.get("after") is None:
        if options.get("on_dead") is not None:
            raise ValueError("on_dead is for a task that waits for others: give it together with after")
        return []
    ids = [identity(task) for task in several(options["after"])]
    return ["AFTER", len(ids), *ids, *given("ONDEAD", options.get("on_dead"))] if ids else []


TASK_WORDS = {
    "delay_ms": "DELAY",
    "priority": "PRIORITY",
    "attempts": "ATTEMPTS",
    "lease_ms": "LEASE",
    "ttl_ms": "TTL",
    "group": "GROUP",
    "retain_ms": "RETAIN",
    "batch": "BATCH",
}


def unique_words(options: Mapping[str, Any]) -> list[Word]:
    """The words for `UniqueOptions`, `replace` and `postpone`. The server refuses those that lack their token."""
    words: list[Word] = ["UNIQUE", options["unique"]] if options.get("unique") is not None else []
    if options.get("until_start"):
        words += ["UNTIL", "START"]
    if options.get("for_ms") is not None:
        words += ["FOR", options["for_ms"]]
    words += ["KEEP"] if options.get("keep") else []
    words += ["REPLACE"] if options.get("replace") else []
    # UNTIL belongs to POSTPONE only directly after it.
    until = given("UNTIL", options.get("postpone_until_ms"))
    return words + (["POSTPONE", *until] if options.get("postpone") or until else [])


# Unix times in ms from the year 1973 to 33658. Present times in seconds or microseconds are far outside.
PLAUSIBLE_MS = range(10**11, 10**15)


def unix_ms(at: datetime | float) -> int:
    """An instant as a unix time in ms. Raises ValueError for values that are probably mistakes.

    A unix time in seconds would be long ago, so the task would be ready at once. A datetime without a time zone is not
    an instant.
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


# ---- batches


def open_batch(key: str, name: str, callback: Payload, **options: Unpack[CallbackOptions]) -> Command[TaskId]:
    """TASK.BATCH … OPEN: the id of the callback; `is_new` is False if there is a batch of this name."""
    refuse_unknown(options, CallbackOptions)
    words = ("TASK.BATCH", key, "OPEN", name, *task_words(options), "PAYLOAD", callback)
    return Command(words, pushed)


def close_batch(key: str, name: str) -> Command[bool]:
    """TASK.BATCH … CLOSE: False if the batch was closed before."""
    return Command(("TASK.BATCH", key, "CLOSE", name), lambda reply: bool(int(reply)))


def batch_info(key: str, name: str) -> Command[BatchInfo | None]:
    """TASK.BATCH … INFO; None if there is no such batch."""
    read = BatchInfo.read
    words = ("TASK.BATCH", key, "INFO", name)
    return Command(words, lambda reply: read(reply) if reply is not None else None)


def delete_batch(key: str, name: str) -> Command[Literal["removed", "asked"] | None]:
    """TASK.BATCH … DEL, in the words of `cancel`."""
    return Command(("TASK.BATCH", key, "DEL", name), lambda reply: cancel_answer(int(reply)))


def batches(key: str, after: Word | None) -> Command[tuple[list[BatchInfo], Word | None]]:
    """TASK.INFO … BATCHES: at most a thousand batches in the order of their names, and the last name, as `groups`."""
    return Command(
        ("TASK.INFO", key, "BATCHES", *given("AFTER", after)),
        lambda reply: named_page(part(reply, "batches"), BatchInfo),
    )


# ---- work


def claim(
    keys: Sequence[str],
    count: int,
    block_ms: int | None,
    request: str | None,
    **options: Unpack[ClaimOptions],
) -> Command[list[Task]]:
    """TASK.CLAIM for one key. For several, TASK.MCLAIM, which claims from the first key that has tasks."""
    refuse_unknown(options, ClaimOptions)
    words: list[Word] = ["TASK.CLAIM", keys[0]]
    if len(keys) > 1:
        words = ["TASK.MCLAIM", keys[0], "KEYS", len(keys) - 1, *map(key_word, keys[1:])]
    words += claim_words(count, block_ms, request, options)
    if len(keys) == 1:
        return Command(tuple(words), lambda reply: [read_task(keys[0], one) for one in reply or []])
    return Command(tuple(words), claimed_of_several)


def claim_next(
    key: str,
    handles: Sequence[str],
    result: Payload | None,
    retain_ms: int | None,
    count: int,
    block_ms: int | None,
    request: str | None,
    **options: Unpack[ClaimOptions],
) -> Command[Next]:
    """TASK.NEXT: finishes 1 to 1000 tasks, then claims."""
    refuse_unknown(options, ClaimOptions)
    words: list[Word] = ["TASK.NEXT", key, "HANDLES", len(handles), *handles]
    words += [*given("RESULT", result), *given("RETAIN", retain_ms)]
    words += claim_words(count, block_ms, request, options)

    def read(reply: Any) -> Next:
        answers, tasks = reply
        return Next([answer_of(int(one)) for one in answers], [read_task(key, one) for one in tasks or []])

    return Command(tuple(words), read)


def claim_words(
    count: int, block_ms: int | None, request: str | None, options: Mapping[str, Any]
) -> list[Word]:
    """The words for the options of a claim that are given. A claim with NOACK has no token."""
    if (gather_ms := options.get("gather_ms")) is not None and not 1 <= gather_ms <= GATHER_MAX_MS:
        raise ValueError(f"gather_ms must be from 1 to {GATHER_MAX_MS}, not {gather_ms}")
    words: list[Word] = ["COUNT", count, *given("BLOCK", block_ms)]
    words += [one for name, word in CLAIM_WORDS.items() for one in given(word, options.get(name))]
    words += [word for name, word in CLAIM_FLAGS.items() if options.get(name)]
    return words + (["REQUEST", request] if request and not options.get("noack") else [])


# The library waits in slices of a second, and the end of a slice ends the gathering.
GATHER_MAX_MS = 1000

CLAIM_WORDS = {
    "gather_ms": "GATHER",
    "lease_ms": "LEASE",
    "worker": "WORKER",
    "group": "GROUP",
    "max_bytes": "BYTES",
}
CLAIM_FLAGS = {"tied": "TIED", "noack": "NOACK", "meta": "WITHMETA"}


def read_task(key: str, reply: Any) -> Task:
    """Read one task of a claim's reply."""
    meta = Meta.read(reply[3]) if len(reply) > 3 else None
    return Task(key, text(reply[0]), data(reply[1]), int(reply[2]), meta)


def in_meta(meta: Any, name: bytes) -> Any:
    """One value of a task's meta in a claim's reply, without reading the rest; None if it isn't there."""
    if isinstance(meta, dict):
        return meta.get(name)
    names = meta[::2]
    return meta[2 * names.index(name) + 1] if name in names else None


def claimed_of_several(reply: Any) -> list[Task]:
    """Read the reply of MCLAIM: a queue and its tasks."""
    if not reply:
        return []
    key, tasks = parted(reply)
    return [read_task(key, one) for one in tasks]


def parted(reply: Any) -> tuple[str, Sequence[Any]]:
    """The key and the raw tasks of a reply of MCLAIM."""
    key, tasks = reply
    return key_text(data(key)), tasks


def ack(key: str, handles: Handles, result: Payload | None, retain_ms: int | None) -> Command[Any]:
    """TASK.ACK."""
    return answer("TASK.ACK", key, handles, [*given("RESULT", result), *given("RETAIN", retain_ms)])


def ack_and_push(
    key: str, handle: str, result: Payload | None, retain_ms: int | None, step: Step
) -> Command[TaskId | None]:
    """TASK.ACK with PUSH."""
    words: list[Word] = [*given("RESULT", result), *given("RETAIN", retain_ms), "PUSH", step.payload]
    words += push_words(step.options, step.options.get("request"))

    def read(reply: Any) -> TaskId | None:
        answer, *made = reply
        return pushed(made if len(made) > 1 else made[0]) if answer else None

    return Command(("TASK.ACK", key, handle, *words), read)


def requeue(
    key: str, handles: Handles, delay_ms: int | None, back: bool, progress: Payload | None = None
) -> Command[Any]:
    """TASK.REQUEUE."""
    options = [*given("DELAY", delay_ms), *(["BACK"] if back else []), *given("PROGRESS", progress)]
    return answer("TASK.REQUEUE", key, handles, options)


def extend(key: str, handles: Handles, lease_ms: int | None, progress: Payload | None) -> Command[Any]:
    """TASK.EXTEND."""
    return answer("TASK.EXTEND", key, handles, [*given("LEASE", lease_ms), *given("PROGRESS", progress)])


def fail(
    key: str,
    handles: Handles,
    error: str | None,
    delay_ms: int | None,
    dead: bool,
    progress: Payload | None = None,
) -> Command[Any]:
    """TASK.FAIL."""
    options = [*given("ERROR", error), *given("DELAY", delay_ms), *(["DEAD"] if dead else [])]
    options += given("PROGRESS", progress)
    return answer("TASK.FAIL", key, handles, options)


Handles = str | Sequence[str]


def answer(name: str, key: str, handles: Handles, options: Sequence[Word]) -> Command[Any]:
    """A command that reports the outcome of tasks. One handle replies an integer, a sequence of handles a list."""
    if isinstance(handles, str):
        return Command((name, key, handles, *options), int)
    words = (name, key, "HANDLES", len(handles), *handles, *options)
    return Command(words, lambda reply: [int(one) for one in reply])


def given(word: str, value: Word | None) -> list[Word]:
    """An option with its value, if there is one."""
    return [word, value] if value is not None else []


# ---- inspect


def result(key: str, task: str, block_ms: int | None) -> Command[Result | None]:
    """TASK.RESULT: None until the task has ended; raises `UnknownTask` if it is unknown or was not kept."""
    return Command(("TASK.RESULT", key, task, *given("BLOCK", block_ms)), read_result)


def read_result(reply: Any) -> Result | None:
    """Read the reply of TASK.RESULT."""
    if reply is None:
        return None
    if reply == 0:
        raise UnknownTask("no such task, or it ended and was not kept: push it with retain_ms to keep it")
    state, value = text(reply[0]), reply[1]
    if state == "done":
        return Result(state, value=None if value is None else data(value))
    return Result(state, error=None if value is None else text(value))


def get(key: str, *task: str) -> Command[TaskView | None]:
    """TASK.GET; None if there is no such task. The task is an id, a handle, or UNIQUE and a token."""
    return Command(
        ("TASK.GET", key, *task), lambda reply: TaskView.read(reply) if reply is not None else None
    )


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
    reverse: bool = False,
    match: Payload | None = None,
    header: tuple[str, Payload] | None = None,
) -> Command[tuple[str, list[TaskView]]]:
    """TASK.LIST: the cursor of the next page ("0" after the last one), and the tasks of this page."""
    words: list[Word] = ["TASK.LIST", key, state, "CURSOR", cursor, "COUNT", count]
    words += [*given("GROUP", group), *given("WORKER", worker), *(["WITHPAYLOAD"] if payloads else [])]
    words += [*given("BYTES", max_bytes), *given("MATCH", match), *(["REV"] if reverse else [])]
    words += ["HEADER", *header] if header is not None else []
    return Command(tuple(words), lambda reply: (text(reply[0]), [TaskView.read(one) for one in reply[1]]))


def length(key: str, state: State | None) -> Command[int]:
    """TASK.LEN."""
    return Command(("TASK.LEN", key, *([state] if state else [])), int)


def info(key: str) -> Command[Info | None]:
    """TASK.INFO; None if there is no queue."""
    return Command(("TASK.INFO", key), lambda reply: Info.read(reply) if reply is not None else None)


def times(key: str) -> Command[Times | None]:
    """TASK.INFO … TIMES; None if there is no queue."""
    read = Times.read
    return Command(("TASK.INFO", key, "TIMES"), lambda reply: read(reply) if reply is not None else None)


def settings(key: str) -> Command[Settings | None]:
    """TASK.INFO … CONFIG; None if there is no queue."""
    read = Settings.read
    return Command(("TASK.INFO", key, "CONFIG"), lambda reply: read(reply) if reply is not None else None)


def groups(key: str, after: Word | None) -> Command[tuple[list[Group], Word | None]]:
    """TASK.INFO … GROUPS: at most a thousand groups in the order of their names, and the last name.

    Pass that name as `after` to get the next groups. It is the server's own bytes: in `Group`, a name that is not UTF-8
    reads differently.
    """
    return Command(
        ("TASK.INFO", key, "GROUPS", *given("AFTER", after)),
        lambda reply: named_page(part(reply, "groups"), Group),
    )


def named_page(found: Sequence[Any], kind: type[N]) -> tuple[list[N], Word | None]:
    """Read a page of things with names, and the last name as the server's own bytes."""
    last = dict(pairs(found[-1]))["name"] if found else None
    return [kind.read(one) for one in found], last


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
    """One value of a map; an empty list if the map or the value is missing."""
    return dict(pairs(reply)).get(name, []) if reply is not None else []


def texts(reply: Any) -> list[str]:
    """A list of strings."""
    return [text(one) for one in reply]


# ---- admin


def cancel(key: str, tasks: Sequence[str]) -> Command[list[int]]:
    """TASK.CANCEL … IDS: for each id 1 (removed), 2 (leased, its worker is asked to stop) or 0 (nothing to cancel)."""
    return Command(("TASK.CANCEL", key, "IDS", len(tasks), *tasks), lambda reply: [int(one) for one in reply])


def cancel_unique(key: str, token: str) -> Command[int]:
    """TASK.CANCEL … UNIQUE: like `cancel` for the task that holds a token."""
    return Command(("TASK.CANCEL", key, "UNIQUE", token), int)


def change(key: str, tasks: Sequence[str], **options: Unpack[SetOptions]) -> Command[list[int]]:
    """TASK.SET … IDS: for each id 1 (changed), or 0 (not waiting any more)."""
    words = ("TASK.SET", key, "IDS", len(tasks), *tasks, *set_words(options))
    return Command(words, lambda reply: [int(one) for one in reply])


def change_unique(key: str, token: str, **options: Unpack[SetOptions]) -> Command[int]:
    """TASK.SET … UNIQUE: like `change` for the task that holds a token."""
    return Command(("TASK.SET", key, "UNIQUE", token, *set_words(options)), int)


def set_words(options: Mapping[str, Any]) -> list[Word]:
    """The words for the options in `SetOptions` that are given. Raises TypeError if there are none."""
    refuse_unknown(options, SetOptions)
    words = [one for name, word in SET_WORDS.items() for one in given(word, options.get(name))]
    if (at := options.get("at")) is not None:
        words += ["AT", unix_ms(at)]
    if (headers := options.get("headers")) is not None:
        words += ["HEADERS", len(headers), *(word for pair in headers.items() for word in pair)]
    if not words:
        raise TypeError(
            f"nothing to change: the options are {', '.join(sorted(SetOptions.__optional_keys__))}"
        )
    return words


SET_WORDS = {"delay_ms": "DELAY", "priority": "PRIORITY", "group": "GROUP", "payload": "PAYLOAD"}


def retry_unique(key: str, token: str) -> Command[int]:
    """TASK.RETRY … UNIQUE: the delayed task that holds a token."""
    return Command(("TASK.RETRY", key, "UNIQUE", token), int)


def retry(key: str, tasks: Sequence[str]) -> Command[int]:
    """TASK.RETRY … IDS."""
    return Command(("TASK.RETRY", key, "IDS", len(tasks), *tasks), int)


def retry_dead(key: str, count: int, group: str | None = None) -> Command[int]:
    """TASK.RETRY … COUNT: the oldest dead tasks, or those of a group."""
    return Command(("TASK.RETRY", key, "COUNT", count, *given("GROUP", group)), int)


def configure(key: str, values: Mapping[str, Word]) -> Command[None]:
    """TASK.CONFIG … SET; `max_len` stands for the server's `max-len`."""
    words = [word for name, value in values.items() for word in (name.replace("_", "-"), value)]
    return Command(("TASK.CONFIG", key, "SET", *words), nothing)


def reset(key: str, names: Sequence[str]) -> Command[None]:
    """TASK.CONFIG … RESET; all settings if none is named."""
    return Command(("TASK.CONFIG", key, "RESET", *(name.replace("_", "-") for name in names)), nothing)


def set_group(
    key: str, name: str, weight: int | None, concurrency: int | None, rate: int | None, rate_per_ms: int | None,
    ordered: bool | None,
) -> Command[None]:  # fmt: skip
    """TASK.GROUP … SET; options that are not given keep their values."""
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


def pause_group(key: str, name: str, for_ms: int | None) -> Command[None]:
    """TASK.PAUSE … GROUP."""
    return Command(("TASK.PAUSE", key, "GROUP", name, *given("FOR", for_ms)), nothing)


def resume(key: str, direction: Direction) -> Command[None]:
    """TASK.RESUME."""
    return Command(("TASK.RESUME", key, direction), nothing)


def resume_group(key: str, name: str) -> Command[None]:
    """TASK.RESUME … GROUP."""
    return Command(("TASK.RESUME", key, "GROUP", name), nothing)


def purge(key: str, state: str, count: int, older_ms: int | None = None) -> Command[int]:
    """TASK.PURGE: removes at most `count` tasks and returns how many."""
    return Command(("TASK.PURGE", key, state, "COUNT", count, *given("OLDER", older_ms)), int)


def purge_ids(key: str, tasks: Sequence[str], older_ms: int | None = None) -> Command[int]:
    """TASK.PURGE … IDS: removes the tasks that are not leased and returns how many."""
    return Command(("TASK.PURGE", key, "IDS", len(tasks), *tasks, *given("OLDER", older_ms)), int)


def schedule(
    key: str, name: str, payload: Payload, every_ms: int | None, cron: str | None, tz: str | None,
    catchup: str | None, **options: Unpack[ScheduleOptions],
) -> Command[bool]:  # fmt: skip
    """TASK.CRON … SET: True if the schedule is new."""
    refuse_unknown(options, ScheduleOptions)
    words = [*given("EVERY", every_ms), *given("CRON", cron), *given("TZ", tz), *given("CATCHUP", catchup)]
    words += [*task_words(options), *unique_words(options), "PAYLOAD", payload]
    return Command(("TASK.CRON", key, "SET", name, *words), lambda reply: bool(int(reply)))


def unschedule(key: str, name: str) -> Command[bool]:
    """TASK.CRON … DEL: True if there was such a schedule."""
    return Command(("TASK.CRON", key, "DEL", name), lambda reply: bool(int(reply)))


def run_schedule(key: str, name: str) -> Command[str]:
    """TASK.CRON … RUN: the id of the task."""
    return Command(("TASK.CRON", key, "RUN", name), text)


def nothing(_: Any) -> None:
    """Read a reply of OK, which has no value."""
