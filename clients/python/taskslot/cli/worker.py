"""The command `taskslot worker`: runs an App or a Worker, in one process or in several."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ..app import App
from ..clients import is_of_client
from ..errors import TaskslotError
from ..worker import Worker
from ..worker.options import own_name
from ..worker.worker import must_fit
from . import logs, target
from .logs import JsonLines
from .session import refuse
from .supervisor import UNUSABLE, Parent, Supervisor, command_of_this_process
from .task_log import TaskLog
from .watch import Watch

log = logging.getLogger("taskslot")


class LogKind(StrEnum):
    """The forms of the log."""

    text = "text"
    json = "json"


class LogLevel(StrEnum):
    """The levels of the log."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command()(worker)


def worker(
    named: Annotated[
        str, typer.Argument(metavar="MODULE:ATTRIBUTE", help="The App or Worker, such as shop.tasks:app.")
    ],
    queues: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,…",
            help="The queues of the App, in order of preference. By default all that its tasks name.",
        ),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option("--concurrency", "-c", min=1, help="Tasks at a time, in each process. [default: 8]"),
    ] = None,
    processes: Annotated[
        int, typer.Option("--processes", "-p", min=1, max=1000, help="How many processes.")
    ] = 1,
    watch: Annotated[
        bool, typer.Option("--watch", help="Start again when a .py file below the current folder changes.")
    ] = False,
    lease_ms: Annotated[
        int | None, typer.Option(min=1, help="The length of leases. By default the task's or the queue's.")
    ] = None,
    grace_ms: Annotated[
        int | None,
        typer.Option(min=0, help="How long a stop waits for running tasks. [default: 25000]"),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            help="The worker's name. Several processes add their numbers. By default host and process."
        ),
    ] = None,
    tied: Annotated[
        bool, typer.Option("--tied", help="End the leases when the process dies. Not behind a proxy.")
    ] = False,
    deploy: Annotated[
        bool,
        typer.Option(help="Whether to make the schedules on the server as in the code at the start."),
    ] = True,
    log: Annotated[
        LogKind, typer.Option(help="Lines for people, or a line of JSON for each event.")
    ] = LogKind.text,
    log_level: Annotated[
        LogLevel, typer.Option(help="From info on, each start and end of a task is logged.")
    ] = LogLevel.info,
) -> None:
    """Run the functions of an App or a Worker, until Ctrl-C or SIGTERM.

    The first signal stops claiming and waits for running tasks, the second one gives them back at once. The exit status
    is 0 if all tasks ended in time, 1 if some were given back or the server refused the worker, and 2 if the target
    can't be loaded.
    """
    parent = Parent.of_this_process()
    formatter = logs.set_up(log, log_level, parent.number if parent is not None else None)
    if parent is None and (processes > 1 or watch):
        watched = Watch(Path.cwd()) if watch else None
        raise typer.Exit(Supervisor(command_of_this_process(), processes, watched).run())
    if name is not None and parent is not None and processes > 1:
        name = f"{name}-{parent.number}"
    given = {"concurrency": concurrency, "lease_ms": lease_ms, "grace_ms": grace_ms, "name": name}
    given |= {"tied": tied or None}
    try:
        made = made_from(
            target.load(named),
            queues,
            {one: value for one, value in given.items() if value is not None},
            deploy=deploy,
        )
    except ValueError as error:
        refuse(str(error), UNUSABLE)
    made.name = made.name or own_name()
    if isinstance(formatter, JsonLines):
        formatter.worker = made.name
    if log_level in (LogLevel.debug, LogLevel.info):
        made.middleware = [*made.middleware, TaskLog()]
    if parent is not None:
        parent.obey(made)
    try:
        status = made.run()
    except Exception as error:
        if not isinstance(error, TaskslotError | OSError) and not is_of_client(error):
            raise
        status = 1  # the worker has logged why it stops
    raise typer.Exit(status)


def made_from(
    found: App | Worker, queues: str | None, given: dict[str, Any], *, deploy: bool = True
) -> Worker:
    """The worker to run, with the options that were given. Raises ValueError."""
    if isinstance(found, App):
        names = None if queues is None else [name for name in queues.split(",") if name]
        warn_of_unused(names or (), found.queues)
        return found.worker(names, deploy=deploy, **given)
    if queues is not None:
        raise ValueError("--queues is for an App: a Worker has its queues already")
    for name, value in given.items():
        setattr(found, name, value)
    must_fit(found.queues, found.tied)
    return found


def warn_of_unused(names: Sequence[str], used: Sequence[str]) -> None:
    """Warn of queues that none of the app's functions is pushed into by default: most likely a typing mistake."""
    for name in names:
        if name not in used:
            log.warning(
                "no function of the app names the queue %s; they name %s%s",
                *(name, ", ".join(used) or "none", did_you_mean(name, used)),
            )


def did_you_mean(name: str, names: Sequence[str]) -> str:
    """A question, if a name is much like another."""
    close = difflib.get_close_matches(name, names, 1)
    return f": did you mean {close[0]}?" if close else ""
