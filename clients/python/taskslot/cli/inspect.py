"""Commands that inspect a queue and its tasks: info, list, get, result."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from enum import StrEnum
from itertools import islice
from math import isfinite
from typing import Annotated, Any, assert_never

import typer

from .. import figures
from ..errors import TaskslotError, UnknownTask
from ..keys import key_bytes
from ..overview import Concern, Nodes, Severity, concerns, words_of
from ..printable import shortened
from ..replies import BatchInfo, Durations, Info, TaskError, TaskView, Times
from ..tracebacks import parted
from . import format, output
from .admin import exactly_one
from .session import HolderOption, QueueName, Session, assigned, command, refuse

TaskName = Annotated[str | None, typer.Argument(metavar="[ID]", help="The task's id or handle.")]

# The fields of a task that are instants, shown as local times.
INSTANTS = {
    "enqueued", "ready_since", "due", "claimed", "deadline", "dead_since", "done_since", "kept_until", "expires",
    "unique_until", "held_since", "opened", "closed",
}  # fmt: skip


class Section(StrEnum):
    """The sections that `info` can show instead of the counts."""

    groups = "groups"
    workers = "workers"
    schedules = "schedules"
    batches = "batches"
    times = "times"


class TaskState(StrEnum):
    """The states of tasks."""

    ready = "ready"
    delayed = "delayed"
    held = "held"
    leased = "leased"
    dead = "dead"
    done = "done"


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    for function in (info, get, result):
        command(app)(function)
    command(app, name="list")(list_tasks)


def info(
    session: Session,
    queue: QueueName,
    section: Annotated[
        Section | None, typer.Argument(help="Show this section instead of the counts.")
    ] = None,
) -> None:
    """Show counts, rates, times and load of a queue, or its groups, workers, schedules, batches or times."""
    if section is not None:
        return print_section(session, queue, section)
    found = session.queue(queue).info()
    if found is None:
        refuse(f"there is no queue {queue}", 1)
    if session.json:
        said = concerns_as_maps(concerns(found))
        name = output.named("queue", key_bytes(queue))
        output.json_line({**name, "concerns": said, **output.plain(found)})
        return
    for line in format.columns(summary(queue, found)):
        output.line(line)


def summary(queue: str, info: Info) -> list[tuple[str, ...]]:
    """The figures that people look for first, as rows of a name and a text, below what needs a person."""
    urgent = [one.text for one in concerns(info) if one.severity > Severity.KNOW]
    return [
        ("queue", cell(queue)),
        *(("needs attention" if at == 0 else " ", text) for at, text in enumerate(urgent)),
        *words_of(info),
    ]


def concerns_as_maps(found: Sequence[Concern]) -> list[dict[str, Any]]:
    """What needs a person, for JSON, with the severity as a number."""
    return [{"severity": int(one.severity), "name": one.name, "text": one.text} for one in found]


def print_times(session: Session, name: str) -> None:
    """Print how many tasks waited and ran for how long, since the node began to watch the queue."""
    found = session.queue(name).times()
    if found is None:
        refuse(f"there is no queue {name}", 1)
    if session.json:
        output.json_line({**output.named("queue", key_bytes(name)), **output.plain(found)})
        return
    for line in format.columns(table_of_times(found), frozenset({1, 2})):
        output.line(line)


def table_of_times(times: Times) -> list[tuple[str, ...]]:
    """A row for each bucket that is not empty, below the number of tasks and their mean."""
    both = (times.wait, times.run)
    rows = [
        (f"watched for {figures.span(times.watched_ms)}", "wait", "run"),
        ("tasks", *(str(one.count) for one in both)),
        ("mean", *(mean(one) for one in both)),
    ]
    for bound in sorted({*times.wait.below_ms, *times.run.below_ms}):
        head = f"below {figures.span(bound)}" if isfinite(bound) else "longer"
        rows.append((head, *(str(one.below_ms.get(bound, "")) for one in both)))
    return rows


def mean(durations: Durations) -> str:
    """The mean of durations; a dash if there are none."""
    return figures.span(durations.sum_ms / durations.count) if durations.count else figures.UNKNOWN


def print_section(session: Session, name: str, section: Section) -> None:
    """Print a section as a table, with a column for each field that any row has."""
    if section is Section.times:
        return print_times(session, name)
    queue = session.queue(name)
    found: list[Any]
    if section is Section.groups:
        found = queue.groups()
    elif section is Section.schedules:
        found = queue.schedules()
    elif section is Section.workers:
        found = queue.workers()
    elif section is Section.batches:
        found = queue.batches()
    else:
        assert_never(section)
    maps = [output.plain(one) for one in found]
    if session.json:
        for one in maps:
            output.json_line(one)
    elif maps:
        names = list(dict.fromkeys(name for one in maps for name in one))
        rows = [tuple(name.replace("_", "-") for name in names)]
        rows += [tuple(cell_of(name, one.get(name, "")) for name in names) for one in maps]
        for line in format.columns(rows):
            output.line(line)
    else:
        output.note(f"no {section}")


def cell_of(name: str, value: Any) -> str:
    """The value of a field as the text of a table cell; instants as local times."""
    return figures.instant(value) if name in INSTANTS and isinstance(value, int) else cell(value)


def cell(value: Any) -> str:
    """A value as the text of a table cell."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(cell, value))
    text = value if isinstance(value, str) else str(value)
    return format.payload(text.encode("utf-8", "surrogateescape"))


def get(session: Session, queue: QueueName, task: TaskName = None, unique: HolderOption = None) -> None:
    """Show everything known about a task."""
    exactly_one("get", "an id and --unique", task is not None, unique is not None)
    view = session.queue(queue).get(task, unique=unique)
    if view is None:
        refuse("no such task, or it was removed", 1)
    if session.json:
        output.json_line(view)
        return
    for line in format.columns(rows_of(view)):
        output.line(line)
    for line in (parted(view.error or "")[1] or "").splitlines():
        output.line(cell(line))


def rows_of(view: TaskView | BatchInfo) -> list[tuple[str, ...]]:
    """The known fields of a task or a batch as rows of a name and a value."""
    rows: list[tuple[str, ...]] = []
    for item in fields(view):
        value = getattr(view, item.name)
        if value is None or value in ("", ()) or item.name in ("errors", "headers", "more"):
            continue
        name = item.name.replace("_", "-")
        if isinstance(value, bytes):
            rows.append((name, format.payload(value)))
        else:
            rows.append((name, cell(parted(value)[0]) if name == "error" else cell_of(item.name, value)))
    if isinstance(view, TaskView):
        if len(view.errors) > 1:
            rows += [(f"error of attempt {error.attempt}", cell(in_words(error))) for error in view.errors]
        rows += [(f"header {cell(name)}", format.payload(value)) for name, value in view.headers.items()]
    return rows + [(str(name), cell(value)) for name, value in view.more.items()]


def in_words(error: TaskError) -> str:
    """Where and when an attempt failed, and the error."""
    worker = f" at {error.worker}" if error.worker else ""
    at = figures.instant(error.at) if error.at is not None else figures.UNKNOWN
    return f"{at}{worker}: {parted(error.error or 'no text')[0]}"


def result(
    session: Session,
    queue: QueueName,
    task: TaskName = None,
    unique: HolderOption = None,
    block_ms: Annotated[
        int | None, typer.Option(min=0, help="Wait this long for the task to end; 0 is no limit.")
    ] = None,
) -> None:
    """Print a task's result. The status is 1 if the task is not done."""
    exactly_one("result", "an id and --unique", task is not None, unique is not None)
    try:
        ended = session.queue(queue).result(task, unique=unique, block_ms=block_ms)
    except UnknownTask:
        refuse(
            "no such task, or it ended and was not kept: use --retain-ms with push or ack to keep it",
            1,
        )
    if ended is None:
        refuse("the task has not ended yet", 1)
    if session.json:
        output.json_line({**({"id": task} if task else {"unique": unique}), **output.plain(ended)})
    elif ended.state != "done":
        output.note(f"taskslot: {ended.state}" + (f": {cell(parted(ended.error)[0])}" if ended.error else ""))
    elif ended.value is not None:
        # Unchanged bytes if stdout is not a terminal, so that the result can be written to a file.
        sys.stdout.flush()
        if sys.stdout.isatty():
            output.line(format.payload(ended.value))
        else:
            sys.stdout.buffer.write(ended.value)
            sys.stdout.buffer.flush()
    if ended.state != "done":
        raise typer.Exit(1)


def list_tasks(
    session: Session,
    queue: QueueName,
    state: Annotated[
        TaskState,
        typer.Argument(
            help="The state. Ready tasks come in claim order, delayed ones by due time, held and leased ones by id, "
            "dead and done ones by age, the oldest first."
        ),
    ],
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Show at most this many tasks.")] = 20,
    group: Annotated[str | None, typer.Option(help="Only tasks of this group.")] = None,
    worker: Annotated[str | None, typer.Option(help="Only tasks leased by this worker.")] = None,
    reverse: Annotated[bool, typer.Option("--reverse", "-r", help="The other way round.")] = False,
    match: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="Only tasks whose payload matches this glob.")
    ] = None,
    header: Annotated[
        str | None,
        typer.Option(metavar="NAME=PATTERN", help="Only tasks with a header whose value matches this glob."),
    ] = None,
) -> None:
    """List the tasks in a state, with the start of each payload."""
    by_header = None
    if header is not None:
        ((name, pattern),) = assigned("list --header", [header]).items()
        by_header = (name, pattern)
    found = session.queue(queue).tasks(
        state.value,
        group=group,
        worker=worker,
        payloads=True,
        page=min(count + 1, 100),
        reverse=reverse,
        match=match,
        header=by_header,
    )
    if session.json:
        for view in islice(found, count):
            output.json_line(view)
        return
    views = list(islice(found, count + 1))
    if not views:
        output.note(f"no {state} tasks{why_none(session, queue)}")
        return
    rows: list[tuple[str, ...]] = [("id", "prio", "tries", head_of(state), "group", "payload")]
    rows += [row_of(view, state) for view in views[:count]]
    for line in format.columns(rows, frozenset({1, 2})):
        output.line(line)
    if len(views) > count:
        output.note(f"… and more: use --count {count * 10}")


def why_none(session: Session, name: str) -> str:
    """What to say after "no dead tasks" if there is no such queue, with the one that may be meant."""
    with suppress(TaskslotError):
        if session.queue(name).info() is None:
            found = first_that_ends_with(session, name)
            hint = f"; did you mean {found}?" if found is not None else ""
            return f": there is no queue {name}{hint}"
    return ""


# How many queues are looked at for a hint, at most.
MOST_QUEUES = 1000


def first_that_ends_with(session: Session, name: str) -> str | None:
    """A queue whose key ends with this name, as those of an app with a prefix do. None if none is soon found."""
    with suppress(Exception):  # it is only a hint: this user may not be allowed to search
        with Nodes(session.client, MOST_QUEUES) as nodes:
            found = nodes.look().infos
        return next((cell(key) for key in sorted(found) if key.endswith(name)), None)
    return None


def head_of(state: TaskState) -> str:
    """The heading of the column that depends on the state."""
    return {
        "ready": "enqueued", "delayed": "due", "held": "waits for", "leased": "deadline", "dead": "error",
        "done": "done",
    }[state]  # fmt: skip


def waits_for(view: TaskView) -> str:
    """What a held task waits for: the batch whose callback it is, or other tasks."""
    if view.callback_of is not None:
        return f"batch {cell(view.callback_of)}"
    more = f" and {len(view.waits_for) - 1} more" if len(view.waits_for) > 1 else ""
    return f"{view.waits_for[0]}{more}" if view.waits_for else ""


def row_of(view: TaskView, state: TaskState) -> tuple[str, ...]:
    """A task as a row of the table. Long texts are cut."""
    at = {"ready": view.enqueued, "delayed": view.due, "leased": view.deadline, "done": view.done_since}.get(
        state
    )
    own = figures.instant(at)[5:19] if at is not None else shortened(cell(parted(view.error or "")[0]), 72)
    if state is TaskState.held:
        own = shortened(waits_for(view), 72)
    if state is TaskState.leased and view.worker:
        own += f" {shortened(cell(view.worker), 16)}"
    group, payload = shortened(cell(view.group or ""), 16), shortened(format.payload(view.payload or b""), 40)
    return view.id, str(view.priority), str(view.deliveries), own, group, payload
