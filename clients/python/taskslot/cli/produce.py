"""`taskslot push`: pushes one payload, several, or each line of stdin."""

import os
import stat
import sys
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Annotated, Any, BinaryIO

import typer
from rich.progress import Progress, TaskID

from . import output
from .session import AnyQueue, QueueName, Session, assigned, command

# Lines per step: the limit of one TASK.MPUSH.
STEP = 1000

WHEN, HOW, ONCE = "Time", "Delivery", "Uniqueness"


PayloadsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[PAYLOAD]…", help="One task for each payload; - reads a payload from stdin."),
]
LinesOption = Annotated[bool, typer.Option("--lines", help="Push each line of stdin as a task.")]
DelayOption = Annotated[
    int | None, typer.Option("--delay-ms", help="Ready this many ms from now.", rich_help_panel=WHEN)
]
AtOption = Annotated[
    str | None,
    typer.Option(
        "--at",
        help="Ready at this time: 2026-05-04T12:00 (local unless it names a zone), or a unix time in ms.",
        rich_help_panel=WHEN,
    ),
]
TtlOption = Annotated[
    int | None,
    typer.Option(
        "--ttl-ms", help="Removed if not claimed within this many ms of being due.", rich_help_panel=WHEN
    ),
]
PriorityOption = Annotated[
    int | None, typer.Option("--priority", help="-128 to 127; higher is claimed first.", rich_help_panel=HOW)
]
GroupOption = Annotated[
    str | None, typer.Option("--group", help="The task's group, such as a tenant.", rich_help_panel=HOW)
]
AttemptsOption = Annotated[
    int | None,
    typer.Option("--attempts", help="Failed attempts until the task is dead.", rich_help_panel=HOW),
]
LeaseOption = Annotated[
    int | None, typer.Option("--lease-ms", help="The length of the task's leases.", rich_help_panel=HOW)
]
RetainOption = Annotated[
    int | None, typer.Option("--retain-ms", help="Keep the finished task this long.", rich_help_panel=HOW)
]
HeaderOption = Annotated[
    list[str] | None,
    typer.Option("--header", metavar="NAME=VALUE", help="A header; repeat for more.", rich_help_panel=HOW),
]
UniqueOption = Annotated[
    str | None,
    typer.Option(
        "--unique", metavar="TOKEN", help="Push nothing while a task holds this token.", rich_help_panel=ONCE
    ),
]
UntilStartOption = Annotated[
    bool, typer.Option("--until-start", help="Release the token at the first claim.", rich_help_panel=ONCE)
]
ForOption = Annotated[
    int | None,
    typer.Option("--for-ms", help="Release the token after at most this many ms.", rich_help_panel=ONCE),
]
KeepOption = Annotated[
    bool,
    typer.Option(
        "--keep", help="Hold the token for all of --for-ms, even if the task ends.", rich_help_panel=ONCE
    ),
]
ReplaceOption = Annotated[
    bool,
    typer.Option(
        "--replace",
        help="Replace payload and headers of the task that holds the token.",
        rich_help_panel=ONCE,
    ),
]
PostponeOption = Annotated[
    bool,
    typer.Option(
        "--postpone",
        help="With --replace: that task is due as --delay-ms or --at say, from now.",
        rich_help_panel=ONCE,
    ),
]
PostponeUntilOption = Annotated[
    int | None,
    typer.Option(
        "--postpone-until-ms",
        help="Like --postpone, but due at most this many ms after the first push.",
        rich_help_panel=ONCE,
    ),
]
RequestOption = Annotated[
    str | None,
    typer.Option(
        "--request",
        metavar="TOKEN",
        help="Push nothing if this token was used in the last 5 minutes.",
        rich_help_panel=ONCE,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    command(app)(push)


def push(
    session: Session,
    queue: QueueName,
    payloads: PayloadsArgument = None,
    lines: LinesOption = False,
    delay_ms: DelayOption = None,
    at: AtOption = None,
    ttl_ms: TtlOption = None,
    priority: PriorityOption = None,
    group: GroupOption = None,
    attempts: AttemptsOption = None,
    lease_ms: LeaseOption = None,
    retain_ms: RetainOption = None,
    header: HeaderOption = None,
    unique: UniqueOption = None,
    until_start: UntilStartOption = False,
    for_ms: ForOption = None,
    keep: KeepOption = False,
    replace: ReplaceOption = False,
    postpone: PostponeOption = False,
    postpone_until_ms: PostponeUntilOption = None,
    request: RequestOption = None,
) -> None:
    """Push tasks and print their ids."""
    options: dict[str, Any] = {
        "delay_ms": delay_ms, "at": instant(at), "ttl_ms": ttl_ms, "priority": priority, "group": group,
        "attempts": attempts, "lease_ms": lease_ms, "retain_ms": retain_ms,
        "headers": assigned("--header", header or []),
    }  # fmt: skip
    single = {
        "unique": unique, "until_start": until_start, "for_ms": for_ms, "keep": keep, "replace": replace,
        "postpone": postpone, "postpone_until_ms": postpone_until_ms, "request": request,
    }  # fmt: skip
    push_tasks(session, queue, payloads or [], lines, options, single)


def push_tasks(
    session: Session,
    name: str,
    words: list[str],
    lines: bool,
    options: dict[str, Any],
    single: dict[str, Any],
) -> None:
    """Push payloads, or the lines of stdin. `single` are the options that work with one payload only."""
    single = {name: value for name, value in single.items() if value is not None and value is not False}
    if bool(words) == lines:
        raise ValueError("push takes either payloads as arguments or --lines")
    if single and (lines or len(words) != 1):
        raise ValueError(f"--{next(iter(single)).replace('_', '-')} works with one payload only")
    if lines:
        push_lines(session, session.queue(name), options)
    elif len(words) == 1:
        push_one(session, session.queue(name), content(words[0]), {**options, **single})
    else:
        for task in session.queue(name).push_many([content(word) for word in words], **options):
            output.json_line({"id": task}) if session.json else output.line(task)


def push_one(session: Session, queue: AnyQueue, payload: bytes, options: dict[str, Any]) -> None:
    """Push a task and print its id. The word `found` says that another task holds the token."""
    task = queue.push(payload, **options)
    if session.json:
        output.json_line({"id": str(task), **({"is_new": task.is_new} if "unique" in options else {})})
    else:
        output.line(task if task.is_new else f"{task}  found")


def push_lines(session: Session, queue: AnyQueue, options: dict[str, Any]) -> None:
    """Push each line of stdin, a thousand at a time. Each thousand is pushed completely or not at all."""
    source, done = sys.stdin.buffer, 0
    try:
        with output.progress() as progress:
            bar = progress.add_task(f"push to {queue.name}", total=None)
            for part in steps(source):
                for task in queue.push_many(part, **options):
                    if session.json:
                        output.json_line({"id": task})
                done += len(part)
                show(progress, bar, done, source)
    finally:
        # Also after an error, such as a full queue, so that the user knows from which line to continue.
        if not session.json:
            output.line(f"pushed {done}")


def show(progress: Progress, bar: TaskID, done: int, source: BinaryIO) -> None:
    """Show how many tasks are pushed. If stdin is a file, estimate the total from its size."""
    if progress.disable:
        return
    status = os.fstat(source.fileno())
    total = None
    if stat.S_ISREG(status.st_mode) and (read := source.tell()):
        total = max(done, round(done * status.st_size / read))
    progress.update(bar, completed=done, total=total)


def steps(source: BinaryIO) -> Iterator[list[bytes]]:
    """The lines of a stream without their line ends, in lists of at most `STEP`."""
    while part := [line.removesuffix(b"\n").removesuffix(b"\r") for line in islice(source, STEP)]:
        yield part


def content(word: str) -> bytes:
    """The bytes of a payload as it was typed; `-` reads all of stdin."""
    return sys.stdin.buffer.read() if word == "-" else os.fsencode(word)


def instant(text: str | None) -> datetime | int | None:
    """The value of --at: an ISO time, local unless it names a zone, or a unix time in ms. Raises ValueError."""
    if text is None or text.isdigit():
        return int(text) if text else None
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        raise ValueError(
            "--at takes a time such as 2026-05-04T12:00 (local unless it names a zone), or a unix time in ms"
        ) from None
