"""The history of a run: every call of every client, every fault, and what was left at the end.

A history is a folder of files `*.jsonl`, one for each process, and each line of them is an object. `Journal` writes
such a file from Python; other languages write the same lines. `read` reads a folder, joins the two lines of each call,
and merges the files. `chaos/fields.py` says what is asked and answered in each kind of call.

All instants are seconds of CLOCK_MONOTONIC (Python: `time.monotonic()`; Node: `Number(process.hrtime.bigint()) / 1e9`),
which is one clock for all processes of a machine.

A line has one of these forms, told by its field `line`:

`begin`   A call, written and flushed *before* it is sent, whatever the call: a worker can be killed after it has sent
          an ack. `client`: who calls, `process/number`, as `py-2/0`, unique in the run, with one call at a time.
          `n`: the number of the call, unique for the client. `call`, `queue`, `asked`: see `fields.py`. `began`:
          when. `connection`: a number that grows when the client connects anew, 0 if it is left out.
`end`     The end of that call, written when the reply was read or given up: `client`, `n`, `ended`, `outcome`.
          `outcome` is one of
          `ok`       the server did it; `answer` has the reply, see `fields.py`
          `refused`  the server said no and changed nothing; `error` is the text of the error, whole
          `unknown`  a time-out, a reset, UNBLOCKED, anything after which it may have happened; `error` says what.
                     A call whose end is missing is unknown too. A call that is sent again is a new call.
`closed`  `client` or the process before its `/`, and `at`: its connections were closed, by itself or because it was
          killed. A client that goes on afterwards has a higher `connection`.
`fault`   What was done to the servers: see `Fault`.
`run`     One for each history: see `Run`.
`task`    A task that was still in a queue after the run: see `Left`.
`queue`   A queue after the run: see `Final`.
`digest`  The digest of a queue on one node: see `Digest`.
`exit`    A server process that ended though no fault ended it: see `Exit`.
"""

from __future__ import annotations

import json
import math
import os
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Self

from chaos.fields import check_fields

Outcome = Literal["ok", "refused", "unknown"]

# The integer that stands for an error in the replies to a worker.
STALE, CANCELLED = -2, -3


class BadHistoryError(ValueError):
    """A line that is not in the form of a history."""


@dataclass(slots=True)
class Call:
    """One call of a client: what it asked, when, and what it learned."""

    client: str
    n: int
    call: str
    queue: str
    began: float
    asked: dict[str, Any]
    connection: int = 0
    # When the client had the reply or gave up; infinite if it never did.
    ended: float = math.inf
    outcome: Outcome = "unknown"
    answer: dict[str, Any] = field(default_factory=dict)
    error: str = ""

    @property
    def ok(self) -> bool:
        """Whether the server said that it did it."""
        return self.outcome == "ok"

    @property
    def may_count(self) -> bool:
        """Whether it may have changed something: it is ok or unknown."""
        return self.outcome != "refused"

    @property
    def word(self) -> str:
        """The first word of the error, as STALE; empty if there is none."""
        return self.error.split(" ", 1)[0]

    def codes(self) -> list[int | None]:
        """What a worker's call answered to each of its handles: an integer, or None if that is unknown.

        The errors STALE and CANCELLED of a single handle are -2 and -3, as in the reply to several handles. Any other
        error changed nothing, which is -2 for none of them: the list is empty.
        """
        handles = self.asked.get("handles", [])
        if self.outcome == "unknown":
            return [None] * len(handles)
        if self.outcome == "refused":
            code = {"STALE": STALE, "CANCELLED": CANCELLED}.get(self.word)
            return [] if code is None else [code] * len(handles)
        return list(self.answer.get("codes", []))


@dataclass(slots=True)
class Permits:
    """What a fault allows that would be wrong without it. The default allows nothing but a pause.

    Whatever a fault permits is for the queues in `queues`, or for all of them.
    """

    queues: list[str] | None = None
    # Calls that took effect between these instants may be undone, those of a cut-off primary and those that a disk or
    # a replica had not got. Each call by itself: not all of them need to be.
    undoes: tuple[float, float] | None = None
    # Also pushes that WAIT confirmed: the primary came back without them, and its replicas follow it.
    confirmed: bool = False
    # These clients or processes lost their connections between `began` and `ended`; ["*"] is all of them.
    closes: list[str] = field(default_factory=list)
    # Tasks that were pushed before `ended` may be gone (a flush, a DEL, a key that was written over).
    loses: bool = False
    # From `began` on, a task may exist twice: COPY, or RESTORE of an earlier DUMP.
    doubles: bool = False
    # From `began` on, tasks may be in a queue of another name: RENAME, MOVE, SWAPDB.
    moves: bool = False
    # Leases may end before their time between `began` and `ended`.
    frees: bool = False
    # Spans may be shorter by so much, and instants of the wall clock (AT) off by so much, from `began` on.
    spans_ms: float = 0
    instants_ms: float = 0
    # The queues may be BROKEN from `began` on.
    breaks: bool = False
    # A primary becomes a replica, and clients that read from it may read what it had until it has its link.
    stale: bool = False
    # Nothing waits because of it: queues must go on as if nothing had happened.
    calm: bool = False


# Kinds that are no faults: what a takeover may have undone, and a comparison of digests in the midst of a run.
REPLACED, COMPARED = "replaced", "compared"
MARKS = (REPLACED, COMPARED)


@dataclass(slots=True)
class Fault:
    """Something that was done to the servers, between two instants."""

    kind: str
    node: str
    began: float
    ended: float
    permits: Permits = field(default_factory=Permits)
    # For people: what exactly was done, and what was seen.
    details: dict[str, Any] = field(default_factory=dict)
    # The primary of these queues certainly did not run between these instants, and the same one ran before and after:
    # stopped by SIGSTOP, or killed and started. A lease whose deadline passed meanwhile has a grace.
    outage: tuple[float, float] | None = None


@dataclass(slots=True)
class Run:
    """What the run was: written once, when it has ended."""

    seed: int
    server: str
    profile: str
    # When all clients were at work.
    began: float
    # When load and faults had stopped; the drain comes after it.
    ended: float
    # The true wall clock in Unix ms, minus the monotonic clock in ms.
    wall_ms: float = 0
    # Settings of queues, by their names in TASK.CONFIG, as {"mail": {"attempts": 3}}; and of groups, with the options
    # of TASK.GROUP SET in lower case, as {"mail": {"acme": {"concurrency": 2}}}.
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    groups: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Left:
    """A task that was in a queue at the end: `TASK.LIST` in each state, with payloads."""

    queue: str
    id: str
    # None if the payload has no uid.
    uid: str | None
    # ready, delayed, held, leased, dead, done.
    state: str
    deliveries: int = 0
    failures: int = 0
    stalls: int = 0
    # In ms from when it was read, if it is delayed.
    due_in_ms: float | None = None
    waits_for: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Final:
    """A queue at the end. Only a queue that has this line is judged for what is missing or left."""

    queue: str
    at: float
    # Whether it was claimed until nothing was ready, delayed or leased any more.
    drained: bool
    # Counts and totals of TASK.INFO.
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Digest:
    """DEBUG DIGEST-VALUE of a queue on one node. All digests with the same `comparison` and queue must be equal."""

    comparison: str
    node: str
    queue: str
    digest: str
    at: float


@dataclass(slots=True)
class Exit:
    """A server that ended by itself."""

    node: str
    at: float
    status: int
    # The end of its log.
    log: str = ""


@dataclass(slots=True)
class Closed:
    """The connections of a client, or of all clients of a process, were closed."""

    client: str
    at: float


Record = Fault | Run | Left | Final | Digest | Exit | Closed
RECORDS: dict[str, type[Any]] = {
    "fault": Fault,
    "run": Run,
    "task": Left,
    "queue": Final,
    "digest": Digest,
    "exit": Exit,
    "closed": Closed,
}
NAMES = {record: name for name, record in RECORDS.items()}


@dataclass(slots=True)
class History:
    """All records of a run. Calls are in the order in which they began."""

    calls: list[Call] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    finals: list[Final] = field(default_factory=list)
    digests: list[Digest] = field(default_factory=list)
    exits: list[Exit] = field(default_factory=list)
    closed: list[Closed] = field(default_factory=list)

    @property
    def run(self) -> Run:
        """The run; one without settings if it was not written."""
        if self.runs:
            return self.runs[0]
        ended = max((call.began for call in self.calls), default=0.0)
        return Run(0, "", "", self.calls[0].began if self.calls else 0.0, ended)

    def add(self, record: Record) -> None:
        """Add a record that is not a call."""
        lists: dict[type[Any], list[Any]] = {
            Fault: self.faults,
            Run: self.runs,
            Left: self.left,
            Final: self.finals,
            Digest: self.digests,
            Exit: self.exits,
            Closed: self.closed,
        }
        lists[type(record)].append(record)


class Journal:
    """Writes the history of one process, line by line. Threads may share it."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._lock = threading.Lock()
        self._numbers: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. All lines are in it already."""
        os.close(self._file)

    def begin(
        self, client: str, call: str, queue: str, began: float, asked: dict[str, Any], connection: int = 0
    ) -> Call:
        """Write that this call will be sent now. Give the result to `end`."""
        check_fields(call, "asked", asked)
        with self._lock:
            n = self._numbers[client] = self._numbers.get(client, 0) + 1
        made = Call(client, n, call, queue, began, asked, connection)
        line: dict[str, Any] = {"line": "begin", "client": client, "n": n, "call": call, "queue": queue}
        self._write(line | {"began": began, "connection": connection, "asked": asked})
        return made

    def end(
        self,
        call: Call,
        ended: float,
        outcome: Outcome,
        answer: dict[str, Any] | None = None,
        error: str = "",
    ) -> None:
        """Write how this call ended."""
        check_fields(call.call, "answer", answer or {})
        line: dict[str, Any] = {"line": "end", "client": call.client, "n": call.n, "ended": ended}
        line |= {"outcome": outcome}
        self._write(line | ({"answer": answer} if answer else {}) | ({"error": error} if error else {}))

    def write(self, record: Record) -> None:
        """Write a record that is not a call."""
        self._write({"line": NAMES[type(record)]} | asdict(record))

    def _write(self, line: dict[str, Any]) -> None:
        data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            os.write(self._file, data)


def read(folder: Path) -> History:
    """The history in this folder.

    A last line without its end is left out: its process was killed. Any other line that cannot be read is an error.
    """
    history = History()
    ends: dict[tuple[str, int], dict[str, Any]] = {}
    calls: dict[tuple[str, int], Call] = {}
    for path in sorted(folder.glob("*.jsonl")):
        for where, line in _lines(path):
            try:
                _take(line, history, calls, ends)
            except (KeyError, TypeError, ValueError) as error:
                raise BadHistoryError(f"{where}: {error!r} in {json.dumps(line)[:300]}") from error
    for key, line in ends.items():
        _join(key, calls, line)
    history.calls = sorted(calls.values(), key=lambda call: call.began)
    return history


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The lines of a file, each with where it is."""
    for number, data in enumerate(path.read_bytes().split(b"\n"), 1):
        if not data:
            continue
        try:
            line = json.loads(data)
        except ValueError as error:
            if _is_last(path, number):
                return
            raise BadHistoryError(f"{path.name}:{number}: {error}") from error
        yield f"{path.name}:{number}", line


def _is_last(path: Path, number: int) -> bool:
    """Whether this is the last line of the file, without a line feed."""
    return path.read_bytes().count(b"\n") == number - 1


def _take(
    line: dict[str, Any],
    history: History,
    calls: dict[tuple[str, int], Call],
    ends: dict[tuple[str, int], dict[str, Any]],
) -> None:
    """Put one line where it belongs."""
    kind = line.pop("line")
    if kind == "begin":
        check_fields(line["call"], "asked", line["asked"])
        call = Call(**line)
        if (call.client, call.n) in calls:
            raise ValueError("two calls with one number")
        calls[call.client, call.n] = call
    elif kind == "end":
        ends[line["client"], line["n"]] = line
    elif kind == "fault":
        permits = Permits(**line.pop("permits", {}))
        permits.undoes = tuple(permits.undoes) if permits.undoes else None  # type: ignore[assignment]
        fault = Fault(permits=permits, **line)
        fault.outage = tuple(fault.outage) if fault.outage else None  # type: ignore[assignment]
        history.add(fault)
    else:
        record = RECORDS[kind]
        names = {each.name for each in fields(record)}
        if unknown := set(line) - names:
            raise ValueError(f"unknown fields {sorted(unknown)}")
        history.add(record(**line))


def _join(key: tuple[str, int], calls: dict[tuple[str, int], Call], line: dict[str, Any]) -> None:
    """Add the end of a call to its begin."""
    call = calls.get(key)
    if call is None:
        raise BadHistoryError(f"call {key[1]} of {key[0]} ended and never began")
    if line["outcome"] not in ("ok", "refused", "unknown"):
        raise BadHistoryError(f"call {key[1]} of {key[0]}: outcome {line['outcome']!r}")
    check_fields(call.call, "answer", line.get("answer", {}))
    call.ended, call.outcome = line["ended"], line["outcome"]
    call.answer, call.error = line.get("answer", {}), line.get("error", "")
    if call.ended < call.began:
        raise BadHistoryError(f"call {key[1]} of {key[0]} ended before it began")
