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
    """A context manager that reads single keys from the terminal. If stdin is not a terminal, it only waits."""

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

    def typed(self, wanted: str, wait_s: float) -> bool:
        """Wait for one of the wanted keys. Returns whether it was typed within the time."""
        until = time.monotonic() + wait_s
        if self._before is None:
            time.sleep(wait_s)
            return False
        while (left := until - time.monotonic()) > 0:
            if select.select([sys.stdin], [], [], left)[0]:
                typed = os.read(sys.stdin.fileno(), 64).decode("utf-8", "replace")
                if not typed or any(key in wanted for key in typed):
                    return True
        return False
