"""`taskslot migrate`: moves the jobs that wait in RQ, BullMQ or Celery into a queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from ..connection import connect, is_cluster, read_address, redis_cli
from ..migrate import Mover, Source, Tally, look
from ..migrate.bullmq import BullmqSource
from ..migrate.bullmq import Format as BullmqFormat
from ..migrate.celery import CelerySource
from ..migrate.celery import Format as CeleryFormat
from ..migrate.mover import waiting
from ..migrate.rq import RqSource
from ..printable import printable
from . import output
from .admin import YesOption, confirm
from .session import Session, assigned, command

HOUR_MS = 3_600_000
EXAMPLES = 3

OldQueue = Annotated[str, typer.Argument(metavar="SOURCE", help="The name of the old queue.")]
NewQueue = Annotated[str, typer.Argument(metavar="TARGET", help="The queue to move to, by its key.")]
FromOption = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="URL", help="The server of the old system, if it is another one than taskslot's."
    ),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would be moved; change nothing.")]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, help="Move at most this many jobs.")]
TaskOption = Annotated[
    list[str] | None,
    typer.Option("--task", metavar="OLD=NEW", help="The name of a task in taskslot; repeat for more."),
]
RememberOption = Annotated[
    int,
    typer.Option(
        "--remember-hours",
        min=1,
        max=24 * 365,
        help="How long an interrupted run can be resumed without pushing a job twice.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Move waiting jobs from RQ, BullMQ or Celery. Run it again to resume.",
    )
    for one in (rq, bullmq, celery):
        command(group)(one)
    app.add_typer(group, name="migrate")


@dataclass
class Move:
    """What the commands have in common: where from, where to, and how."""

    session: Session
    target: str
    url: str | None
    dry_run: bool
    limit: int | None
    remember_hours: int

    def client(self) -> Any:
        """The client for the old system's server."""
        if self.url is None:
            return self.session.client
        try:
            return connect(read_address(self.url, None, None))
        except ValueError as error:
            raise ValueError(str(error).replace("--url", "--from")) from None

    def run(self, source: Source) -> None:
        """Move, or look, and say what happened."""
        if is_cluster(source.client) and "{" not in source.staging:
            raise ValueError("on a cluster, the keys of the old queue must have a hash tag such as {bull}")
        try:
            self._look(source) if self.dry_run else self._move(source)
        finally:
            if source.client is not self.session.client:
                source.client.close()

    def _look(self, source: Source) -> None:
        with output.progress() as progress:
            bar = progress.add_task(f"read {source.system}", total=waiting(source))
            tally = look(source, lambda number: progress.advance(bar, number), self.limit)
        self._tell(source, tally, "would move")

    def _move(self, source: Source) -> None:
        target = self.session.queue(self.target)
        with output.progress() as progress:
            total = waiting(source)
            total = total if self.limit is None else min(total, self.limit)
            bar = progress.add_task(f"{source.system} to {self.target}", total=total)
            mover = Mover(
                source,
                target,
                remember_ms=self.remember_hours * HOUR_MS,
                limit=self.limit,
                on_moved=lambda number: progress.advance(bar, number),
            )
            try:
                mover.run()
            except BaseException:
                progress.stop()
                if mover.tally.moved and not self.session.json:
                    output.line(f"moved {mover.tally.moved} to {self.target}, not finished")
                if mover.has_begun:
                    output.note("stopped: run the same command again, it goes on from here")
                raise
        self._tell(source, mover.tally, "moved")

    def _tell(self, source: Source, tally: Tally, verb: str) -> None:
        notes = source.notes(self.target)
        if self.session.json:
            left = [{"reason": reason, "ids": ids} for reason, ids in tally.left.items()]
            output.json_line(
                {"dry_run": self.dry_run, "moved": tally.moved, "resumed": tally.resumed, "places": tally.places,
                 "left": left, "staged": tally.staged, "notes": notes}
            )  # fmt: skip
            return
        of_these = f", {tally.resumed} of them taken by an interrupted run" if tally.resumed else ""
        output.line(f"{verb} {tally.moved} to {self.target}{of_these}")
        for key, number in tally.places.items():
            if number:
                output.line(f"  {number} from {printable(key)}")
        if tally.left:
            output.line(f"left {tally.left_count} in {source.system}")
        for reason, ids in tally.left.items():
            output.line(f"  {len(ids)}: {reason} ({examples(ids)})")
        if tally.staged:
            output.line(f"{len(tally.staged)} of these stay in {source.staging} until the target takes them")
        for note in notes:
            output.line(note)


def examples(ids: list[str]) -> str:
    """The first few ids."""
    return ", ".join(printable(one) for one in ids[:EXAMPLES]) + (", …" if len(ids) > EXAMPLES else "")


def rq(
    session: Session,
    source: OldQueue,
    target: NewQueue,
    from_url: FromOption = None,
    dry_run: DryRunOption = False,
    limit: LimitOption = None,
    task: TaskOption = None,
    remember_hours: RememberOption = 24,
) -> None:
    """Move the waiting and scheduled jobs of a queue of RQ."""
    move = Move(session, target, from_url, dry_run, limit, remember_hours)
    move.run(RqSource(move.client(), source, names=assigned("--task", task or [])))


def bullmq(
    session: Session,
    source: OldQueue,
    target: NewQueue,
    from_url: FromOption = None,
    dry_run: DryRunOption = False,
    limit: LimitOption = None,
    task: TaskOption = None,
    remember_hours: RememberOption = 24,
    prefix: Annotated[str, typer.Option("--prefix", help="The prefix of BullMQ's keys.")] = "bull",
    format: Annotated[
        BullmqFormat,
        typer.Option("--format", help="The payload: the job's name and data, or its data alone."),
    ] = "envelope",
) -> None:
    """Move the waiting, paused, prioritized and delayed jobs of a queue of BullMQ."""
    move = Move(session, target, from_url, dry_run, limit, remember_hours)
    words = redis_cli(session.address, session.client)
    key = session.queue(target).keys[0]
    move.run(BullmqSource(move.client(), source, prefix, format, assigned("--task", task or []), words, key))


def steps_of(text: str) -> list[int]:
    """The priority steps that an option names. Raises ValueError: the list of a step left out would stay."""
    try:
        return [int(one) for one in text.split(",")]
    except ValueError:
        raise ValueError(f"--priority-steps takes numbers, such as 0,3,6,9, not {text!r}") from None


def celery(
    session: Session,
    source: OldQueue,
    target: NewQueue,
    from_url: FromOption = None,
    dry_run: DryRunOption = False,
    limit: LimitOption = None,
    task: TaskOption = None,
    remember_hours: RememberOption = 24,
    format: Annotated[
        CeleryFormat,
        typer.Option("--format", help="The payload: for taskslot's workers, or Celery's own message."),
    ] = "envelope",
    key_prefix: Annotated[
        str, typer.Option("--key-prefix", metavar="TEXT", help="The transport option global_keyprefix.")
    ] = "",
    priority_steps: Annotated[
        str, typer.Option("--priority-steps", metavar="N,…", help="The transport option priority_steps.")
    ] = "0,3,6,9",
    unacked: Annotated[
        bool, typer.Option("--unacked", help="Also move what workers have fetched. Stop all workers first.")
    ] = False,
    yes: YesOption = False,
) -> None:
    """Move the waiting tasks of a queue of Celery on Redis, and with --unacked those that dead workers hold."""
    move = Move(session, target, from_url, dry_run, limit, remember_hours)
    steps = steps_of(priority_steps)
    if unacked and not dry_run:
        question = "Tasks that a living worker holds would run twice. Are all of Celery's workers stopped?"
        confirm(question, yes)
    names = assigned("--task", task or [])
    move.run(CelerySource(move.client(), source, format, key_prefix, steps, unacked, names))
