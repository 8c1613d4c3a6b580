# Generated from taskslot/_async/pipelined_connection.py by make_sync.py: make changes there.
"""A connection on which several commands are sent before the first reply is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from ..commands import Word


class PipelinedConnection:
    """A connection that a `with` block borrows from a client's pool, or from a node of an asyncio cluster client.

    It bypasses `execute_command`, which waits for each reply. If replies are still outstanding at the end of the block,
    the connection is closed before it is returned.
    """

    def __init__(self, lender: Any) -> None:
        self.pending = 0  # the number of outstanding replies
        self._lender = lender
        self._connection: Any = None

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _open(self) -> None:
        """Borrow the connection. The lender opens one if none is free."""
        if hasattr(self._lender, "acquire_connection"):
            self._connection = self._lender.acquire_connection()
            return
        try:
            self._connection = self._lender.get_connection()
        except TypeError:  # valkey-py, and redis-py before 5.3, want the command's name
            self._connection = self._lender.get_connection("_")

    def send(self, words: Sequence[Word]) -> None:
        """Send a command."""
        # A health check would read the next outstanding reply as its own.
        packed = self._connection.pack_command(*words)
        self.pending += 1
        self._connection.send_packed_command(packed, check_health=False)

    def read(self) -> Any:
        """Read the next reply; an error reply is raised."""
        reply = self._connection.read_response(disable_decoding=True)
        self.pending -= 1
        return reply

    def _close(self) -> None:
        """Return the connection."""
        if self.pending:
            self._connection.disconnect()
        if not hasattr(self._lender, "acquire_connection"):
            self._lender.release(self._connection)
        elif hasattr(self._lender, "release"):
            self._lender.release(self._connection)
        else:
            self._lender._free.append(self._connection)
