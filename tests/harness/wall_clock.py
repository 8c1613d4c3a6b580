"""Reads and sets the wall clock of a server."""

from __future__ import annotations

import time

from harness.server import Server
from harness.talk import Talk


def ms(talk: Talk) -> int:
    """The server's wall clock in ms."""
    seconds, micros = talk("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


def step(server: Server, talk: Talk, by: int) -> None:
    """Set the server's clock, and wait until the server and the module, which looks every 10 ms, have noticed."""
    server.clock.step(by)
    seen = server.clock.shift

    def is_told() -> bool:
        return abs(ms(talk) - true_ms() - seen) < 5_000

    server.wait_until(is_told, "the clock has moved")
    end = time.monotonic() + 0.02
    server.wait_until(lambda: time.monotonic() > end, "the module has seen it")
    talk("TASK.LEN", "any")


def true_ms() -> int:
    """This machine's wall clock in ms."""
    return int(time.time() * 1000)
