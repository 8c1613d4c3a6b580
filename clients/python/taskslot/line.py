"""Sends commands of a sync client on a connection that is kept, without the client's own bookkeeping of each command.

`execute_command` of redis-py costs as much again as the system calls: it takes a connection from the pool and returns
it, and records figures. A `Line` keeps one connection of the client's pool for all threads and queues that use the
client. A second thread at the same time takes another one from the pool and gives it back.
"""

from __future__ import annotations

import os
import select
import types
from collections.abc import Callable, Sequence
from typing import Any

Words = Sequence[bytes | str | int]

# A pool with fewer connections keeps none for a line: the program may need them all.
FEW_CONNECTIONS = 20


class Lent:
    """A connection that is borrowed from a pool."""

    __slots__ = ("_poll", "_sock", "connection")

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self._sock: Any = None
        self._poll: Callable[[int], list[Any]] = lambda _: []

    def is_ready(self) -> bool:
        """Whether the connection is open and has nothing to read, as far as this process knows."""
        if (sock := self.connection._sock) is None:
            return False
        if sock is not self._sock:
            poller = select.poll()
            poller.register(sock, select.POLLIN)
            self._sock, self._poll = sock, poller.poll
        return not self._poll(0)


class Line:
    """The connections of a sync client of a single server, past its `execute_command`."""

    def __init__(self, client: Any, errors: Any) -> None:
        self._client = client
        self._pool = client.connection_pool
        self._refusal = errors.ResponseError
        self._lost = (errors.ConnectionError, errors.TimeoutError, OSError)
        # The kept connection, in a list of at most one, which all lines of this pool share.
        self._kept: list[Lent] = vars(self._pool).setdefault("_taskslot_kept", [])
        self._keeps = keeps(self._pool)

    def ask(self, words: Words) -> Any:
        """Send a command and return its reply, like `execute_command`; error replies are raised.

        If the connection breaks and the client resends by itself, it does so here too.
        """
        lent, is_read = self._take(), False
        connection = lent.connection
        try:
            connection.send_packed_command(connection.pack_command(*words))
            reply = connection.read_response(disable_decoding=True)
            is_read = True
            return reply
        except self._refusal:
            is_read = True
            raise
        except self._lost as error:
            if not resends(self._client, connection, error):
                raise
        finally:
            self._put(lent, is_read)
        return self._client.execute_command(*words, NEVER_DECODE=True)

    def ask_all(self, commands: Sequence[Words]) -> list[Any]:
        """Send commands in one go, once, and return their replies in order; error replies are values here."""
        lent, replies, is_read = self._take(), list[Any](), False
        connection = lent.connection
        try:
            connection.send_packed_command(connection.pack_commands(commands))
            for _ in commands:
                try:
                    replies.append(connection.read_response(disable_decoding=True))
                except self._refusal as refusal:
                    replies.append(refusal)
            is_read = True
        finally:
            self._put(lent, is_read)
        return replies

    def close(self) -> None:
        """Return the kept connection to the pool."""
        while (lent := self._take_kept()) is not None:
            self._pool.release(lent.connection)

    def _take(self) -> Lent:
        if (lent := self._take_kept()) is None:
            return self._borrow()
        is_ready = False
        try:
            is_ready = lent.is_ready()
        finally:
            if not is_ready:
                self._pool.release(lent.connection)  # the pool knows what to do with it
        return lent if is_ready else self._borrow()

    def _take_kept(self) -> Lent | None:
        try:
            lent = self._kept.pop()
        except IndexError:
            return None
        return lent if lent.connection.pid == os.getpid() else None  # not the parent's, from before a fork

    def _borrow(self) -> Lent:
        try:
            return Lent(self._pool.get_connection())
        except TypeError:  # valkey-py, and redis-py before 5.3, want the command's name
            return Lent(self._pool.get_connection("_"))

    def _put(self, lent: Lent, is_read: bool) -> None:
        """Keep or return a connection. `is_read`: all replies were read."""
        if not is_read:
            # A reply may still come, and must not be taken for that of the next command. If even this is interrupted,
            # nobody gets the connection.
            lent.connection.disconnect()
        if is_read and self._keeps and not self._kept and not must_reconnect(lent.connection):
            self._kept.append(lent)
        else:
            self._pool.release(lent.connection)


def sends_plainly(client: Any, library: str) -> bool:
    """Whether commands of a sync, standalone client can go past its `execute_command`: nothing else uses that.

    A derived class, and a tool that records each command (for traces), have an `execute_command` of their own, which
    must see all of them. A client of one connection, and a cache on the client's side, have their own order.
    """
    execute = type(client).execute_command
    is_own = (
        isinstance(execute, types.FunctionType) and execute.__globals__["__name__"] == f"{library}.client"
    )
    has_one = getattr(client, "connection", None) is not None
    pool = client.connection_pool
    is_cached = getattr(pool, "cache", None) is not None or bool(pool.connection_kwargs.get("client_cache"))
    return is_own and not has_one and not is_cached and "execute_command" not in vars(client)


def keeps(pool: Any) -> bool:
    """Whether a connection of this pool can be kept: there are enough, and none is watched as it is returned.

    A system without `poll` can't see whether a kept connection is still open.
    """
    is_plain = type(pool).__name__ == "ConnectionPool"
    is_renewed = (
        pool.connection_kwargs.get("credential_provider") is not None
    )  # re-authenticated when returned
    can_look = hasattr(select, "poll")
    return can_look and is_plain and not is_renewed and pool.max_connections >= FEW_CONNECTIONS


def must_reconnect(connection: Any) -> bool:
    """Whether the server has announced that it will close the connection (maintenance notices of redis-py)."""
    asks = getattr(connection, "should_reconnect", None)
    return asks is not None and bool(asks())


def resends(client: Any, connection: Any, error: BaseException) -> bool:
    """Whether the client sends a command again by itself after this error of its connection."""
    if getattr(connection.retry, "_retries", 0) == 0:
        return False
    # valkey-py, and redis-py before 6, resend only after errors that the user has listed.
    is_limited = hasattr(client, "_disconnect_raise")
    return not is_limited or isinstance(error, tuple(connection.retry_on_error or ()))
