"""Commands of a worker, by hand or in a script: claim, ack, fail, requeue, extend."""

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any

import typer

from ..errors import TaskslotError
from ..replies import Answer, Task
from . import format, output
from .session import AnyQueue, QueueName, Session, command

Handles = Annotated[list[str], typer.Argument(metavar="HANDLE…", help="What the claim showed.")]

WORDS = {
    Answer.GONE: "gone: finished or removed before",
    Answer.LEASE_LOST: "lease lost: the task lives on without it",
    Answer.CANCEL_ASKED: "cancel asked for: stop, and give it back",
}


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    for function in (claim, ack, fail, requeue, extend):
        command(app)(function)


def claim(
    session: Session,
    queue: QueueName,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=1000, help="Claim up to so many.")] = 1,
    block_ms: Annotated[
        int | None, typer.Option(min=0, help="Wait so long for the first one, 0 for ever.")
    ] = None,
    worker: Annotated[str | None, typer.Option(help="Who claims, as `info` shows it.")] = None,
    group: Annotated[str | None, typer.Option(help="Tasks of this group only.")] = None,
    lease_ms: Annotated[int | None, typer.Option(help="Length of the leases.")] = None,
    noack: Annotated[bool, typer.Option("--noack", help="At most once: finished as it is claimed.")] = False,
    meta: Annotated[bool, typer.Option("--meta", help="Tell group, headers, times (as JSON).")] = False,
) -> None:
    """Claim tasks; prints handles and payloads, nothing if there are none."""
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
    """That claims are paused, if they are and this user may ask."""
    with suppress(TaskslotError):
        if (info := queue.info()) is not None and info.paused_out:
            until = "until resumed" if info.paused_out < 0 else f"for {format.span(info.paused_out)}"
            return f": {queue.name} is paused {until}"
    return ""


def as_map(task: Task) -> dict[str, Any]:
    """A task as JSON has it: what WITHMETA tells stands beside the rest."""
    meta = output.plain(task.meta) if task.meta else {}
    own = {"handle": task.handle, "id": task.id, "queue": task.key, "payload": task.payload}
    return {**own, "deliveries": task.deliveries, **meta}


def ack(
    session: Session,
    queue: QueueName,
    handles: Handles,
    result: Annotated[str | None, typer.Option(help="What came of it.")] = None,
    retain_ms: Annotated[int | None, typer.Option(help="Keep it so long, with its result.")] = None,
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
    error: Annotated[str | None, typer.Option("--error", "-e", help="What went wrong.")] = None,
    delay_ms: Annotated[int | None, typer.Option(help="Try again so late, in place of the backoff.")] = None,
    dead: Annotated[bool, typer.Option("--dead", help="Don't try again.")] = False,
) -> None:
    """Say that an attempt failed: it is tried again later, or dead."""
    answers = session.queue(queue).fail_many(handles, error, delay_ms=delay_ms, dead=dead)
    print_answers(session, handles, answers, "failed")


def requeue(
    session: Session,
    queue: QueueName,
    handles: Handles,
    delay_ms: Annotated[int | None, typer.Option(help="Ready again so late.")] = None,
    back: Annotated[bool, typer.Option("--back", help="Behind the others, not at its old place.")] = False,
) -> None:
    """Give tasks back; it doesn't count against them."""
    answers = session.queue(queue).requeue_many(handles, delay_ms=delay_ms, back=back)
    print_answers(session, handles, answers, "requeued")


def extend(
    session: Session,
    queue: QueueName,
    handles: Handles,
    lease_ms: Annotated[int | None, typer.Option(help="From now on; else the lease's own length.")] = None,
    progress: Annotated[str | None, typer.Option(help="How far it is, for `get`.")] = None,
) -> None:
    """Keep leases longer."""
    value = None if progress is None else os.fsencode(progress)
    answers = session.queue(queue).extend_many(handles, lease_ms=lease_ms, progress=value)
    print_answers(session, handles, answers, "extended")


def print_answers(session: Session, handles: Sequence[str], answers: Sequence[int], done: str) -> None:
    """Say what became of each handle, in order. Status 1 if any lease was lost or is to be given up."""
    for handle, answer in zip(handles, answers, strict=True):
        if session.json:
            output.json_line({"handle": handle, **as_fields(answer, done)})
        else:
            output.line(f"{handle}  {in_words(answer, done)}")
    if any(answer in (Answer.LEASE_LOST, Answer.CANCEL_ASKED) for answer in answers):
        raise typer.Exit(1)


def in_words(answer: int, done: str) -> str:
    """What an answer of the server means."""
    if answer in WORDS:
        return WORDS[Answer(answer)]
    if done == "failed":
        return "dead" if answer == Answer.DEAD else f"failed, ready again in {format.span(answer)}"
    return f"extended until {format.instant(answer)}" if done == "extended" else done


def as_fields(answer: int, done: str) -> dict[str, Any]:
    """The same for scripts: `answer` is a word, and the number that goes with it has its own name."""
    if answer in (*WORDS, Answer.DEAD):
        return {"answer": Answer(answer).name.lower()}
    number = {"failed": {"ready_in_ms": answer}, "extended": {"deadline": answer}}.get(done, {})
    return {"answer": done, **number}
