"""A client in a few lines, for plain_worker.py: one connection, on which commands do not wait for each other."""

from __future__ import annotations

import socket
import threading
from collections import deque
from typing import Any


class Away(Exception):
    """There was no reply: the connection broke, or the time is over."""


class Refusal(Exception):
    """An error reply, with its code."""


class Client:
    """A connection that is opened again after it broke. Threads can share it: replies come in the order of commands."""

    def __init__(self, host: str, port: int, timeout_s: float) -> None:
        self._address = host, port
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._link: Link | None = None

    def ask(self, *words: object) -> Any:
        """Send a command and wait for its reply. Raises `Away` and `Refusal`."""
        with self._lock:
            if self._link is None or self._link.is_broken:
                try:
                    self._link = Link(socket.create_connection(self._address, timeout=1.0))
                except OSError as error:
                    raise Away(str(error)) from None
            link = self._link
            ticket = link.send(words)
        if not ticket.come.wait(self._timeout_s):
            link.close()
            raise Away("no reply in time")
        if isinstance(ticket.reply, Exception):
            raise ticket.reply
        return ticket.reply

    def is_broken(self) -> bool:
        """Whether the connection has broken since the last command."""
        return self._link is not None and self._link.is_broken


class Ticket:
    """A reply to come."""

    def __init__(self) -> None:
        self.come = threading.Event()
        self.reply: Any = None

    def settle(self, reply: Any) -> None:
        """Hand out the reply."""
        self.reply = reply
        self.come.set()


class Link:
    """An open connection, and the thread that reads its replies."""

    def __init__(self, opened: socket.socket) -> None:
        opened.settimeout(None)
        self._socket = opened
        self._file = opened.makefile("rb")
        self._tickets: deque[Ticket] = deque()
        self.is_broken = False
        threading.Thread(target=self._read_all, daemon=True).start()

    def send(self, words: tuple[object, ...]) -> Ticket:
        """Send a command."""
        ticket = Ticket()
        self._tickets.append(ticket)
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        data = b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
        try:
            self._socket.sendall(data)
        except OSError:
            self.close()
        if self.is_broken:
            ticket.settle(Away("the connection is broken"))
        return ticket

    def close(self) -> None:
        """Give up the connection, and all replies to come."""
        self.is_broken = True
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def _read_all(self) -> None:
        try:
            while True:
                reply = self._read()
                self._tickets.popleft().settle(reply)
        except (OSError, EOFError, ValueError, IndexError):
            self.is_broken = True
        while self._tickets:
            self._tickets.popleft().settle(Away("the connection broke"))

    def _read(self) -> Any:
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError
        kind, rest = line[:1], line[1:-2]
        match kind:
            case b"+":
                return rest.decode()
            case b"-":
                return Refusal(rest.decode())
            case b":":
                return int(rest)
            case b"$":
                return None if rest == b"-1" else self._file.read(int(rest) + 2)[:-2]
            case b"*":
                return [self._read() for _ in range(int(rest))]
        raise ValueError(line)
