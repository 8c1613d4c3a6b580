"""Workers that wait in the server, for tests: which ones wait, are served, or disconnect."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable

from harness.server import PATIENCE_S, Server
from harness.talk import Talk

FORCED = "UNBLOCKED client unblocked via CLIENT UNBLOCK"


def claim(key: object) -> list[object]:
    """The command that claims from a queue, or from a list of queues, without its options."""
    if not isinstance(key, list):
        return ["TASK.CLAIM", key]
    return ["TASK.MCLAIM", key[0], "KEYS", len(key) - 1, *key[1:]]


class Worker(Talk):
    """A worker on its own connection. `asks` sends a claim without waiting for the reply."""

    def __init__(self, server: Server, protocol: int = 2):
        super().__init__(server, protocol)
        self.id = self("CLIENT", "ID")

    def asks(self, key: object = "q", *options: object, block: int = 0) -> Worker:
        """Send a claim that waits for tasks of a key, or of several keys."""
        self.send([*claim(key), "BLOCK", block, *options])
        return self

    def first_byte(self) -> bytes | None:
        """The first byte of the next reply: empty if the connection is closed, None if there is no reply."""
        # poll, because select takes at most 1024 connections.
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        if not poll.poll(0):
            return None
        try:
            return self._socket.recv(1, socket.MSG_PEEK)
        except ConnectionError:
            return b""

    def has_answer(self) -> bool:
        """Whether a reply, or the end of the connection, can be read."""
        return self.first_byte() is not None

    def has_tasks(self) -> bool:
        """Whether a reply can be read that is not an error."""
        return self.first_byte() == b"*"

    def payloads(self) -> list[bytes]:
        """Read the next reply, and return the payloads of its tasks."""
        tasks = self.read()
        assert isinstance(tasks, list), tasks
        return [task[1] for task in tasks]

    def served(self) -> tuple[bytes, list[bytes]]:
        """Read the next reply of a claim from several queues, and return the queue's key and the payloads."""
        reply = self.read()
        assert isinstance(reply, list) and len(reply) == 2, reply
        return reply[0], [task[1] for task in reply[1]]

    def is_cut(self) -> bool:
        """Whether the server has closed the connection without a reply."""
        return self.first_byte() == b""

    def leave(self) -> None:
        """Close the connection, even if replies are unread."""
        self._file.close()
        self._socket.close()


class Floor:
    """A server with waiting workers, and one connection for all other commands, `boss`."""

    def __init__(self, server: Server):
        self.server = server
        self.boss = Talk(server)

    def worker(self, protocol: int = 2) -> Worker:
        """A new worker on its own connection."""
        return Worker(self.server, protocol)

    def waiting(self, key: object = "q", *options: object, block: int = 0, protocol: int = 2) -> Worker:
        """A new worker that waits, behind those that already wait."""
        worker = self.worker(protocol)
        self.seen_to_wait(lambda: worker.asks(key, *options, block=block))
        return worker

    def seen_to_wait(self, ask: Callable[[], object]) -> None:
        """Let a worker ask, and return when the server has one more waiting client."""
        before = self.blocked()
        ask()
        self.eventually(lambda: self.blocked() == before + 1, "one more worker waits")

    def asking(self, key: object = "q", *options: object) -> Worker:
        """A new worker that waits behind those that already wait, or has got a task already."""
        worker = self.worker().asks(key, *options)
        self.boss("PING")  # the server reads it after the claim
        return worker

    def line(self, count: int, key: object = "q", *options: object) -> list[Worker]:
        """Several new waiting workers, in the order of their arrival."""
        return [self.waiting(key, *options) for _ in range(count)]

    def blocked(self) -> int:
        """The number of blocked clients, by the server."""
        return self.info("clients", "blocked_clients")

    def counted(self) -> int:
        """The number of waiting workers, by the module."""
        return self.info("taskslot", "taskslot_blocked_workers")

    def info(self, section: str, field: str) -> int:
        """A number of INFO."""
        lines = self.boss("INFO", section).decode().splitlines()
        return int(dict(line.split(":", 1) for line in lines if ":" in line)[field])

    def nobody_waits(self) -> None:
        """Wait until neither the server nor the module counts a waiting client."""
        self.eventually(lambda: (self.blocked(), self.counted()) == (0, 0), "nobody waits")

    def eventually(self, condition: Callable[[], object], what: str, timeout: float = PATIENCE_S) -> object:
        """Wait until a condition is true."""
        return self.server.wait_until(condition, what, timeout)

    def all_got(self, workers: list[Worker]) -> list[list[bytes]]:
        """The payloads that each of these workers gets. This never returns if one gets nothing."""
        return [worker.payloads() for worker in workers]

    def all_wait(self, workers: list[Worker]) -> bool:
        """Whether none of these workers has a reply so far."""
        self.boss("PING")
        return not any(worker.has_answer() for worker in workers)

    def counts(self, key: object = "q") -> dict:
        """The totals and counts of a queue."""
        reply = self.boss("TASK.INFO", key)
        return {name.decode(): value for name, value in zip(reply[::2], reply[1::2], strict=True)}
