"""The questions of one run: what was refused, and which servers went away meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ...clients import Client

T = TypeVar("T")


class Questions:
    """Asks servers. `refused` says for a command and an address why the server refuses it."""

    def __init__(self, client: Any) -> None:
        self.kind = Client(client)
        self.refused: dict[tuple[str, str], str] = {}
        self.away: list[str] = []

    def ask(self, command: str, address: str, question: Callable[[], T]) -> T | None:
        """The answer, or None if the server refuses the command or is away; that is noted."""
        if address in self.away:
            return None
        try:
            return question()
        except Exception as error:
            if self.kind.is_away(error):
                self.away.append(address)
            elif isinstance(error, self.kind.errors.ResponseError):
                self.refused[command, address] = " ".join(str(error).split())
            else:
                raise
        return None


def text_of(value: bytes | str) -> str:
    """Bytes or text as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
