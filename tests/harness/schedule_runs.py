"""The runs of schedules: their number by the queue, and each run by the AOF of a server."""

from __future__ import annotations

from harness.server import Server, parse_commands
from harness.talk import Talk, read_effect


def made(talk: Talk, key: str) -> int:
    """The number of runs of the only schedule of a queue."""
    (schedule,) = talk("TASK.INFO", key, "CRON")
    return talk.as_map(schedule)[b"made"]


def fired(server: Server, key: str) -> set[tuple[str, str]]:
    """The runs of a queue's schedule in a server's AOF: for each the time of the next run, and the task.

    The server needs `appendonly="yes"` and `aof_use_rdb_preamble="no"`.
    """
    files = [*server.dir.glob("appendonly.aof"), *server.dir.glob("appendonlydir/*.aof")]
    commands = [command for file in files for command in parse_commands(file.read_bytes())[0]]
    effects = [read_effect(words) for words in commands if words[:2] == [b"TASK._APPLY", key.encode()]]
    events = [event for effect in effects for event in effect.events]
    return {(str(fields[2]), str(fields[1])) for name, fields in events if name == "fire"}
