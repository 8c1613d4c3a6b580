"""Commands of an operator: cancel, retry, purge, pause, resume, settings."""

import sys
from collections.abc import Callable
from dataclasses import fields
from enum import StrEnum
from typing import Annotated, Any, Literal

import typer

from ..replies import Settings, State
from . import format, output
from .session import AnyQueue, QueueName, Session, assigned, command, refuse

# Tasks that one step of long work takes: a command of a millisecond or so.
STEP = 1000

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
ForOption = Annotated[int | None, typer.Option("--for-ms", min=1, help="Open again by itself after so long.")]


class PurgeState(StrEnum):
    """What can be purged; all is all but what is leased."""

    ready = "ready"
    delayed = "delayed"
    dead = "dead"
    done = "done"
    all = "all"


class PauseDirection(StrEnum):
    """What a pause stops: claims, pushes, or both."""

    out = "out"
    into = "in"
    all = "all"


PURGE_STATES: tuple[State, ...] = ("ready", "delayed", "dead", "done")
DirectionArgument = Annotated[PauseDirection, typer.Argument(help="out stops claims, in stops pushes.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    for function in (cancel, retry, purge, pause, resume, config):
        command(app)(function)


def cancel(
    session: Session,
    queue: QueueName,
    tasks: Annotated[list[str], typer.Argument(metavar="ID…", help="Ids of tasks.")],
) -> None:
    """Remove waiting tasks; of leased ones the worker is asked to stop."""
    words = {"removed": "removed", "asked": "leased: its worker is asked to stop", None: "nothing to cancel"}
    for task, answer in zip(tasks, session.queue(queue).cancel_many(tasks), strict=True):
        if session.json:
            output.json_line({"id": task, "answer": answer or "nothing"})
        else:
            output.line(f"{task}  {words[answer]}")


def retry(
    session: Session,
    queue: QueueName,
    tasks: Annotated[list[str] | None, typer.Argument(metavar="[ID]…", help="Dead or delayed tasks.")] = None,
    count: Annotated[int | None, typer.Option("--count", "-n", min=1, help="The oldest dead ones.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All dead ones.")] = False,
    yes: YesOption = False,
) -> None:
    """Make dead tasks ready again, behind the others."""
    exactly_one("retry", "ids, --count or --all", bool(tasks), count is not None, everything)
    opened = session.queue(queue)
    if tasks:
        return print_count(session, "retried", opened.retry(tasks))
    dead = opened.len("dead")
    if everything:
        confirm(f"Retry all {dead} dead tasks of {queue}?", yes)
    most = dead if count is None else min(count, dead)
    print_count(session, "retried", in_steps(f"retry {queue}", most, opened.retry_dead))


def purge(
    session: Session,
    queue: QueueName,
    state: Annotated[PurgeState, typer.Argument(help="Of which state; all is all but leased.")],
    count: Annotated[int | None, typer.Option("--count", "-n", min=1, help="At most so many.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of that state.")] = False,
    yes: YesOption = False,
) -> None:
    """Remove tasks for good."""
    # Of `purge mail all` nobody has to say again that it is all.
    everything = everything or (state is PurgeState.all and count is None)
    exactly_one("purge", "--count or --all", count is not None, everything)
    opened = session.queue(queue)
    there = waiting(opened, state)
    if everything:
        which = "" if state is PurgeState.all else f" {state}"
        confirm(f"Remove all {there}{which} tasks of {queue}?", yes)
    most = there if count is None else min(count, there)
    print_count(
        session, "purged", in_steps(f"purge {queue}", most, lambda step: opened.purge(state.value, step))
    )


def waiting(queue: AnyQueue, state: PurgeState) -> int:
    """How many tasks a purge of the state would find."""
    return sum(queue.len(one) for one in PURGE_STATES if state in (one, PurgeState.all))


def exactly_one(name: str, what: str, *given: bool) -> None:
    """Refuse a command that says none or several of what excludes each other."""
    if sum(given) != 1:
        raise ValueError(f"{name} takes {what}")


def confirm(question: str, yes: bool) -> None:
    """Ask, unless --yes was said; where nobody can answer that is needed."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise ValueError(f"{question} Say --yes")
    typer.confirm(question, abort=True, err=True)


def in_steps(what: str, most: int, step: Callable[[int], int]) -> int:
    """Do work on so many tasks, a thousand at a time, with a bar: how many it was. Ends where a step finds none."""
    done = 0
    with output.progress() as progress:
        bar = progress.add_task(what, total=most)
        while done < most and (found := step(min(STEP, most - done))):
            done += found
            progress.update(bar, completed=done)
    return done


def print_count(session: Session, what: str, number: int) -> None:
    """Print how many tasks it was."""
    output.json_line({what: number}) if session.json else output.line(f"{what} {number}")


def pause(
    session: Session, queue: QueueName, way: DirectionArgument = PauseDirection.out, for_ms: ForOption = None
) -> None:
    """Stop claims (out), pushes (in) or both (all)."""
    session.queue(queue).pause(direction(way), for_ms=for_ms)
    until = f" for {format.span(for_ms)}" if for_ms else ""
    print_done(
        session, {"queue": queue, "paused": way.value, "for_ms": for_ms}, f"{queue} paused: {way}{until}"
    )


def resume(session: Session, queue: QueueName, way: DirectionArgument = PauseDirection.out) -> None:
    """Open what pause closed."""
    session.queue(queue).resume(direction(way))
    print_done(session, {"queue": queue, "resumed": way.value}, f"{queue} resumed: {way}")


def direction(way: PauseDirection) -> Literal["out", "in", "all"]:
    """The way as the library takes it."""
    return "in" if way is PauseDirection.into else "all" if way is PauseDirection.all else "out"


def print_done(session: Session, fields: dict[str, Any], words: str) -> None:
    """Print what was done."""
    output.json_line(fields) if session.json else output.line(words)


def config(
    session: Session,
    queue: QueueName,
    values: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME=VALUE]…", help="Set these; without any, show all.")
    ] = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="Put those named back to their defaults, or all.")
    ] = False,
) -> None:
    """Show, set or reset a queue's settings."""
    opened = session.queue(queue)
    words = values or []
    if reset:
        opened.reset(*words)
    elif words:
        opened.configure(**assigned("config", words))
    settings = opened.settings()
    if settings is None:
        refuse(f"there is no queue {queue}", 1)
    if session.json:
        output.json_line(settings)
        return
    wanted = {word.partition("=")[0] for word in words}
    rows = [row for row in named(settings) if not wanted or row[0] in wanted]
    for line in format.columns(rows):
        output.line(line)


def named(settings: Settings) -> list[tuple[str, str]]:
    """Settings by the names that the server has for them."""
    names = [item.name for item in fields(settings) if item.name != "more"]
    return [(name.replace("_", "-"), str(getattr(settings, name))) for name in names] + [
        (name, str(value)) for name, value in settings.more.items()
    ]
