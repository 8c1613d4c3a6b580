"""A connection to the primary of some queues that follows it: through restarts, failovers and moved slots.

It is what a careful client does, on one bare connection of redis-py. An error that a failover, a restart or a move
explains is waited out, since the server says with it that it has done nothing. A reply that doesn't come leaves the
call unknown: the caller decides whether it can be sent again.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.connection import Connection
from redis.retry import Retry

from chaos.load.addresses import PASSING, Addresses, Place, primary_of

Words = Sequence[object]

# How long a connection may take to open, and how long a client rests before it tries again, in seconds.
CONNECT_S = 1.0
REST_S = 0.05
# After an unanswered call a client gives the server this long at first, in seconds.
TIMEOUT_S = 2.0
# A client that keeps its connection waits for this long, so that it is still there when a stopped server wakes up.
KEEPS_S = 60.0
# Errors by which a node says: not here, or not now.
ELSEWHERE = ("MOVED", "READONLY", "CLUSTERDOWN", "MASTERDOWN")
NOT_NOW = ("LOADING", "TRYAGAIN", "BUSY", "MISCONF", "NOREPLICAS", "OOM")


class Stopped(Exception):
    """The load is told to stop."""


class Unknown(Exception):
    """A call was not answered: it may have happened, or not."""


class Refused(Exception):
    """The server refused a call and changed nothing. The text is its error, with the code."""

    @property
    def code(self) -> str:
        """The first word of the error."""
        return str(self).split(" ", 1)[0]


class Follower:
    """One connection that follows the primary of a key. `keeps`: it stays with a server that doesn't answer."""

    def __init__(self, addresses: Addresses, key: str, stop: threading.Event, keeps: bool = False):
        self._addresses, self._key, self._stop = addresses, key, stop
        self._timeout_s = KEEPS_S if keeps else TIMEOUT_S
        self._connection: Connection | None = None
        self._place: Place | None = None
        # Whether the connection is to the node that -ASK named: for one command.
        self._asks = False

    def __call__(self, *words: object, wait_ms: int = 0) -> Any:
        """Send a command until a server answers it, and return the reply.

        `wait_ms` is how long the command itself waits. Raises `Refused`, `Unknown` and `Stopped`.
        """
        return self.all([words], wait_ms)[0]

    def again(self, *words: object, wait_ms: int = 0) -> Any:
        """Like a call, but sent again after an unknown outcome too: for commands that are safe to send again."""
        while True:
            try:
                return self(*words, wait_ms=wait_ms)
            except Unknown:
                self._rest()

    def all(self, commands: Sequence[Words], wait_ms: int = 0) -> list[Any]:
        """Send one command, or several at once, and return the replies. Of several, errors are values."""
        while not self._stop.is_set():
            connection = self._connected()
            if connection is None:
                self._rest()
                continue
            try:
                replies = self._exchange(connection, commands, wait_ms)
            except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
                self.leave()
                raise Unknown(type(error).__name__) from error
            if len(commands) > 1 or not isinstance(replies[0], Refused):
                return replies
            self._after(replies[0])
        raise Stopped

    def leave(self) -> None:
        """Close the connection. The next call looks for the primary again."""
        if self._connection is not None:
            self._connection.disconnect()
            self._connection, self._asks = None, False

    # ---- one exchange

    def _exchange(self, connection: Connection, commands: Sequence[Words], wait_ms: int) -> list[Any]:
        if self._asks:
            connection.send_command("ASKING")
            connection.read_response()
        socket: Any = connection._sock
        socket.settimeout(self._timeout_s + wait_ms / 1000)
        connection.send_packed_command(connection.pack_commands(list(commands)), check_health=False)
        replies = [self._read(connection) for _ in commands]
        if self._asks:
            self.leave()
        return replies

    def _read(self, connection: Connection) -> Any:
        try:
            return connection.read_response(disable_decoding=True)
        except redis.RedisError as error:
            code = getattr(error, "status_code", None)
            if not code and not isinstance(error, redis.ResponseError):
                raise
            text = f"{code} {error}" if code else str(error)
            if text.startswith("UNBLOCKED"):
                # The wait was ended; what a NEXT has acked counts.
                raise redis.ConnectionError("UNBLOCKED") from error
            return Refused(text)

    def _after(self, error: Refused) -> None:
        """Go where an error says, or wait and try again; raise it if that doesn't help."""
        words = str(error).split()
        if error.code == "ASK":
            self.leave()
            self._place, self._asks = place(words[2]), True
            return
        if error.code not in ELSEWHERE + NOT_NOW:
            raise error
        if error.code in ELSEWHERE:
            self.leave()
        if error.code == "MOVED":
            self._place = place(words[2])
        else:
            self._rest()

    # ---- the connection

    def _connected(self) -> Connection | None:
        """The open connection, or a new one; None if there is none at the moment."""
        if self._connection is not None and self._connection.is_connected:
            return self._connection
        self.leave()  # redis-py closes it by itself after -LOADING
        target, self._place = self._place, None
        try:
            target = target or primary_of(self._addresses, self._key)
            self._connection = opened(target) if target else None
        except PASSING:
            self._asks = False
        return self._connection

    def _rest(self) -> None:
        if self._stop.wait(REST_S):
            raise Stopped


def opened(target: Place) -> Connection:
    """A new connection to a server, with no retries of its own."""
    connection = Connection(
        host=target[0],
        port=target[1],
        protocol=2,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=CONNECT_S,
        retry=Retry(NoBackoff(), 0),
    )
    connection.connect()
    return connection


def place(text: str) -> Place:
    """The address in -MOVED and -ASK."""
    host, _, port = text.rpartition(":")
    return host or "127.0.0.1", int(port)
