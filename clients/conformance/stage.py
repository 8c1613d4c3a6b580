"""The stage of one case: a server on a port that plays its part, and the worker that connects to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from .connection import Connection
from .failure import Failure
from .faults import Fault
from .model import ModelTask
from .program import Program
from .resp import Garbled
from .rules import Rules
from .scene import Scene
from .sent import Sent

QUEUE = "conformance"
# How long the test waits for what a worker does within a second. A busy machine can stand still for a while.
PATIENCE_S = 15.0
LAST_S = 0.5


class Stage(Scene):
    """What a case works with: the queue, the faults to come, what the worker has sent, and the worker's process."""

    def __init__(
        self,
        command: list[str],
        environment: dict[str, str],
        *,
        has_next: bool = True,
        patience_s: float = PATIENCE_S,
    ) -> None:
        super().__init__(has_next=has_next)
        self.patience_s = patience_s
        places = int(environment["TASKSLOT_CONCURRENCY"])
        self.rules = Rules(self, places, int(environment["TASKSLOT_LEASE_MS"]))
        self._command, self._environment = command, environment
        self._server: asyncio.Server | None = None
        self._connections: list[Connection] = []
        self._port = 0
        self.worker: Program | None = None

    # ---- life

    async def open(self) -> None:
        """Listen, and start the worker."""
        await self.listen()
        url = {"TASKSLOT_URL": f"redis://127.0.0.1:{self._port}", "TASKSLOT_QUEUE": QUEUE}
        self.worker = await Program.start(self._command, {**self._environment, **url})

    async def close(self) -> None:
        """Kill the worker, and close the server."""
        if self.worker is not None:
            await self.worker.kill()
        await self.go_away()

    def breaches(self) -> list[str]:
        """What the worker did against the rules that hold in every case."""
        self.rules.look_at_places_again()
        return self.rules.breaches

    @property
    def output(self) -> str:
        """What the worker wrote last."""
        return self.worker.output if self.worker is not None else ""

    async def listen(self) -> None:
        """Accept connections, always on the same port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, limit=1 << 24)
        self._port = self._server.sockets[0].getsockname()[1]

    async def go_away(self) -> None:
        """Break all connections, and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut_all()

    def cut_all(self) -> None:
        """Break all connections."""
        for connection in self._connections:
            connection.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(self, self.rules, len(self._connections), reader, writer)
        self._connections.append(connection)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await connection.live()
        except (Garbled, ValueError) as error:
            self.rules.broken("commands in RESP", error)
        self.changed()

    # ---- what happens

    def push(self, *payloads: bytes) -> list[ModelTask]:
        """Push tasks. Claims that wait get them."""
        tasks = [self.model.push(payload) for payload in payloads]
        self.changed()
        return tasks

    def fault(self, fault: Fault) -> Fault:
        """Let something go wrong with the next commands that it is for."""
        self.faults.append(fault)
        return fault

    def answers(self, task: ModelTask, *names: str) -> list[Sent]:
        """The commands that named a task: ACK, NEXT, FAIL and REQUEUE, or those of these names."""
        return [
            sent
            for sent in self.sent
            if task.handle in sent.handles and (sent.name in names if names else sent.answers)
        ]

    # ---- what a case expects

    async def until(self, condition: Callable[[], Any], expected: str) -> Any:
        """Wait until a condition is true, and return its value. Raises `Failure`."""
        ends_at = time.monotonic() + self.patience_s
        while not (value := condition()):
            if self.worker is not None and self.worker.status is not None:
                # What it sent last can still be under way.
                ends_at = min(ends_at, time.monotonic() + LAST_S)
            if (left_s := ends_at - time.monotonic()) <= 0:
                raise Failure(f"expected {expected}{self._in_vain()}; {self._what_came()}")
            await self.change(min(left_s, 0.05))
        return value

    async def quiet(self, seconds: float, condition: Callable[[], Any], unexpected: str) -> None:
        """Watch for some time that a condition does not become true. Raises `Failure`."""
        ends_at = time.monotonic() + seconds
        while (left_s := ends_at - time.monotonic()) > 0:
            if condition():
                raise Failure(f"unexpected: {unexpected}; {self._what_came()}")
            await self.change(min(left_s, 0.05))

    def check(self, holds: object, expected: str) -> None:
        """Raise `Failure` unless something holds."""
        if not holds:
            raise Failure(f"expected {expected}; {self._what_came()}")

    async def answer(self, task: ModelTask, *names: str, says: str = "") -> Sent:
        """Wait for the first answer for a task, and check that it is one of these."""
        wanted = " or ".join(names) or "an answer"
        expected = f"{wanted} for {task.payload.decode('utf-8', 'replace')[:60]}{says}"
        first: Sent = (await self.until(lambda: self.answers(task), expected))[0]
        name = "TASK.ACK" if first.name == "TASK.NEXT" else first.name
        self.check(not names or name in names, expected)
        return first

    async def stop_worker(self) -> None:
        """Send SIGTERM to the worker."""
        assert self.worker is not None
        self.stopped_at = time.monotonic()
        self.worker.terminate()

    async def begun(self, *tasks: ModelTask) -> None:
        """Wait until tasks run: the worker extends their leases."""
        await self.until(
            lambda: all(self.answers(one, "TASK.EXTEND") for one in tasks), "EXTEND for each task"
        )

    async def ended(self) -> int:
        """Wait until the worker has ended, and return its status."""
        worker = self.worker
        assert worker is not None
        try:
            return await asyncio.wait_for(worker.ended(), self.patience_s)
        except TimeoutError:
            within = f"within {self.patience_s:g} s"
            raise Failure(f"expected the end of the worker {within}; {self._what_came()}") from None

    def _in_vain(self) -> str:
        status = self.worker.status if self.worker is not None else None
        if status is not None:
            return f", but the worker ended with status {status}"
        return f" within {self.patience_s:g} s"

    def _what_came(self) -> str:
        shown = [str(sent) for sent in self.sent[-5:]]
        return f"the last of {len(self.sent)} commands: " + "; ".join(shown) if shown else "no command came"
