"""`taskslot batch`: opens, closes, shows and deletes batches. `taskslot push --batch` pushes into one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from . import format, output
from .inspect import rows_of
from .produce import (
    AtOption,
    AttemptsOption,
    BatchOption,
    DelayOption,
    GroupOption,
    HeaderOption,
    LeaseOption,
    PriorityOption,
    RetainOption,
    TtlOption,
    content,
    instant,
)
from .session import QueueName, Session, assigned, command, refuse

BatchName = Annotated[str, typer.Argument(metavar="NAME", help="The batch's name.")]
CallbackArgument = Annotated[
    str,
    typer.Argument(metavar="CALLBACK", help="The payload of the callback; - reads it from stdin."),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    group = typer.Typer(no_args_is_help=True, help="Open, close, show and delete batches.")
    command(group, name="open")(open_batch)
    command(group, name="close")(close_batch)
    command(group, name="info")(show_batch)
    command(group, name="del")(delete_batch)
    app.add_typer(group, name="batch")


def open_batch(
    session: Session,
    queue: QueueName,
    name: BatchName,
    callback: CallbackArgument,
    delay_ms: DelayOption = None,
    at: AtOption = None,
    ttl_ms: TtlOption = None,
    priority: PriorityOption = None,
    group: GroupOption = None,
    attempts: AttemptsOption = None,
    lease_ms: LeaseOption = None,
    retain_ms: RetainOption = None,
    header: HeaderOption = None,
    batch: BatchOption = None,
) -> None:
    """Open a batch and print the id of its callback, a task that is held until all tasks of the batch have ended.

    --delay-ms and --ttl-ms count from then. With --batch, the callback counts in another batch.
    """
    options: dict[str, Any] = {
        "delay_ms": delay_ms, "at": instant(at), "ttl_ms": ttl_ms, "priority": priority, "group": group,
        "attempts": attempts, "lease_ms": lease_ms, "retain_ms": retain_ms, "batch": batch,
        "headers": assigned("--header", header or []),
    }  # fmt: skip
    made = session.queue(queue).open_batch(name, content(callback), **options)
    if session.json:
        output.json_line({"batch": name, "callback": str(made), "is_new": made.is_new})
    else:
        output.line(made if made.is_new else f"{made}  found")


def close_batch(session: Session, queue: QueueName, name: BatchName) -> None:
    """Close a batch: its callback becomes ready once all of its tasks have ended."""
    is_new = session.queue(queue).close_batch(name)
    if session.json:
        output.json_line({"batch": name, "closed": is_new})
    else:
        output.line(f"{name} closed" if is_new else f"{name} was closed before")


def show_batch(session: Session, queue: QueueName, name: BatchName) -> None:
    """Show the state of a batch, and how many of its tasks ended in each way."""
    found = session.queue(queue).batch_info(name)
    if found is None:
        refuse(f"there is no batch {name}", 1)
    if session.json:
        output.json_line(found)
        return
    for line in format.columns(rows_of(found)):
        output.line(line)


def delete_batch(session: Session, queue: QueueName, name: BatchName) -> None:
    """Delete a batch and its callback. Its tasks go on."""
    answer = session.queue(queue).delete_batch(name)
    words = {
        "removed": "removed",
        "asked": "its callback is leased: the worker is asked to stop",
        None: "no such batch",
    }
    if session.json:
        output.json_line({"batch": name, "answer": answer or "nothing"})
    else:
        output.line(f"{name}  {words[answer]}")
