"""Sends commands of a sync client on a connection that is kept, without the client's own bookkeeping of each command.

`execute_command` of redis-py costs as much again as the system calls: it takes a connection from the pool and returns
it, and records figures. A `Line` keeps one connection of the client's pool for all threads and queues that use the
client. A second thread at the same time takes another one from the pool and gives it back.
"""

from __future__ import annotations

import os
import time
import types
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

Words = Sequence[bytes | str | int]

# A pool with fewer connections keeps none for a line: the program may need them all.
FEW_CONNECTIONS = 20
# A kept connection that nobody used for this long is checked before its next use: the server may have closed it.
CHECK_AFTER_S = 0.1

# The kept connection of each pool and when it was last used, as a list of at most one.
KEPT: WeakKeyDictionary[Any, list[tuple[Any, float]]] = WeakKeyDictionary()


class Line:
    """The connections of a sync client of a single server, past its `execute_command`."""

    def __init__(self, client: Any, errors: Any) -> None:
        self._client = client
        self._pool = client.connection_pool
        self._refusal = errors.ResponseError
        self._lost = (errors.ConnectionError, errors.TimeoutError, OSError)
        self._kept = KEPT.setdefault(self._pool, [])
        self._keeps = keeps(self._pool)

    def ask(self, words: Words) -> Any:
        """Send a command and return its reply, like `execute_command`; error replies are raised.

        If the connection breaks and the client resends by itself, it does so here too.
        """
        connection = self._take()
        try:
            connection.send_packed_command(connection.pack_command(*words))
            return connection.read_response(disable_decoding=True)
        except self._refusal:
            raise
        except self._lost:
            connection.disconnect()
            if resends(connection):
                return self._client.execute_command(*words, NEVER_DECODE=True)
            raise
        except BaseException:
            connection.disconnect()  # its reply may still come, and must not be taken for that of the next command
            raise
        finally:
            self._put(connection)

    def ask_all(self, commands: Sequence[Words]) -> list[Any]:
        """Send commands in one go, once, and return their replies in order; error replies are values here."""
        connection, replies = self._take(), []
        try:
            connection.send_packed_command(connection.pack_commands(commands))
            for _ in commands:
                try:
                    replies.append(connection.read_response(disable_decoding=True))
                except self._refusal as refusal:
                    replies.append(refusal)
        except BaseException:
            connection.disconnect()
            raise
        finally:
            self._put(connection)
        return replies

    def close(self) -> None:
        """Return the kept connection to the pool."""
        while self._kept:
            try:
                connection, _ = self._kept.pop()
            except IndexError:
                return
            if connection.pid == os.getpid():
                self._pool.release(connection)

    def _take(self) -> Any:
        try:
            connection, used_at = self._kept.pop()
        except IndexError:
            return self._borrow()
        if connection.pid != os.getpid():  # the parent's, from before a fork
            return self._borrow()
        if time.monotonic() - used_at > CHECK_AFTER_S and not is_clean(connection, self._lost):
            connection.disconnect()  # the next command connects it again
        return connection

    def _borrow(self) -> Any:
        try:
            return self._pool.get_connection()
        except TypeError:  # valkey-py, and redis-py before 5.3, want the command's name
            return self._pool.get_connection("_")

    def _put(self, connection: Any) -> None:
        if self._keeps and not self._kept and not must_reconnect(connection):
            self._kept.append((connection, time.monotonic()))
        else:
            self._pool.release(connection)


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
    """Whether a connection of this pool can be kept: there are enough, and none is watched as it is returned."""
    is_plain = type(pool).__name__ == "ConnectionPool"
    is_renewed = (
        pool.connection_kwargs.get("credential_provider") is not None
    )  # re-authenticated when returned
    return is_plain and not is_renewed and pool.max_connections >= FEW_CONNECTIONS


def is_clean(connection: Any, lost: tuple[type[BaseException], ...]) -> bool:
    """Whether a connection is open, and no reply is left in it."""
    try:
        return not connection.can_read()
    except lost:
        return False


def must_reconnect(connection: Any) -> bool:
    """Whether the server has announced that it will close the connection (maintenance notices of redis-py)."""
    asks = getattr(connection, "should_reconnect", None)
    return asks is not None and bool(asks())


def resends(connection: Any) -> bool:
    """Whether the client sends a command again by itself if the connection breaks."""
    return getattr(connection.retry, "_retries", 0) != 0
