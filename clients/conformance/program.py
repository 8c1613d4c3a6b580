"""The program under test: a process in a group of its own, whose output is kept."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress

SHOWN_LINES = 20


class Program:
    """A started program."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._output = bytearray()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, command: list[str], environment: dict[str, str]) -> Program:
        """Start it. Raises OSError if there is no such program."""
        return cls(
            await asyncio.create_subprocess_exec(
                *command,
                env={**os.environ, **environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        )

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while data := await self._process.stdout.read(65536):
            self._output += data
            del self._output[:-65536]

    @property
    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.returncode

    @property
    def output(self) -> str:
        """The last lines that it wrote."""
        return "\n".join(self._output.decode("utf-8", "replace").splitlines()[-SHOWN_LINES:])

    def terminate(self) -> None:
        """Send SIGTERM."""
        with suppress(ProcessLookupError):
            self._process.terminate()

    async def ended(self) -> int:
        """Wait until it has ended, and return its status."""
        return await self._process.wait()

    async def kill(self) -> None:
        """Kill it, and what it has started."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        await self._reading
