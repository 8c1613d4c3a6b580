"""The replies of commands as dataclasses, and the conversion from the server's replies.

A map is a `dict` in RESP3, and a flat list in RESP2 and on Redis 6.2; names are bytes. The field `oldest_ready_ms` is
the server's `oldest-ready-ms`. Fields of a newer server that a class doesn't know are in `more`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import IntEnum
from functools import cache
from itertools import accumulate
from math import inf
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar, get_type_hints

T = TypeVar("T", bound="Reply")

State = Literal["ready", "delayed", "held", "leased", "dead", "done"]


class TaskId(str):
    """The id of a pushed task: a string with the attribute `is_new`.

    `is_new` is False if another task holds the `unique` token. Then the id is the other task's, and nothing was pushed.
    """

    is_new: bool = True

    @classmethod
    def found(cls, text: str, is_new: bool) -> TaskId:
        """Make an id, with whether its task is new."""
        task = cls(text)
        task.is_new = is_new
        return task


class Answer(IntEnum):
    """The reply for one handle of `next` and of `ack_many` and the like, as the server's number."""

    OK = 1
    GONE = 0  # nothing is left to do: the task was finished or removed, perhaps by this call, if it was sent twice
    DEAD = -1  # `fail_many` only: the task is dead now
    LEASE_LOST = -2  # the lease is over, but the task is not
    CANCEL_ASKED = -3  # `extend_many` only: the task was cancelled


def answer_of(number: int) -> int:
    """The server's reply for one handle: an `Answer`, or a number above 1, which is an instant or a span."""
    return Answer(number) if number <= 1 else number


def cancel_answer(number: int) -> Literal["removed", "asked"] | None:
    """The reply of TASK.CANCEL for one id, in words."""
    return "removed" if number == 1 else "asked" if number == 2 else None


@dataclass(frozen=True, slots=True)
class Task:
    """A claimed task, to be passed to `ack`, `fail`, `requeue` and `extend`.

    `key` is the key of the queue or the shard. `deliveries` counts the claims of the task, this one included. `meta` is
    only set by a claim with `meta=True`.
    """

    key: str
    handle: str
    payload: bytes
    deliveries: int
    meta: Meta | None = None

    @property
    def id(self) -> str:
        """The task's id: the part of the handle before the `@`. With `noack`, the handle is the id."""
        return self.handle.partition("@")[0]


class Next(NamedTuple):
    """The reply of `next`: an `Answer` for each finished task, in order, and the tasks that were claimed."""

    answers: list[int]
    tasks: list[Task]


class Reply:
    """The base of dataclasses that are read from a map of the server."""

    more: Mapping[str, Any]
    NAMES: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def read(cls: type[T], reply: Any) -> T:
        """Read a map of the server, and convert its values to the types of the fields."""
        known = converters(cls)  # type: ignore[arg-type]
        values: dict[str, Any] = {}
        more: dict[str, Any] = {}
        for name, value in pairs(reply):
            attribute = cls.NAMES.get(name, name.replace("-", "_"))
            if attribute in known:
                values[attribute] = None if value is None else known[attribute](value)
            else:
                more[name] = value
        return cls(**values, more=more)  # type: ignore[call-arg]


def pairs(reply: Any) -> Iterable[tuple[str, Any]]:
    """The names and values of a map, in RESP2 or RESP3."""
    items = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    return [(text(name), value) for name, value in items]


def text(value: Any) -> str:
    """A string of the server's own, such as an id or a name."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def data(value: Any) -> bytes:
    """Bytes of the user's own, such as a payload."""
    return value if isinstance(value, bytes) else str(value).encode()


@cache
def converters(cls: type[Reply]) -> dict[str, Any]:
    """For each field of a class, the function that converts its value."""
    makers: dict[Any, Any] = {
        int: int,
        bool: lambda value: bool(int(value)),
        float: lambda value: float(text(value)),
        str: text,
        bytes: data,
        Sequence[TaskError]: lambda value: tuple(TaskError.read(one) for one in value),
        Mapping[float, int]: lambda value: {bound_of(name): int(of) for name, of in pairs(value)},
        Mapping[str, bytes]: lambda value: {name: data(of) for name, of in pairs(value)},
        tuple[str, ...]: lambda value: tuple(text(one) for one in value),
    }
    hints = get_type_hints(cls)
    found = {}
    for item in fields(cls):  # type: ignore[arg-type]
        hint = hints[item.name]
        options = [one for one in getattr(hint, "__args__", ()) if one is not type(None)]
        if hint not in makers and len(options) == 1:
            hint = options[0]
        if isinstance(hint, type) and issubclass(hint, Reply):
            found[item.name] = hint.read
        elif hint in makers:
            found[item.name] = makers[hint]
    return found


def bound_of(name: str) -> float:
    """The bound of a bucket by its name."""
    return int(name) if name != "inf" else inf


class BatchCounts(NamedTuple):
    """How many tasks a batch has, and how many of them ended in each way."""

    tasks: int
    done: int
    dead: int
    cancelled: int
    expired: int
    purged: int


@dataclass(frozen=True, slots=True)
class Meta(Reply):
    """More about a claimed task, from a claim with `meta=True`. Instants are unix times in ms.

    `lease` is the lease's number, the fencing token. `retain` is how long the task is kept once it is done, as the
    push or the queue's setting says; None if neither says it. `progress` is what an attempt before said about how far
    the task has got. `batch` is the batch that the task counts in, `after` has the ids of the tasks that it waited for,
    and `callback_of` is the batch whose callback it is.
    """

    lease: int
    priority: int
    enqueued: int
    deadline: int
    failures: int
    stalls: int
    retain: int | None = None
    progress: bytes | None = None
    group: str = ""
    headers: Mapping[str, bytes] = field(default_factory=dict)
    batch: str | None = None
    after: tuple[str, ...] = ()
    callback_of: str | None = None
    batch_tasks: int | None = None
    batch_done: int | None = None
    batch_dead: int | None = None
    batch_cancelled: int | None = None
    batch_expired: int | None = None
    batch_purged: int | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def counts(self) -> BatchCounts | None:
        """How the tasks ended whose callback this is; None if it is no callback."""
        return counts_of(self)


@dataclass(frozen=True, slots=True)
class TaskError(Reply):
    """An error of a task: the number of the attempt, when it failed, the worker, and the text. None: not known."""

    attempt: int | None = None
    at: int | None = None
    worker: str | None = None
    error: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TaskView(Reply):
    """A task as TASK.GET and TASK.LIST show it. Fields that don't apply to its state are None.

    Of a dead or done task, `worker`, `claimed` and `run_ms` are those of the last attempt. `errors` are the last ones,
    as many as the setting `errors_kept` says, the oldest first; `error` is the text of the newest.
    """

    id: str
    state: str
    priority: int
    enqueued: int
    deliveries: int
    failures: int
    stalls: int
    payload: bytes | None = None
    result: bytes | None = None
    progress: bytes | None = None
    error: str | None = None
    errors: Sequence[TaskError] = ()
    group: str | None = None
    worker: str | None = None
    headers: Mapping[str, bytes] = field(default_factory=dict)
    attempts: int | None = None
    ready_since: int | None = None
    due: int | None = None
    claimed: int | None = None
    run_ms: int | None = None
    deadline: int | None = None
    dead_since: int | None = None
    done_since: int | None = None
    kept_until: int | None = None
    lease: int | None = None
    lease_ms: int | None = None
    tied: bool | None = None
    cancel_asked: bool | None = None
    retain: int | None = None
    ttl_ms: int | None = None
    expires: int | None = None
    unique: str | None = None
    unique_held: bool | None = None
    unique_until: int | None = None
    held_since: int | None = None
    batch: str | None = None
    after: tuple[str, ...] = ()
    waits_for: tuple[str, ...] = ()
    on_dead: str | None = None
    callback_of: str | None = None
    batch_state: str | None = None
    batch_open: int | None = None
    batch_tasks: int | None = None
    batch_done: int | None = None
    batch_dead: int | None = None
    batch_cancelled: int | None = None
    batch_expired: int | None = None
    batch_purged: int | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def counts(self) -> BatchCounts | None:
        """How the tasks ended so far whose callback this is; None if it is no callback."""
        return counts_of(self)


def counts_of(shown: Meta | TaskView) -> BatchCounts | None:
    """The counts of a callback; None for any other task."""
    if shown.callback_of is None:
        return None
    return BatchCounts(*(getattr(shown, f"batch_{name}") or 0 for name in BatchCounts._fields))


@dataclass(frozen=True, slots=True)
class BatchInfo(Reply):
    """A batch of a queue. `open` counts its tasks that have not ended, the next five those that have.

    `state` is open, closed, or complete once its `callback` (an id) waits for it no more. Instants are unix times in
    ms.
    """

    name: str
    state: str
    callback: str
    tasks: int
    open: int
    done: int
    dead: int
    cancelled: int
    expired: int
    purged: int
    opened: int
    closed: int | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """How a task ended. `state` is done, dead, cancelled, expired or purged.

    `value` is the result of a done task, `error` the error of a dead one; either can be None.
    """

    state: str
    value: bytes | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Load(Reply):
    """The load of a queue, by Little's law. Rates are tasks a second, places are those of workers, -1 means unknown."""

    arrival_rate: float
    completion_rate: float
    run_mean_ms: float
    places_busy: int
    places_free: int
    utilisation: float
    backlog: int
    drain_ms: int
    places_needed: int
    workers_needed: int
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Info(Reply):
    """The reply of TASK.INFO: tasks by state, totals since the queue was created, rates, times and load."""

    NAMES: ClassVar[Mapping[str, str]] = {
        f"{way}-per-second-{span}m": f"{way}_per_second_{span}m" for way in ("in", "out") for span in (1, 5)
    }

    ready: int
    delayed: int
    leased: int
    dead: int
    done: int
    pushed: int
    claimed: int
    acked: int
    late: int
    failed: int
    stalled: int
    requeued: int
    retried: int
    died: int
    cancelled: int
    purged: int
    dropped: int
    forgotten: int
    expired: int
    duplicate: int
    found: int
    refused: int
    bytes: int
    memory: int
    tokens: int
    groups: int
    blocked_workers: int
    oldest_ready_ms: int
    next_delayed_ms: int
    paused_in: int
    paused_out: int
    in_per_second_1m: float
    in_per_second_5m: float
    out_per_second_1m: float
    out_per_second_5m: float
    wait_p50_ms: int
    wait_p95_ms: int
    wait_p99_ms: int
    run_p50_ms: int
    run_p95_ms: int
    run_p99_ms: int
    load: Load
    held: int = 0
    batches_open: int = 0
    batches_closed: int = 0
    groups_paused: int = 0
    groups_stopped: int = 0
    held_by: str = ""
    broken: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)


# The bounds of the server's buckets: the powers of two up to 6 days, in ms. They never change.
BOUNDS_MS: tuple[float, ...] = (*(1 << power for power in range(30)), inf)


@dataclass(frozen=True, slots=True)
class Durations(Reply):
    """Durations in whole ms, rounded down: how many there were, their sum, and how many of each length.

    `below_ms` has the buckets that are not empty: for a bound in ms, the durations that are below it, and not below a
    smaller bound. Bounds are powers of two; the last one is `math.inf`.
    """

    count: int
    sum_ms: int
    below_ms: Mapping[float, int]
    more: Mapping[str, Any] = field(default_factory=dict)

    def cumulative(self) -> list[tuple[float, int]]:
        """For every bound in ms, also those of empty buckets, how many durations are below it: Prometheus' buckets."""
        counts = [self.below_ms.get(bound, 0) for bound in BOUNDS_MS]
        return list(zip(BOUNDS_MS, accumulate(counts), strict=True))


@dataclass(frozen=True, slots=True)
class Times(Reply):
    """The reply of TASK.INFO … TIMES: all wait and run times since a node began to watch the queue. They only grow.

    `wait` is from ready to the claim. `run` is from the claim to the ack, of tasks acked in time. They belong to the
    node: they start again at 0 after a restart or a failover, and if the queue is deleted. `watched_ms` is for how long
    the node has counted; -1 if it has seen no task yet.
    """

    watched_ms: int
    wait: Durations
    run: Durations
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settings(Reply):
    """A queue's settings. Spans are ms; -1 means no limit."""

    lease: int
    attempts: int
    stalls: int
    backoff: str
    backoff_base: int
    backoff_max: int
    backoff_jitter: int
    max_len: int
    max_bytes: int
    dead_max: int
    dead_ttl: int
    run_max: int
    retain: int
    retain_max: int
    concurrency: int
    rate: int
    rate_per: int
    group_concurrency: int
    group_rate: int
    group_rate_per: int
    groups_max: int
    tokens_max: int
    errors_kept: int = 1
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Group(Reply):
    """A group of a queue: its tasks, its weight and limits (-1: no limit), and what holds it back now.

    `paused_ms` is how long it is still paused: 0 for not, -1 until `resume`.
    """

    name: str
    held_by: str
    tasks: int
    ready: int
    leased: int
    weight: int
    concurrency: int
    rate: int
    rate_per: int
    ordered: bool
    rests_ms: int
    paused_ms: int = 0
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WorkerView(Reply):
    """A worker of a queue, by name: the leases it holds, its waiting claims, and for how many tasks these wait."""

    name: str
    leases: int
    oldest_lease_ms: int
    blocked: int
    places_free: int
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Schedule(Reply):
    """A schedule of a queue: every `every` ms, or a `cron` expression in the zone `tz`; its next run and its counts.

    Then come the payload and the options of its tasks. A payload is None if the reply would have become too long.
    """

    name: str
    catchup: str
    next_ms: int
    next: int
    made: int
    skipped: int
    missed: int
    disabled: bool
    payload_bytes: int
    every: int | None = None
    cron: str | None = None
    tz: str | None = None
    last: int | None = None
    last_id: str | None = None
    payload: bytes | None = None
    priority: int = 0
    group: str | None = None
    attempts: int | None = None
    lease_ms: int | None = None
    ttl_ms: int | None = None
    retain: int | None = None
    unique: str | None = None
    unique_hold: str | None = None
    unique_for: int | None = None
    headers: Mapping[str, bytes] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)
