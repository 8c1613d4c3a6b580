"""Workers that wait inside the server, for tests: who waits, who was served, who goes away."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable

from harness.server import Server
from harness.talk import Talk

FORCED = "UNBLOCKED client unblocked via CLIENT UNBLOCK"


def claim(key: object) -> list[object]:
    """The command that claims of a queue, or of a list of them, without its options."""
    if not isinstance(key, list):
        return ["TASK.CLAIM", key]
    return ["TASK.MCLAIM", key[0], "KEYS", len(key) - 1, *key[1:]]


class Worker(Talk):
    """A connection that claims. `asks` sends a claim and doesn't wait for its reply."""

    def __init__(self, server: Server, protocol: int = 2):
        super().__init__(server, protocol)
        self.id = self("CLIENT", "ID")

    def asks(self, key: object = "q", *options: object, block: int = 0) -> Worker:
        """Send a claim that waits for tasks: of a list of keys, of them all."""
        self.send([*claim(key), "BLOCK", block, *options])
        return self

    def first_byte(self) -> bytes | None:
        """What a reply that is there begins with: nothing if the connection is closed, None if there is no reply."""
        # poll, since select takes no more than 1024 connections.
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        if not poll.poll(0):
            return None
        try:
            return self._socket.recv(1, socket.MSG_PEEK)
        except ConnectionError:
            return b""

    def has_answer(self) -> bool:
        """Whether a reply, or the end of the connection, is there to be read."""
        return self.first_byte() is not None

    def has_tasks(self) -> bool:
        """Whether a reply is there that is no error."""
        return self.first_byte() == b"*"

    def payloads(self) -> list[bytes]:
        """The payloads of the tasks in the next reply."""
        tasks = self.read()
        assert isinstance(tasks, list), tasks
        return [task[1] for task in tasks]

    def served(self) -> tuple[bytes, list[bytes]]:
        """Of a claim of several queues: the key of the queue in the next reply, and the payloads."""
        reply = self.read()
        assert isinstance(reply, list) and len(reply) == 2, reply
        return reply[0], [task[1] for task in reply[1]]

    def is_cut(self) -> bool:
        """Whether the server has closed the connection, and sent nothing before."""
        return self.first_byte() == b""

    def leave(self) -> None:
        """Close the connection, whatever is in it."""
        self._file.close()
        self._socket.close()


class Floor:
    """A server with a connection that gives orders, `boss`, and workers that wait."""

    def __init__(self, server: Server):
        self.server = server
        self.boss = Talk(server)

    def worker(self, protocol: int = 2) -> Worker:
        """A new connection."""
        return Worker(self.server, protocol)

    def waiting(self, key: object = "q", *options: object, block: int = 0, protocol: int = 2) -> Worker:
        """A new worker that waits already: it stands in line behind those that were here."""
        worker = self.worker(protocol)
        self.seen_to_wait(lambda: worker.asks(key, *options, block=block))
        return worker

    def seen_to_wait(self, ask: Callable[[], object]) -> None:
        """Let somebody ask, and return when the server has one more to wait."""
        before = self.blocked()
        ask()
        self.eventually(lambda: self.blocked() == before + 1, "one more worker waits")

    def line(self, count: int, key: object = "q", *options: object) -> list[Worker]:
        """Workers that wait, in the order in which they came."""
        return [self.waiting(key, *options) for _ in range(count)]

    def blocked(self) -> int:
        """How many clients the server holds blocked."""
        return self.info("clients", "blocked_clients")

    def counted(self) -> int:
        """How many workers the module says it has waiting."""
        return self.info("taskslot", "taskslot_blocked_workers")

    def info(self, section: str, field: str) -> int:
        """A number of INFO."""
        lines = self.boss("INFO", section).decode().splitlines()
        return int(dict(line.split(":", 1) for line in lines if ":" in line)[field])

    def nobody_waits(self) -> None:
        """Wait until nobody is blocked and nobody counted."""
        self.eventually(lambda: (self.blocked(), self.counted()) == (0, 0), "nobody waits")

    def eventually(self, condition: Callable[[], object], what: str, timeout: float = 5.0) -> object:
        """Wait until a condition is true."""
        return self.server.wait_until(condition, what, timeout)

    def all_got(self, workers: list[Worker]) -> list[list[bytes]]:
        """The payloads that each of these gets; for those who get nothing it lasts for ever."""
        return [worker.payloads() for worker in workers]

    def all_wait(self, workers: list[Worker]) -> bool:
        """Whether none of these has been answered, as far as the server has come."""
        self.boss("PING")
        return not any(worker.has_answer() for worker in workers)

    def counts(self, key: object = "q") -> dict:
        """The totals and counts of a queue."""
        reply = self.boss("TASK.INFO", key)
        return {name.decode(): value for name, value in zip(reply[::2], reply[1::2], strict=True)}
