"""A bare client for tests, which returns replies with the server's types and errors as values; and a reader of effects.

`c = Talk(server)`; then `c("TASK.LEN", "q") == 0` and `c("TASK.LEN") == Error("ERR wrong number …")`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from harness.checksums import plain_part
from harness.effects import is_whole, unpack
from harness.server import Server, parse_commands


class Error(str):
    """An error reply with its code. It is only equal to other errors, not to a string with its text."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Error) and str.__eq__(self, other)

    __hash__ = str.__hash__


class OfOptions(Error):
    """Equal to any error about an option that is unknown, repeated, without a value, missing or misplaced."""

    SAYS = re.compile(
        r"ERR (unknown option '[ -~]{0,35}', expected [A-Z, ]+( or [A-Z]+)?( \([A-Za-z ]+\))?|"
        r"unexpected argument '[ -~]{0,35}'|"
        r"options? [A-Za-z, -]+ (is given twice|has no value|has fewer values than its number says|"
        r"is required|cannot be combined|requires [A-Z]+))"
    )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Error) and self.SAYS.fullmatch(other) is not None

    __hash__ = str.__hash__


SYNTAX = OfOptions("any error that names an option")


class Talk:
    """One connection. Bulk strings are returned as bytes, status replies as str, maps as dict, null as None.

    `protocol=3` uses RESP3. Arguments are sent as they are: bytes, or their `str`.
    """

    def __init__(self, server: Server, protocol: int = 2):
        self._socket = server.raw()
        self._file = self._socket.makefile("rb")
        self._protocol = protocol
        self._has_maps = protocol == 3 and server.installed.version >= (7, 0)
        if protocol == 3:
            assert not isinstance(self("HELLO", 3), Error)

    def __call__(self, *words: object) -> object:
        """Send one command and return its reply."""
        self.send(words)
        return self.read()

    def send(self, *commands: Iterable[object]) -> None:
        """Send commands without waiting for replies."""
        self._socket.sendall(b"".join(map(packed, commands)))

    def many(self, commands: list[Iterable[object]], at_once: int = 500) -> list[object]:
        """Send commands in bulk and return a reply for each. Fails if there is one reply too many or too few."""
        replies = []
        for start in range(0, len(commands), at_once):
            batch = commands[start : start + at_once]
            self.send(*batch, ["ECHO", start])
            replies += [self.read() for _ in batch]
            assert self.read() == str(start).encode(), "each command got one reply"
        return replies

    def map(self, *words: object) -> dict:
        """Send a command whose reply is a map: a RESP3 map from 7.0 on, otherwise a flat array."""
        return self.as_map(self(*words))

    def as_map(self, reply: object) -> dict:
        """A reply, or a part of it, as a dict. Fails if it is not a map in the form of this protocol and server."""
        if self._has_maps:
            assert isinstance(reply, dict), reply
            return reply
        assert isinstance(reply, list) and len(reply) % 2 == 0, reply
        return dict(zip(reply[::2], reply[1::2], strict=True))

    def push(self, key: object = "q", payload: object = "p", *options: object) -> bytes:
        """Push a task, and return its id. Fails if the push is refused."""
        task = self("TASK.PUSH", key, payload, *options)
        assert isinstance(task, bytes), task
        return task

    def claim(self, key: object = "q", *options: object) -> bytes:
        """Claim one task, and return its handle. Fails if there is none."""
        tasks = self("TASK.CLAIM", key, *options)
        assert isinstance(tasks, list) and len(tasks) == 1, tasks
        return tasks[0][0]

    def digest(self, key: object = "q") -> str:
        """The server's digest of the value in a key."""
        return self("DEBUG", "DIGEST-VALUE", key)[0]

    def read(self) -> object:
        """Read the next reply."""
        line = self._file.readline()
        assert line.endswith(b"\r\n"), f"a whole line, not {line!r}: has the server closed the connection?"
        kind, rest = line[:1], line[1:-2]
        match kind:
            case b"+":
                return rest.decode()
            case b"-":
                return Error(rest.decode("latin-1"))
            case b":":
                return int(rest)
            case b"$" if rest != b"-1":
                return self._file.read(int(rest) + 2)[:-2]
            case b"*" | b"~" if rest != b"-1":
                return [self.read() for _ in range(int(rest))]
            case b"%":
                return {self.read(): self.read() for _ in range(int(rest))}
            case b"_" | b"$" | b"*":
                assert (kind == b"_") == (self._protocol == 3), f"null as this protocol has it, not {line!r}"
                return None
        raise AssertionError(f"a reply of a type that no command of ours gives: {line!r}")


def packed(words: Iterable[object]) -> bytes:
    """A command in RESP."""
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def payloads(tasks: object) -> list[bytes]:
    """The payloads of a claim's reply."""
    assert isinstance(tasks, list), tasks
    return [task[1] for task in tasks]


# ---- effects


@dataclass
class Effect:
    """The effect that a server replicated for one change: events by name, each with its fields in order."""

    key: bytes
    number: int
    at: int
    events: list[tuple[str, list]]
    payloads: list[bytes]
    # Written by a primary before its first change of a queue; it is not one of the events.
    term: list | None

    @property
    def names(self) -> list[str]:
        """The names of the events, in order."""
        return [name for name, _ in self.events]


def read_effect(command: list[bytes]) -> Effect:
    """Read a propagated command. Fails if it is not an effect."""
    name, key, effect, *payloads = command
    assert name == b"TASK._APPLY", command
    assert is_whole(*command[1:]), "its checksum"
    number, at, named = unpack(effect)
    events = [next(iter(event.items())) for event in named]
    term = events.pop(0)[1] if events[0][0] == "term" else None
    return Effect(key, number, at, events, payloads, term)


def effects(server: Server) -> list[Effect]:
    """The effects that a server has propagated since the last call. The server needs `appendonly="yes"`.

    MULTI and EXEC, which Redis 6.2 adds around everything that a module propagates, are left out, and so are the
    messages about clocks.
    """
    others = (b"MULTI", b"EXEC", b"TASK._CLOCK")
    return [read_effect(command) for command in server.propagated() if command[0] not in others]


def event_names(server: Server) -> list[str]:
    """The names of the events propagated since the last call. The server needs `appendonly="yes"`."""
    commands = [command for command in server.propagated() if command[0] == b"TASK._APPLY"]
    return [name for command in commands for name in read_effect(command).names]


def stored_parts(server: Server) -> list[list[bytes]]:
    """The kinds and chunks of TASK._LOAD in a rewritten AOF, without their checksums.

    The server needs `appendonly="yes"` and `aof_use_rdb_preamble="no"`.
    """
    c = Talk(server)
    assert not isinstance(c("BGREWRITEAOF"), Error)

    def is_done() -> bool:
        info = c("INFO", "persistence")
        return b"aof_rewrite_in_progress:0" in info and b"aof_rewrite_scheduled:0" in info

    server.wait_until(is_done, "the AOF is rewritten")
    bases = list((server.dir / "appendonlydir").glob("*.base.aof")) or [server.dir / "appendonly.aof"]
    commands, _ = parse_commands(bases[0].read_bytes())
    return [plain_part(words)[2:] for words in commands if words[0] == b"TASK._LOAD"]


def parts(handle: bytes) -> tuple[list[int], int, int]:
    """The parts of a handle: the task's id as in effects, the lease's number, the nonce."""
    task, lease = handle.split(b"@")
    number, nonce = lease.split(b"-")
    return id_parts(task), int(number), int(nonce, 16)


def id_parts(task: bytes) -> list[int]:
    """A task's id as in effects."""
    return [int(part) for part in task.split(b"-")]
