"""Parses redis-cli sessions, and formats replies as redis-cli does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from harness.talk import Error

PROMPT = re.compile(r"127\.0\.0\.1:(\d+)(?:\[\d+\])?(?:\(TX\))?> (.*)")
# The time that a command took, below its reply.
TOOK = re.compile(r"\(\d+\.\d\ds\)")
# redis-cli shows the replies of these commands without quotes.
PLAIN = re.compile(
    r"(INFO|LOLWUT|(MEMORY|LATENCY) DOCTOR|MEMORY MALLOC-STATS|CLIENT (LIST|INFO)|CLUSTER (INFO|NODES))\b",
    re.I,
)
WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|\'((?:[^\'\\]|\\.)*)\'|([^\s"\']+)')
ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "a": "\a"}


@dataclass
class Typed:
    """A command after a prompt, with the lines below it."""

    line: int
    port: int
    command: str
    shown: list[str] = field(default_factory=list)

    @property
    def words(self) -> list[str]:
        """The words of the command, as redis-cli splits them."""
        return split(self.command)

    @property
    def queue(self) -> str | None:
        """The queue that the command names, if it is a command of taskslot."""
        words = self.words
        of_one = len(words) > 1 and words[0].upper().startswith("TASK.") and words[0].upper() != "TASK.MCLAIM"
        return words[1] if of_one else None

    @property
    def subscribes(self) -> bool:
        """Whether messages follow the command's reply."""
        return bool(re.match(r"[PS]?SUBSCRIBE\b", self.command, re.I))

    @property
    def waits(self) -> bool:
        """Whether the command can wait in the server."""
        return bool(re.search(r"\bBLOCK \d+\b|^B[LRZ]\w*(POP|MOVE)\w*\b", self.command, re.I))

    @property
    def waits_without_limit(self) -> bool:
        """Whether the command waits without a time limit."""
        return bool(re.search(r"\bBLOCK 0\b", self.command, re.I))


def session(lines: list[str], first: int) -> list[Typed]:
    """Returns the commands of a block whose first line is `first`. Raises a ValueError if it isn't a session."""
    typed: list[Typed] = []
    for number, line in enumerate(lines, first):
        found = PROMPT.fullmatch(line)
        if found:
            typed.append(Typed(number, int(found[1]), found[2].strip()))
        elif not typed:
            raise ValueError(f"a session begins with a prompt, as `127.0.0.1:6379> `, not with: {line}")
        elif not TOOK.fullmatch(line):
            typed[-1].shown.append(line)
    if not typed:
        raise ValueError("a session without a command")
    return typed


def split(command: str) -> list[str]:
    """Splits a command line as redis-cli does."""
    words, at = [], 0
    while at < len(command):
        if command[at].isspace():
            at += 1
            continue
        found = WORD.match(command, at)
        if not found:
            raise ValueError(f"quotes that don't match: {command}")
        double, single, plain = found.groups()
        if double is not None:
            words.append(re.sub(r"\\(x[0-9a-fA-F]{2}|.)", _unescaped, double))
        else:
            words.append(plain if single is None else single.replace("\\'", "'"))
        at = found.end()
    return words


def _unescaped(found: re.Match) -> str:
    code = found[1]
    return chr(int(code[1:], 16)) if len(code) == 3 else ESCAPES.get(code, code)


def written(reply: object, command: str = "") -> list[str]:
    """Formats a reply to a command as redis-cli does. Returns lines."""
    if isinstance(reply, bytes) and PLAIN.match(command):
        return reply.decode("utf-8", "replace").rstrip("\r\n").splitlines()
    return list(_written(reply))


def _written(reply: object) -> Iterator[str]:
    match reply:
        case Error():
            yield f"(error) {reply}"
        case []:
            yield "(empty array)"
        case list():
            width = len(str(len(reply)))
            for number, one in enumerate(reply, 1):
                head = f"{number:>{width}}) "
                for line in _written(one):
                    yield head + line
                    head = " " * len(head)
        case None:
            yield "(nil)"
        case bytes():
            yield f'"{"".join(map(_escaped, reply))}"'
        case int():
            yield f"(integer) {reply}"
        case _:
            yield str(reply)


def _escaped(byte: int) -> str:
    char = chr(byte)
    if char in '\\"':
        return f"\\{char}"
    short = next((code for code, meant in ESCAPES.items() if meant == char), None)
    if short:
        return f"\\{short}"
    return char if 32 <= byte < 127 else f"\\x{byte:02x}"
