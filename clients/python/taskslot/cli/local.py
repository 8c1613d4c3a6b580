"""Commands that need no server: the path of the module, and the keys of shards."""

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
    """Print the path of the module, for redis-server --loadmodule "$(taskslot path)"."""
    file = module.path()
    output.json_line({"path": str(file)}) if session.json else output.line(str(file))


def shards(
    session: Session,
    queue: Annotated[str, typer.Argument(help="The queue's name.")],
    number: Annotated[int, typer.Argument(min=1, max=16384, help="The number of shards.")],
) -> None:
    """Print the key and the slot of each shard of a queue."""
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
