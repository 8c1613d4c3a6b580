"""What other commands do to the key of a queue while it is used, inside of MULTI or of a script.

Some lose the queue, and then its settings are made anew in the same transaction. The others bring the queue back to
where it was: for workers and producers nothing has happened.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import redis
from harness.server import Server

from chaos.injector import Injector, injector
from chaos.load.plan import setup
from chaos.stage import Stage

Command = tuple[object, ...]
ASIDE = "aside"


def flushed(key: str) -> dict[str, list[Command]]:
    """Operations that lose this queue; the first three lose all queues."""
    return {
        "FLUSHALL": [("FLUSHALL",)],
        "FLUSHALL ASYNC": [("FLUSHALL", "ASYNC")],
        "FLUSHDB": [("FLUSHDB",)],
        "DEL": [("DEL", key)],
        "UNLINK": [("UNLINK", key)],
        "EXPIRE": [("PEXPIREAT", key, 1)],
        "SET over": [("SET", key, "x"), ("DEL", key)],
        "RENAME over": [("SET", ASIDE, "x"), ("RENAME", ASIDE, key), ("DEL", key)],
    }


def kept(key: str) -> dict[str, list[Command]]:
    """Operations after which this queue is as before."""
    return {
        "RENAME": [("RENAME", key, ASIDE), ("RENAME", ASIDE, key)],
        "SWAPDB": [("SWAPDB", 0, 1), ("SWAPDB", 0, 1)],
        "MOVE": [("MOVE", key, 1), ("SELECT", 1), ("MOVE", key, 0), ("SELECT", 0)],
        "COPY": [("COPY", key, ASIDE, "REPLACE"), ("DEL", ASIDE)],
        "PERSIST": [("PEXPIRE", key, 3_600_000), ("PERSIST", key)],
    }


RESTORE = "redis.call('RESTORE', KEYS[1], 0, redis.call('DUMP', KEYS[1]), 'REPLACE')"


def lose(name: str) -> Injector:
    """Something that loses a queue, or all of them."""

    @injector(name, is_command=True)
    def losing(stage: Stage) -> None:
        server, key = stage.topology.primaries()[0], any_queue(stage)
        again = settings(stage, None if name.startswith("FLUSH") else key)
        with stage.fault(name) as fault:
            fault.permits.loses = True
            fault.permits.queues = None if name.startswith("FLUSH") else [key]
            fault.details |= {"queue": key, "inside": transact(stage, server, [*flushed(key)[name], *again])}

    return losing


def keep(name: str) -> Injector:
    """Something that a queue survives unchanged."""

    @injector(name, is_command=True)
    def keeping(stage: Stage) -> None:
        server, key = stage.topology.primaries()[0], any_queue(stage)
        with stage.fault(name) as fault:
            fault.details |= {"queue": key, "inside": transact(stage, server, kept(key)[name])}

    return keeping


# All of them.
LOSE = [lose(name) for name in flushed("")]
KEEP = [keep(name) for name in kept("")]


@injector("DUMP, RESTORE", is_command=True)
def restore(stage: Stage) -> None:
    """DUMP, and RESTORE with REPLACE, in one script: leases and schedules are kept."""
    server, key = stage.topology.primaries()[0], any_queue(stage)
    with stage.fault("DUMP, RESTORE") as fault, server.client() as client:
        fault.details["queue"] = key
        client.eval(RESTORE, 1, key)


@injector("RESTORE of a backup", is_command=True)
def restore_older(stage: Stage) -> None:
    """RESTORE of what DUMP returned some time ago: tasks that were acked meanwhile are there again."""
    server, key = stage.topology.primaries()[0], any_queue(stage)
    with stage.fault("RESTORE of a backup") as fault, server.client() as client:
        dumped = client.dump(key)
        stage.wait(stage.random.uniform(0.1, 1.0))
        client.restore(key, 0, dumped, replace=True)
        fault.permits.undoes = (fault.began, time.monotonic())
        fault.permits.queues = [key]
        fault.permits.doubles = True


def transact(stage: Stage, server: Server, commands: Sequence[Command]) -> str:
    """Do these at once, in MULTI or in a script. Returns which."""
    how: Callable[[redis.Redis, Sequence[Command]], None]
    name, how = stage.random.choice([("MULTI", in_multi), ("EVAL", in_script)])
    with server.client() as client:
        how(client, commands)
    return name


def in_multi(client: redis.Redis, commands: Sequence[Command]) -> None:
    """In MULTI and EXEC. Raises the first error of a command."""
    with client.pipeline(transaction=True) as pipe:
        for command in commands:
            pipe.execute_command(*command)
        pipe.execute()


def in_script(client: redis.Redis, commands: Sequence[Command]) -> None:
    """In EVAL."""
    words = [str(word) for command in commands for word in (len(command), *command)]
    client.eval(
        "local at = 1 while at <= #ARGV do local n = tonumber(ARGV[at])"
        " redis.call(unpack(ARGV, at + 1, at + n)) at = at + n + 1 end",
        0,
        *words,
    )


def settings(stage: Stage, key: str | None) -> list[Command]:
    """The commands that make the settings of a queue, or of all."""
    assert stage.load
    return [command for command in setup(stage.load.options) if key in (None, command[1])]


def any_queue(stage: Stage) -> str:
    """The key of one of the load's queues."""
    assert stage.load
    return stage.random.choice(stage.load.options.queues())
