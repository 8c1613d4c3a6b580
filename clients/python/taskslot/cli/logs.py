"""The log of `taskslot worker` on stderr: lines for people, or a line of JSON for each record."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from datetime import UTC, datetime
from typing import Any

# What a record about a task has in addition, in this order. A payload is never among it.
FIELDS = ("event", "task", "name", "queue", "attempt", "attempts", "delay_ms", "ms", "error")
# Colours of terminals: dim, yellow, red.
DIM, COLOURS, PLAIN = (
    "\033[2m",
    {"WARNING": "\033[33m", "ERROR": "\033[31m", "CRITICAL": "\033[31m"},
    "\033[0m",
)


class JsonLines(logging.Formatter):
    """Writes a record as one line of JSON. Its fields are in docs/python-worker.md."""

    def __init__(self) -> None:
        super().__init__()
        self.worker: str | None = None

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            "time": at.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "worker": self.worker,
            "pid": record.process,
        }
        line |= {name: vars(record).get(f"task_{name}") for name in FIELDS}
        if record.exc_info and record.exc_info[0] is not None:
            line["traceback"] = self.formatException(record.exc_info)
        elif record.exc_text:  # of the library's own records
            line["traceback"] = record.exc_text
        return json.dumps({name: value for name, value in line.items() if value is not None})


class Lines(logging.Formatter):
    """Writes a record for people: its time, the number of the process if there are several, and the message."""

    def __init__(self, number: int | None, colours: bool) -> None:
        super().__init__()
        self._process = f"[{number}] " if number is not None else ""
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        """The lines: a traceback follows its message."""
        at = time.strftime("%H:%M:%S", time.localtime(record.created)) + f".{int(record.msecs):03d}"
        level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        text = super().format(record)
        if not self._colours:
            return f"{at} {self._process}{level}{text}"
        colour = COLOURS.get(record.levelname, "")
        return f"{DIM}{at} {self._process}{PLAIN}{colour}{level}{text}{PLAIN if colour else ''}"


def set_up(kind: str, level: str, number: int | None) -> logging.Formatter:
    """Log to stderr. A module that sets up logging itself when it is loaded does that after this, and so wins."""
    colours = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    formatter = JsonLines() if kind == "json" else Lines(number, colours)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=level.upper(), handlers=[handler])
    return formatter
