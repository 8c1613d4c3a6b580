"""Records what this process sends over redis-py, whichever client or library sends it: at the connection itself.

`record(wire)` changes redis-py's connections for the whole process, so it is called first thing in a process that has
nothing else to do. Commands of the module and WAIT are recorded, others pass.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from typing import Any

import redis.asyncio.connection as asynchronous
import redis.connection as synchronous
from harness.server import parse_commands
from redis import ResponseError

from chaos.load.wire import Wire


class Outstanding:
    """The calls of one connection that are not answered yet, in order; None for one that isn't recorded."""

    def __init__(self, wire: Wire):
        self._wire = wire
        self._calls: deque[int | None] = deque()
        self._number, self._opened = wire.connection(), 1

    def sent(self, packed: bytes | str | Iterable[bytes]) -> None:
        """Commands are about to be sent, packed as RESP."""
        if isinstance(packed, str):
            packed = packed.encode()
        data = packed if isinstance(packed, bytes) else b"".join(packed)
        for words in parse_commands(data)[0]:
            name = words[0].upper()
            is_ours = name.startswith(b"TASK.") or name == b"WAIT"
            self._calls.append(self._wire.begin(self._number, self._opened, words) if is_ours else None)

    def read(self) -> int | None:
        """The call whose answer is read now: the first of them."""
        return self._calls.popleft() if self._calls else None

    def answered(self, call: int | None, reply: object) -> None:
        """A call was answered."""
        if call is not None:
            self._wire.answered(call, reply)

    def failed(self, call: int | None, error: BaseException) -> None:
        """Reading the answer failed, or it is an error."""
        if call is None:
            return
        code = getattr(error, "status_code", None)
        if isinstance(error, ResponseError) or code:
            # redis-py takes the codes that it knows out of the text.
            self._wire.refused(call, f"{code} {error}" if code else str(error))
        else:
            self._wire.unknown(call, type(error).__name__)

    def closed(self, at: float) -> None:
        """The connection was closed at this time: what isn't answered never will be."""
        while self._calls:
            call = self._calls.popleft()
            if call is not None:
                self._wire.unknown(call, "closed")
        self._wire.closed(self._number, at)
        self._opened += 1


def record(wire: Wire) -> None:
    """Record all calls of this process from now on, sync and asyncio."""
    record_sync(wire)
    record_asyncio(wire)


def outstanding(connection: Any, wire: Wire) -> Outstanding:
    """The calls of a connection."""
    calls: Outstanding = connection.__dict__.setdefault("_chaos_calls", None) or Outstanding(wire)
    connection._chaos_calls = calls
    return calls


def record_sync(wire: Wire) -> None:
    """Record the calls of sync clients."""
    kind: Any = synchronous.AbstractConnection
    send, read, disconnect = kind.send_packed_command, kind.read_response, kind.disconnect

    def send_packed_command(self: Any, command: Any, check_health: bool = True) -> None:
        if not self._sock:
            # It greets the server, and those commands come before this one.
            self.connect_check_health(check_health=False)
        command = list(command) if not isinstance(command, bytes | str) else command
        outstanding(self, wire).sent(command)
        send(self, command, check_health)

    def read_response(self: Any, *args: Any, **options: Any) -> Any:
        calls = outstanding(self, wire)
        call = calls.read()
        try:
            reply = read(self, *args, **options)
        except BaseException as error:
            calls.failed(call, error)
            raise
        calls.answered(call, reply)
        return reply

    def disconnected(self: Any, *args: Any, **options: Any) -> None:
        was_open, at = self._sock is not None, time.monotonic()
        disconnect(self, *args, **options)
        if was_open:
            outstanding(self, wire).closed(at)

    kind.send_packed_command, kind.read_response = send_packed_command, read_response
    kind.disconnect = disconnected


def record_asyncio(wire: Wire) -> None:
    """Record the calls of asyncio clients."""
    kind: Any = asynchronous.AbstractConnection
    send, read, disconnect = kind.send_packed_command, kind.read_response, kind.disconnect

    async def send_packed_command(self: Any, command: Any, check_health: bool = True) -> None:
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        command = list(command) if not isinstance(command, bytes | str) else command
        outstanding(self, wire).sent(command)
        await send(self, command, check_health)

    async def read_response(self: Any, *args: Any, **options: Any) -> Any:
        calls = outstanding(self, wire)
        call = calls.read()
        try:
            reply = await read(self, *args, **options)
        except BaseException as error:
            calls.failed(call, error)
            raise
        calls.answered(call, reply)
        return reply

    async def disconnected(self: Any, *args: Any, **options: Any) -> None:
        was_open, at = self.is_connected, time.monotonic()
        try:
            await disconnect(self, *args, **options)
        finally:
            if was_open:
                outstanding(self, wire).closed(at)

    kind.send_packed_command, kind.read_response = send_packed_command, read_response
    kind.disconnect = disconnected
