"""The stage of a case against a real server: workers that can be killed, and a connection that asks the server."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from .failure import Failure
from .program import Program
from .resp import ErrorReply, command, read_reply

T = TypeVar("T")

# The name of the test's own connections, which it does not break.
OWN = "taskslot-conformance"
# Between two questions to the server.
PAUSE_S = 0.02
KEPT_MS = 600_000


class RealStage:
    """A queue of its own on a server, and workers for it."""

    def __init__(
        self, command: list[str], environment: dict[str, str], *, url: str, patience_s: float
    ) -> None:
        self.key = f"conformance:{secrets.token_hex(6)}"
        self.patience_s = patience_s
        self.workers: list[Program] = []
        self._url = url
        self._command = command
        self._environment = {**environment, "TASKSLOT_URL": url, "TASKSLOT_QUEUE": self.key}
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    # ---- life

    async def open(self) -> None:
        """Connect. Raises OSError."""
        url = urlsplit(self._url)
        self._reader, self._writer = await asyncio.open_connection(
            url.hostname, url.port or 6379, limit=1 << 24
        )
        if url.password:
            await self.ask("AUTH", *([unquote(url.username)] if url.username else []), unquote(url.password))
        if number := url.path.strip("/"):
            await self.ask("SELECT", number)
        await self.ask("CLIENT", "SETNAME", OWN)

    async def close(self) -> None:
        """Kill the workers, and delete the queue."""
        for worker in self.workers:
            await worker.kill()
        if self._writer is not None:
            await self.ask("DEL", self.key)
            self._writer.close()

    def breaches(self) -> list[str]:
        """None: here the server decides, and the case asks it."""
        return []

    @property
    def output(self) -> str:
        """What the workers wrote last."""
        return "\n".join(worker.output for worker in self.workers)

    async def start_worker(self) -> Program:
        """Start a worker."""
        self.workers.append(await Program.start(self._command, self._environment))
        return self.workers[-1]

    # ---- the server

    async def ask(self, *words: object) -> Any:
        """Send a command, and return its reply. Raises `Failure` for an error reply."""
        assert self._reader is not None and self._writer is not None
        self._writer.write(command(*words))
        reply = await read_reply(self._reader)
        if isinstance(reply, ErrorReply):
            raise Failure(f"the server refused {words[0]}: {reply}")
        return reply

    async def push(self, payload: bytes, *options: object) -> str:
        """Push a task that is kept, and return its id."""
        task: bytes = await self.ask("TASK.PUSH", self.key, payload, "RETAIN", KEPT_MS, *options)
        return task.decode()

    async def view(self, task: str) -> dict[str, Any]:
        """What TASK.GET says; empty if there is no such task."""
        flat = await self.ask("TASK.GET", self.key, task) or []
        return {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}

    async def leased(self, task: str, deliveries: int = 1) -> None:
        """Wait until a worker has a task."""

        async def is_leased() -> bool:
            view = await self.view(task)
            return view.get("state") == b"leased" and view["deliveries"] == deliveries

        await self.until(is_leased, f"delivery {deliveries} of the task")

    async def result(self, task: str) -> tuple[str, bytes | None]:
        """Wait for the end of a task, and return its state and its result or error."""
        reply = await self.until(lambda: self.ask("TASK.RESULT", self.key, task), "the end of the task")
        return reply[0].decode(), reply[1]

    async def done(self, task: str) -> Any:
        """Wait until a task is done, and return its result. Raises `Failure` if it ended otherwise."""
        state, value = await self.result(task)
        self.check(state == "done", f"the task to be done, not {state} ({value!r})")
        return json.loads(value) if value is not None else None

    async def break_connections(self) -> int:
        """Close the connections of all clients but the test. Returns their number."""
        lines = (await self.ask("CLIENT", "LIST", "TYPE", "normal")).decode().splitlines()
        clients = [dict(part.partition("=")[::2] for part in line.split()) for line in lines]
        others = [client["id"] for client in clients if client.get("name") != OWN]
        return sum([await self.ask("CLIENT", "KILL", "ID", other) for other in others])

    # ---- what a case expects

    async def until(self, question: Callable[[], Awaitable[T]], expected: str) -> T:
        """Ask until the answer is true, and return it. Raises `Failure`."""
        ends_at = time.monotonic() + self.patience_s
        while not (answer := await question()):
            if time.monotonic() > ends_at:
                raise Failure(f"expected {expected} within {self.patience_s:g} s{self._ends()}")
            await asyncio.sleep(PAUSE_S)
        return answer

    def check(self, holds: object, expected: str) -> None:
        """Raise `Failure` unless something holds."""
        if not holds:
            raise Failure(f"expected {expected}{self._ends()}")

    async def ended(self, worker: Program) -> int:
        """Wait until a worker has ended, and return its status."""
        try:
            return await asyncio.wait_for(worker.ended(), self.patience_s)
        except TimeoutError:
            raise Failure(f"expected the end of the worker within {self.patience_s:g} s") from None

    def _ends(self) -> str:
        statuses = [str(worker.status) for worker in self.workers if worker.status is not None]
        return f"; workers have ended with status {', '.join(statuses)}" if statuses else ""
