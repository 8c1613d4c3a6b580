"""What a client sent and what it was answered, line by line, as Python's and Node's clients write it while they run.

A line is a JSON object. Texts are the bytes of the command in Latin-1. Times are seconds of the machine's monotonic
clock.

    {"n": 4, "k": 2, "o": 1, "t": 81.5, "w": ["TASK.PUSH", "q", "uid:p1/0:9"]}   call 4 begins, on connection 2
    {"n": 4, "t": 81.6, "r": "1795773133658-0"}                      it was answered
    {"n": 4, "t": 81.6, "x": "PAUSED the queue accepts no pushes"}   it was refused with this error
    {"n": 4, "t": 81.6, "u": "TimeoutError"}                         nobody knows what became of it
    {"k": 2, "t": 81.7, "closed": true}                              connection 2 is closed

`o` grows when a connection is opened anew. A call without a second line is one whose process was killed meanwhile.
`calls` makes a history of these lines.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SUFFIX = ".wire"


class Wire:
    """The file of one process. Each line is written at once, so that a kill tears at most the last one."""

    def __init__(self, path: Path):
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._lock = threading.Lock()
        self._calls = self._connections = 0

    def connection(self) -> int:
        """A number for a new connection."""
        with self._lock:
            self._connections += 1
            return self._connections

    def begin(self, connection: int, opened: int, words: Sequence[bytes]) -> int:
        """A command is about to be sent on a connection that was opened so often. Returns the number of the call."""
        with self._lock:
            self._calls += 1
            number = self._calls
        self._write({"n": number, "k": connection, "o": opened, "t": time.monotonic(), "w": plain(words)})
        return number

    def answered(self, number: int, reply: object) -> None:
        """A call was answered."""
        self._write({"n": number, "t": time.monotonic(), "r": plain(reply)})

    def refused(self, number: int, error: str) -> None:
        """A call was answered with an error."""
        self._write({"n": number, "t": time.monotonic(), "x": error})

    def unknown(self, number: int, why: str) -> None:
        """A call was given up: it may have happened."""
        self._write({"n": number, "t": time.monotonic(), "u": why})

    def closed(self, connection: int, at: float) -> None:
        """A connection was closed at this time."""
        self._write({"k": connection, "t": at, "closed": True})

    def _write(self, line: dict[str, Any]) -> None:
        os.write(self._file, json.dumps(line, separators=(",", ":")).encode() + b"\n")


def plain(value: object) -> Any:
    """A reply or words of a command as JSON has them: bytes as Latin-1, maps as flat arrays."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, dict):
        return [plain(part) for pair in value.items() for part in pair]
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, Exception):
        return {"error": str(value)}
    return value


def lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a file. One that is torn, because its process was killed, is left out."""
    read = []
    for line in path.read_bytes().split(b"\n"):
        try:
            read.append(json.loads(line))
        except ValueError:
            continue
    return read
