"""Commands for operators: set, cancel, retry, purge, pause, resume, config."""

import sys
from collections.abc import Callable
from dataclasses import fields
from enum import StrEnum
from typing import Annotated, Any, Literal

import typer

from .. import figures
from ..replies import Settings, State
from . import format, output
from .produce import content, instant
from .session import AnyQueue, HolderOption, QueueName, Session, assigned, command, refuse

# Tasks per command in long work, so that each command blocks the server for about a millisecond.
STEP = 1000

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
ForOption = Annotated[
    int | None, typer.Option("--for-ms", min=1, help="Resume automatically after this many ms.")
]


class PurgeState(StrEnum):
    """The states that can be purged. `all` is every state except leased."""

    ready = "ready"
    delayed = "delayed"
    held = "held"
    dead = "dead"
    done = "done"
    all = "all"


class PauseDirection(StrEnum):
    """What a pause stops: claims (out), pushes (in) or both (all)."""

    out = "out"
    into = "in"
    all = "all"


GroupOption = Annotated[
    str | None, typer.Option("--group", metavar="NAME", help="Only the tasks of this group.")
]
OlderOption = Annotated[
    int | None,
    typer.Option("--older-ms", min=0, help="Only tasks that have been in their state for so many ms."),
]
# How many tasks one command examines that looks for some of them.
LOOKED_AT = 10_000

PURGE_STATES: tuple[State, ...] = ("ready", "delayed", "held", "dead", "done")
DirectionArgument = Annotated[
    PauseDirection, typer.Argument(help="out stops claims, in stops pushes, all stops both.")
]


TasksArgument = Annotated[list[str] | None, typer.Argument(metavar="[ID]…", help="Ids of tasks.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    command(app, name="set")(change)
    for function in (cancel, retry, purge, pause, resume, config):
        command(app)(function)


def change(
    session: Session,
    queue: QueueName,
    tasks: TasksArgument = None,
    unique: HolderOption = None,
    delay_ms: Annotated[
        int | None, typer.Option("--delay-ms", help="Ready this many ms from now; 0 for now.")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option("--at", help="Ready at this time: 2026-05-04T12:00, or a unix time in ms."),
    ] = None,
    priority: Annotated[
        int | None, typer.Option("--priority", help="-128 to 127; higher is claimed first.")
    ] = None,
    group: Annotated[str | None, typer.Option("--group", help="The group; an empty name for none.")] = None,
    payload: Annotated[
        str | None, typer.Option("--payload", help="The payload; - reads it from stdin.")
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(
            "--header", metavar="NAME=VALUE", help="A header; repeat for more. Replaces all headers."
        ),
    ] = None,
) -> None:
    """Change tasks that wait: when they are ready, their priority, group, payload or headers."""
    exactly_one("set", "ids and --unique", bool(tasks), unique is not None)
    options: dict[str, Any] = {
        "delay_ms": delay_ms, "at": instant(at), "priority": priority, "group": group,
        "payload": None if payload is None else content(payload),
        "headers": assigned("--header", header) if header else None,
    }  # fmt: skip
    options = {name: value for name, value in options.items() if value is not None}
    if not options:
        raise ValueError(
            "set takes at least one of --delay-ms, --at, --priority, --group, --payload and --header"
        )
    opened = session.queue(queue)
    if unique is not None:
        answers = [opened.set(unique=unique, **options)]
    else:
        answers = opened.set_many(tasks or [], **options)
    words = {True: "changed", False: "not waiting"}
    print_answers(session, tasks, unique, [words[answer] for answer in answers])


def print_answers(session: Session, tasks: list[str] | None, unique: str | None, answers: list[str]) -> None:
    """Print an answer for each id, or for the token."""
    for name, answer in zip(tasks or [str(unique)], answers, strict=True):
        if session.json:
            output.json_line({"id" if tasks else "unique": name, "answer": answer})
        else:
            output.line(f"{name}  {answer}")


def cancel(
    session: Session,
    queue: QueueName,
    tasks: TasksArgument = None,
    unique: HolderOption = None,
) -> None:
    """Cancel tasks: waiting tasks are removed, the workers of leased tasks are asked to stop."""
    exactly_one("cancel", "ids and --unique", bool(tasks), unique is not None)
    words = {"removed": "removed", "asked": "leased: its worker is asked to stop", None: "nothing to cancel"}
    opened = session.queue(queue)
    answers = [opened.cancel(unique=unique)] if unique is not None else opened.cancel_many(tasks or [])
    shown = [answer or "nothing" if session.json else words[answer] for answer in answers]
    print_answers(session, tasks, unique, shown)


def retry(
    session: Session,
    queue: QueueName,
    tasks: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]…", help="Ids of dead, delayed or held tasks.")
    ] = None,
    count: Annotated[
        int | None, typer.Option("--count", "-n", min=1, help="Retry this many dead tasks, oldest first.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Retry all dead tasks.")] = False,
    group: GroupOption = None,
    unique: HolderOption = None,
    yes: YesOption = False,
) -> None:
    """Make dead, delayed or held tasks ready, at the back of the queue."""
    exactly_one(
        "retry",
        "ids, --unique, --count or --all",
        bool(tasks),
        unique is not None,
        count is not None,
        everything,
    )
    opened = session.queue(queue)
    if unique is not None:
        return print_count(session, "retried", opened.retry(unique=unique))
    if tasks:
        if group is not None:
            raise ValueError("--group goes with --count or --all")
        return print_count(session, "retried", opened.retry(tasks))
    dead = opened.len("dead")
    if everything:
        which = f"dead tasks of the group {group} in" if group is not None else f"{dead} dead tasks of"
        confirm(f"Retry all {which} {queue}?", yes)
    most = dead if count is None else min(count, dead)
    in_vain = dead // LOOKED_AT if group is not None else 0
    print_count(
        session,
        "retried",
        in_steps(f"retry {queue}", most, lambda step: opened.retry_dead(step, group=group), in_vain),
    )


def purge(
    session: Session,
    queue: QueueName,
    state: Annotated[
        PurgeState | None, typer.Argument(help="The state to purge; all is every state except leased.")
    ] = None,
    ids: Annotated[
        list[str] | None, typer.Option("--id", metavar="ID", help="Remove this task; can be repeated.")
    ] = None,
    older_ms: OlderOption = None,
    count: Annotated[
        int | None, typer.Option("--count", "-n", min=1, help="Remove at most this many tasks.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove all tasks in that state.")] = False,
    yes: YesOption = False,
) -> None:
    """Remove tasks permanently: those in a state, or some by their ids. Leased tasks are never removed."""
    if state is None or ids:
        exactly_one("purge", "a state or --id", state is not None, bool(ids))
        if count is not None or everything:
            raise ValueError("--id goes without --count and --all")
        return print_count(session, "purged", session.queue(queue).purge(ids=ids or [], older_ms=older_ms))
    # `purge mail all` needs no further --all.
    everything = everything or (state is PurgeState.all and count is None)
    exactly_one("purge", "--count or --all", count is not None, everything)
    opened = session.queue(queue)
    there = waiting(opened, state)
    if everything:
        which = "" if state is PurgeState.all else f" {state}"
        old = f" that are {figures.span(older_ms)} old" if older_ms is not None else ""
        confirm(f"Remove all {there}{which} tasks{old} of {queue}?", yes)
    most = there if count is None else min(count, there)
    in_vain = known(opened) // LOOKED_AT if older_ms is not None else 0
    print_count(
        session,
        "purged",
        in_steps(
            *(f"purge {queue}", most, lambda step: opened.purge(state.value, step, older_ms=older_ms)),
            in_vain=in_vain,
        ),
    )


def known(queue: AnyQueue) -> int:
    """The number of tasks in all states."""
    info = queue.info()
    return sum(getattr(info, state) for state in (*PURGE_STATES, "leased")) if info else 0


def waiting(queue: AnyQueue, state: PurgeState) -> int:
    """The number of tasks that a purge of the state would remove."""
    return sum(queue.len(one) for one in PURGE_STATES if state in (one, PurgeState.all))


def exactly_one(name: str, what: str, *given: bool) -> None:
    """Raise ValueError unless exactly one of several alternatives is given."""
    if sum(given) != 1:
        raise ValueError(f"{name} takes exactly one of {what}")


def confirm(question: str, yes: bool) -> None:
    """Ask for confirmation, unless --yes is given. If stdin is not a terminal, --yes is required."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise ValueError(f"{question} Confirm with --yes")
    typer.confirm(question, abort=True, err=True)


def in_steps(what: str, most: int, step: Callable[[int], int], in_vain: int = 0) -> int:
    """Work on at most `most` tasks, a thousand at a time, with a progress bar.

    Stops when a step finds no task, after as many steps `in_vain` as a search may need. Returns the number of tasks
    that were changed.
    """
    done, left = 0, in_vain
    with output.progress() as progress:
        bar = progress.add_task(what, total=most)
        while done < most:
            if found := step(min(STEP, most - done)):
                done, left = done + found, in_vain
                progress.update(bar, completed=done)
            elif left:
                left -= 1
            else:
                break
    return done


def print_count(session: Session, what: str, number: int) -> None:
    """Print the number of tasks that were changed."""
    output.json_line({what: number}) if session.json else output.line(f"{what} {number}")


def pause(
    session: Session,
    queue: QueueName,
    way: DirectionArgument = PauseDirection.out,
    group: GroupOption = None,
    for_ms: ForOption = None,
) -> None:
    """Pause a queue: stop claims (out), pushes (in) or both (all), or the claims of one group."""
    session.queue(queue).pause(direction(way), group=group, for_ms=for_ms)
    until = f" for {figures.span(for_ms)}" if for_ms else ""
    what = way.value if group is None else f"group {format.payload(group.encode())}"
    fields = {"queue": queue, "paused": way.value, "group": group, "for_ms": for_ms}
    print_done(session, fields, f"{queue} paused: {what}{until}")


def resume(
    session: Session,
    queue: QueueName,
    way: DirectionArgument = PauseDirection.out,
    group: GroupOption = None,
) -> None:
    """Resume a paused queue, or a paused group."""
    session.queue(queue).resume(direction(way), group=group)
    what = way.value if group is None else f"group {format.payload(group.encode())}"
    print_done(session, {"queue": queue, "resumed": way.value, "group": group}, f"{queue} resumed: {what}")


def direction(way: PauseDirection) -> Literal["out", "in", "all"]:
    """The direction as the library names it."""
    return "in" if way is PauseDirection.into else "all" if way is PauseDirection.all else "out"


def print_done(session: Session, fields: dict[str, Any], words: str) -> None:
    """Print what was done."""
    output.json_line(fields) if session.json else output.line(words)


def config(
    session: Session,
    queue: QueueName,
    values: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=VALUE]…", help="Settings to change. Without any, all settings are shown."
        ),
    ] = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="Reset the named settings, or all, to their defaults.")
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
    """The settings and their values, by the server's names."""
    names = [item.name for item in fields(settings) if item.name != "more"]
    return [(name.replace("_", "-"), str(getattr(settings, name))) for name in names] + [
        (name, str(value)) for name, value in settings.more.items()
    ]
