"""Reads the keys that are typed while a live picture is shown."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from types import TracebackType
from typing import Any, Self


class Keys:
    """A context manager that reads keys from the terminal at once. If stdin is not a terminal, it only waits."""

    def __init__(self) -> None:
        self._before: Any = None

    def __enter__(self) -> Self:
        if sys.stdin.isatty():
            self._before = termios.tcgetattr(sys.stdin)
            # Read key by key, without echo. Ctrl-C still interrupts.
            tty.setcbreak(sys.stdin)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)

    def typed(self, wait_s: float) -> str | None:
        """What was typed, as soon as it is, or "" after this time. None if the terminal is gone."""
        if self._before is None:
            time.sleep(wait_s)
            return ""
        if not select.select([sys.stdin], [], [], wait_s)[0]:
            return ""
        return os.read(sys.stdin.fileno(), 64).decode("utf-8", "replace") or None
