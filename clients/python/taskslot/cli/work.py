"""The commands of a worker, for use by hand or in scripts: claim, ack, fail, requeue, extend."""

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any

import typer

from .. import figures
from ..errors import TaskslotError
from ..replies import Answer, Task
from . import format, output
from .session import AnyQueue, QueueName, Session, command

Handles = Annotated[list[str], typer.Argument(metavar="HANDLE…", help="Handles that claim printed.")]
ProgressText = Annotated[
    str | None, typer.Option("--progress", help="How far the tasks have got; get shows it. Empty removes it.")
]

WORDS = {
    Answer.GONE: "already finished or removed",
    Answer.LEASE_LOST: "lease lost: this handle no longer holds the task",
    Answer.CANCEL_ASKED: "cancelled: stop, then ack, fail or requeue the task",
}


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    for function in (claim, ack, fail, requeue, extend):
        command(app)(function)


def claim(
    session: Session,
    queue: QueueName,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, max=1000, help="Claim at most this many tasks.")
    ] = 1,
    block_ms: Annotated[
        int | None, typer.Option(min=0, help="Wait this long for the first task; 0 is no limit.")
    ] = None,
    worker: Annotated[str | None, typer.Option(help="The worker's name, as info shows it.")] = None,
    group: Annotated[str | None, typer.Option(help="Only tasks of this group.")] = None,
    lease_ms: Annotated[int | None, typer.Option(help="The length of the leases.")] = None,
    noack: Annotated[
        bool, typer.Option("--noack", help="Finish tasks as they are claimed: at most once, no lease.")
    ] = False,
    meta: Annotated[
        bool, typer.Option("--meta", help="Ask for group, headers and times; --json implies and prints them.")
    ] = False,
) -> None:
    """Claim tasks and print their handles and payloads."""
    options: dict[str, Any] = {"worker": worker, "group": group, "lease_ms": lease_ms, "noack": noack}
    meta = meta or session.json
    opened = session.queue(queue)
    tasks = opened.claim(count, block_ms=block_ms, meta=meta, **options)
    if not tasks:
        output.note(f"nothing to claim{why_nothing(opened)}")
    elif session.json:
        for task in tasks:
            output.json_line(as_map(task))
    else:
        for task in tasks:
            deliveries = f"  (delivery {task.deliveries})" if task.deliveries > 1 else ""
            output.line(f"{task.handle}  {format.payload(task.payload)}{deliveries}")


def why_nothing(queue: AnyQueue) -> str:
    """The note that claims are paused, if they are and this user is allowed to ask."""
    with suppress(TaskslotError):
        if (info := queue.info()) is not None and info.paused_out:
            until = "until resumed" if info.paused_out < 0 else f"for {figures.span(info.paused_out)}"
            return f": {queue.name} is paused {until}"
    return ""


def as_map(task: Task) -> dict[str, Any]:
    """A task as a JSON map; the fields of WITHMETA stand beside the others."""
    meta = output.plain(task.meta) if task.meta else {}
    own = {"handle": task.handle, "id": task.id, "queue": task.key, "payload": task.payload}
    return {**own, "deliveries": task.deliveries, **meta}


def ack(
    session: Session,
    queue: QueueName,
    handles: Handles,
    result: Annotated[str | None, typer.Option(help="The result of the tasks.")] = None,
    retain_ms: Annotated[
        int | None, typer.Option(help="Keep the finished tasks and their results this long.")
    ] = None,
) -> None:
    """Finish tasks."""
    value = None if result is None else os.fsencode(result)
    print_answers(
        session, handles, session.queue(queue).ack_many(handles, result=value, retain_ms=retain_ms), "acked"
    )


def fail(
    session: Session,
    queue: QueueName,
    handles: Handles,
    error: Annotated[str | None, typer.Option("--error", "-e", help="The error text.")] = None,
    delay_ms: Annotated[
        int | None, typer.Option(help="Try again after this many ms, instead of the queue's backoff.")
    ] = None,
    dead: Annotated[bool, typer.Option("--dead", help="Do not try again.")] = False,
    progress: ProgressText = None,
) -> None:
    """Report failed attempts: the tasks are tried again later, or are dead."""
    said = None if progress is None else os.fsencode(progress)
    answers = session.queue(queue).fail_many(handles, error, delay_ms=delay_ms, dead=dead, progress=said)
    print_answers(session, handles, answers, "failed")


def requeue(
    session: Session,
    queue: QueueName,
    handles: Handles,
    delay_ms: Annotated[int | None, typer.Option(help="Ready again after this many ms.")] = None,
    back: Annotated[
        bool, typer.Option("--back", help="To the back of the queue, not to the task's old position.")
    ] = False,
    progress: ProgressText = None,
) -> None:
    """Give tasks back unfinished. This does not count as a failed attempt."""
    said = None if progress is None else os.fsencode(progress)
    answers = session.queue(queue).requeue_many(handles, delay_ms=delay_ms, back=back, progress=said)
    print_answers(session, handles, answers, "requeued")


def extend(
    session: Session,
    queue: QueueName,
    handles: Handles,
    lease_ms: Annotated[
        int | None, typer.Option(help="The new length from now; default: the lease's length.")
    ] = None,
    progress: ProgressText = None,
) -> None:
    """Extend leases."""
    value = None if progress is None else os.fsencode(progress)
    answers = session.queue(queue).extend_many(handles, lease_ms=lease_ms, progress=value)
    print_answers(session, handles, answers, "extended")


def print_answers(session: Session, handles: Sequence[str], answers: Sequence[int], done: str) -> None:
    """Print the reply for each handle, in order. Exit with status 1 if a lease was lost or a task cancelled."""
    for handle, answer in zip(handles, answers, strict=True):
        if session.json:
            output.json_line({"handle": handle, **as_fields(answer, done)})
        else:
            output.line(f"{handle}  {in_words(answer, done)}")
    if any(answer in (Answer.LEASE_LOST, Answer.CANCEL_ASKED) for answer in answers):
        raise typer.Exit(1)


def in_words(answer: int, done: str) -> str:
    """The server's reply for one handle in words; `done` is the word for success."""
    if answer in WORDS:
        return WORDS[Answer(answer)]
    if done == "failed":
        return "dead" if answer == Answer.DEAD else f"failed, ready again in {figures.span(answer)}"
    return f"extended until {figures.instant(answer)}" if done == "extended" else done


def as_fields(answer: int, done: str) -> dict[str, Any]:
    """The server's reply for one handle as JSON fields: `answer` is a word, a number has its own field."""
    if answer in (*WORDS, Answer.DEAD):
        return {"answer": Answer(answer).name.lower()}
    number = {"failed": {"ready_in_ms": answer}, "extended": {"deadline": answer}}.get(done, {})
    return {"answer": done, **number}
