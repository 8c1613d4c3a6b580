"""The log file of a process of the demo. After a kill -9 it is complete up to its last line."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def now() -> float:
    """The wall clock in unix seconds. The servers use the same clock, so instants can be compared."""
    return time.time()


class Log:
    """A file of JSON lines. Each has its time `t`, and a word `what` that names the kind of line."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def say(self, what: str, **fields: Any) -> None:
        """Write a line at once, without a buffer that would be lost with the process."""
        line = json.dumps({"t": round(now(), 4), "what": what, **fields}, separators=(",", ":"))
        os.write(self._file, line.encode() + b"\n")


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a log, in order; none if the process didn't write any."""
    if path.exists():
        with open(path) as file:
            for line in file:
                yield json.loads(line)
