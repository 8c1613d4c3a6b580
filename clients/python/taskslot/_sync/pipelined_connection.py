# Made of taskslot/_async/pipelined_connection.py by make_sync.py: change it there.
"""A connection on which a command is sent before the one ahead of it is answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from ..commands import Word


class PipelinedConnection:
    """A connection that is lent by a client's pool, or by a node of an asyncio cluster client, for a `with` block.

    It goes past `execute_command`, which waits for each reply. Where replies are still to come at the end of the block,
    the connection is cut before it goes back.
    """

    def __init__(self, lender: Any) -> None:
        self.pending = 0  # replies that are still to come
        self._lender = lender
        self._connection: Any = None

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _open(self) -> None:
        """Borrow the connection, made if there is none."""
        if hasattr(self._lender, "acquire_connection"):
            self._connection = self._lender.acquire_connection()
            return
        try:
            self._connection = self._lender.get_connection()
        except TypeError:  # valkey-py, and redis-py before 5.3, want to be told for what
            self._connection = self._lender.get_connection("_")

    def send(self, words: Sequence[Word]) -> None:
        """Send a command."""
        # A look whether the connection is sound would take the reply that is to come for its own.
        packed = self._connection.pack_command(*words)
        self.pending += 1
        self._connection.send_packed_command(packed, check_health=False)

    def read(self) -> Any:
        """The next reply; one that says an error is raised."""
        reply = self._connection.read_response(disable_decoding=True)
        self.pending -= 1
        return reply

    def _close(self) -> None:
        """Give the connection back."""
        if self.pending:
            self._connection.disconnect()
        if not hasattr(self._lender, "acquire_connection"):
            self._lender.release(self._connection)
        elif hasattr(self._lender, "release"):
            self._lender.release(self._connection)
        else:
            self._lender._free.append(self._connection)
