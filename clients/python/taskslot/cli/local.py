"""Commands that need no server: where the module is, and the names of shards."""

from typing import Annotated

import typer

from .. import module
from ..shards import names, slot_of
from . import format, output
from .session import Session, command


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    command(app)(path)
    command(app)(shards)


def path(session: Session) -> None:
    """Print the module's file: redis-server --loadmodule "$(taskslot path)"."""
    file = module.path()
    output.json_line({"path": str(file)}) if session.json else output.line(str(file))


def shards(
    session: Session,
    queue: Annotated[str, typer.Argument(help="The logical queue.")],
    number: Annotated[int, typer.Argument(min=1, max=16384, help="How many shards it is cut into.")],
) -> None:
    """Print the keys of a queue's shards and their slots."""
    keys = names(queue, number)
    slots = [slot_of(key.encode()) for key in keys]
    if session.json:
        for shard, (key, slot) in enumerate(zip(keys, slots, strict=True)):
            output.json_line({"shard": shard, "key": key, "slot": slot})
        return
    rows = [("shard", "key", "slot")]
    rows += [(str(shard), key, str(slot)) for shard, (key, slot) in enumerate(zip(keys, slots, strict=True))]
    for line in format.columns(rows, frozenset({0, 2})):
        output.line(line)
